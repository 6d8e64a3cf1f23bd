"""Requests that arrive while a model is busy run as one batch; one that finds it free never waits."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from model.batching import BatchingRuntime
from model.manifest import Signature, TensorSpec
from model.queueing import QueuedRuntime
from model.registry import Registry
from shared.config import ROOT
from shared.errors import InvalidRequestError, ModelError, UnavailableError

SIGNATURES = {
    "serving_default": Signature(
        {"x": TensorSpec("x", "float32", (None, 2))}, {"y": TensorSpec("y", "float32", (None,))}, ""
    ),
    "scalar": Signature({"x": TensorSpec("x", "float32", ())}, {"y": TensorSpec("y", "float32", ())}, ""),
}


class Sums:
    """A model that adds each row up, notes its batches, and answers only while its gate is open."""

    def __init__(self):
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.batches = []

    def run(self, signature_name, inputs):
        """Answer one batch; 13 in a row is the caller's fault, 666 the model's."""
        self.batches.append(len(inputs["x"]) if inputs["x"].ndim else 0)
        self.begun.release()
        assert self.gate.wait(20)
        if (inputs["x"] == 13).any():
            raise InvalidRequestError("thirteen")
        if (inputs["x"] == 666).any():
            raise MemoryError
        return {"y": inputs["x"].sum(axis=-1)}


@pytest.fixture
def sums():
    """The model, its gate closed."""
    return Sums()


@pytest.fixture(params=["queued", "batched"])
def queue_of(request):
    """Make a queue in front of a model; both kinds keep the same bounds."""
    if request.param == "queued":
        return QueuedRuntime
    return lambda runtime, **limits: BatchingRuntime(runtime, SIGNATURES, **limits)


def waiting(runtime):
    """How many requests wait."""
    return len(runtime._waiting)


def ask(pool, runtime, *rows):
    """Send one request of some rows from a thread of its own."""
    array = np.array([[row, 1] for row in rows], np.float32)
    return pool.submit(runtime.run, "serving_default", {"x": array})


def queued(pool, runtime, requests):
    """Send requests one by one, each once the one before it waits."""
    futures = []
    for rows in requests:
        futures.append(ask(pool, runtime, *rows))
        while waiting(runtime) < len(futures):
            assert not futures[-1].done(), futures[-1].exception()
    return futures


@pytest.fixture
def pool():
    """Threads for callers."""
    with ThreadPoolExecutor(64) as threads:
        yield threads


def test_what_arrives_while_the_model_is_busy_is_one_batch(sums, pool):
    """The first runs alone at once; the five that came meanwhile run together, each with its own rows back."""
    runtime = BatchingRuntime(sums, SIGNATURES)
    first = ask(pool, runtime, 1)
    assert sums.begun.acquire(timeout=20)
    rest = queued(pool, runtime, [[2], [3, 4], [5], [6], [7]])

    sums.gate.set()

    assert first.result(20)["y"].tolist() == [2]
    assert [future.result(20)["y"].tolist() for future in rest] == [[3], [4, 5], [6], [7], [8]]
    assert sums.batches == [1, 6]


def test_a_single_client_is_never_batched_and_never_waits(sums):
    """One after another, each request finds the model free."""
    sums.gate.set()
    runtime = BatchingRuntime(sums, SIGNATURES)

    answers = [runtime.run("serving_default", {"x": np.full((1, 2), i, np.float32)})["y"][0] for i in range(5)]

    assert answers == [0, 2, 4, 6, 8]
    assert sums.batches == [1] * 5


def test_a_batch_is_bounded_in_rows_and_keeps_the_order_of_arrival(sums, pool):
    """Four rows at most: 1+2, then 3 alone since 3+2 is too many, then 2."""
    runtime = BatchingRuntime(sums, SIGNATURES, max_rows=4)
    first = ask(pool, runtime, 0)
    assert sums.begun.acquire(timeout=20)
    rest = queued(pool, runtime, [[1], [2, 3], [4, 5, 6], [7, 8]])

    sums.gate.set()

    assert [len(future.result(20)["y"]) for future in [first, *rest]] == [1, 1, 2, 3, 2]
    assert sums.batches == [1, 3, 3, 2]


def test_a_request_of_another_shape_is_not_mixed_in(sums, pool):
    """Only what differs in rows alone is one batch."""
    runtime = BatchingRuntime(sums, SIGNATURES)
    first = ask(pool, runtime, 0)
    assert sums.begun.acquire(timeout=20)
    rest = queued(pool, runtime, [[1]])
    other = pool.submit(runtime.run, "serving_default", {"x": np.ones((1, 3), np.float32)})
    while waiting(runtime) < 2:
        assert not other.done()
    rest += [ask(pool, runtime, 2)]
    while waiting(runtime) < 3:
        assert not rest[-1].done()

    sums.gate.set()

    assert other.result(20)["y"].tolist() == [3]
    assert [future.result(20)["y"].tolist() for future in [first, *rest]] == [[1], [2], [3]]
    assert sorted(sums.batches) == [1, 1, 2]


def test_one_callers_fault_harms_no_other(sums, pool):
    """When a batch is refused, each of it runs alone."""
    runtime = BatchingRuntime(sums, SIGNATURES)
    first = ask(pool, runtime, 0)
    assert sums.begun.acquire(timeout=20)
    rest = queued(pool, runtime, [[1], [13], [2]])

    sums.gate.set()

    assert first.result(20)["y"].tolist() == [1]
    assert [rest[0].result(20)["y"].tolist(), rest[2].result(20)["y"].tolist()] == [[2], [3]]
    with pytest.raises(InvalidRequestError, match="thirteen"):
        rest[1].result(20)


def test_a_failing_model_fails_all_and_serves_on(sums, pool):
    """Even what is no error of ours reaches every caller, and the lane is free again."""
    runtime = BatchingRuntime(sums, SIGNATURES)
    first = ask(pool, runtime, 0)
    assert sums.begun.acquire(timeout=20)
    rest = queued(pool, runtime, [[1], [666]])

    sums.gate.set()

    assert first.result(20)["y"].tolist() == [1]
    for future in rest:
        with pytest.raises(MemoryError):
            future.result(20)
    assert runtime.run("serving_default", {"x": np.ones((1, 2), np.float32)})["y"].tolist() == [2]


def test_too_many_waiting_rows_are_refused_at_once(sums, pool, queue_of):
    """Admission is bounded; those admitted are answered."""
    runtime = queue_of(sums, max_waiting_rows=3)
    first = ask(pool, runtime, 0)
    assert sums.begun.acquire(timeout=20)
    rest = queued(pool, runtime, [[1], [2, 3]])

    with pytest.raises(UnavailableError) as refused:
        runtime.run("serving_default", {"x": np.ones((1, 2), np.float32)})
    sums.gate.set()

    assert refused.value.headers == {"Retry-After": "1"}
    assert [len(future.result(20)["y"]) for future in [first, *rest]] == [1, 1, 2]


def test_a_wait_that_is_too_long_ends_in_503_and_is_never_run(sums, pool, queue_of):
    """The caller is told; its rows are not computed for nobody."""
    runtime = queue_of(sums, max_wait_seconds=0.05)
    first = ask(pool, runtime, 0)
    assert sums.begun.acquire(timeout=20)

    with pytest.raises(UnavailableError, match="in time"):
        runtime.run("serving_default", {"x": np.ones((1, 2), np.float32)})
    sums.gate.set()

    assert first.result(20)["y"].tolist() == [1]
    assert sums.batches == [1]


def test_a_model_that_does_not_come_back_is_seen(sums, pool, queue_of):
    """Only while every lane is at the call it was at: one that answers, however slowly, is not stuck."""
    runtime = queue_of(sums, lanes=2)
    idle = runtime.stuck_seconds()
    first = ask(pool, runtime, 1)
    assert sums.begun.acquire(timeout=20)
    half = runtime.stuck_seconds()
    second = ask(pool, runtime, 2)
    assert sums.begun.acquire(timeout=20)

    stuck = [runtime.stuck_seconds(), runtime.stuck_seconds()]
    sums.gate.set()
    first.result(20), second.result(20)

    assert (idle, half) == (0, 0)
    assert 0 < stuck[0] < stuck[1]
    assert runtime.stuck_seconds() == 0


def test_lanes_run_beside_each_other(sums, pool, queue_of):
    """With two lanes the second request begins while the first runs."""
    runtime = queue_of(sums, lanes=2)
    futures = [ask(pool, runtime, 1), ask(pool, runtime, 2)]

    assert sums.begun.acquire(timeout=20)
    assert sums.begun.acquire(timeout=20)
    sums.gate.set()

    assert [future.result(20)["y"].tolist() for future in futures] == [[2], [3]]


def test_without_batching_each_runs_alone_in_order_of_arrival(sums, pool):
    """A model that gains nothing by a batch is only queued for."""
    runtime = QueuedRuntime(sums)
    first = ask(pool, runtime, 1)
    assert sums.begun.acquire(timeout=20)
    rest = queued(pool, runtime, [[2, 3], [4], [5, 6, 7]])

    sums.gate.set()

    assert [future.result(20)["y"].tolist() for future in [first, *rest]] == [[2], [3, 4], [5], [6, 7, 8]]
    assert sums.batches == [1, 2, 1, 3]


def test_a_request_larger_than_the_bound_is_taken_when_none_waits(sums, pool, queue_of):
    """It has to run some time; a bound that refuses it for ever would be a limit on its size."""
    runtime = queue_of(sums, max_waiting_rows=2)
    first = ask(pool, runtime, 0)
    assert sums.begun.acquire(timeout=20)
    rest = queued(pool, runtime, [[1, 2, 3]])

    sums.gate.set()

    assert [len(future.result(20)["y"]) for future in [first, *rest]] == [1, 3]


def test_what_has_no_rows_waits_like_all_others_and_runs_alone(sums, pool):
    """A scalar, and a request of no rows, beside requests of the same signature."""
    runtime = BatchingRuntime(sums, SIGNATURES)
    first = ask(pool, runtime, 0)
    assert sums.begun.acquire(timeout=20)
    odd = [("serving_default", np.zeros((0, 2), np.float32)), ("scalar", np.float32(3).reshape(()))]
    futures = []
    for signature, array in [("serving_default", np.ones((1, 2), np.float32)), *odd, *odd]:
        futures.append(pool.submit(runtime.run, signature, {"x": array}))
        while waiting(runtime) < len(futures):
            assert not futures[-1].done(), futures[-1].exception()

    sums.gate.set()

    assert first.result(20)["y"].tolist() == [1]
    assert [future.result(20)["y"].tolist() for future in futures] == [[2], [], 3, [], 3]
    assert sorted(sums.batches) == [0, 0, 0, 0, 1, 1]


def test_a_signature_without_rows_passes_through(sums):
    """A scalar cannot be put beside another."""
    sums.gate.set()

    answer = BatchingRuntime(sums, SIGNATURES).run("scalar", {"x": np.float32(3).reshape(())})

    assert answer["y"] == 3
    assert sums.batches == [0]


def test_a_real_model_answers_each_of_many_callers_its_own_digits():
    """Sixty-four threads through one interpreter, batched as they come."""
    version = Registry.scan(ROOT / "model").find("digits")
    held_out = json.loads((ROOT / "model/digits/held_out.json").read_text())
    images = np.array(held_out["images"], np.float32)
    assert version.manifest is not None
    runtime = BatchingRuntime(version.load(), version.manifest.signatures)
    alone = version.load().run("serving_default", {"image": images})["digit"]

    with ThreadPoolExecutor(64) as pool:
        answers = list(
            pool.map(
                lambda i: runtime.run("serving_default", {"image": images[i : i + 1 + i % 3]})["digit"], range(357)
            )
        )

    for index, answer in enumerate(answers):
        assert answer.tolist() == alone[index : index + 1 + index % 3].tolist()


def test_an_error_of_the_model_itself_is_passed_on(pool):
    """A ServiceError keeps its kind."""

    class Broken:
        def run(self, signature_name, inputs):
            """Fail."""
            raise ModelError("broken")

    with pytest.raises(ModelError, match="broken"):
        BatchingRuntime(Broken(), SIGNATURES).run("serving_default", {"x": np.ones((1, 2), np.float32)})
