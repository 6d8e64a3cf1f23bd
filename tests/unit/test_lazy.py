"""Once: built on first use, by one caller, and again after a failure."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.lazy import Once


def test_nothing_is_built_before_the_first_call():
    """The server forks after import."""
    built = []

    once = Once(lambda: built.append(1) or "value")

    assert built == []
    assert (once(), once(), built) == ("value", "value", [1])


def test_callers_at_once_wait_for_one_build():
    """Eight threads, one build, one object."""
    together, may_finish, built = threading.Barrier(8), threading.Event(), []

    def build():
        built.append(1)
        may_finish.wait(5)
        return object()

    once = Once(build)

    def call(number):
        together.wait()
        if number == 0:
            threading.Timer(0.05, may_finish.set).start()
        return once()

    with ThreadPoolExecutor(8) as pool:
        values = set(pool.map(call, range(8)))

    assert (len(values), len(built)) == (1, 1)


def test_a_failure_is_raised_and_not_kept():
    """The next call tries again."""
    attempts = iter([OSError("not yet"), "value"])

    def build():
        result = next(attempts)
        if isinstance(result, Exception):
            raise result
        return result

    once = Once(build)

    with pytest.raises(OSError, match="not yet"):
        once()
    assert (once(), once()) == ("value", "value")


def test_a_value_that_is_false_is_kept():
    """None and 0 are values."""
    values = iter([None])
    once = Once(lambda: next(values))

    assert (once(), once()) == (None, None)
