"""The arguments of ./deploy.sh."""

import argparse
from pathlib import Path

from shared.config import ROOT

WHOLE = 100
_WHAT = "One Google Cloud project brought to what the files say, and the functions released."
_REST = """--rehearse[=FOLDER] does the same against a Google Cloud on this machine, which is kept in FOLDER.
Ends with 0: all is as the files say; 1: a step failed, and the same command goes on where it stopped; 2: the request or
a file is wrong, and nothing was changed; 3: --plan found changes; 4: they were not agreed to; 130: Ctrl-C."""


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    found = argparse.ArgumentParser(prog="./deploy.sh", description=_WHAT, epilog=_REST, allow_abbrev=False)
    found.add_argument("environment", metavar="ENV", help="a file in environments/, such as staging")
    what = found.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="what runs, and change nothing")
    text = "all traffic to the revision that had it before, or to this one"
    what.add_argument("--rollback", nargs="?", const="", metavar="REVISION", help=text)
    what.add_argument("--destroy", action="store_true", help="remove functions, schedules, alerts and accounts")
    found.add_argument("--plan", action="store_true", help="print what would be changed, and change nothing")
    found.add_argument("--commands", action="store_true", help="print each command of the plan as well")
    found.add_argument("--only", type=_functions, default=[], metavar="F,...", help="release these functions alone")
    found.add_argument("--yes", action="store_true", help="do not ask; a protected environment asks all the same")
    text = "give new revisions this share of the traffic, and leave the rest to the old ones"
    found.add_argument("--canary", type=_percent, default=WHOLE, metavar="PERCENT", help=text)
    text = "the environment whose images are promoted; as the .env file says"
    found.add_argument("--from", dest="from_environment", metavar="ENV", help=text)
    found.add_argument("--with-data", action="store_true", help="with --destroy: all data too")
    found.add_argument("--environments", type=Path, default=ROOT / "environments", help=argparse.SUPPRESS)
    return found


def _percent(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 99:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 99, got {text!r}")
    return int(text)


def _functions(text: str) -> list[str]:
    return [name.strip().replace("-", "_") for name in text.split(",") if name.strip()]
