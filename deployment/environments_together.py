"""What the `.env` files must agree on: the same keys, and no two environments in one project or bucket."""

from collections.abc import Iterator, Mapping

from .env_file import EnvFile
from .env_values import CHECKS, REQUIRED

# Two environments that share one of these are not two.
_OWN = ("PROJECT_ID", "OBJECTS_URL")


def problems_together(files: Mapping[str, EnvFile]) -> Iterator[tuple[EnvFile, int, str]]:
    """Yield what is wrong between files: in which, on which line (0: in all of it), and what.

    Args:
        files: By the environment's name.
    """
    for name, file in files.items():
        others = {other: each for other, each in files.items() if other != name}
        yield from _shared_values(file, others)
        yield from _missing_keys(file, others)
        yield from _promotion(name, file, files)


def _shared_values(file: EnvFile, others: Mapping[str, EnvFile]) -> Iterator[tuple[EnvFile, int, str]]:
    for key in _OWN:
        own = file.entries.get(key)
        for other in others.values():
            entry = other.entries.get(key)
            if own and entry and own.value and own.value == entry.value:
                yield file, own.line, f"{key}: expected another than {other.place} has on line {entry.line}"


def _missing_keys(file: EnvFile, others: Mapping[str, EnvFile]) -> Iterator[tuple[EnvFile, int, str]]:
    # Environments differ in values only: what one leaves out is forgotten, not decided.
    told = {*file.entries, *file.refused, *REQUIRED}
    for other in others.values():
        for key in other.entries:
            if key in CHECKS and key not in told:
                told.add(key)
                yield file, 0, f"{key}: expected, since {other.place} has it (it may be empty)"


def _promotion(name: str, file: EnvFile, files: Mapping[str, EnvFile]) -> Iterator[tuple[EnvFile, int, str]]:
    entry = file.entries.get("PROMOTE_FROM")
    if entry is None or not entry.value:
        return
    if entry.value not in files or entry.value == name:
        there = ", ".join(other for other in files if other != name) or "one, and there is none"
        yield file, entry.line, f"PROMOTE_FROM: expected another environment: {there}, got {entry.value!r}"
        return
    earlier = files[entry.value].entries.get("PROMOTE_FROM")
    if earlier and earlier.value:
        expected = f"expected an environment that builds its own images; {entry.value} has them from {earlier.value}"
        yield file, entry.line, f"PROMOTE_FROM: {expected}"
