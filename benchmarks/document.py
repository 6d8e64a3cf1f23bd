"""Everything that was measured as one JSON document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .aims import aims
from .calls import Load
from .races import Race
from .report import rows
from .results import Pair, Results, Sample


def document(header: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """Return the header, the table, the aims, and each round's own figures."""
    return {
        **header,
        "rows": [asdict(row) for row in rows(results)],
        "aims": [asdict(aim) for aim in aims(results)],
        "rounds": {
            name: _rounds(pairs, base="hello", subject="function") for name, pairs in results.beside_hello.items()
        },
        "two_ways": {
            name: {"clients": both.clients, "rounds": _rounds(both.pairs, base=both.base, subject=both.subject)}
            for name, both in results.two_ways.items()
        },
        "in_process": {
            name: [
                {
                    "first_answer_seconds": sample.first_answer_seconds,
                    "memory_bytes": sample.memory_bytes,
                    "calls": _load(sample.calls),
                }
                for sample in samples
            ]
            for name, samples in results.in_process.items()
        },
        "models": {
            name: {"speedup_at_8": model.speedup_at_8, "batched": model.batched}
            for name, model in results.batched_models.items()
        },
        "races": {race.name: _race(race) for race in results.races},
        "remarks": [remark for race in results.races for remark in race.remarks],
        "streams": [asdict(stream) for stream in results.streams],
        "jobs": asdict(results.jobs),
    }


def _rounds(pairs: Sequence[Pair], *, base: str, subject: str) -> list[dict[str, Any]]:
    return [{base: _sample(pair.base), subject: _sample(pair.subject)} for pair in pairs]


def _race(race: Race) -> list[dict[str, dict[str, Any]]]:
    return [
        {
            entrant.name: {task.name: _load(laps[entrant.name, task.name]) for task in entrant.tasks}
            for entrant in race.entrants
        }
        for laps in race.rounds
    ]


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "first_answer_seconds": sample.first_answer_seconds,
        "memory_bytes": sample.memory_bytes,
        "one_client": _load(sample.one_client),
        "many_clients": _load(sample.many_clients),
    }


def _load(load: Load) -> dict[str, Any]:
    return {
        "answers": load.answers,
        "seconds": load.seconds,
        "requests_per_second": load.requests_per_second,
        "median_seconds": load.median_seconds,
        "p99_seconds": load.p99_seconds,
        "errors": load.errors,
        "reconnects": load.reconnects,
    }
