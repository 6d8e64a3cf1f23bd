"""The page's scripts and styles: read and compressed once, and kept by browsers for good.

They lie under a path that names their content, so that a new deployment is a new path and nothing is ever stale.
"""

import gzip
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from shared.errors import NotFoundError
from shared.routing import Request, Response

FOLDER = Path(__file__).resolve().parent / "static"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_IMPORT = re.compile(rb'^import [^;]*? from "\./([a-z_]+\.js)";', re.MULTILINE)
_FOR_GOOD = "private, max-age=31536000, immutable"


class _Asset(NamedTuple):
    content: bytes
    compressed: bytes
    content_type: str


class Assets:
    """The files of one folder.

    Args:
        folder: Holds scripts and styles.

    Attributes:
        version: Twelve hexadecimal digits that change with any file.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        paths = sorted(path for path in folder.iterdir() if path.suffix in _TYPES)
        self._assets = {path.name: _read(path) for path in paths}
        told = hashlib.sha256()
        for name, asset in self._assets.items():
            told.update(f"{name} {len(asset.content)} ".encode() + asset.content)
        self.version = told.hexdigest()[:12]

    def modules(self, *entries: str) -> list[str]:
        """Return scripts and whatever they import, so that a browser can fetch them at once and not one by one."""
        found: list[str] = []
        waiting = [name for name in entries if name in self._assets]
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found.append(name)
                waiting += [imported.decode() for imported in _IMPORT.findall(self._assets[name].content)]
        return found

    def respond(self, request: Request) -> Response:
        """Answer one file, `version` and `name` being in the path.

        Raises:
            NotFoundError: There is none of this name.
        """
        asset = self._assets.get(request.values["name"])
        if asset is None:
            raise NotFoundError("there is no such file", reason="PATH_NOT_FOUND")
        # A page of the deployment before this one gets what there is now, and is not to keep it under its old name.
        headers = {"Vary": "Accept-Encoding"}
        if request.values["version"] == self.version:
            headers["Cache-Control"] = _FOR_GOOD
        if _takes_gzip(request):
            return Response(
                asset.compressed, content_type=asset.content_type, headers={**headers, "Content-Encoding": "gzip"}
            )
        return Response(asset.content, content_type=asset.content_type, headers=headers)


def _read(path: Path) -> _Asset:
    content = path.read_bytes()
    return _Asset(content, gzip.compress(content, 9, mtime=0), _TYPES[path.suffix])


def _takes_gzip(request: Request) -> bool:
    offered = [part.strip().replace(" ", "") for part in request.headers.get("accept-encoding", "").lower().split(",")]
    return any(part.split(";")[0] == "gzip" and not part.endswith((";q=0", ";q=0.0")) for part in offered)
