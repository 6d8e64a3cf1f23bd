"""`python -m scheduler`: the regular jobs at hand: what runs when, runs asked for by hand, and Cloud Scheduler."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, get_args

from shared.errors import ConfigurationError, InvalidRequestError, ServiceError
from shared.runs import Reprocess, RunState
from shared.strict_json import kind_of, loads

_MAX_TICKS = 1000
_MAX_ACTIVE = 100
_SHOWN_CHARS = 60
# What may be asked of a deployed environment as well.
_ASKING = ("plan", "apply", "pause", "resume", "trigger", "rerun", "runs", "backfill", "logs", "redrive")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 the run failed, 2 the request was wrong."""
    parser = _parser()
    given = sys.argv[1:] if arguments is None else arguments
    if not all(_is_text(argument) for argument in given):
        parser.error("expected arguments in UTF-8")
    options = parser.parse_args(given)
    try:
        status: int = options.run(options)
        return status
    except ServiceError as error:
        print(error.message, file=sys.stderr)
        wrong = error.http_status < 500 or isinstance(error, ConfigurationError)
        return 2 if wrong else 1
    except KeyboardInterrupt:
        return 130


def _command(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """Return a command whose module is imported when it is run: Google's clients alone take a second."""

    def run(options: argparse.Namespace) -> int:
        status: int = getattr(import_module(f"scheduler.{module}"), name)(options)
        return status

    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scheduler", description=__doc__)
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")

    def add(name: str, text: str, module: str, function: str | None = None) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=_command(module, function or name))
        return command

    _add_schedules(add)
    _add_runs(add)
    _add_backfill(add)
    _add_troubles(add)
    for name in _ASKING:
        text = "which environment, such as staging: asks what is deployed there (default: this machine)"
        commands.choices[name].add_argument("--env", metavar="ENV", help=text)
    return parser


_Add = Callable[..., argparse.ArgumentParser]


def _add_schedules(add: _Add) -> None:
    following = add("next", "when jobs fire next, and which interval each time covers", "upcoming", "upcoming")
    following.add_argument("job", nargs="?", help="which (default: all)")
    following.add_argument("-n", "--number", type=_number(_MAX_TICKS), default=5, help="how many times (default: 5)")
    following.add_argument("--after", type=_moment, help="from when on, such as 2026-10-24 or 2026-10-24T12:00+02:00")
    add("plan", "what `apply` would change in Cloud Scheduler", "cloud")
    add("apply", "bring Cloud Scheduler to jobs.yaml", "cloud")
    for name, text in (("pause", "have a job's ticks, backfills and catch-ups wait"), ("resume", "let a job go on")):
        add(name, text, "running").add_argument("job")


def _add_runs(add: _Add) -> None:
    trigger = add("trigger", "run a job now and wait for it", "running")
    trigger.add_argument("job")
    _add_date(trigger)
    _add_params(trigger)
    trigger.add_argument("--force", action="store_true", help="run again what has succeeded")
    rerun = add("rerun", "run one interval again, whatever came of it", "running")
    rerun.add_argument("job")
    rerun.add_argument("key", metavar="KEY", help="the interval, such as 2026-11-21")
    _add_params(rerun)
    runs = add("runs", "the runs there are, the newest interval first", "running")
    runs.add_argument("--job", help="of which (default: all)")
    runs.add_argument("--since", metavar="DAY", help="the first day, such as 2026-11-01")
    runs.add_argument("--until", metavar="DAY", help="the day after the last")
    runs.add_argument("--state", choices=get_args(RunState), help="only these; with --job")
    runs.add_argument("-n", "--number", type=_number(10**6), default=50, help="how many at most (default: 50)")
    test = add(
        "test", "run a job in this process, over the store at STORE_URL, without Pub/Sub", "testing", "start_test"
    )
    test.add_argument("job")
    _add_date(test)
    _add_params(test)


def _add_backfill(add: _Add) -> None:
    backfill = add("backfill", "run a job over many intervals, both ends included, and wait for them", "backfilling")
    backfill.add_argument("job")
    backfill.add_argument("--from", dest="from_key", required=True, metavar="KEY", help="such as 2026-11-01")
    backfill.add_argument("--to", dest="to_key", required=True, metavar="KEY", help="such as 2026-11-21")
    text = "which of those that have ended are run again (default: none)"
    backfill.add_argument("--reprocess", choices=get_args(Reprocess), default="none", help=text)
    text = "how many at once (default: as the job says)"
    backfill.add_argument("--max-active", type=_number(_MAX_ACTIVE), metavar="N", help=text)
    backfill.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    _add_params(backfill)


def _add_troubles(add: _Add) -> None:
    logs = add("logs", "what nightly-transform logged of a job's runs", "log_lines")
    logs.add_argument("job")
    logs.add_argument("key", metavar="KEY", nargs="?", help="of one run, such as 2026-11-21 (default: of all)")
    logs.add_argument("-n", "--number", type=_number(10**6), default=200, help="the newest lines (default: 200)")
    redrive = add("redrive", "deliver messages again that were given up on", "redriving")
    redrive.add_argument("--file", action="store_true", help="the local stack's, though PROJECT_ID is set")


def _add_date(command: argparse.ArgumentParser) -> None:
    text = "the day to cover, such as 2026-11-21 (default: the last interval that ended)"
    command.add_argument("--date", metavar="KEY", help=text)


def _add_params(command: argparse.ArgumentParser) -> None:
    command.add_argument("--params", type=_object, default={}, metavar="JSON", help="a JSON object for the transform")


def _object(text: str) -> Any:
    try:
        value = loads(text.encode())
        if not isinstance(value, dict):
            raise InvalidRequestError(f"it is of the type {kind_of(value)}")
        if not _is_text(json.dumps(value, ensure_ascii=False)):
            raise InvalidRequestError("a lone surrogate is no text")
    except InvalidRequestError as error:
        expected = f"expected a JSON object such as '{{\"bins\": 20}}', got {text[:_SHOWN_CHARS]!r}"
        raise argparse.ArgumentTypeError(f"{expected}: {error.message}") from None
    return value


def _is_text(argument: str) -> bool:
    # What a shell handed over in another encoding, and JSON's lone surrogates, cannot be encoded.
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {most}, got {text!r}")
        return int(text)

    return number


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-10-24T12:00Z, got {text!r}") from None


if __name__ == "__main__":
    sys.exit(main())
