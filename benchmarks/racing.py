"""Runs the races: which there are, what each needs, and their rounds."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from .calls import Load
from .databases import emulators, postgresql
from .databases.emulators import FIRESTORE, PROJECT, PUBSUB, new_topic
from .databases.places import Places
from .databases.postgresql import store_url
from .load import run_load
from .logging_cost import NAME as LOG
from .logging_cost import TOPIC, log_race, outcomes
from .models import Models
from .paging import FEW_RESULTS, page_race
from .plans import Plan
from .races import Lap, Race, Task
from .server import Server, serving
from .storing import store_race
from .streaming import CSV, Streamed, stream_csv

STORES_SQLITE, STORES_POSTGRESQL, STORES_FIRESTORE = "stores-sqlite", "stores-postgresql", "stores-firestore"
PAGES_SQLITE, PAGES_POSTGRESQL = "pages-sqlite", "pages-postgresql"
# Of each entrant and task in a round; few, so that a batch of 500 fits into one several times.
_TURNS = 4
NAMES = (STORES_SQLITE, STORES_POSTGRESQL, STORES_FIRESTORE, PAGES_SQLITE, PAGES_POSTGRESQL, CSV, LOG)


def missing(name: str) -> str | None:
    """Return why something cannot be measured here, or None if it can."""
    if name in (STORES_POSTGRESQL, PAGES_POSTGRESQL):
        return postgresql.missing()
    needed = {STORES_FIRESTORE: FIRESTORE, LOG: PUBSUB}.get(name)
    return emulators.missing(needed) if needed else None


def run_races(names: Sequence[str], plan: Plan, progress: Callable[[str], None]) -> tuple[list[Race], list[Streamed]]:
    """Measure some of `NAMES`.

    Raises:
        WrongAnswerError: A function answered what it should not.
        MeasurementError: Something could not be started, filled or reached.
    """
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as name, ExitStack() as stack:
        places = Places(Path(name), progress, stack)
        races = [_race(each, places, plan, progress) for each in NAMES if each in names and each != CSV]
        for number in range(plan.rounds if races else 0):
            for race in races:
                progress(f"round {number + 1} of {plan.rounds}: {race.name}")
                race.rounds.append(_round(race, plan, places.folder))
        for race in races:
            if race.name == LOG:
                race.remarks.append(outcomes(places.folder / "predict.log"))
        streamed = []
        if CSV in names:
            file = places.filled_sqlite(plan.many_results)
            progress(f"streaming {plan.many_results:,} results as CSV")
            env = {**_local(places.folder), **_sqlite(file)}
            streamed.append(stream_csv(env, plan.many_results, places.folder / "csv.log"))
    return races, streamed


def _round(race: Race, plan: Plan, folder: Path) -> Mapping[Lap, Load]:
    """Serve all entrants at once, and give them each task in short turns: what the machine does beside it hits all."""
    servers: dict[str, Server] = {}
    with ExitStack() as stack:
        for entrant in race.entrants:
            env = {**_local(folder), **entrant.env}
            server = stack.enter_context(serving(entrant.source, env, folder / f"{entrant.source.target}.log"))
            server.first_answer_seconds(entrant.tasks[0].next_call())
            servers[entrant.name] = server
        laps: dict[Lap, Load] = {}
        for name in dict.fromkeys(task.name for entrant in race.entrants for task in entrant.tasks):
            for turn in range(-1, _TURNS):
                # Each goes first as often as last.
                for entrant in race.entrants if turn % 2 else race.entrants[::-1]:
                    task = next((each for each in entrant.tasks if each.name == name), None)
                    if task:
                        load = _turn(servers[entrant.name], task, plan, warm=turn < 0)
                        laps[entrant.name, name] = laps.get((entrant.name, name), Load()) + load if turn > 0 else load
    return laps


def _turn(server: Server, task: Task, plan: Plan, *, warm: bool) -> Load:
    whole_seconds = plan.one_client_seconds if task.clients == 1 else plan.many_clients_seconds
    seconds = plan.warm_seconds if warm else whole_seconds / _TURNS
    return run_load(server.address, task.next_call, connections=task.clients, seconds=seconds)


def _race(name: str, places: Places, plan: Plan, progress: Callable[[str], None]) -> Race:
    """Return a race with its databases made."""
    if name == STORES_SQLITE:
        ours, raw = places.folder / "ours.db", places.folder / "raw.db"
        return store_race(name, _sqlite(ours), {"DATABASE": str(raw)})
    if name == STORES_POSTGRESQL:
        server = places.postgresql
        raw_url = server.new_database("raw", tables=False)
        return store_race(name, _postgresql(server.new_database("ours", tables=True)), {"DATABASE": raw_url})
    if name == STORES_FIRESTORE:
        host = {"FIRESTORE_EMULATOR_HOST": places.firestore_host}
        ours_env = {**host, "STORE_URL": f"firestore://{PROJECT}/ours"}
        return store_race(name, ours_env, {**host, "PROJECT": PROJECT, "DATABASE": "raw"})
    if name == PAGES_SQLITE:
        few, many = places.filled_sqlite(FEW_RESULTS), places.filled_sqlite(plan.many_results)
        return page_race(name, plan.many_results, _sqlite(few), _sqlite(many), {"DATABASE": str(many)})
    if name == PAGES_POSTGRESQL:
        few_url, many_url = (places.filled_postgresql(count) for count in (FEW_RESULTS, plan.many_results))
        raw_env = {"DATABASE": many_url}
        return page_race(name, plan.many_results, _postgresql(few_url), _postgresql(many_url), raw_env)
    new_topic(places.pubsub_host, TOPIC)
    return log_race(Models(places.folder, progress), places.pubsub_host)


def _local(folder: Path) -> dict[str, str]:
    return {"STATE_DIR": str(folder / "state")}


def _sqlite(path: Path) -> dict[str, str]:
    return {"STORE_URL": f"sqlite:///{path}"}


def _postgresql(url: str) -> dict[str, str]:
    return {"STORE_URL": store_url(url)}
