"""Times as databases keep them: whole microseconds since 1970 in UTC, which sort and compare alike everywhere."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(moment: datetime) -> int:
    """Return the whole microseconds since 1970 of an aware time, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """Return the UTC time that many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def optional_us(moment: datetime | None) -> int | None:
    """Return the same of a time that may be none."""
    return to_us(moment) if moment else None


def optional_moment(microseconds: int | None) -> datetime | None:
    """Return the same of microseconds that may be none."""
    return from_us(microseconds) if microseconds is not None else None
