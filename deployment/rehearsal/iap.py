"""Identity-Aware Proxy in front of Cloud Run: whom it lets through, and what it tells those whom it does not."""

import re
from collections.abc import Callable

from .bodies import only
from .run_names import Place, place_of
from .signed_tokens import check_signed
from .wire import Answer, Api, Request, api, not_found, route
from .world import Resource, World, as_asked

SERVICE = "iap.googleapis.com"
ANNOTATION = "run.googleapis.com/iap-enabled"
_ACCESSOR = "roles/iap.httpsResourceAccessor"
# https://docs.cloud.google.com/iap/docs/authentication-howto; what it says itself is marked as its own.
_OWN = {"X-Goog-Iap-Generated-Response": "true", "Content-Type": "text/html; charset=UTF-8"}
_SIGN_IN = "https://accounts.google.com/o/oauth2/v2/auth?client_id=rehearsal.apps.googleusercontent.com"


def iap_api(world: World) -> Api:
    """Return the API: the policies of Cloud Run's services, which are guarded whether it is on or not."""

    def guarded(handler: Callable[[str, Request], Resource]) -> Callable[[Request], Resource]:
        def answer(request: Request) -> Resource:
            found = re.fullmatch(r"cloud_run-([a-z0-9-]+)", request.parts["web"])
            if not found:
                raise not_found(f"iap_web/{request.parts['web']}: only cloud_run-REGION is rehearsed")
            place = place_of(world, request.parts["project"], found[1])
            world.get(place.service(request.parts["service"]))
            return handler(_policy_name(place, request.parts["service"]), request)

        return answer

    def read(name: str, request: Request) -> Resource:
        only(request.json, {"options"})
        return as_asked(world.policy(name), request)

    def write(name: str, request: Request) -> Resource:
        return world.set_policy(name, only(request.json, {"policy"}).get("policy", {}))

    one = "/v1/projects/{project}/iap_web/{web}/services/{service}"
    return api(
        SERVICE,
        route("POST", one + ":getIamPolicy", guarded(read)),
        route("POST", one + ":setIamPolicy", guarded(write)),
    )


def is_on(service: Resource) -> bool:
    """Say whether it stands in front of a service."""
    return bool(service["metadata"].get("annotations", {}).get(ANNOTATION) == "true")


def agent(place: Place) -> str:
    """Return the account in whose name it calls the service."""
    return f"service-{place.number}@gcp-sa-iap.iam.gserviceaccount.com"


def refusal(world: World, place: Place, name: str, request: Request) -> Answer | None:
    """Return what it answers itself; None: the request goes on to Cloud Run, in the name of its own account.

    It takes no ID token that is made for Cloud Run, only what a service account signed for the very URL.
    """
    given = request.headers.get("proxy-authorization") or request.headers.get("authorization", "")
    kind, _, token = given.partition(" ")
    if not token:
        return Answer(b"", 302, {**_OWN, "Location": f"{_SIGN_IN}&redirect_uri=https://{request.host}/"})
    email = check_signed(world, token, f"https://{request.host}{request.path}") if kind.lower() == "bearer" else None
    if email is None:
        return Answer(b"Invalid IAP credentials: Invalid JWT audience", 401, _OWN)
    if world.has_role(_policy_name(place, name), _ACCESSOR, f"serviceAccount:{email}"):
        return None
    return Answer(b"You don't have access", 403, _OWN)


def _policy_name(place: Place, service: str) -> str:
    return f"//iap.googleapis.com/projects/{place.project}/iap_web/cloud_run-{place.region}/services/{service}"
