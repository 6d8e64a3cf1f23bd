"""A closed-loop HTTP client: N connections, each sending its next request when its last one is answered.

One thread and one selector over raw sockets, because the client runs on the processor it measures.
"""

import math
import selectors
import time
from collections.abc import Callable

from .calls import Call, Load
from .errors import MeasurementError
from .lane import ANSWER_SECONDS, Address, Lane


def run_load(
    address: Address,
    next_call: Callable[[], Call],
    *,
    connections: int,
    seconds: float,
    max_requests: int | None = None,
) -> Load:
    """Send requests until the time or their number is up, and wait for the answers under way.

    Args:
        address: Host and port.
        next_call: Makes the next request.
        connections: How many are kept busy, 1 or more.
        seconds: After this long no further request is sent.
        max_requests: Nor after this many; None: no such bound.

    Raises:
        WrongAnswerError: An answer was not the right one; nothing more is sent.
        MeasurementError: The server cannot be reached, is silent for 30 s, or gave no right answer at all.
    """
    load = Load()
    left = math.inf if max_requests is None else max_requests
    with selectors.DefaultSelector() as selector:
        lanes = [Lane(address, selector, load) for _ in range(connections)]
        started = last_answer = time.perf_counter()
        try:
            for lane in lanes:
                if left > 0:
                    left -= 1
                    lane.send(next_call())
                else:
                    lane.close()
            while selector.get_map():
                for lane, events in _ready(selector, address):
                    if lane.go_on(events):
                        last_answer = time.perf_counter()
                        if left > 0 and last_answer - started < seconds:
                            left -= 1
                            lane.send(next_call())
                        else:
                            lane.close()
        finally:
            for lane in lanes:
                lane.close()
    load.seconds = last_answer - started
    if not load.latencies_seconds:
        raise MeasurementError(f"{_name(address)}: no request of {load.errors} was answered")
    return load


def _ready(selector: selectors.BaseSelector, address: Address) -> list[tuple[Lane, int]]:
    events = selector.select(ANSWER_SECONDS)
    if not events:
        raise MeasurementError(f"{_name(address)}: no answer within {ANSWER_SECONDS:.0f} s")
    return [(key.data, found) for key, found in events]


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
