"""Every way the collections are queried, as data: each has its index in firestore.indexes.json, and no other is asked.

Equality first, then the order, which is also what a range may bound; the index ends in the document's name. In
`results` every index begins with the shard: one that began with the time would take 500 writes a second and no more.
Source: https://cloud.google.com/firestore/docs/solutions/shard-timestamp.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from google.cloud.firestore import CollectionReference, Query
from google.cloud.firestore_v1.base_query import FieldFilter

from shared.errors import InvalidRequestError

Direction = Literal["ASCENDING", "DESCENDING"]
LABEL_PAIRS = "label_pairs"


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to query a collection.

    Attributes:
        equal: Fields compared with a value; `label_pairs` holds it among others.
        order: Fields and directions; the first may be bounded. The document's name follows in the last direction.
    """

    collection: str
    equal: tuple[str, ...]
    order: tuple[tuple[str, Direction], ...]


RESULT_SHAPES = tuple(
    Shape("results", ("shard", *labels, *names), (("created_at_us", direction),))
    for labels in ((), (LABEL_PAIRS,))
    for names in ((), ("model",), ("model", "version"))
    for direction in ("ASCENDING", "DESCENDING")
)
RUN_SHAPES = (
    Shape("runs", (), (("key", "DESCENDING"), ("job", "ASCENDING"))),
    Shape("runs", ("job",), (("key", "DESCENDING"),)),
    Shape("runs", ("job", "state"), (("key", "DESCENDING"),)),
    Shape("runs", ("job", "state"), (("key", "ASCENDING"),)),
)
# Of one run, below which they lie: all of them or a plan's, and those of a plan that are done or not.
_BY_PLAN: tuple[tuple[str, Direction], ...] = (("plan", "ASCENDING"), ("part_index", "ASCENDING"))
PART_SHAPES = (Shape("parts", (), _BY_PLAN), Shape("parts", ("done",), _BY_PLAN))
LETTER_SHAPES = (Shape("dead_letters", (), (("received_at_us", "DESCENDING"), ("id", "ASCENDING"))),)
SHAPES = (*RESULT_SHAPES, *RUN_SHAPES, *PART_SHAPES, *LETTER_SHAPES)
# Every field that is written. None has an index by itself: those would cost more writes than all others together, be
# searched by nobody, and, that of the time, take no more than 500 writes a second.
FIELDS = {
    "results": (
        *("shard", "created_at_us", "model", "version", "label_pairs", "labels", "request_id", "payload_hash"),
        *("summary", "expires_at", "payload_object", "instances", "predictions", "write_id"),
    ),
    "runs": (
        *("job", "key", "interval_start_us", "interval_end_us", "time_zone", "trigger", "params", "state"),
        *("provisional", "attempt", "fence", "lease_expires_at_us", "not_before_us", "max_active", "generation"),
        *("plan", "parts", "output", "error", "deadline_at_us", "deadline_missed_at_us", "code_version"),
        *("created_at_us", "started_at_us", "ended_at_us", "attempts", "write_id", "kept_generation"),
    ),
    "job_states": ("job", "first_seen_at_us", "paused_at_us", "active"),
    "summaries": ("provisional", "created_at_us", "rows"),
    "parts": (
        *("plan", "part_index", "start_us", "end_us", "shard", "attempt", "done", "partial", "documents", "error"),
        "write_id",
    ),
    "dead_letters": ("id", "received_at_us", "reason", "body", "body_sha256", "body_bytes", "write_id"),
}
# Firestore deletes a result some time after this; until then readers hide it.
TIME_TO_LIVE = ("results", "expires_at")


def build_query(
    collection: CollectionReference,
    equal: Mapping[str, Any],
    order: tuple[tuple[str, Direction], ...],
    since: Any = None,
    until: Any = None,
) -> Query:
    """Return a query of a declared shape.

    Args:
        equal: Values by field; those that are None are not asked for.
        order: See `Shape`.
        since: Where the first field of the order begins, included.
        until: Where it ends, excluded.

    Raises:
        InvalidRequestError: reason UNDECLARED_QUERY; there is no index for it.
    """
    values = {field: value for field, value in equal.items() if value is not None}
    if Shape(collection.id, tuple(values), order) not in SHAPES:
        raise InvalidRequestError(f"{collection.id}: not searched by {', '.join(values)}", reason="UNDECLARED_QUERY")
    query = Query(collection)
    for field, value in values.items():
        query = query.where(filter=FieldFilter(field, "array_contains" if field == LABEL_PAIRS else "==", value))
    bounded = order[0][0]
    if since is not None:
        query = query.where(filter=FieldFilter(bounded, ">=", since))
    if until is not None:
        query = query.where(filter=FieldFilter(bounded, "<", until))
    for field, direction in (*order, ("__name__", order[-1][1])):
        query = query.order_by(field, direction=direction)
    return query
