"""The hosts under run.app: who asks is checked as Cloud Run checks it, then the revision's process answers."""

import http.client
import itertools
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator

from . import iap
from .id_tokens_issued import check
from .revisions import Revisions
from .revisions_environment import UnusableError
from .run_names import Place, find_host
from .wire import Answer, Api, Request, Route
from .world import Resource, World

_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_OWN = {"content-length", "date", "server", *_HOP_BY_HOP}
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_INVOKER = "roles/run.invoker"
_STEP = 37  # coprime to 100: a hundred requests in a row meet every percent once, well mixed
_FORBIDDEN = (
    "<html><head><title>403 Forbidden</title></head><body><h1>Error: Forbidden</h1>"
    "<h2>Your client does not have permission to get URL <code>{path}</code> from this server.</h2></body></html>"
)
_UNAUTHORIZED = (
    "<html><head><title>401 Unauthorized</title></head><body><h1>Error: Unauthorized</h1>"
    "<h2>Your client does not have permission to the requested URL <code>{path}</code>.</h2></body></html>"
)
_NOT_FOUND = "<html><head><title>404 Page not found</title></head><body><h1>Error: Page not found</h1></body></html>"
_UNAVAILABLE = "<html><head><title>503</title></head><body><h1>Error: Server Error</h1><p>{why}</p></body></html>"


def front_door_api(world: World, revisions: Revisions) -> Api:
    """Return what answers at the URLs of the services."""
    door = _FrontDoor(world, revisions)
    routes = [Route(method, re.compile(".*", re.DOTALL), door.answer) for method in _METHODS]
    return Api(None, re.compile(r".*\.run\.app"), routes, anonymous=True)


class _FrontDoor:
    def __init__(self, world: World, revisions: Revisions) -> None:
        self._world, self._revisions = world, revisions
        self._counters: dict[str, Iterator[int]] = defaultdict(itertools.count)

    def answer(self, request: Request) -> Answer:
        with self._world.lock:
            found = find_host(self._world, request.host)
            if found is None or request.path.endswith("/healthz"):  # a path that Cloud Run keeps for itself
                return _page(404, _NOT_FOUND, request)
            place, service, tag = found
            refused = self._refusal(place, service, request)
            revision = self._chosen(place, service, tag)
        if refused:
            return refused
        if revision is None:
            return _page(503, _UNAVAILABLE, request, "no revision of this service is ready")
        try:
            with self._revisions.serving(place, revision) as port:
                return _forwarded(request, port, revision["spec"].get("timeoutSeconds", 300))
        except UnusableError as error:
            return _page(503, _UNAVAILABLE, request, str(error))
        except TimeoutError:
            return _page(504, _UNAVAILABLE, request, "upstream request timeout")
        except (OSError, http.client.HTTPException) as error:
            return _page(503, _UNAVAILABLE, request, f"upstream connect error: {error}")

    def _refusal(self, place: Place, service: Resource, request: Request) -> Answer | None:
        name = service["metadata"]["name"]
        if iap.is_on(service):  # asked first, and the service sees its account alone
            agent = f"serviceAccount:{iap.agent(place)}"
            refused = iap.refusal(self._world, place, name, request)
            is_let_in = any(self._world.has_role(place.service(name), _INVOKER, who) for who in (agent, "allUsers"))
            return refused or (None if is_let_in else _page(403, _FORBIDDEN, request))
        if self._world.has_role(place.service(name), _INVOKER, "allUsers"):
            return None
        given = request.headers.get("x-serverless-authorization") or request.headers.get("authorization", "")
        kind, _, token = given.partition(" ")
        if not token:
            return _page(403, _FORBIDDEN, request)
        emails = [check(self._world, token, url) for url in place.urls(name)] if kind.lower() == "bearer" else []
        email = next((email for email in emails if email), None)
        if email is None:
            return _page(401, _UNAUTHORIZED, request)
        if self._world.has_role(place.service(name), _INVOKER, f"serviceAccount:{email}"):
            return None
        return _page(403, _FORBIDDEN, request)

    def _chosen(self, place: Place, service: Resource, tag: str | None) -> Resource | None:
        targets = service["status"].get("traffic", [])
        if tag:
            named = next((target["revisionName"] for target in targets if target.get("tag") == tag), None)
        else:
            named = _by_percent(targets, next(self._counters[place.service(service["metadata"]["name"])]))
        return self._world.find(place.revision(named)) if named else None


def _by_percent(targets: list[Resource], count: int) -> str | None:
    point = count * _STEP % 100
    for target in targets:
        point -= target.get("percent", 0)
        if point < 0:
            return str(target["revisionName"])
    return None


def _forwarded(request: Request, port: int, timeout_seconds: float) -> Answer:
    headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP | {"content-length"}}
    if headers.get("authorization"):  # the token as it is passed on can be read, but not used
        headers["authorization"] = headers["authorization"].rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"
    headers |= {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "host": request.host}
    headers.setdefault("x-cloud-trace-context", f"{uuid.uuid4().hex}/1;o=0")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request(request.method, request.target, request.body or None, headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    told = {name.title(): value for name, value in response.getheaders() if name.lower() not in _OWN}
    return Answer(body, response.status, told)


def _page(status: int, text: str, request: Request, why: str = "") -> Answer:
    path = request.path.replace("&", "&amp;").replace("<", "&lt;")
    headers = {"Content-Type": "text/html; charset=UTF-8"}
    if status == 401:
        headers["Www-Authenticate"] = (
            'Bearer error="invalid_token" error_description="The access token could not be verified"'
        )
    return Answer(text.format(path=path, why=why).encode(), status, headers)
