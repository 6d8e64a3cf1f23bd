"""What a message or a person asks for, checked: a job that is there, a day that exists, parameters it declares."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.errors import InvalidRequestError
from shared.events import Message
from shared.jobs import Job, find_job
from shared.runs import Interval, Reprocess, Run, Trigger
from shared.strict_json import kind_of, loads

_MESSAGE_MEMBERS = {"job", "key", "params", "force", "plan", "slice"}
# Attributes are strings and may be anybody's; these are read where the data does not say.
_ATTRIBUTES = ("job", "key", "force")
# Parameters are shown with every run in a list.
_MAX_PARAMS_BYTES = 16_384
# A tick is published by another machine than the one that stamps it, which may be a little behind.
_CLOCKS_DIFFER = timedelta(seconds=5)
# A clock may be set back under a message that is on its way; one from farther ahead is a mistake.
_FUTURE = timedelta(days=1)
_REPROCESS: tuple[Reprocess, ...] = ("none", "failed", "completed")


@dataclass(frozen=True, slots=True)
class Order:
    """One message, understood.

    Attributes:
        tick: When the schedule fired, for a message that names no interval.
        plan: Of the part that is meant; None: the message is about the whole run.
        slice: The part's index.
    """

    job: Job
    interval: Interval
    tick: datetime | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    plan: int | None = None
    slice: int = 0


def order_of(message: Message, jobs: Mapping[str, Job], now: datetime) -> Order:
    """Return what a message asks for.

    Raises:
        InvalidRequestError: A member is not as expected.
        NotFoundError: There is no such job.
    """
    attributes = {name: message.attributes[name] for name in _ATTRIBUTES if name in message.attributes}
    given = {**attributes, **message.data}
    check_members(given, _MESSAGE_MEMBERS)
    name = given.get("job")
    if not isinstance(name, str):
        raise InvalidRequestError(f"job: expected a job's id, got {kind_of(name)}", reason="INVALID_JOB")
    job = find_job(jobs, name)
    tick = None
    if given.get("key") is None:
        # The publish time is the same on every redelivery, so a late one still means the tick it was made for.
        tick = job.last_tick((message.publish_time or now) + _CLOCKS_DIFFER)
    interval = job.interval_of_tick(tick) if tick else interval_of(job, given["key"])
    if max(tick or interval.start, interval.start) - now > _FUTURE:
        raise InvalidRequestError("expected an interval that has begun", reason="INVALID_KEY")
    plan, index = given.get("plan"), given.get("slice")
    if (plan is None) != (index is None):
        raise InvalidRequestError("plan and slice: expected both or neither", reason="INVALID_SLICE")
    return Order(
        job=job,
        interval=interval,
        tick=tick,
        params=params_of(job, given.get("params", {})),
        force=flag("force", given.get("force", False)),
        plan=None if plan is None else whole("plan", plan, 1),
        slice=0 if index is None else whole("slice", index, 0),
    )


def wanted_run(
    job: Job, interval: Interval, trigger: Trigger, now: datetime, params: Mapping[str, Any] | None = None
) -> Run:
    """Return a run as it is asked for.

    An interval that is still open, or ended so lately that a result may still be on its way into the store, makes a
    provisional run, which the next run of the same key supersedes.
    """
    return Run(
        job=job.id,
        interval=interval,
        trigger=trigger,
        created_at=now,
        params={**job.params, **(params or {})},
        provisional=now < interval.end + timedelta(minutes=job.settle_minutes),
        deadline_at=job.deadline_at(interval),
    )


def is_interval_of(job: Job, run: Run) -> bool:
    """Tell whether the job's schedule, which may have changed, still has a run's interval."""
    try:
        return job.interval(run.key) == run.interval
    except InvalidRequestError:
        return False


def is_lacking(run: Run | None) -> bool:
    """Tell whether an interval lacks the run its tick makes; a provisional one that ended does not stand for it."""
    return run is None or run.state == "missed" or (run.provisional and run.state in ("success", "failed"))


def interval_of(job: Job, key: object) -> Interval:
    """Return the interval that a key names.

    Raises:
        InvalidRequestError: reason INVALID_KEY.
    """
    if not isinstance(key, str):
        raise InvalidRequestError(f"key: expected a string, got {kind_of(key)}", reason="INVALID_KEY")
    return job.interval(key)


def check_members(given: Mapping[str, Any], known: set[str]) -> None:
    """Refuse members that mean nothing here.

    Raises:
        InvalidRequestError: It names one, and those that are known.
    """
    for name in sorted(given.keys() - known):
        expected = ", ".join(sorted(known))
        raise InvalidRequestError(f"expected some of {expected}, got {name[:64]!r}", reason="UNKNOWN_MEMBER")


def params_of(job: Job, given: object) -> Mapping[str, Any]:
    """Return parameters that the job declares, each of the kind of its default; one of null takes any.

    Raises:
        InvalidRequestError: reason INVALID_PARAMS.
    """
    if not isinstance(given, dict):
        raise _bad_params(f"params: expected an object, got {kind_of(given)}")
    for name in sorted(given.keys() - job.params.keys()):
        known = ", ".join(sorted(job.params)) or "no parameters"
        raise _bad_params(f"params: job {job.id} declares {known}, got {name[:64]!r}")
    for name, value in given.items():
        expected = kind_of(job.params[name])
        if job.params[name] is not None and kind_of(value) != expected:
            raise _bad_params(f"params.{name}: expected {expected}, got {kind_of(value)}")
    try:
        size_bytes = len(json.dumps(given, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise _bad_params("params: expected text without lone surrogates") from None
    if size_bytes > _MAX_PARAMS_BYTES:
        raise _bad_params(f"params: expected at most {_MAX_PARAMS_BYTES} bytes, got {size_bytes}")
    return given


def flag(name: str, value: object) -> bool:
    """Return a flag, which an attribute spells as text.

    Raises:
        InvalidRequestError: reason INVALID_FLAG; names the member.
    """
    if type(value) is not bool and value not in ("true", "false"):
        raise InvalidRequestError(f"{name}: expected true or false", reason="INVALID_FLAG")
    return value is True or value == "true"


def reprocess_of(value: object) -> Reprocess:
    """Return which runs that ended are to be run again.

    Raises:
        InvalidRequestError: reason INVALID_REPROCESS.
    """
    for known in _REPROCESS:
        if value == known:
            return known
    raise InvalidRequestError(f"reprocess: expected one of {', '.join(_REPROCESS)}", reason="INVALID_REPROCESS")


def whole(name: str, value: object, least: int, most: int = 2**31) -> int:
    """Return a whole number.

    Raises:
        InvalidRequestError: reason INVALID_NUMBER; names the member.
    """
    if type(value) is int and least <= value <= most:
        return value
    raise InvalidRequestError(f"{name}: expected a whole number from {least} to {most}", reason="INVALID_NUMBER")


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; an empty one is an empty object.

    Raises:
        InvalidRequestError: It is something else.
    """
    value = loads(body) if body else {}
    if not isinstance(value, dict):
        raise InvalidRequestError(f"expected an object, got {kind_of(value)}")
    return value


def _bad_params(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="INVALID_PARAMS")
