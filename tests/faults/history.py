"""Many clients store results while faults are injected; afterwards the store is held to what they were told.

Each call ends acknowledged (201), refused (4xx) or unknown (given up after errors). A result that was acknowledged must
be found once, as it was sent; an unknown one may be found once or not at all; nothing else may be there.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.ports import ResultStore
from shared.records import Position, ResultQuery

_ANSWER_SECONDS = 30
_PATIENCE_SECONDS = 60


@dataclass
class History:
    """What the clients were told.

    Attributes:
        acknowledged: The id of each key that was.
        unknown: Keys whose clients gave up.
        refused: The answers that were no fault of a store.
        answers: How many there were of each status; 0 stands for a connection that broke.
    """

    acknowledged: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    refused: list[tuple[int, bytes]] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)


def run_clients(port: int, count: int, fault: Callable[[random.Random], None], *, clients=32, every=250) -> History:
    """Store `count` results, each under a key of its own and tried until it is acknowledged.

    Args:
        fault: Called with a seeded generator each time that many more were acknowledged, beside the clients.
        every: That many.
    """
    history, lock, due = History(), threading.Lock(), threading.Semaphore(0)
    done = threading.Event()

    def inject() -> None:
        chance = random.Random(4)
        while True:
            due.acquire()
            if done.is_set():
                return
            fault(chance)

    def store(numbers: range) -> None:
        connection = _Client(port)
        for number in numbers:
            key, told = f"key-{number}", None
            give_up_at = time.monotonic() + _PATIENCE_SECONDS
            while time.monotonic() < give_up_at:
                status, body = connection.post(key, body_of(number))
                with lock:
                    history.answers[status] += 1
                if status == 201:
                    told = json.loads(body)["id"]
                    break
                if status not in (0, 503):
                    history.refused.append((status, body))
                    break
            with lock:
                if told is None:
                    history.unknown.add(key)
                else:
                    history.acknowledged[key] = told
                if len(history.acknowledged) % every == 0:
                    due.release()
        connection.close()

    injector = threading.Thread(target=inject)
    injector.start()
    try:
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(store, [range(first, count, clients) for first in range(clients)]))
    finally:
        done.set()
        due.release()
        injector.join()
    return history


def check(history: History, store: ResultStore) -> None:
    """Hold a store to a history.

    Raises:
        AssertionError: Something acknowledged is missing, changed or there twice, or nobody sent what is there.
    """
    found: Counter[str] = Counter()
    wrong, after, now = [], None, datetime.now(UTC)
    while page := store.list_results(ResultQuery(order="asc"), after=after, limit=500, now=now):
        for result in page:
            key = result.request_id or ""
            found[key] += 1
            number = int(key.removeprefix("key-"))
            sent = json.loads(body_of(number))
            if (json.loads(result.instances), json.loads(result.predictions)) != (
                sent["instances"],
                sent["predictions"],
            ):
                wrong.append(key)
            if history.acknowledged.get(key, result.id) != result.id:
                wrong.append(key)
        after = Position(page[-1].created_at, page[-1].id)
    assert history.refused == []
    assert wrong == []
    assert [key for key, times in found.items() if times > 1] == []
    assert history.acknowledged.keys() - found.keys() == set()
    assert found.keys() - history.acknowledged.keys() <= history.unknown


def body_of(number: int) -> bytes:
    """Return the request of one number: no two are alike."""
    predictions = [{"digit": number % 10, "probabilities": [number / 7, 0.5]}]
    return json.dumps(
        {"model": "digits", "version": "1", "instances": [[number, [number, "é"]]], "predictions": predictions}
    ).encode()


class _Client:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def post(self, key: str, body: bytes) -> tuple[int, bytes]:
        """Send one request; status 0 if the connection broke before there was an answer."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        try:
            self._connection.request("POST", "/", body, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            return 0, b""
