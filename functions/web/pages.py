"""The page's one document, filled in with what this environment is; the scripts put a view into it."""

from html import escape
from pathlib import Path
from string import Template

from shared.config import Settings
from shared.errors import ServiceError
from shared.routing import Response

from .assets import Assets
from .headers import secured

_TEMPLATE = Path(__file__).resolve().parent / "templates" / "page.html"
_HTML = "text/html; charset=utf-8"
_PRODUCTION = ("prod", "production")
# Each view's path and title; what follows a path names one result, or one run.
VIEWS = {
    "try": ("/", "Try the model"),
    "results": ("/results", "Results"),
    "result": ("/results/[a-z2-7]{26}", "Result"),
    "nights": ("/nights", "Nights"),
    "run": ("/nights/[^/]+/[^/]+", "Run"),
    "status": ("/status", "Status"),
}


class Pages:
    """The documents of one environment.

    Args:
        settings: What it is called, and where its predict answers.
        assets: The scripts and styles of this deployment.
    """

    def __init__(self, settings: Settings, assets: Assets) -> None:
        self._template = Template(_TEMPLATE.read_text("utf-8"))
        self._assets = assets
        self._folder = f"/static/{assets.version}"
        self._facts = {
            "assets": self._folder,
            "environment": settings.environment,
            "kind": "production" if settings.environment in _PRODUCTION else settings.environment,
            "read_only": "yes" if settings.read_only else "no",
            "in_cloud": "yes" if settings.in_cloud else "no",
            "predict_url": settings.urls["predict"],
        }

        self._views = {name: self._document(name, title, "") for name, (_, title) in VIEWS.items()}

    def view(self, name: str) -> Response:
        """Answer a view."""
        return secured(Response(self._views[name], content_type=_HTML))

    def failure(self, error: ServiceError) -> Response:
        """Answer an error to somebody who looks at the page, not to a program."""
        document = self._document("failure", f"{error.http_status}", error.message)
        return secured(Response(document, error.http_status, _HTML, error.headers))

    def _document(self, view: str, title: str, message: str) -> bytes:
        facts = {**self._facts, "view": view, "title": title, "message": message}
        facts |= {f"current_{name}": _current(name, view) for name in VIEWS}
        texts = {name: escape(text) for name, text in facts.items()}
        return self._template.substitute(texts, preloads=self._preloads(view)).encode()

    def _preloads(self, view: str) -> str:
        names = self._assets.modules("app.js", f"{view}.js")
        return "".join(f'\n  <link rel="modulepreload" href="{self._folder}/{name}">' for name in names)


def _current(name: str, view: str) -> str:
    """Return the value of aria-current for a link: the view itself, one that it belongs to, or another."""
    if name == view:
        return "page"
    return "true" if VIEWS.get(view, ("", ""))[0].startswith(f"/{name}/") else "false"
