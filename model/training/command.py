"""What `python -m model train` shows while it works."""

import argparse
import time
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .quiet import quiet_stderr
from .version_directory import refuse_existing


def train(options: argparse.Namespace, *, created_at: datetime) -> None:
    """Train the model that the command line names, with a bar an epoch and one line at the end.

    Raises:
        ServiceError: As the recipe does.
    """
    if options.version is not None and not options.force:
        refuse_existing(options.models_dir / options.name / str(options.version))  # before the slow import
    console, started = Console(highlight=False), time.monotonic()
    with console.status("Loading TensorFlow"), quiet_stderr():
        from . import digits

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"Training {options.name}", total=None)
        version_dir, accuracy = digits.train(
            options.models_dir,
            version=options.version,
            seed=options.seed,
            epochs=options.epochs,
            force=options.force,
            created_at=created_at,
            report=lambda epoch, epochs, loss: progress.update(
                task,
                completed=epoch,
                total=epochs,
                description=f"Training {options.name}, loss {loss:.4f}",
            ),
        )
    console.print(
        f"{options.name} version {version_dir.name}: {accuracy:.1%} of the held-out images are right "
        f"({time.monotonic() - started:.0f} s)"
    )
    console.print(f"Written to {version_dir}", soft_wrap=True)
