"""The bound on calls to a store: unseen while the store is quick, and never in the way of the last threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import UnavailableError
from shared.stores.bulkhead import Bulkhead
from tests.faults.history import run_clients


def opened(threads, store="the store"):
    """Return a bulkhead whose store was asked once."""
    bulkhead = Bulkhead(lambda: store, threads)
    with bulkhead.entered():
        pass
    return bulkhead


class Held:
    """Calls that stay inside until they are let go."""

    def __init__(self, bulkhead, count):
        self._let_go = threading.Event()
        self._inside = threading.Barrier(count + 1)
        self._pool = ThreadPoolExecutor(count)
        self._calls = [self._pool.submit(self._stay, bulkhead) for _ in range(count)]

    def _stay(self, bulkhead):
        with bulkhead.entered():
            self._inside.wait(20)
            self._let_go.wait(20)

    def __enter__(self):
        self._inside.wait(20)
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Let them go."""
        self._let_go.set()
        self._pool.shutdown()


def refused(bulkhead):
    """Ask one more, which is refused, and return after how long."""
    began = time.monotonic()
    with pytest.raises(UnavailableError) as raised, bulkhead.entered():
        pass
    assert (raised.value.reason, raised.value.headers) == ("STORE_BUSY", {"Retry-After": "1"})
    return time.monotonic() - began


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 6)])
def test_two_threads_stay_out_of_the_store(threads, most):
    """One call at least is let in; the next waits half a second in which nothing moves, the next not at all."""
    bulkhead = opened(threads)

    with Held(bulkhead, most):
        assert 0.4 < refused(bulkhead) < 0.9
        assert refused(bulkhead) < 0.1
    with Held(bulkhead, most):
        pass


def test_one_more_gets_in_as_soon_as_another_has_left():
    """Where the store moves, waiting costs what the call before it takes."""
    bulkhead = opened(3)

    def call():
        with bulkhead.entered():
            return time.monotonic()

    with ThreadPoolExecutor(1) as pool, Held(bulkhead, 1) as held:
        waiting = pool.submit(call)
        time.sleep(0.1)  # it waits, and would be refused half a second after it came
        assert not waiting.done()
        left = time.monotonic()
        held.end()
        assert waiting.result(20) - left < 0.3


def test_calls_that_last_refuse_one_more_although_some_come_back(monkeypatch):
    """In a store of many slow calls one comes back every moment: too seldom for all that wait."""
    monkeypatch.setattr("shared.stores.bulkhead._LASTING_SECONDS", 0.2)
    bulkhead = opened(6)

    with Held(bulkhead, 3):
        time.sleep(0.25)  # they are slow, and most of all
        with Held(bulkhead, 1):
            assert refused(bulkhead) < 0.1


def test_a_failure_gives_its_place_back():
    """Whether of the call or of the opening, which the next call tries again."""
    stores = iter([UnavailableError("not yet"), "the store"])

    def opening():
        found = next(stores)
        if isinstance(found, Exception):
            raise found
        return found

    bulkhead = Bulkhead(opening, 3)

    with pytest.raises(UnavailableError, match="not yet"), bulkhead.entered():
        pass
    with pytest.raises(KeyError), bulkhead.entered():
        raise KeyError
    with bulkhead.entered() as store:
        assert store == "the store"


def test_while_a_process_starts_one_opens_the_store_and_nobody_is_refused():
    """The first call takes longer than any other, and the others come at the same time."""
    openings = []

    def opening():
        openings.append(1)
        time.sleep(0.8)  # as long as importing a database's library may take
        return "the store"

    bulkhead = Bulkhead(opening, 4)

    def call(_):
        with bulkhead.entered() as store:
            return store

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, range(4))) == ["the store"] * 4
    assert openings == [1]


def test_a_store_that_does_not_open_holds_one_call_and_refuses_the_others_in_time(monkeypatch):
    """Nobody waits for several attempts to open it, one after another."""
    monkeypatch.setattr("shared.stores.bulkhead._STARTING_SECONDS", 0.6)
    let_go, opening = threading.Event(), threading.Event()

    def stuck():
        opening.set()
        let_go.wait(20)
        raise UnavailableError("the database did not answer in time")

    bulkhead = Bulkhead(stuck, 8)

    def call():
        with bulkhead.entered():
            pass

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(call)
        assert opening.wait(20)
        assert refused(bulkhead) < 1
        assert refused(bulkhead) < 0.1
        let_go.set()
        assert isinstance(first.exception(20), UnavailableError)


def test_sixteen_clients_on_eight_threads_never_see_it(serve):
    """Normal service: more clients than places, and not one refusal."""
    running = serve("store_result", THREADS="8")

    history = run_clients(running.port, 1000, lambda chance: None, clients=16)

    assert history.answers == {201: 1000}
