"""`python -m functions`: every function locally, the real schedule, one table of URLs; and `demo` and `stage`."""

import argparse
import contextlib
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from functions._local.console import StackConsole
from functions._local.demo import demonstrate
from functions._local.processes import free_port_base
from functions._local.stack import Stack
from functions._local.state import held
from functions._staging.stage import function_names, stage
from scheduler.delivery import Faults
from shared.config import LOCAL_PORT_BASE, PORT_OFFSETS, ROOT, function_urls, read_settings
from shared.errors import ConfigurationError, ServiceError
from shared.jobs import read_jobs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    _interrupt_once_on_signals()
    try:
        status: int = options.run(options)
        return status
    except ServiceError as error:
        print(error.message, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if options.run is _serve else 130


def _serve(options: argparse.Namespace) -> int:
    console = StackConsole()
    names = _functions(options.only)
    state_dir = (options.state_dir or read_settings().state_dir).absolute()
    stack = Stack(
        names,
        port_base=options.port_base,
        state_dir=state_dir,
        models_dir=options.models_dir,
        console=console,
        emulators=options.emulators,
        faults=_faults(options),
    )
    with contextlib.ExitStack() as running:
        running.enter_context(held(state_dir, fresh=options.fresh))
        running.enter_context(stack.running())
        jobs = []
        if "nightly_transform" in names:
            running.enter_context(stack.scheduling())
            jobs = list(read_jobs().values())
        if options.reload:
            running.enter_context(stack.reloading())
        console.table(stack.urls, jobs, datetime.now(UTC))
        for name, value in sorted(stack.delivery_env.items()):
            console.say(f"{name}={value}", "dim")
        console.say("Ready. Ctrl-C stops everything.", "bold")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.say("Stopping.", "bold")
    return 0


def _faults(options: argparse.Namespace) -> Faults:
    faults = Faults(options.duplicate, options.fail_first, options.drop_publish_time)
    if options.emulators and faults != Faults():
        raise ConfigurationError(["--emulators: expected without --duplicate, --fail-first and --drop-publish-time"])
    return faults


def _demo(options: argparse.Namespace) -> int:
    if options.url:
        return demonstrate(function_urls(options.url))
    with tempfile.TemporaryDirectory(prefix="nightshift-demo-") as folder:
        stack = Stack(
            list(PORT_OFFSETS),
            port_base=free_port_base(),
            state_dir=Path(folder),
            models_dir=None,
            console=StackConsole(only_problems=True),
        )
        with stack.running():
            return demonstrate(stack.urls)


def _stage(options: argparse.Namespace) -> int:
    for name in _functions(options.function or None):
        print(stage(name, ROOT / "build" / name).relative_to(ROOT))
    return 0


def _functions(names: Sequence[str] | None) -> list[str]:
    chosen = [name.strip().replace("-", "_") for name in names or PORT_OFFSETS]
    unknown = sorted(set(chosen) - set(function_names()))
    if unknown:
        raise ConfigurationError([f"expected some of {', '.join(function_names())}, got {', '.join(unknown)}"])
    return chosen


def _interrupt_once_on_signals() -> None:
    """Let the first Ctrl-C or termination signal interrupt, and the stopping that follows run undisturbed."""

    def interrupt(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m functions", description="Serve every function until Ctrl-C, or:")
    parser.set_defaults(run=_serve)
    parser.add_argument(
        "--port-base",
        type=_port,
        default=LOCAL_PORT_BASE,
        help="the page's; the other functions are on the four ports after it (default: 8080)",
    )
    parser.add_argument("--state-dir", type=Path, help="where everything is written (default: .local/)")
    parser.add_argument(
        "--models-dir", metavar="DIR", help="where the models are: a folder or gs://bucket/prefix (default: model/)"
    )
    parser.add_argument("--only", type=lambda text: text.split(","), help="functions to serve, with commas between")
    parser.add_argument("--fresh", action="store_true", help="begin with an empty state")
    parser.add_argument("--no-reload", dest="reload", action="store_false", help="do not restart on change")
    parser.add_argument(
        "--emulators",
        action="store_true",
        help="deliver through Google's Pub/Sub emulator and store in its Firestore emulator, empty at each start; "
        "needs Java and the packages google-cloud-cli-pubsub-emulator and google-cloud-cli-firestore-emulator",
    )
    faults = parser.add_argument_group("faults", "what Pub/Sub may do, on purpose (without --emulators)")
    faults.add_argument(
        "--duplicate", metavar="SHARE", type=_share, default=0.0, help="deliver this share of messages twice, 0 to 1"
    )
    faults.add_argument(
        "--fail-first", metavar="N", type=_count, default=0, help="refuse the first N deliveries of each message"
    )
    faults.add_argument("--drop-publish-time", action="store_true", help="leave out when a message was published")
    commands = parser.add_subparsers(title="other commands")
    demo = commands.add_parser("demo", help="send the held-out digits through everything and compare the counts")
    demo.add_argument(
        "--url",
        help="use the stack that runs on this port base, such as http://127.0.0.1:8080, and leave the results in it",
    )
    demo.set_defaults(run=_demo)
    staging = commands.add_parser("stage", help="lay each function and what it needs into build/<function>")
    staging.add_argument("function", nargs="*", help="which (default: all)")
    staging.set_defaults(run=_stage)
    return parser


def _port(text: str) -> int:
    last = 65535 - max(PORT_OFFSETS.values())
    if not text.isdigit() or not 1 <= int(text) <= last:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to {last}, got {text!r}")
    return int(text)


def _share(text: str) -> float:
    if not re.fullmatch(r"0|1|1\.0+|0?\.[0-9]{1,12}", text):
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text!r}")
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 999, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
