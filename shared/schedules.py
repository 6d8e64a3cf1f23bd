"""Cron schedules in a time zone: the moments at which they tick, the nights included on which clocks are changed.

A day's ticks are worked out from the day alone, never by walking there from another, so that every way of asking
gives the same ones. As in Debian's cron, a schedule of fixed times ticks once in an hour that comes twice, and at the
next moment there is for a time that is skipped; one with `*` for its minutes or hours goes by elapsed time.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from shared.errors import InvalidRequestError

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
# The longest that two ticks are apart: a 29 February that is a certain day of the week.
_MAX_DAYS_BETWEEN = 50 * 366
# What Cloud Scheduler takes as well: no seconds, no @daily, and neither the last nor the third Friday of a month.
_FIELD = re.compile(r"([0-9*,/-]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|SUN|MON|TUE|WED|THU|FRI|SAT)+", re.I)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something happens regularly.

    Attributes:
        expression: Five fields of cron.
        time_zone: IANA name of the zone it is read in.
    """

    expression: str
    time_zone: str

    def check(self) -> None:
        """See that it ticks at all.

        Raises:
            ValueError: The expression is not one of five fields, or names a day that never comes.
        """
        fields = self.expression.split()
        try:
            if len(fields) != 5 or not all(_FIELD.fullmatch(field) for field in fields):
                raise ValueError(self.expression)
            next(CronSim(self.expression, datetime(2026, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration):
            raise ValueError(self.expression) from None

    @property
    def is_daily(self) -> bool:
        """Whether it ticks at most once a local day."""
        return _is_daily(_cron(self.expression))

    def next_tick(self, after: datetime) -> datetime:
        """Return the first tick after a moment, in UTC.

        Raises:
            InvalidRequestError: reason NO_TICK; there is none before the year 10000.
        """
        for _, ticks in self._days_from(after, _DAY):
            index = bisect_right(ticks, after)
            if index < len(ticks):
                return ticks[index]
        raise InvalidRequestError(f"expected a time that a tick follows, got {after.isoformat()}", reason="NO_TICK")

    def last_tick(self, at: datetime) -> datetime:
        """Return the last tick at or before a moment, in UTC.

        Raises:
            InvalidRequestError: reason NO_TICK; there is none after the year 1.
        """
        for _, ticks in self._days_from(at, -_DAY):
            index = bisect_right(ticks, at)
            if index > 0:
                return ticks[index - 1]
        raise InvalidRequestError(f"expected a time after a first tick, got {at.isoformat()}", reason="NO_TICK")

    def newest_ticks(self, after: datetime, until: datetime, limit: int) -> list[datetime]:
        """Return the ticks in (after, until], oldest first; of more than `limit` the newest."""
        found: set[datetime] = set()
        for day, ticks in self._days_from(until, -_DAY):
            found |= {tick for tick in ticks if after < tick <= until}
            if len(found) >= limit or day.toordinal() + 3 < after.toordinal():
                break
        return sorted(found)[-limit:]

    def day_of_tick(self, tick: datetime) -> date:
        """Return the local calendar day that a tick is made for; not its date, if clocks jumped over midnight then."""
        day = tick.astimezone(ZoneInfo(self.time_zone)).date()
        return day - _DAY if day > date.min and tick in self.ticks_of_day(day - _DAY) else day

    def ticks_of_day(self, day: date) -> tuple[datetime, ...]:
        """Return the ticks that are made for a local calendar day, in UTC, oldest first."""
        return _ticks_of_day(self.expression, self.time_zone, day)

    def _days_from(self, moment: datetime, step: timedelta) -> Iterator[tuple[date, tuple[datetime, ...]]]:
        """Yield days and their ticks, away from a moment; the days around it at once, since clocks may overlap them."""
        near = moment.astimezone(UTC).date()
        around = _days_around(near)
        yield near, _ticks_around(self.expression, self.time_zone, near)
        day = around[-1] if step > timedelta() else around[0]
        for _ in range(_MAX_DAYS_BETWEEN):
            if day in (date.min, date.max):
                return
            day += step
            yield day, self.ticks_of_day(day)


def day_bounds(day: date, time_zone: str) -> tuple[datetime, datetime]:
    """Return when a local day begins and ends, in UTC.

    Raises:
        ValueError: The zone skipped this day.
        OverflowError: Its midnights are beyond the years 1 to 9999.
    """
    zone = ZoneInfo(time_zone)
    start, end = (first_moment(datetime.combine(midnight, time()), zone) for midnight in (day, day + _DAY))
    if start >= end:
        raise ValueError(f"{time_zone} had no {day.isoformat()}")
    return start, end


def first_moment(clock: datetime, zone: ZoneInfo) -> datetime:
    """Return when a zone's clock first shows a time, in UTC; the moment it jumped over a time that it never shows.

    Args:
        clock: Without a zone.
        zone: Whose clock it is.
    """
    later, earlier = (clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if later.astimezone(zone).replace(tzinfo=None) == clock:
        return later
    # Skipped: read by the time before the jump it is a moment after it, and the other way round.
    shift = later.astimezone(zone).utcoffset()
    while later - earlier > _SECOND:
        middle = earlier + (later - earlier) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == shift:
            later = middle
        else:
            earlier = middle
    return later


def _is_daily(cron: CronSim) -> bool:
    return len(cron.hours) * len(cron.minutes) == 1


@lru_cache(maxsize=64)
def _cron(expression: str) -> CronSim:
    # Read, and never walked: what it says of its fields is all that is used.
    return CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))


@lru_cache(maxsize=512)
def _ticks_of_day(expression: str, time_zone: str, day: date) -> tuple[datetime, ...]:
    cron, zone = _cron(expression), ZoneInfo(time_zone)
    if day.month not in cron.months or not cron.match_day(day):
        return ()
    by_the_clock = _is_daily(cron) or not any(field.startswith("*") for field in expression.split()[:2])
    ticks: set[datetime] = set()
    try:
        day_bounds(day, time_zone)
        for hour in sorted(cron.hours):
            for minute in sorted(cron.minutes):
                clock = datetime.combine(day, time(hour, minute))
                ticks |= {first_moment(clock, zone)} if by_the_clock else set(_moments(clock, zone))
    except (ValueError, OverflowError):
        # The zone skipped this day, or it lies at an end of the calendar.
        return ()
    return tuple(sorted(ticks))


@lru_cache(maxsize=256)
def _ticks_around(expression: str, time_zone: str, near: date) -> tuple[datetime, ...]:
    return tuple(sorted({tick for day in _days_around(near) for tick in _ticks_of_day(expression, time_zone, day)}))


def _days_around(near: date) -> list[date]:
    return [near + n * _DAY for n in (-2, -1, 0, 1, 2) if 0 < near.toordinal() + n <= date.max.toordinal()]


def _moments(clock: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    for fold in (0, 1):
        moment = clock.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == clock:
            yield moment
