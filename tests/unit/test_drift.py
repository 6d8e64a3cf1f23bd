"""drift: indexes that agree with the formula, verdicts that hold, and no verdict where there is too little."""

import json
import math
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from functions.nightly_transform.contract import Context
from functions.nightly_transform.transforms.daily_summary import transform
from functions.nightly_transform.transforms.distributions import read_baselines
from functions.nightly_transform.transforms.drift import Drift, task
from functions.nightly_transform.transforms.histograms import SCORE_EDGES, bins_of, named
from functions.nightly_transform.transforms.psi import by_decile, enough, psi
from model.registry import Registry
from model.training import distribution
from model.training.digits_data import load_data
from shared.errors import InvalidRequestError, NotFoundError, ServiceError
from shared.jobs import Job
from shared.records import SummaryDocument
from shared.runs import Run
from shared.stores import open_store
from tests.contract.factories import NOW, a_run, claim

MODELS = Path(__file__).parents[2] / "model"
JOB = Job("drift", "40 2 * * *", "Etc/UTC", "drift", "")
TODAY = date(2026, 11, 21)


@pytest.fixture
def store(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/x.db")
    yield store
    store.close()


@pytest.fixture
def context(store):
    """A run of drift over 2026-11-21."""
    return Context(
        run=Run("drift", JOB.interval("2026-11-21"), "schedule", NOW),
        job=JOB,
        jobs={"drift": JOB},
        store=store,
        results=store,
        files=None,
        predict=None,
        wake=lambda job: 0,
        now=lambda: NOW,
        keep_alive=lambda: None,
        seconds_left=lambda: 540.0,
    )


def no_baselines():
    return {}


def summarise(store, day, summaries, model="m", version="1", job="nightly"):
    """Have `nightly` summarise a day on which these were answered."""
    interval = JOB.interval(day.isoformat())
    found = [SummaryDocument(interval.start, model, version, summary) for summary in summaries]
    keep(store, day, transform.merge(interval, [transform.fold(iter(found))]), job)


def keep(store, day, rows, job="nightly"):
    run = claim(store, a_run(day.isoformat(), job)).run
    store.finish_run(run, json.loads(json.dumps(rows)), now=NOW)


def answers(count, classes="abc", seed=0, shift=0.0):
    """Return summaries of a classifier, its scores somewhat lower when shifted."""
    chance = random.Random(seed)
    return [
        {"count": 1, "classes": [chance.choice(classes)], "scores": [max(0.0, chance.random() ** 0.2 - shift)]}
        for _ in range(count)
    ]


def by_formula(expected, actual):
    """Return the index bin by bin, half a count added to each."""
    bins = sorted({*expected, *actual})
    totals = [sum(side.values()) + 0.5 * len(bins) for side in (expected, actual)]
    index = 0.0
    for name in bins:
        e, a = ((side.get(name, 0) + 0.5) / total for side, total in zip((expected, actual), totals, strict=True))
        index += (a - e) * math.log(a / e)
    return index


def test_a_day_like_the_week_before_is_stable(context, store):
    """Seven days together are what it is held to, one of them missing, and the eighth no more."""
    for n in (1, 2, 3, 5, 6, 7):
        summarise(store, TODAY - timedelta(days=n), answers(200, seed=n))
    summarise(store, TODAY - timedelta(days=8), answers(5000, classes="z"))
    summarise(store, TODAY, answers(400))
    summarise(store, TODAY + timedelta(days=1), answers(5000, classes="z"))

    (row,) = Drift(no_baselines)(context)

    index = row["previous"].pop("psi")
    assert row == {
        "date": "2026-11-21",
        "model": "m",
        "version": "1",
        "predictions": 400,
        "verdict": "stable",
        "previous_days": 6,
        "previous": {"predictions": 1200, "verdict": "stable"},
        "training": None,
    }
    assert index.keys() == {"classes", "top_scores"}
    assert all(0 <= value < 0.1 for value in index.values())


def test_indexes_agree_with_the_formula(context, store):
    """For classes and top scores, with a class that is new and one that is gone."""
    before, now = answers(900, "aabc", 1), answers(700, "abdd", 2, shift=0.2)
    summarise(store, TODAY - timedelta(days=3), before)
    summarise(store, TODAY, now)

    (row,) = Drift(no_baselines)(context)

    for name, member in (("classes", "classes"), ("top_scores", "scores")):
        sides = [[value for summary in side for value in summary[member]] for side in (before, now)]
        if name == "top_scores":
            sides = [[max((e for e in SCORE_EDGES if e <= s), default=-math.inf) for s in side] for side in sides]
        counts = [{value: side.count(value) for value in side} for side in sides]
        assert row["previous"]["psi"][name] == pytest.approx(by_formula(*counts), abs=1e-6)
    assert row["verdict"] == "significant"


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.5, "stable"), (0.6, "stable"), (0.7, "moderate"), (0.73, "moderate"), (0.8, "significant")],
)
def test_the_usual_thresholds(context, store, share, verdict):
    """Of two classes half and half, 70 % of one is moderate, 80 % significant: PSI 0.17 and 0.42."""
    summarise(store, TODAY - timedelta(days=1), [{"count": 2, "classes": ["a", "b"]}] * 5000)
    count = round(share * 10_000)
    summarise(store, TODAY, [{"count": 10_000, "classes": ["a"] * count + ["b"] * (10_000 - count)}])

    (row,) = Drift(no_baselines)(context)

    assert row["verdict"] == verdict


def test_thresholds_and_days_may_be_told(context, store):
    """Over one day alone, and with other thresholds, the verdict is another."""
    summarise(store, TODAY - timedelta(days=2), answers(2000, "a"))
    summarise(store, TODAY - timedelta(days=1), answers(2000, "ab"))
    summarise(store, TODAY, answers(2000, "abb"))
    told = {"days": 1, "moderate": 0.01, "significant": 50, "predictions_per_bin": 5, "job": "nightly"}

    (usual,) = Drift(no_baselines)(context)
    (row,) = Drift(no_baselines)(replace(context, run=replace(context.run, params=told)))

    assert (usual["verdict"], usual["previous_days"]) == ("significant", 2)
    assert (row["verdict"], row["previous_days"], row["previous"]["predictions"]) == ("moderate", 1, 2000)


@pytest.mark.parametrize(("before", "now"), [(10_000, 30), (30, 10_000), (40, 40)])
def test_too_few_predictions_are_no_verdict(context, store, before, now):
    """The counts are there, the index is not: it would be large by chance."""
    summarise(store, TODAY - timedelta(days=1), answers(before, "abc", 1))
    summarise(store, TODAY, answers(now, "abc", 2))

    (row,) = Drift(no_baselines)(context)

    assert (row["verdict"], row["predictions"]) == ("not enough data", now)
    assert row["previous"] == {
        "predictions": before,
        "psi": {"classes": None, "top_scores": None},
        "verdict": "not enough data",
    }


def test_chance_alone_seldom_looks_like_a_shift():
    """With just enough predictions, an index of 0.1 comes by chance on fewer than one day in twenty."""
    chance = np.random.default_rng(1)
    for bins in (2, 5, 12, 50):
        count = 40 * bins  # n * m / (n + m) is 20 a bin then
        days = chance.multinomial(count, [1 / bins] * bins, size=(2, 2000)).tolist()
        pairs = [pair for pair in zip(*days, strict=True) if enough(*pair, 20)]
        assert len(pairs) > 1990
        assert np.mean([psi(*pair) >= 0.1 for pair in pairs]) < 0.05, bins
        assert not any(enough(*([n // 2 for n in side] for side in pair), 20) for pair in pairs)


def test_each_model_version_is_held_to_its_own_past(context, store):
    """One that is new has nothing to be held to; one that declared nothing has nothing to compare."""
    rows = {}
    for n, days_ago in enumerate((1, 0)):
        day = TODAY - timedelta(days=days_ago)
        interval = JOB.interval(day.isoformat())
        found = [SummaryDocument(interval.start, "m", "1", s) for s in answers(500, "ab", n)]
        found += [SummaryDocument(interval.start, "m", "2", s) for s in answers(500, "ab" if n else "cd", n)]
        found += [SummaryDocument(interval.start, "new", "1", s) for s in answers(500, "ab", n) if n]
        found += [SummaryDocument(interval.start, "plain", "1", {"count": 1})] * 500
        keep(store, day, transform.merge(interval, [transform.fold(iter(found))]))

    rows = {(row["model"], row["version"]): row for row in Drift(no_baselines)(context)}

    assert {key: row["verdict"] for key, row in rows.items()} == {
        ("m", "1"): "stable",
        ("m", "2"): "significant",
        ("new", "1"): "not enough data",
        ("plain", "1"): "not enough data",
    }
    assert rows["new", "1"]["previous"] is None
    assert rows["plain", "1"]["previous"] == {"predictions": 500, "psi": {}, "verdict": "not enough data"}


def test_values_are_compared_in_deciles_of_what_was_expected(context, store):
    """The same values are stable, a third more is significant, whatever their magnitude and sign."""
    chance = random.Random(3)
    values = [chance.gauss(-1e-9, 4e-10) for _ in range(4000)]
    summarise(store, TODAY - timedelta(days=1), [{"count": 4000, "values": values}])
    summarise(store, TODAY, [{"count": 2000, "values": [chance.gauss(-1e-9, 4e-10) for _ in range(2000)]}])
    (stable,) = Drift(no_baselines)(context)
    summarise(store, TODAY + timedelta(days=1), [{"count": 2000, "values": [1.33 * v for v in values[:2000]]}])

    tomorrow = replace(context.run, interval=JOB.interval("2026-11-22"))
    (shifted,) = Drift(no_baselines)(replace(context, run=replace(tomorrow, params={"days": 2})))

    assert (stable["verdict"], shifted["verdict"]) == ("stable", "significant")
    assert 0 < stable["previous"]["psi"]["values"] < 0.05


def test_deciles_keep_every_count():
    """Ten groups at most, what lies outside in the outer ones; all in one bin is one group."""
    expected = {str(float(n)): 10 for n in range(100)}
    actual = {"-inf": 5, "-3.0": 2, "50.0": 7, "99.0": 1, "1e+20": 4}

    groups = by_decile(expected, actual)

    assert groups == ([100] * 10, [7, 0, 0, 0, 0, 7, 0, 0, 0, 5])
    assert by_decile({"1.0": 50}, {"1.0": 20, "2.0": 3}) == ([50] + [0] * 9, [20] + [0] * 8 + [3])


def test_the_training_distribution_is_another_side(context, store, tmp_path):
    """model.json says what was answered on the training data; the worse verdict of the two counts."""
    predicted = {"classes": {"a": 500, "b": 500}, "top_scores": {"0.9": 900, "0.99": 100}}
    declare(tmp_path, "m", {"training": {"predicted": predicted}})
    same = [{"count": 1, "classes": ["ab"[n % 2]], "scores": [0.5]} for n in range(600)]
    summarise(store, TODAY - timedelta(days=1), same)
    summarise(store, TODAY, same)

    (row,) = Drift(lambda: read_baselines(tmp_path))(context)

    assert (row["previous"]["verdict"], row["verdict"]) == ("stable", "significant")
    assert row["training"]["predictions"] == 1000
    assert row["training"]["psi"]["classes"] < 0.001
    assert row["training"]["psi"]["top_scores"] > 0.25


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"training": 3}', '{"training": {"predicted": []}}', '{"training": {"predicted": {"classes": 3}}}',
        '{"training": {"predicted": {"classes": {"a": -1}}}}', '{"training": {"predicted": {"values": {"a": 1}}}}',
        '{"training": {"predicted": {"classes": {"a": "many"}}}}',
    ],
)  # fmt: skip
def test_a_baseline_that_cannot_be_read_is_logged_and_left_out(tmp_path, capfd, text):
    """The others are still there."""
    declare(tmp_path, "good", {"training": {"predicted": {"classes": {"a": 1}}}})
    declare(tmp_path, "silent", {"training": {"epochs": 3}})
    declare(tmp_path, "bad", {})
    (tmp_path / "bad" / "1" / "model.json").write_text(text)

    found = read_baselines(tmp_path)

    assert found.keys() == {("good", "1")}
    assert "bad/1/model.json" in capfd.readouterr().out


def declare(models, name, document):
    folder = models / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(document))


def test_the_bundled_model_is_held_to_its_training(context, store):
    """Held-out digits, which no training has seen, are stable beside it; a model gone blind is not."""
    held_out = json.loads((MODELS / "digits" / "held_out.json").read_bytes())["digits"]
    sure = [0.999 if n % 30 else 0.96 for n in range(len(held_out))]
    like_training = [{"count": 1, "classes": [str(d)], "scores": [s]} for d, s in zip(held_out, sure, strict=True)]
    summarise(store, TODAY, like_training, model="digits")
    (fine,) = task(context)
    summarise(store, TODAY + timedelta(days=1), [{"count": 1, "classes": ["7"], "scores": [0.5]}] * 360, model="digits")
    (blind,) = task(replace(context, run=replace(context.run, interval=JOB.interval("2026-11-22"))))

    assert (fine["training"]["verdict"], fine["training"]["predictions"]) == ("stable", 1437)
    assert fine["previous"] is None
    assert blind["training"]["verdict"] == "significant"


def test_the_committed_model_answers_its_training_data_as_its_model_json_says():
    """Of 1,437 images each is counted; another processor may place one or two in the next bin."""
    images = load_data().train_images
    found = Registry.scan(MODELS).find("digits", 1)

    answers = found.load().run("serving_default", {"image": images})

    described = distribution.describe_predictions(answers["digit"], answers["probabilities"])
    committed = found.manifest.raw["training"]["predicted"]
    assert described.keys() == committed.keys() == {"classes", "top_scores"}
    for name, counts in committed.items():
        assert sum(counts.values()) == sum(described[name].values()) == 1437
        apart = [
            abs(counts.get(key, 0) - described[name].get(key, 0)) for key in counts.keys() | described[name].keys()
        ]
        assert max(apart) <= 2


def test_training_counts_in_the_bins_of_the_summaries():
    """What model.json holds and what a day's row holds are counts of the same bins."""
    chance = np.random.default_rng(2)
    scores = chance.dirichlet([0.2] * 5, size=500)
    scores[:13, 0] = [*SCORE_EDGES, 1.0, 0.0]
    top = scores.max(axis=1)

    described = distribution.describe_predictions(scores.argmax(axis=1), scores)

    assert distribution.SCORE_EDGES == SCORE_EDGES
    assert described["top_scores"] == named(SCORE_EDGES, bins_of(SCORE_EDGES, map(float, top)))
    assert sum(described["classes"].values()) == 500
    assert list(described["classes"]) == ["0", "1", "2", "3", "4"]


def test_rows_of_summaries_from_before_there_were_histograms_count(context, store):
    """An older row has classes and no top scores; it is compared in what it has."""
    old = {"model": "m", "version": "1", "predictions": 800, "classes": {"a": 400, "b": 400}, "mean_top_score": 0.9}
    keep(store, TODAY - timedelta(days=1), [old, {**old, "version": "2", "classes": {}, "values": {"count": 800}}])
    summarise(store, TODAY, answers(800, "ab"))

    (row,) = Drift(no_baselines)(context)

    assert row["verdict"] == "stable"
    assert row["previous"]["psi"].keys() == {"classes"}


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"days": 0}, "INVALID_PARAMS"),
        ({"days": 1.5}, "INVALID_PARAMS"),
        ({"days": True}, "INVALID_PARAMS"),
        ({"moderate": "0.1"}, "INVALID_PARAMS"),
        ({"significant": -1}, "INVALID_PARAMS"),
        ({"threshold": 1}, "INVALID_PARAMS"),
        ({"job": ""}, "INVALID_PARAMS"),
    ],
)
def test_params_that_mean_nothing_are_refused(context, params, reason):
    """400, which is not tried again."""
    with pytest.raises(InvalidRequestError) as raised:
        Drift(no_baselines)(replace(context, run=replace(context.run, params=params)))
    assert raised.value.reason == reason


def test_a_day_without_a_summary_cannot_be_compared(context, store):
    """404; a day whose summary has no rows has no rows here either. Hours are no days."""
    with pytest.raises(NotFoundError) as raised:
        Drift(no_baselines)(context)
    assert raised.value.reason == "NO_SUMMARY"

    summarise(store, TODAY, [])
    assert Drift(no_baselines)(context) == []

    hour = replace(context.run.interval, key="2026-11-21T14:10Z", start=datetime(2026, 11, 21, 14, 10, tzinfo=UTC))
    with pytest.raises(ServiceError) as raised:
        Drift(no_baselines)(replace(context, run=replace(context.run, interval=hour)))
    assert (raised.value.http_status, raised.value.reason) == (400, "INVALID_KEY")


def test_the_first_days_of_the_calendar_have_no_week_before(context):
    """400: that day will not have one the next time either."""
    first = replace(context.run.interval, key="0001-01-03")

    with pytest.raises(InvalidRequestError) as raised:
        Drift(no_baselines)(replace(context, run=replace(context.run, interval=first)))

    assert raised.value.reason == "INVALID_KEY"
