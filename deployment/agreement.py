"""What is asked for has to make sense, and what is to be done has to be agreed to."""

import argparse
import sys
from collections.abc import Iterator

from shared.errors import ConfigurationError

from .configuration import Configuration
from .options import WHOLE


def check_options(options: argparse.Namespace, configuration: Configuration) -> None:
    """Make sure that the options mean something beside each other and in this environment.

    Raises:
        ConfigurationError: Lists everything that does not.
    """
    of, names = configuration.environment, [service.function for service in configuration.services]
    problems = [
        f"--only: expected some of {', '.join(names)}, got {name!r}" for name in options.only if name not in names
    ]
    problems += [f"{one}: not together with {other}" for one, other in _contradictions(options)]
    if options.from_environment and options.from_environment != of.promote_from:
        expected = of.promote_from or "nothing: this environment builds its own images"
        problems.append(f"--from: PROMOTE_FROM in environments/{of.name}.env says {expected}")
    if problems:
        raise ConfigurationError(problems)


def is_confirmed(options: argparse.Namespace, configuration: Configuration) -> bool:
    """Ask, unless it was said already; a protected environment wants its project's id, whatever was said."""
    of = configuration.environment
    if of.protected:
        sys.stdout.write(f"This is {of.name}. Type the project's id to go on: ")
        sys.stdout.flush()
        if sys.stdin.readline().strip() == of.project_id:
            return True
    elif options.yes:
        return True
    else:
        sys.stdout.write("Go on? [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
    sys.stderr.write("nothing was changed\n")
    return False


def _contradictions(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the options that mean nothing beside each other, so that none is passed over in silence."""
    rolls_back, destroys = options.rollback is not None, options.destroy
    other = "--rollback" if rolls_back else "--destroy" if destroys else "--status" if options.status else ""
    if other and options.canary != WHOLE:
        yield "--canary", other
    if other and options.from_environment:
        yield "--from", other
    if options.only and (destroys or (rolls_back and options.rollback)):
        yield "--only", other + (" REVISION" if rolls_back else "")
    if options.with_data and not destroys:
        yield "--with-data", other or "a deployment; it is for --destroy"
