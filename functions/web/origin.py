"""Whether a browser asks on behalf of this very page: what another site has it send is refused.

https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
"""

import re

from shared.errors import ForbiddenError
from shared.routing import Request

_LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")


def check_same_origin(request: Request) -> None:
    """Let a request through that the page itself made.

    Sec-Fetch-Site is the browser's own word and no script can set it. Where a browser is too old to send it, Origin has
    to name the host that was asked; behind a proxy that changes the host, as `gcloud run services proxy` does, only the
    former holds.

    Raises:
        ForbiddenError: reason CROSS_ORIGIN; another site made it, or nobody says who did.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        same = site == "same-origin"
    else:
        host = request.headers.get("host", "")
        same = bool(host) and request.headers.get("origin") in (f"http://{host}", f"https://{host}")
    if not same:
        raise ForbiddenError(
            "expected a request of the page itself, with Sec-Fetch-Site: same-origin or its own Origin; programs call "
            "the functions themselves",
            reason="CROSS_ORIGIN",
        )


def check_local_host(request: Request) -> None:
    """Let a request through that names this machine: a site whose name was made to lead here names itself.

    Raises:
        ForbiddenError: reason FOREIGN_HOST.
    """
    if not _LOCAL.fullmatch(request.headers.get("host", "").lower()):
        raise ForbiddenError("expected localhost or 127.0.0.1 as the host, on a laptop", reason="FOREIGN_HOST")
