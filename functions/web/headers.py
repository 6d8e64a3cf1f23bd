"""What a browser is told of everything the page's function answers.

The policy lets the page use what came from here and nothing else: no inline script, no other site, no frame, no plugin.
"""

from dataclasses import replace

from shared.routing import Response

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def secured(response: Response) -> Response:
    """Return a response with the headers; what says nothing of caching is kept by nobody."""
    return replace(response, headers={**_HEADERS, "Cache-Control": "no-store", **response.headers})
