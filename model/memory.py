"""What this machine can hold: a model that cannot fit is refused before anything of it is read."""

import os
from pathlib import Path

from shared.errors import ModelError

# Where a container's limit stands: version 2 of Linux's control groups, then version 1.
LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def refuse_too_large(size_bytes: int, where: str) -> None:
    """Refuse a version whose files alone are more than the memory there is.

    Args:
        size_bytes: What its files weigh together.
        where: How messages name it.

    Raises:
        ModelError: It cannot fit.
    """
    limit_bytes = memory_bytes()
    if size_bytes > limit_bytes:
        raise ModelError(
            f"{where}: its files are {size_bytes / 1e6:,.0f} MB, and there are {limit_bytes / 1e6:,.0f} MB of memory"
        )


def memory_bytes() -> int:
    """Return the memory that this process may use: the container's limit, or what the machine has."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in LIMIT_FILES:
        try:
            found.append(int(file.read_text()))
        except (OSError, ValueError):
            continue  # no such group, or one without a limit
    return min(found)
