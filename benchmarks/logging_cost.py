"""What the log of predictions costs: predict without it, and with every prediction handed to a topic."""

import collections
import re
from collections.abc import Mapping
from pathlib import Path

from .contests import CLIENTS
from .databases.emulators import PROJECT
from .models import Models
from .predicting import digits_subject
from .races import Comparison, Entrant, Race, Task

NAME = "prediction-log"
TOPIC = "predictions"
# Of predict's log line; see functions/predict/prediction_log.py.
_OUTCOME = re.compile(rb'"prediction_log":"([a-z_]+)"')


def log_race(models: Models, pubsub_host: str) -> Race:
    """Return predict with LOG_PREDICTIONS at 0 and at 1, its topic in an emulator on this machine."""
    subject = digits_subject("predict", models.digits)
    tasks = (
        Task("one client", 1, "answers", subject.next_call),
        Task(f"{CLIENTS} at once", CLIENTS, "answers", subject.next_call),
    )
    env = {**subject.env, "PROJECT_ID": PROJECT, "PREDICTIONS_TOPIC": TOPIC, "PUBSUB_EMULATOR_HOST": pubsub_host}

    def entrant(share: str) -> Entrant:
        changes: Mapping[str, str] = {**env, "LOG_PREDICTIONS": share}
        return Entrant(f"predict, LOG_PREDICTIONS={share}", subject.source, changes, tasks)

    without, with_all = entrant("0"), entrant("1")
    return Race(NAME, (without, with_all), [Comparison(with_all.name, without.name, "LOG_PREDICTIONS=0", None)])


def outcomes(log_path: Path) -> str:
    """Say what became of the predictions that were to be handed over: skipping them would be cheap.

    Args:
        log_path: What predict wrote.
    """
    with log_path.open("rb") as lines:
        found = collections.Counter(match[1].decode() for line in lines if (match := _OUTCOME.search(line)))
    shown = ", ".join(f"{count:,} {outcome}" for outcome, count in found.most_common())
    return f"{NAME}: of {found.total():,} predictions to be logged {shown}"
