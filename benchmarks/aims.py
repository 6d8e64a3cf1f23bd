"""What the functions are meant to reach, and whether it did; an aim whose parts were not measured is left out."""

import statistics
from collections.abc import Sequence

from .aim import Aim
from .contests import BATCHING, CLIENTS, IMAGES
from .figures import (
    first_answer,
    median_of,
    memory,
    one_client_median,
    percent,
    rate,
    ratios,
    ratios_between,
    times,
)
from .in_process import ProcessSample
from .job_report import job_aims
from .race_report import race_aims, stream_aims
from .results import Pair, Results

MAX_FIRST_ANSWER_RATIO = 1.5
MAX_MEMORY_BYTES = 120_000_000
MIN_RATE_SHARE = 0.6
MAX_MEDIAN_RATIO = 1.5
MIN_TIMES_SOONER = 8.0
MIN_TIMES_LESS_MEMORY = 5.0
MIN_RATE_TIMES_PLAIN = 2.5
MIN_TIMES_BINARY = 8.0
MIN_TIMES_BATCHED = 1.5


def aims(results: Results) -> list[Aim]:
    """Return every aim that this run can tell of."""
    predict, plain = results.beside_hello.get("predict"), results.beside_hello.get("plain-tensorflow")
    calls = results.in_process.get("in-process")
    return [
        *(_beside_hello(predict) if predict else ()),
        *([_own_time(predict, calls)] if predict and calls else ()),
        *(_beside_plain(predict, plain) if predict and plain else ()),
        *_two_ways(results),
        *_batched_by_itself(results),
        *race_aims(results.races),
        *stream_aims(results.streams),
        *job_aims(results.jobs),
    ]


def _beside_hello(predict: Sequence[Pair]) -> list[Aim]:
    starts, rates = ratios(predict, first_answer), ratios(predict, rate)
    memory_bytes = median_of(predict, memory)
    return [
        Aim(
            f"predict's first prediction within {MAX_FIRST_ANSWER_RATIO:g} times hello-world's first answer",
            statistics.median(starts) <= MAX_FIRST_ANSWER_RATIO,
            times(starts),
        ),
        Aim(
            f"predict in under {MAX_MEMORY_BYTES / 1e6:.0f} MB",
            memory_bytes < MAX_MEMORY_BYTES,
            f"{memory_bytes / 1e6:.0f} MB",
        ),
        Aim(
            f"predict at {CLIENTS} clients at least {MIN_RATE_SHARE:.0%} of hello-world's rate",
            statistics.median(rates) >= MIN_RATE_SHARE,
            percent(rates),
        ),
    ]


def _own_time(predict: Sequence[Pair], calls: Sequence[ProcessSample]) -> Aim:
    medians = [
        one_client_median(pair.subject) / (one_client_median(pair.base) + sample.calls.median_seconds)
        for pair, sample in zip(predict, calls, strict=True)
    ]
    return Aim(
        f"predict's median for one client within {MAX_MEDIAN_RATIO:g} times hello-world's and the model's own",
        statistics.median(medians) <= MAX_MEDIAN_RATIO,
        times(medians),
    )


def _beside_plain(predict: Sequence[Pair], plain: Sequence[Pair]) -> list[Aim]:
    def aim(text: str, least: float, found: list[float]) -> Aim:
        return Aim(text, statistics.median(found) >= least, times(found))

    return [
        aim(
            f"predict's first prediction at least {MIN_TIMES_SOONER:g} times sooner than the plain function's",
            MIN_TIMES_SOONER,
            ratios_between(plain, predict, first_answer),
        ),
        aim(
            f"predict's memory at least {MIN_TIMES_LESS_MEMORY:g} times lower than the plain function's",
            MIN_TIMES_LESS_MEMORY,
            ratios_between(plain, predict, memory),
        ),
        aim(
            f"predict at {CLIENTS} clients at least {MIN_RATE_TIMES_PLAIN:g} times the plain function's rate",
            MIN_RATE_TIMES_PLAIN,
            ratios_between(predict, plain, rate),
        ),
    ]


def _two_ways(results: Results) -> list[Aim]:
    wanted = {
        IMAGES: (MIN_TIMES_BINARY, "the rate of a 224x224x3 image in V2 binary at least {:g} times that in V2 JSON"),
        BATCHING: (MIN_TIMES_BATCHED, "batching the dense model at least {:g} times faster"),
    }
    found = {name: ratios(results.two_ways[name].pairs, rate) for name in wanted if name in results.two_ways}
    return [
        Aim(wanted[name][1].format(wanted[name][0]), statistics.median(values) >= wanted[name][0], times(values))
        for name, values in found.items()
    ]


def _batched_by_itself(results: Results) -> list[Aim]:
    aims = []
    for name, on in (("dense", True), ("cnn", False)):
        if model := results.batched_models.get(name):
            aims.append(
                Aim(
                    f"batching of {name} {'on' if on else 'off'} by itself",
                    model.batched is on,
                    f"{'on' if model.batched else 'off'}; model add measured {model.speedup_at_8} times the rows "
                    "in batches of 8",
                )
            )
    return aims
