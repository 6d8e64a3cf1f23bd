"""The metadata server that a revision asks who it is and for its tokens, one for each revision's process."""

import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit

from .account_access import account_token
from .id_tokens_issued import issue
from .run_names import Place
from .world import World, locked

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LIFETIME_SECONDS = 3599


class MetadataServer:
    """A server on a free port of loopback, until it is closed.

    Args:
        world: Remembers the ID tokens.
        place: Where the revision is.
        account: The revision's service account.

    Attributes:
        host: For GCE_METADATA_HOST.
    """

    def __init__(self, world: World, place: Place, account: str) -> None:
        self._world, self._place, self._account = world, place, account
        handler = type("Handler", (_Handler,), {"metadata": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metadata", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def find(self, target: str) -> str | None:
        """Return what stands at a path with its query; None: nothing does."""
        url = urlsplit(target)
        path = url.path.removeprefix("/computeMetadata/v1/").strip("/")
        account = path.removeprefix("instance/service-accounts/")
        if account != path:
            who, _, what = account.partition("/")
            return self._of_account(what, parse_qs(url.query)) if who in ("default", self._account) else None
        place = f"projects/{self._place.number}"
        return {
            "project/project-id": self._place.project,
            "project/numeric-project-id": self._place.number,
            "instance/region": f"{place}/regions/{self._place.region}",
            "instance/zone": f"{place}/zones/{self._place.region}-1",
            "universe/universe-domain": "googleapis.com",
        }.get(path, "" if not path else None)

    def _of_account(self, what: str, query: dict[str, list[str]]) -> str | None:
        if what == "identity" and query.get("audience"):
            with locked(self._world):
                return issue(self._world, self._account, query["audience"][0])
        token = {"access_token": account_token(self._account), "expires_in": _LIFETIME_SECONDS, "token_type": "Bearer"}
        about = {"aliases": ["default"], "email": self._account, "scopes": [_SCOPE]}
        known = {"": json.dumps(about), "token": json.dumps(token), "email": self._account, "scopes": _SCOPE}
        return known.get(what)


class _Handler(http.server.BaseHTTPRequestHandler):
    metadata: MetadataServer

    def do_GET(self) -> None:
        found = self.metadata.find(self.path)
        asked_rightly = self.headers.get("Metadata-Flavor") == "Google" or self.path == "/"
        status = 404 if found is None else 200 if asked_rightly else 403
        body = (found or "").encode() if status == 200 else b""
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/json" if body.startswith(b"{") else "application/text")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""
