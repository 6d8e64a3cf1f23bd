"""`scheduler/jobs.yaml`: what runs when, and which interval a tick or a key stands for.

A run is named by the stretch of data it covers, never by when it happened to start. The key of a day is its local
date; its boundaries are that zone's midnights, so a day may have 23 or 25 hours and never none.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from cronsim import CronSim, CronSimError

from shared.config import ROOT
from shared.errors import ConfigurationError, InvalidRequestError, NotFoundError
from shared.records import Interval

JOBS_FILE = ROOT / "scheduler" / "jobs.yaml"
# What was stored at the last moment of an interval must be visible before the interval is read.
SETTLE = timedelta(minutes=2)
# Pub/Sub itself gives up after 100 deliveries.
MAX_ATTEMPTS = 20
_JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MEMBERS = {"schedule": str, "time_zone": str, "transform": str, "description": str, "max_attempts": int}
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Job:
    """One regular job.

    Attributes:
        id: Lower-case name, also the `job` of its messages.
        schedule: Five-field cron expression, read in `time_zone`, ticking once a day at 00:02 or later.
        time_zone: IANA name.
        transform: Name of a module in functions/nightly_transform/transforms.
        description: For people.
        max_attempts: How often one run is tried before it counts as failed.
        params: Handed to the transform.
    """

    id: str
    schedule: str
    time_zone: str
    transform: str
    description: str
    max_attempts: int = 3
    params: Mapping[str, Any] = field(default_factory=dict)

    def next_tick(self, after: datetime) -> datetime:
        """Return the first time the schedule fires after `after`, in UTC."""
        return next(CronSim(self.schedule, after.astimezone(self._zone))).astimezone(UTC)

    def last_tick(self, at: datetime) -> datetime:
        """Return the last time the schedule fired at or before `at`, in UTC."""
        # Searching backwards excludes the start itself, so start just beyond it.
        begin = (at + timedelta(seconds=60)).astimezone(self._zone)
        for tick in CronSim(self.schedule, begin, reverse=True):
            if tick <= at:
                return tick.astimezone(UTC)
        raise InvalidRequestError(f"job {self.id}: its schedule never fired before {at.isoformat()}")

    def interval_of_tick(self, tick: datetime) -> Interval:
        """Return the interval a tick closes: the local calendar day before it."""
        today = self._midnight(tick.astimezone(self._zone).date())
        # Not the date less one: a zone that moved across the date line has skipped that day.
        return self.interval_of_day((today - _INSTANT).astimezone(self._zone).date())

    def interval(self, key: str) -> Interval:
        """Return the interval a key names.

        Raises:
            InvalidRequestError: reason INVALID_KEY; the key is not a date that exists.
        """
        try:
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", key):
                raise ValueError
            return self.interval_of_day(date.fromisoformat(key))
        except (ValueError, OverflowError):
            raise InvalidRequestError(
                f"job {self.id}: expected a key such as 2026-11-21, a day that exists", reason="INVALID_KEY"
            ) from None

    def interval_of_day(self, day: date) -> Interval:
        """Return the interval between a local midnight and the next.

        Raises:
            ValueError: The zone skipped this day.
            OverflowError: Its midnights are beyond the years 1 to 9999.
        """
        start, end = self._midnight(day), self._midnight(day + timedelta(days=1))
        if start >= end:
            raise ValueError(f"{self.time_zone} had no {day.isoformat()}")
        return Interval(day.isoformat(), start, end, self.time_zone)

    def _midnight(self, day: date) -> datetime:
        # Of a midnight that comes twice the first; for one that is skipped, the moment the clock jumped over it.
        return datetime.combine(day, time(), self._zone).astimezone(UTC)

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


def read_jobs(path: Path = JOBS_FILE) -> dict[str, Job]:
    """Read and check the jobs file.

    Raises:
        ConfigurationError: Lists everything that is wrong with it.
    """
    try:
        document = yaml.load(path.read_text("utf-8"), _UniqueKeys)  # noqa: S506  # a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError([f"{path.name}: cannot be read: {error}"]) from error
    entries = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise ConfigurationError([f"{path.name}: expected a mapping `jobs:` of job ids to jobs"])
    problems = [f"unknown key {name!r}: expected jobs" for name in document if name != "jobs"]
    jobs = {str(key): _job(str(key), entry, problems) for key, entry in entries.items()}
    if problems:
        raise ConfigurationError([f"{path.name}: {problem}" for problem in problems])
    return {key: job for key, job in jobs.items() if job}


def find_job(jobs: Mapping[str, Job], job_id: str) -> Job:
    """Return one job.

    Raises:
        NotFoundError: reason JOB_NOT_FOUND; the message lists those there are.
    """
    if job_id not in jobs:
        raise NotFoundError(f"expected one of the jobs {', '.join(sorted(jobs))}", reason="JOB_NOT_FOUND")
    return jobs[job_id]


def _job(job_id: str, entry: object, problems: list[str]) -> Job | None:
    found: list[str] = []
    if not _JOB_ID.fullmatch(job_id):
        found.append("expected an id of lower-case letters, digits and hyphens")
    if isinstance(entry, dict):
        found += _member_problems(entry)
        schedule, time_zone = entry.get("schedule"), entry.get("time_zone")
        if isinstance(schedule, str) and isinstance(time_zone, str):
            found += _timing_problems(schedule, time_zone)
    else:
        found.append("expected a mapping")
    problems += [f"job {job_id}: {problem}" for problem in found]
    return None if found or not isinstance(entry, dict) else Job(job_id, **entry)


def _member_problems(entry: Mapping[Any, Any]) -> list[str]:
    found = [f"unknown key {name!r}" for name in entry if name not in {*_MEMBERS, "params"}]
    for name, kind in _MEMBERS.items():
        if name not in entry and name != "max_attempts":
            found.append(f"{name}: expected, not there")
        elif name in entry and type(entry[name]) is not kind:
            found.append(f"{name}: expected {kind.__name__}, got {type(entry[name]).__name__}")
    attempts = entry.get("max_attempts", 1)
    if type(attempts) is int and not 1 <= attempts <= MAX_ATTEMPTS:
        found.append(f"max_attempts: expected 1 to {MAX_ATTEMPTS}, got {attempts}")
    params = entry.get("params", {})
    if not isinstance(params, dict) or not _is_json(params):
        found.append("params: expected a mapping of JSON values; a date, for one, needs quotes")
    return found


def _is_json(value: object) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _timing_problems(schedule: str, time_zone: str) -> list[str]:
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return [f"time_zone: expected an IANA name such as Europe/Paris, got {time_zone!r}"]
    try:
        # A sixth field would be seconds, which Cloud Scheduler does not have.
        ticks = CronSim(schedule if len(schedule.split()) == 5 else "", datetime(2026, 1, 1, tzinfo=zone))
        days = [next(ticks) for _ in range(400)]
    except (CronSimError, StopIteration):
        return [f"schedule: expected a cron expression of five fields, got {schedule!r}"]
    if any(a.date() == b.date() for a, b in pairwise(days)):
        return ["schedule: expected at most one tick a day, since a run covers a day"]
    # Elapsed time, not the clock's: where midnight is skipped, 00:30 is the moment the day begins.
    early = [tick for tick in days if tick.astimezone(UTC) - _midnight_before(tick) < SETTLE]
    if early:
        return [f"schedule: expected 00:02 or later; {early[0].isoformat()} leaves the day before no time to settle"]
    return []


def _midnight_before(tick: datetime) -> datetime:
    return datetime.combine(tick, time(), tick.tzinfo).astimezone(UTC)


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key given twice, where the last would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping, as the safe loader does, if its keys differ."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)
