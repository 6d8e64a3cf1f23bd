"""`scheduler/jobs.yaml`: what runs when, and which interval a tick or a key stands for.

A run is named by the stretch of data it covers, never by when it happened to start. The key of a day is its local
date; its boundaries are that zone's midnights, so a day may have 23 or 25 hours and never none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from shared.config import ROOT
from shared.errors import InvalidRequestError, NotFoundError
from shared.jobs_file import MAX_ATTEMPTS, SETTLE_MINUTES, read_entries
from shared.runs import Interval
from shared.schedules import Schedule, day_bounds

JOBS_FILE = ROOT / "scheduler" / "jobs.yaml"
_INSTANT = timedelta(microseconds=1)
_MAX_BACKOFF = timedelta(hours=1)
# Of one backfill: ten years of days.
MAX_INTERVALS = 3700
_INVALID_KEY, _INVALID_RANGE = "INVALID_KEY", "INVALID_RANGE"
CatchUp = Literal["none", "latest", "all"]


@dataclass(frozen=True, slots=True)
class Job:
    """One regular job.

    Attributes:
        id: Lower-case name, also the `job` of its messages.
        schedule: Five-field cron expression, read in `time_zone`. A job that ticks at most once a day covers the
            local day before its tick, and ticks once that has settled; any other covers the time between two ticks.
        time_zone: IANA name.
        transform: Name of a module in functions/nightly_transform/transforms.
        description: For people.
        owner: Who is asked when it fails.
        params: Handed to the transform.
        after: Jobs that must have succeeded for the same interval before it begins.
        max_attempts: How often one run is tried before it counts as failed.
        backoff_seconds: How long after a first failure; each further one doubles it, up to an hour.
        deadline_minutes: How long after the end of its interval a run should have succeeded; None: whenever.
        catch_up: What becomes of ticks that were missed: nothing, the latest one is made up for, or all.
        max_catch_up_runs: How far back `all` goes, in ticks.
        max_active: How many of its runs may be under way at once.
        slices: Into how many stretches its interval is cut, each worked on by itself; 1: in one piece.
        keep_days: After how many days runs that ended are forgotten; None: never.
        settle_minutes: How long after the end of its interval a result may still be on its way into the store; ticks
            wait so long, and a run that is begun earlier by hand is provisional, and made again.
        paused: It is kept from ticking at all.
    """

    id: str
    schedule: str
    time_zone: str
    transform: str
    description: str
    owner: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    max_attempts: int = 3
    backoff_seconds: int = 60
    deadline_minutes: int | None = None
    catch_up: CatchUp = "latest"
    max_catch_up_runs: int = 31
    max_active: int = 1
    slices: int = 1
    keep_days: int | None = None
    settle_minutes: int = SETTLE_MINUTES
    paused: bool = False

    @property
    def daily(self) -> bool:
        """Whether a run covers a local calendar day; else it covers the time between two ticks."""
        return self.timing.is_daily

    @property
    def timing(self) -> Schedule:
        """When it ticks."""
        return Schedule(self.schedule, self.time_zone)

    def next_tick(self, after: datetime) -> datetime:
        """Return the first time the schedule fires after `after`, in UTC.

        Raises:
            InvalidRequestError: reason NO_TICK; never again before the year 10000.
        """
        return self.timing.next_tick(after)

    def last_tick(self, at: datetime) -> datetime:
        """Return the last time the schedule fired at or before `at`, in UTC.

        Raises:
            InvalidRequestError: reason NO_TICK; never since the year 1.
        """
        return self.timing.last_tick(at)

    def ticks(self, after: datetime, until: datetime, limit: int) -> list[datetime]:
        """Return when the schedule fired in (after, until], oldest first; of more than `limit` times the newest."""
        return self.timing.newest_ticks(after, until, limit)

    def interval_of_tick(self, tick: datetime) -> Interval:
        """Return the interval a tick closes.

        Raises:
            InvalidRequestError: reason NO_TICK; it is the first in the calendar, so that nothing lies before it.
        """
        try:
            if not self.daily:
                end = self.last_tick(tick)
                return self._between(self.last_tick(end - _INSTANT), end)
            today, _ = day_bounds(self.timing.day_of_tick(tick), self.time_zone)
            # Not the date less one: a zone that moved across the date line has skipped that day.
            return self._day((today - _INSTANT).astimezone(ZoneInfo(self.time_zone)).date())
        except OverflowError:
            raise InvalidRequestError(f"job {self.id}: nothing lies before this tick", reason="NO_TICK") from None

    def interval(self, key: str) -> Interval:
        """Return the interval a key names.

        Raises:
            InvalidRequestError: reason INVALID_KEY; the key is not a date that exists, or not when an interval starts.
        """
        try:
            if not self.daily:
                return self._interval_from(_moment(key))
            return self._day(_date(key))
        except (ValueError, OverflowError, InvalidRequestError):
            example = "2026-11-21, a day that exists" if self.daily else "2026-11-21T14:10Z, the UTC time of a tick"
            raise InvalidRequestError(f"job {self.id}: expected a key such as {example}", reason=_INVALID_KEY) from None

    def keys_between(self, from_key: str, to_key: str) -> list[Interval]:
        """Return the intervals that the schedule makes from one key to another, both included, oldest first.

        Args:
            from_key: A key; a job that ticks more than once a day takes a day as well, from whose beginning on.
            to_key: The same, to whose end.

        Raises:
            InvalidRequestError: reason INVALID_KEY; a key is wrong. INVALID_RANGE; they are the wrong way round, or
                there are more than MAX_INTERVALS.
        """
        first, last = self._span(from_key)[0], self._span(to_key)[1]
        if first >= last:
            raise InvalidRequestError(f"job {self.id}: expected `from` to be no later than `to`", reason=_INVALID_RANGE)
        found: list[Interval] = []
        try:
            tick = first if self.daily else first - _INSTANT
        except OverflowError:
            raise InvalidRequestError(
                f"job {self.id}: expected `from` to be later than the beginning of the year 1", reason=_INVALID_KEY
            ) from None
        while len(found) <= MAX_INTERVALS:
            try:
                # A day's run is made by the tick of the next day, another by the tick that begins the next.
                tick = self.next_tick(tick)
                interval = self.interval_of_tick(tick) if self.daily else self._interval_from(tick)
            except InvalidRequestError:
                return found  # the calendar ends
            if interval.start >= last:
                return found
            if interval.start >= first:
                found.append(interval)
        raise InvalidRequestError(
            f"job {self.id}: expected at most {MAX_INTERVALS} intervals at once", reason=_INVALID_RANGE
        )

    def deadline_at(self, interval: Interval) -> datetime | None:
        """Return when a run of an interval should have succeeded; None: whenever."""
        try:
            return None if self.deadline_minutes is None else interval.end + timedelta(minutes=self.deadline_minutes)
        except OverflowError:
            return None  # beyond the year 9999

    def backoff(self, attempt: int) -> timedelta:
        """Return how long to wait after an attempt failed, the first being 1."""
        doublings = min(max(attempt - 1, 0), MAX_ATTEMPTS)
        return min(timedelta(seconds=self.backoff_seconds * 2**doublings), _MAX_BACKOFF)

    def _span(self, key: str) -> tuple[datetime, datetime]:
        if self.daily or "T" in key:
            interval = self.interval(key)
            return interval.start, interval.start + _INSTANT
        try:
            return day_bounds(_date(key), self.time_zone)
        except (ValueError, OverflowError):
            raise InvalidRequestError(
                f"job {self.id}: expected a day such as 2026-11-21 that exists, or a key such as 2026-11-21T14:10Z",
                reason=_INVALID_KEY,
            ) from None

    def _interval_from(self, moment: datetime) -> Interval:
        # Of zones whose offset once had seconds, a key leaves them out.
        start = self.last_tick(moment + timedelta(seconds=59))
        if start < moment:
            raise ValueError("no tick is then")
        return self._between(start, self.next_tick(start))

    def _between(self, start: datetime, end: datetime) -> Interval:
        key = start.replace(tzinfo=None, second=0).isoformat(timespec="minutes") + "Z"
        return Interval(key, start, end, self.time_zone)

    def _day(self, day: date) -> Interval:
        return Interval(day.isoformat(), *day_bounds(day, self.time_zone), self.time_zone)


def read_jobs(path: Path = JOBS_FILE) -> dict[str, Job]:
    """Read and check the jobs file.

    Raises:
        ConfigurationError: Lists everything that is wrong with it, by line.
    """
    return {job_id: Job(job_id, **members) for job_id, members in read_entries(path).items()}


def find_job(jobs: Mapping[str, Job], job_id: str) -> Job:
    """Return one job.

    Raises:
        NotFoundError: reason JOB_NOT_FOUND; the message lists those there are.
    """
    if job_id not in jobs:
        raise NotFoundError(f"expected one of the jobs {', '.join(sorted(jobs))}", reason="JOB_NOT_FOUND")
    return jobs[job_id]


def dependants(jobs: Mapping[str, Job], job_id: str) -> list[Job]:
    """Return the jobs that begin only after another has succeeded."""
    return [job for job in jobs.values() if job_id in job.after]


def _date(key: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", key):
        raise ValueError(key)
    return date.fromisoformat(key)


def _moment(key: str) -> datetime:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z", key):
        raise ValueError(key)
    return datetime.fromisoformat(key)
