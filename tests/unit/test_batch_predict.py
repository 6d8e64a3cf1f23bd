"""batch_predict: a line out for each line in, in order, however often the work breaks off."""

import json
import random
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.nightly_transform.contract import Context, Unfinished
from functions.nightly_transform.predicting import PredictClient
from functions.nightly_transform.transforms.batch_predict import BatchPredict, task
from functions.nightly_transform.transforms.json_lines import MAX_LINE_BYTES
from shared.errors import ConflictError, InvalidRequestError, NotFoundError, ServiceError, UnavailableError
from shared.jobs import Job
from shared.runs import Run
from shared.stores.objects import open_files

JOB = Job("scores", "30 4 * * *", "Etc/UTC", "batch_predict", "")
PARAMS = {"model": "m", "input": "in/{key}/", "output": "out.jsonl"}
NOW = datetime(2026, 11, 22, 5, tzinfo=UTC)
HELD_OUT = json.loads((Path(__file__).parents[2] / "model" / "digits" / "held_out.json").read_bytes())


class Doubling:
    """A model that doubles numbers and refuses everything else, as predict would; it notes what it was asked."""

    def __init__(self):
        self.asked = []
        self.before = lambda: None

    def __call__(self, instances, *, model, version=None):
        self.before()
        self.asked.append(list(instances))
        if model != "m":
            raise NotFoundError("predict: no such model", reason="MODEL_NOT_FOUND")
        for instance in instances:
            if type(instance) not in (int, float):
                raise InvalidRequestError("instance is no number", reason="PREDICT_REFUSED")
        return [2 * instance for instance in instances]


@pytest.fixture
def files(tmp_path):
    return open_files(f"file://{tmp_path}/files")


@pytest.fixture
def predict():
    return Doubling()


@pytest.fixture
def context(files, predict):
    return a_context(files, predict)


def a_context(files, predict):
    """Return what a run of 2026-11-21 over in/2026-11-21/ works with."""
    interval = JOB.interval("2026-11-21")
    return Context(
        run=Run(
            "scores", interval, "schedule", NOW, params={"model": "m", "input": "in/{key}/", "output": "out.jsonl"}
        ),
        job=JOB,
        jobs={"scores": JOB},
        store=None,
        results=None,
        files=files,
        predict=predict,
        wake=lambda job: 0,
        now=lambda: NOW,
        keep_alive=lambda: None,
        seconds_left=lambda: 540.0,
    )


def with_params(context, **params):
    return replace(context, run=replace(context.run, params={**context.run.params, **params}))


def put(files, *lines, name="in/2026-11-21/a.jsonl"):
    files.write(name, [line + b"\n" for line in lines])


def output(files, name="out.jsonl"):
    """Return what was written, line by line."""
    with files.open(name) as file:
        return [json.loads(line) for line in file]


def test_every_line_has_its_line_in_order(context, files, predict):
    """Keys of any kind come back, a bare instance has its number through all files; files go by name."""
    put(
        files,
        b'{"key": "a", "instance": 1}',
        b"2",
        b'{"instance": 3}',
        b'{"instance": 4, "key": null}',
        name="in/2026-11-21/b",
    )
    put(files, b'{"key": [1, {"x": "\xc3\xa9"}], "instance": 0.5}', b"6\r", name="in/2026-11-21/a")
    put(files, b"77", name="in/2026-11-22/a")

    (row,) = task(context)

    assert output(files) == [
        {"key": [1, {"x": "é"}], "prediction": 1.0},
        {"key": 2, "prediction": 12},
        {"key": "a", "prediction": 2},
        {"key": 4, "prediction": 4},
        {"key": 5, "prediction": 6},
        {"key": None, "prediction": 8},
    ]
    assert row == {
        "key": "2026-11-21",
        "model": "m",
        "version": None,
        "input_files": 2,
        "output": "out.jsonl",
        "lines": 6,
        "predictions": 6,
        "errors": 0,
    }
    assert predict.asked == [[0.5, 6, 1, 2, 3, 4]]
    assert files.names("") == ["in/2026-11-21/a", "in/2026-11-21/b", "in/2026-11-22/a", "out.jsonl"]


def test_a_broken_line_is_an_error_that_names_it_and_nothing_else_is_lost(context, files):
    """Whatever it is, it has its line; so has a line that the model refuses, under its own key."""
    long = b'"' + b"x" * (MAX_LINE_BYTES + 5) + b'"'
    broken = [
        b"{",
        b"",
        b"\xff",
        b"[" * 100 + b"]" * 100,
        b'{"a": 1, "a": 2}',
        long,
        b"\xef\xbb\xbf1",
        b"1 2",
        b"9" * 5000,
    ]
    put(files, b"1", *broken, b'{"key": "k", "instance": "text"}', b'{"instance": 1, "other": 2}', b"3")

    (row,) = task(context)

    found = output(files)
    assert [line["key"] for line in found] == [*range(1, 11), "k", 12, 13]
    assert found[0] == {"key": 1, "prediction": 2}
    assert found[-1] == {"key": 13, "prediction": 6}
    for number, line in enumerate(found[1:-1], 2):
        assert line.keys() == {"key", "error"}
        assert line["error"].startswith(f"in/2026-11-21/a.jsonl line {number}: ")
    assert "expected JSON" in found[1]["error"]
    assert "nested too deeply" in found[4]["error"]
    assert "at most 1400000 bytes" in found[6]["error"]
    assert found[10]["error"].endswith("line 11: instance is no number")
    assert (row["lines"], row["predictions"], row["errors"]) == (13, 2, 11)


def test_a_last_line_without_an_end_is_a_line(context, files):
    """And the one after the last line's end is none."""
    files.write("in/2026-11-21/a", [b"1\n2"])
    files.write("in/2026-11-21/b", [b"3\n"])
    files.write("in/2026-11-21/c", [])

    (row,) = task(context)

    assert [line["prediction"] for line in output(files)] == [2, 4, 6]
    assert (row["input_files"], row["lines"]) == (3, 3)


def test_a_refused_line_costs_its_neighbours_nothing(context, files, predict):
    """Halves are asked for until it is found: one bad line in 64 takes 13 questions, not 64."""
    put(files, *[b"%d" % n if n != 40 else b'"bad"' for n in range(64)])

    task(context)

    assert [line.get("prediction") for line in output(files)] == [2 * n if n != 40 else None for n in range(64)]
    assert len(predict.asked) == 13


@pytest.mark.parametrize("seed", range(6))
def test_work_that_breaks_off_anywhere_goes_on_there(context, files, predict, seed):
    """Out of time or out of luck at any request: the same output, and no finished request is made again."""
    chance = random.Random(seed)
    lines = [chance.choice([b"%d" % n, b'{"key": "k%d", "instance": %d}' % (n, n), b"{", b'"x"']) for n in range(300)]
    put(files, *lines[:140])
    put(files, *lines[140:], name="in/2026-11-21/b")
    task(with_params(context, output="whole.jsonl", rows_per_request=7))
    expected, asked_at_once = output(files, "whole.jsonl"), predict.asked[:]
    context = with_params(context, rows_per_request=7)
    left, attempts = [540.0], 0
    context = replace(context, seconds_left=lambda: left[0])

    def before():
        if chance.random() < 0.02:
            raise ServiceError("broken")
        left[0] -= chance.choice([0, 100])

    predict.before, predict.asked = before, []
    while True:
        attempts += 1
        left[0] = 540.0
        try:
            (row,) = task(context)
            break
        except (Unfinished, ServiceError):
            assert "out.jsonl" not in files.names("")

    assert attempts > 2
    assert output(files) == expected
    assert row["lines"] == 300
    assert row["errors"] == sum("error" in line for line in expected)
    # A request that was under way when the work broke off is made again, and no other.
    assert len(asked_at_once) <= len(predict.asked) <= len(asked_at_once) + 13 * attempts
    assert [n for n in files.names("") if "pieces" in n] == []


def test_killed_at_any_moment_it_goes_on(context, files, tmp_path):
    """kill -9 in the midst of the third thousand: what was kept before is not asked for again."""
    put(files, *[b"%d" % n for n in range(3500)])
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.unit import test_batch_predict as t
files = t.open_files("file://{tmp_path}/files")
predict = t.Doubling()
predict.before = lambda: os.kill(os.getpid(), 9) if sum(map(len, predict.asked)) >= 2300 else None
t.task(t.a_context(files, predict))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    predict = Doubling()

    (row,) = task(replace(context, predict=predict))

    assert done.returncode == -9
    assert sum(map(len, predict.asked)) == 1500
    assert [line["prediction"] for line in output(files)] == [2 * n for n in range(3500)]
    assert row["lines"] == 3500


def test_input_that_changed_in_between_is_predicted_anew(context, files, predict):
    """Pieces of other input, or of another version, are of no use, even where they would fit."""
    lines = [b"%d" % n for n in range(40)]
    left = iter([540.0, 540.0, 0.0])
    put(files, *lines)
    with pytest.raises(Unfinished):
        task(replace(with_params(context, rows_per_request=10), seconds_left=lambda: next(left)))
    assert len(predict.asked) == 2

    put(files, b"1000", *lines[1:])
    task(with_params(context, rows_per_request=10))

    assert [line["prediction"] for line in output(files)] == [2000, *range(2, 80, 2)]
    assert len(predict.asked) == 6


def test_input_that_became_shorter_is_predicted_anew(context, files, predict):
    """A piece beyond the end is of no use either."""
    left = iter([540.0, 540.0, 540.0, 0.0])
    put(files, *[b"%d" % n for n in range(40)])
    with pytest.raises(Unfinished):
        task(replace(with_params(context, rows_per_request=10), seconds_left=lambda: next(left)))

    put(files, b"1", b"2")
    task(with_params(context, rows_per_request=10))

    assert output(files) == [{"key": 1, "prediction": 2}, {"key": 2, "prediction": 4}]


def test_a_rerun_predicts_again_and_replaces_the_output(context, files, predict):
    """What was written before is no excuse."""
    put(files, b"1")
    task(context)
    put(files, b"2")

    task(context)

    assert output(files) == [{"key": 1, "prediction": 4}]
    assert predict.asked == [[1], [2]]


def test_predict_that_is_away_for_a_while_is_waited_for(context, files, predict):
    """As long as it says, longer each time, the lease kept all the while."""
    put(files, b"1")
    answers = [UnavailableError("away", retry_after_seconds=after) for after in (0, 0, 3, 25)]
    slept, kept_alive = [], []

    def before():
        if answers:
            raise answers.pop(0)

    predict.before = before

    BatchPredict(sleep=slept.append)(replace(context, keep_alive=lambda: kept_alive.append(len(slept))))

    assert output(files) == [{"key": 1, "prediction": 2}]
    assert slept == [0.5, 1.0, 3.0, 10.0, 10.0, 5.0]
    assert set(kept_alive) >= set(range(1, 7))


@pytest.mark.parametrize(("retry_after", "left", "waits"), [(0, 540.0, 8), (300, 540.0, 8), (300, 380.0, 0)])
def test_predict_that_stays_away_fails_the_attempt(context, files, predict, retry_after, left, waits):
    """After some waits, or at once where the time is too short: an attempt counted, never an endless rerun."""
    put(files, *[b"%d" % n for n in range(20)])
    away = iter([False] + [True] * 20)
    slept = []

    def before():
        if next(away):
            raise UnavailableError("away", retry_after_seconds=retry_after)

    predict.before = before

    with pytest.raises(UnavailableError):
        BatchPredict(sleep=slept.append)(replace(with_params(context, rows_per_request=10), seconds_left=lambda: left))

    assert len(predict.asked) == 1
    assert sum(slept) == pytest.approx({0: sum(0.5 * 2**n for n in range(8)), 300: 300.0 * waits}[retry_after])
    assert [name.partition("-")[0] for name in files.names("out")] == ["out.jsonl.pieces/000000000"]


def test_a_run_that_was_lost_writes_nothing_more(context, files):
    """Another holds it: neither a piece nor the output is written by this one."""
    put(files, b"1", b"2")
    calls = iter(range(9))

    def keep_alive():
        if next(calls) == 1:
            raise ConflictError("lost", reason="FENCE_LOST")

    with pytest.raises(ConflictError):
        task(replace(with_params(context, rows_per_request=1), keep_alive=keep_alive))

    assert files.names("out") == []


def test_pieces_that_another_attempt_took_away_fail_the_attempt_alone(context, files):
    """503, which is tried again: the other one was faster, or this one begins anew."""
    put(files, *[b"%d" % n for n in range(1500)])

    def keep_alive():
        for name in files.names("out.jsonl.pieces/"):
            files.delete(name)

    with pytest.raises(UnavailableError) as raised:
        task(replace(context, keep_alive=keep_alive))

    assert raised.value.reason == "PIECE_LOST"
    assert "out.jsonl" not in files.names("")


@pytest.mark.parametrize(
    ("params", "status", "reason"),
    [
        ({"model": "other"}, 404, "MODEL_NOT_FOUND"),
        ({"input": "elsewhere/"}, 404, "INPUT_NOT_FOUND"),
        ({"input": "../x"}, 400, "INVALID_NAME"),
        ({"output": "/etc/x"}, 400, "INVALID_NAME"),
        ({"output": "in/{key}/out"}, 400, "INVALID_PARAMS"),
        ({"model": 3.5}, 400, "INVALID_PARAMS"),
        ({"model": ""}, 400, "INVALID_PARAMS"),
        ({"model": "a/b"}, 400, "INVALID_PARAMS"),
        ({"version": "newest"}, 400, "INVALID_PARAMS"),
        ({"rows_per_request": 0}, 400, "INVALID_PARAMS"),
        ({"rows_per_request": True}, 400, "INVALID_PARAMS"),
        ({"rows_per_request": "5"}, 400, "INVALID_PARAMS"),
        ({"rows": 5}, 400, "INVALID_PARAMS"),
    ],
)
def test_what_can_never_work_fails_for_good(context, files, params, status, reason):
    """A 4xx is not tried again; nothing is written."""
    put(files, b"1")

    with pytest.raises(ServiceError) as raised:
        task(with_params(context, **params))

    assert (raised.value.http_status, raised.value.reason) == (status, reason)
    assert [name for name in files.names("") if not name.startswith("in/")] == []


def test_memory_does_not_grow_with_the_input(context, files, predict):
    """Sixty megabytes go through in a fraction of that."""
    line = b'{"key": "%s", "instance": 1}' % (b"k" * 5000)
    files.write("in/2026-11-21/a", (line + b"\n" for _ in range(12_000)))
    predict.asked = type("Forgetful", (), {"append": lambda self, value: None})()
    tracemalloc.start()
    try:
        (row,) = task(context)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert row["lines"] == 12_000
    assert peak_bytes < 16_000_000


def test_the_real_predict_and_a_bucket(context, cloud_storage, serve):
    """Held-out digits from a bucket through the bundled model, one of them no image."""
    files = open_files(f"gs://{cloud_storage[1]}/files")
    images = [{"key": n, "instance": {"image": image}} for n, image in enumerate(HELD_OUT["images"][:60])]
    images[17]["instance"] = {"image": "none"}
    files.write("in/2026-11-21/a.jsonl", [json.dumps(image).encode() + b"\n" for image in images])
    predict = PredictClient(serve("predict").url, in_cloud=False)
    given = replace(with_params(context, model="digits", version=1, rows_per_request=25), files=files, predict=predict)

    (row,) = task(given)

    found = output(files)
    predict.close()
    files._bucket.close()
    assert [line["key"] for line in found] == list(range(60))
    right = [line["prediction"]["digit"] == HELD_OUT["digits"][n] for n, line in enumerate(found) if n != 17]
    assert sum(right) >= 57
    assert "line 18" in found[17]["error"]
    assert (row["predictions"], row["errors"]) == (59, 1)
