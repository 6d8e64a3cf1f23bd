"""`python -m deployment.rehearsal DIR -- ARGS`: a cloud on loopback, and `python -m deployment ARGS` against it."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.config import child_environment

from .environments import rehearsed_environments
from .running import running_rehearsal

# What would lead elsewhere than to the rehearsal.
_LEFT_OUT = (
    *("CLOUDSDK_", "GOOGLE_", "GCE_METADATA", "PUBSUB_EMULATOR", "FIRESTORE_EMULATOR", "STORAGE_EMULATOR"),
    *("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command against a rehearsed cloud and return its exit code."""
    whole = list(sys.argv[1:] if arguments is None else arguments)
    cut = whole.index("--") if "--" in whole else len(whole)
    given = _parser().parse_args(whole[:cut])
    command = [] if given.command else [sys.executable, "-m", "deployment"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    projects, arguments = list(given.project), whole[cut + 1 :]
    if given.environments:
        copies, found = rehearsed_environments(given.environments, given.folder)
        projects += found
        arguments += ["--environments", str(copies)]
    with running_rehearsal(given.folder, projects) as rehearsal:
        inherited = {name: value for name, value in child_environment({}).items() if not name.startswith(_LEFT_OUT)}
        return _run([*command, *arguments], inherited | dict(rehearsal.environment))


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    # Ctrl-C reaches the child too, which is to end as it would against the real cloud; only then the cloud goes.
    with subprocess.Popen(command, env=environment) as process:
        while True:
            try:
                code = process.wait()
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:
                continue
            except SystemExit:
                process.terminate()
                raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployment.rehearsal", usage="%(prog)s DIR [options] -- ARGS")
    parser.add_argument("folder", type=Path, metavar="DIR", help="keeps the rehearsed cloud between runs")
    parser.add_argument(
        "--project", action="append", default=[], metavar="ID", help="a project that there is; repeatable"
    )
    text = "environments whose projects there are, filled in where they name none, and handed on"
    parser.add_argument("--environments", type=Path, metavar="FOLDER", help=text)
    parser.add_argument("--command", action="store_true", help="what follows -- is a whole command, such as gcloud's")
    return parser


if __name__ == "__main__":
    sys.exit(main())
