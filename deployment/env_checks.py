"""Checks one environment's values, each by itself and beside the others."""

import difflib
from collections.abc import Mapping
from typing import Any

from .env_file import EnvFile
from .env_values import CHECKS, FUNCTIONS, PUBLIC, REQUIRED

# The functions that anyone at all may be let in to; the others read and write what people sent.
_MAY_BE_PUBLIC = ("predict", "web")


def check_values(file: EnvFile, *, may_lack_project: bool = False) -> dict[str, Any]:
    """Return the values of a file that are right, by key; what is wrong is noted in the file.

    Args:
        may_lack_project: An empty PROJECT_ID is fine: nobody has filled it in yet.
    """
    values: dict[str, Any] = {}
    for key, check in CHECKS.items():
        entry = file.entries.get(key)
        if key in REQUIRED and entry is None and key not in file.refused:
            file.add(0, f"{key}: expected, not there")
        text, line = (entry.value, entry.line) if entry else ("", 0)
        if (entry is None and key in REQUIRED) or (may_lack_project and key == "PROJECT_ID" and not text):
            values[key] = ""
            continue
        try:
            values[key] = check(text)
        except ValueError as error:
            file.add(line, f"{key}: {error}{_got(key, text)}")
    for key, entry in file.entries.items():
        if key not in CHECKS:
            near = difflib.get_close_matches(key, CHECKS, n=1)
            meant = f": did you mean {near[0]}?" if near else ""
            file.add(entry.line, f"{key}: unknown key{meant}")
    _check_between(file, values)
    return values


def _got(key: str, text: str) -> str:
    # A database's URL may hold a password in a way that nobody foresaw.
    shown = repr(text) if key != "STORE_URL" else text.partition(":")[0] + ":..." if ":" in text else "something else"
    return f", got {shown if text else 'nothing'}"


def _check_between(file: EnvFile, values: Mapping[str, Any]) -> None:
    """Note what is right by itself and wrong beside another value."""
    wrong: list[tuple[str, str]] = []
    for function in FUNCTIONS:
        key = f"INVOKERS_{function.upper()}"
        public = [member for member in values.get(key, ()) if member in PUBLIC]
        if public and function not in _MAY_BE_PUBLIC:
            wrong.append((key, f"expected no {public[0]}: only {' and '.join(_MAY_BE_PUBLIC)} may be public"))
        if public and function == "web" and values.get("WEB_ACCESS") != "public":
            wrong.append((key, f"expected WEB_ACCESS=public with {public[0]}"))
        least, most = (values.get(f"{limit}_INSTANCES_{function.upper()}") for limit in ("MIN", "MAX"))
        if least and most and least > most:
            key = f"MIN_INSTANCES_{function.upper()}"
            wrong.append((key, f"expected at most MAX_INSTANCES_{function.upper()}, {most}, got {least}"))
    store, project = values.get("STORE_URL", ""), values.get("PROJECT_ID", "")
    if project and store.startswith("firestore:") and store.split("/")[2] != project:
        wrong.append(("STORE_URL", f"expected a database of this environment's project, {project}"))
    if values.get("CLOUD_SQL_INSTANCE") and not store.startswith("secret:"):
        wrong.append(("CLOUD_SQL_INSTANCE", "expected nothing, since STORE_URL is no secret:NAME of a PostgreSQL URL"))
    for key, problem in wrong:
        file.add(file.entries[key].line, f"{key}: {problem}")
