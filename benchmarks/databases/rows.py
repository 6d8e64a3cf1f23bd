"""The results that are listed: result number n is the same on every run, as store-result would have kept it."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.records import Position, Result

# A list that asks for one of them finds every fourth result.
MODELS = ("digits", "prices", "flowers", "reviews")
# One result in so many has a label.
LABELLED = 10
_ID_CHARS = 26


@dataclass(frozen=True, slots=True)
class Times:
    """When the results were made, at equal distances.

    Attributes:
        first: When number 0 was, UTC.
        apart_us: Microseconds from each to the next.
    """

    first: datetime
    apart_us: int

    def of(self, number: int) -> datetime:
        """Return when a result was made."""
        return self.first + timedelta(microseconds=number * self.apart_us)


USUAL_TIMES = Times(datetime(2026, 1, 1, tzinfo=UTC), 8_000_000)


def result(number: int, times: Times = USUAL_TIMES) -> Result:
    """Return a result: two rows of four numbers in, two classes out."""
    name = f"bench-{number}"
    digest = hashlib.sha256(name.encode()).digest()
    grey, digit = number % 17, number % 10
    return Result(
        id=result_id(number),
        created_at=times.of(number),
        model=MODELS[number % len(MODELS)],
        version="1",
        instances=f"[[{grey},0.5,1.25,7],[{grey},2,0.75,{digit}]]",
        predictions=f'[{{"digit":{digit},"score":0.91}},{{"digit":{grey},"score":0.84}}]',
        summary=f'{{"count":2,"classes":["{digit}","{grey}"],"scores":[0.91,0.84]}}',
        payload_hash=digest.hex(),
        labels={} if number % LABELLED else {"site": f"s{number // LABELLED % 7}"},
        request_id=name,
    )


def result_id(number: int) -> str:
    """Return a result's id, in no order, as ids that are hashes are, and as long as those are."""
    return hashlib.sha256(b"bench" + number.to_bytes(8, "big")).hexdigest()[:_ID_CHARS]


def position(number: int) -> Position:
    """Return where a page ends that ends with a result."""
    return Position(USUAL_TIMES.of(number), result_id(number))
