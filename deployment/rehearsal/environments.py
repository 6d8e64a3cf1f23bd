"""The environments of a rehearsal: the real files, with a project of the rehearsal where nobody has filled one in."""

import re
from pathlib import Path

_EMPTY = re.compile(r"^PROJECT_ID=[ \t]*$", re.MULTILINE)
_FILLED = re.compile(r"^PROJECT_ID=[ \t]*[\"']?([a-z0-9-]+)", re.MULTILINE)


def rehearsed_environments(environments: Path, folder: Path) -> tuple[Path, list[str]]:
    """Copy the `.env` files of a folder, filled in.

    Args:
        environments: The real ones, which stay as they are.
        folder: Of the rehearsal.

    Returns:
        Where the copies are, and the projects that they name.
    """
    copies = folder / "environments"
    copies.mkdir(parents=True, exist_ok=True)
    for old in copies.glob("*.env"):
        old.unlink()
    projects = []
    for path in sorted(environments.glob("*.env")):
        text = _EMPTY.sub(f"PROJECT_ID=nightshift-rehearsal-{path.stem}", path.read_text("utf-8"))
        (copies / path.name).write_text(text, "utf-8")
        projects += _FILLED.findall(text)
    return copies, projects
