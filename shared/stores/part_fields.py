"""Parts of runs as the named values that a row or a document holds, and back; see `run_fields`."""

from collections.abc import Mapping
from typing import Any

from shared.runs import Part
from shared.stores.moments import from_us, to_us


def part_fields(part: Part) -> dict[str, Any]:
    """Return what is kept of a part, beside the run and the plan that it is of."""
    return {
        "part_index": part.index,
        "start_us": to_us(part.start),
        "end_us": to_us(part.end),
        "shard": part.shard,
        "attempt": part.attempt,
        "done": part.done,
        "partial": part.partial,
        "documents": part.documents,
        "error": part.error,
    }


def part_of(fields: Mapping[str, Any]) -> Part:
    """Return the part of a row or a document; the partial of one that is done is empty where it was not read."""
    return Part(
        index=fields["part_index"],
        start=from_us(fields["start_us"]),
        end=from_us(fields["end_us"]),
        shard=fields["shard"],
        attempt=fields["attempt"],
        partial=fields.get("partial", "") if fields["done"] else None,
        documents=fields["documents"],
        error=fields["error"],
    )
