"""`scheduler/jobs.yaml` as text: read with its line numbers, and everything wrong with it told at once."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from shared.errors import ConfigurationError
from shared.schedules import Schedule, day_bounds

# What was stored at the last moment of an interval must be visible before the interval is read.
SETTLE_MINUTES = 2
# Pub/Sub itself gives up after 100 deliveries.
MAX_ATTEMPTS = 20
_JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_REQUIRED = ("schedule", "time_zone", "transform", "description")
# Whole numbers, with the least and the most they may be.
_BOUNDS = {
    "max_attempts": (1, MAX_ATTEMPTS),
    "backoff_seconds": (1, 3600),
    "deadline_minutes": (1, 10080),
    "max_catch_up_runs": (1, 366),
    "max_active": (1, 100),
    # Beyond that a job is one for Apache Beam.
    "slices": (1, 1000),
    "keep_days": (1, 3650),
    "settle_minutes": (0, 60),
}
_TEXTS = (*_REQUIRED, "owner")
_MEMBERS = (*_TEXTS, *_BOUNDS, "params", "after", "catch_up", "paused")
_CATCH_UP = ("none", "latest", "all")
# Cloud Scheduler takes 500, with our mark.
_MAX_DESCRIPTION_CHARS = 400
# Every day of a year, the nights on which clocks are changed twice, and a 29 February on each day of the week.
_CHECKED_DAYS = [
    *(date(2026, 1, 1) + timedelta(days=n) for n in range(400)),
    *(date(year, 2, 29) for year in range(2028, 2056, 4)),
]
# Files that stand among the zones, and mean another one on each machine.
_NO_ZONES = ("localtime", "posixrules")
_WORDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping"}


@dataclass
class _Entry:
    """One job as it stands in the file: its members, and the line of each."""

    job_id: str
    members: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


class _Reading:
    """One pass over a file.

    Attributes:
        problems: What is wrong, with the line.
    """

    def __init__(self, name: str, text: str) -> None:
        self.problems: list[tuple[int, str]] = []
        self._name = name
        self._loader = yaml.SafeLoader(text)

    def entries(self) -> list[_Entry]:
        """Return the jobs, each with those of its members that are right."""
        try:
            document = self._loader.get_single_node()
        except RecursionError:
            problem = "expected less nesting"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self._loader.get_mark()) from None
        members = dict(self._pairs(document, "")) if isinstance(document, yaml.MappingNode) else {}
        jobs = members.get("jobs", (None, None))[1]
        for name, (key, _) in members.items():
            if name != "jobs":
                self.add(key, f"unknown key {name!r}: expected jobs")
        if not isinstance(jobs, yaml.MappingNode) or not jobs.value:
            self.add(jobs or document, "expected a mapping `jobs:` of job ids to jobs")
            return []
        return [self._entry(job_id, key, node) for job_id, (key, node) in self._pairs(jobs, "")]

    def add(self, where: yaml.Node | int | None, problem: str) -> None:
        """Note what is wrong on the line of a node."""
        line = where if isinstance(where, int) else where.start_mark.line + 1 if where else 1
        self.problems.append((line, problem))

    def told(self) -> list[str]:
        """Return what is wrong, from the first line to the last."""
        return [f"{self._name} line {line}: {problem}" for line, problem in sorted(self.problems, key=lambda p: p[0])]

    def _pairs(self, mapping: yaml.MappingNode, job: str) -> Iterator[tuple[str, tuple[yaml.Node, yaml.Node]]]:
        seen: set[str] = set()
        for key, value in mapping.value:
            if not isinstance(key, yaml.ScalarNode):
                self.add(key, f"{job}expected a key that is text")
            elif key.value in seen:
                self.add(key, f"{job}the key {key.value!r} is there twice")
            else:
                seen.add(key.value)
                yield key.value, (key, value)

    def _entry(self, job_id: str, key: yaml.Node, node: yaml.Node) -> _Entry:
        job, entry = f"job {job_id}: ", _Entry(job_id)
        if not _JOB_ID.fullmatch(job_id):
            self.add(key, f"{job}expected an id of at most 63 lower-case letters, digits and hyphens")
        if not isinstance(node, yaml.MappingNode):
            self.add(node, f"{job}expected a mapping")
            return entry
        seen = set()
        for name, (place, value) in self._pairs(node, job):
            seen.add(name)
            if name not in _MEMBERS:
                self.add(place, f"{job}unknown key {name!r}: expected some of {', '.join(_MEMBERS)}")
                continue
            try:
                self._refuse_twice(value, f"{job}{name}: ")
                found = self._loader.construct_object(value, deep=True)
                entry.members[name] = _checked(name, found)
                entry.lines[name] = place.start_mark.line + 1
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                wrong = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
                self.add(place, f"{job}{name}: {wrong}")
        for name in _REQUIRED:
            if name not in seen:
                self.add(key, f"{job}{name}: expected, not there")
        return entry

    def _refuse_twice(self, node: yaml.Node, where: str) -> None:
        # Of a key given twice, the last would silently win.
        waiting, seen = [node], set()
        while waiting:
            node = waiting.pop()
            if id(node) in seen or isinstance(node, yaml.ScalarNode):
                continue
            seen.add(id(node))
            if isinstance(node, yaml.MappingNode):
                waiting += [value for _, (_, value) in self._pairs(node, where)]
            else:
                waiting += node.value


def read_entries(path: Path) -> dict[str, dict[str, Any]]:
    """Read and check a jobs file.

    Returns:
        The members of each job by its id, in the file's order; those left out stay out.

    Raises:
        ConfigurationError: Lists everything that is wrong with it, by line.
    """
    try:
        reading = _Reading(path.name, path.read_text("utf-8"))
        entries = reading.entries()
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError([f"{path.name}{line}: cannot be read: {error.problem}"]) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError([f"{path.name}: cannot be read: {error}"]) from error
    schedules = {entry.job_id: _schedule(entry, reading) for entry in entries}
    for entry in entries:
        _check_after(entry, schedules, reading)
    _check_circles(entries, reading)
    if reading.problems:
        raise ConfigurationError(reading.told())
    return {entry.job_id: entry.members for entry in entries}


def _checked(name: str, value: object) -> object:
    """Return a member's value if it is right; ValueError says what was expected."""
    kind = str if name in _TEXTS or name == "catch_up" else int if name in _BOUNDS else _OTHER_KINDS[name]
    if type(value) is not kind:
        raise ValueError(f"expected {_WORDS[kind]}, got {_WORDS.get(type(value), 'something else')}")
    if isinstance(value, int) and name in _BOUNDS:
        least, most = _BOUNDS[name]
        if not least <= value <= most:
            raise ValueError(f"expected {least} to {most}, got {value}")
    if name == "catch_up" and value not in _CATCH_UP:
        raise ValueError(f"expected {', '.join(_CATCH_UP[:-1])} or {_CATCH_UP[-1]}, got {value!r}")
    if name == "transform" and not re.fullmatch(r"[a-z][a-z0-9_]*", str(value)):
        raise ValueError(f"expected the name of a module in transforms/, got {value!r}")
    if name == "description" and len(str(value)) > _MAX_DESCRIPTION_CHARS:
        raise ValueError(f"expected at most {_MAX_DESCRIPTION_CHARS} characters, got {len(str(value))}")
    if name == "params" and not _is_json(value):
        raise ValueError("expected JSON values only; a date, for one, needs quotes")
    if isinstance(value, list):
        if not all(isinstance(item, str) for item in value) or len(set(value)) < len(value):
            raise ValueError("expected ids of jobs, each once")
        return tuple(value)
    return value


_OTHER_KINDS: Mapping[str, type] = {"params": dict, "after": list, "paused": bool}


def _is_json(value: object) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _schedule(entry: _Entry, reading: _Reading) -> Schedule | None:
    """Return a job's schedule, or note why it has none."""
    expression, time_zone = entry.members.get("schedule"), entry.members.get("time_zone")
    zone_is_right = True
    if time_zone is not None:
        try:
            if time_zone in _NO_ZONES:
                raise ValueError(time_zone)
            ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            zone_is_right = False
            expected = f"expected an IANA name such as Europe/Paris, got {time_zone!r}"
            reading.add(entry.lines["time_zone"], f"job {entry.job_id}: time_zone: {expected}")
    if expression is None:
        return None
    try:
        schedule = Schedule(expression, time_zone or "")
        schedule.check()
    except ValueError:
        expected = f"expected a cron expression of five fields that ticks, got {expression!r}"
        reading.add(entry.lines["schedule"], f"job {entry.job_id}: schedule: {expected}")
        return None
    if time_zone is None or not zone_is_right:
        return None
    settle = timedelta(minutes=entry.members.get("settle_minutes", SETTLE_MINUTES))
    early = _first_early_tick(schedule, settle) if schedule.is_daily else None
    if early:
        expected = f"expected {settle.seconds // 60} minutes after midnight or later; at {early} the day before has not"
        expected += " settled"
        reading.add(entry.lines["schedule"], f"job {entry.job_id}: schedule: {expected}")
    return schedule


def _first_early_tick(schedule: Schedule, settle: timedelta) -> str | None:
    # Elapsed time, not the clock's: where midnight is skipped, 00:30 is the moment the day begins.
    for day in _CHECKED_DAYS:
        for tick in schedule.ticks_of_day(day):
            if tick - day_bounds(day, schedule.time_zone)[0] < settle:
                return tick.astimezone(ZoneInfo(schedule.time_zone)).isoformat()
    return None


def _check_after(entry: _Entry, schedules: Mapping[str, Schedule | None], reading: _Reading) -> None:
    own = schedules[entry.job_id]
    for name in entry.members.get("after", ()):
        followed = schedules.get(name)
        wrong = None
        if name not in schedules:
            wrong = f"expected one of the jobs {', '.join(sorted(schedules))}, got {name!r}"
        elif own and followed and own.time_zone != followed.time_zone:
            wrong = f"expected the time zone of {name}, {followed.time_zone}, since their intervals must be the same"
        elif own and followed and not _has_every_interval(followed, own):
            wrong = f"expected a schedule whose intervals {name} has as well, since it waits for the same interval"
        if wrong:
            reading.add(entry.lines["after"], f"job {entry.job_id}: after: {wrong}")


def _has_every_interval(followed: Schedule, own: Schedule) -> bool:
    if own.is_daily and followed.is_daily:
        return all(followed.ticks_of_day(day) for day in _CHECKED_DAYS if own.ticks_of_day(day))
    return own.expression.split() == followed.expression.split()


def _check_circles(entries: list[_Entry], reading: _Reading) -> None:
    """Note each job that would wait for itself, once a circle."""
    after = {entry.job_id: entry.members.get("after", ()) for entry in entries}
    told: set[str] = set()
    for entry in entries:
        path = _way_back(entry.job_id, after)
        if path and entry.job_id not in told:
            told.update(path)
            circle = " after ".join([*path, entry.job_id])
            reading.add(entry.lines["after"], f"job {entry.job_id}: after: {circle} would wait for ever")


def _way_back(start: str, after: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the jobs from one back to itself, the last left out, or none."""
    waiting, seen = [[start]], set()
    while waiting:
        path = waiting.pop()
        for name in after.get(path[-1], ()):
            if name == start:
                return path
            if name not in seen:
                seen.add(name)
                waiting.append([*path, name])
    return []
