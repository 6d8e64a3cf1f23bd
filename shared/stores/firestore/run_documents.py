"""Runs and jobs as Firestore documents, and back; see `documents` for how times and values are kept."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from shared.runs import Run
from shared.stores.run_fields import run_of

# What documents lack that were written before runs waited, were retried and had parts.
_ADDED: Mapping[str, Any] = {
    "not_before_us": None,
    "max_active": None,
    "plan": None,
    "parts": 0,
    "deadline_at_us": None,
    "deadline_missed_at_us": None,
    "code_version": "",
    "attempts": "[]",
}


def run_id(job: str, key: str) -> str:
    """Return the id of a run's document: one for each (job, key), and never one that Firestore reserves."""
    return f"{_quoted(job)}@{_quoted(key)}"


def job_id(job: str) -> str:
    """Return the id of a job's document."""
    quoted = _quoted(job)
    return f"@{quoted}" if quoted in ("", ".", "..") else quoted


def part_id(plan: int, index: int) -> str:
    """Return the id of a part's document; they sort as the parts do."""
    return f"{plan:010}-{index:06}"


def run_of_document(fields: Mapping[str, Any]) -> Run:
    """Return the run of a document, whenever it was written."""
    return run_of({**_ADDED, **fields})


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass").replace("_", "%5F")
