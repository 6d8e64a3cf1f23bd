"""The history checker itself: a store that lies is found out."""

import json
from dataclasses import replace

import pytest

from tests.contract.factories import a_result
from tests.faults.history import History, body_of, check


class Listed:
    """A store that lists what it is given."""

    def __init__(self, results):
        self._results = results

    def list_results(self, query, *, after, limit, now):
        """Return everything at once."""
        return [] if after else self._results


def stored(number, **changes):
    """Return the result of one number as an honest store keeps it."""
    sent = json.loads(body_of(number))
    texts = {name: json.dumps(sent[name]) for name in ("instances", "predictions")}
    return replace(a_result(id=f"id-{number}", request_id=f"key-{number}", **texts), **changes)


def test_an_honest_store_passes():
    """What was acknowledged is there once; what is unknown may be there or not."""
    history = History({"key-1": "id-1", "key-2": "id-2"}, unknown={"key-3", "key-4"})

    check(history, Listed([stored(1), stored(2), stored(3)]))


@pytest.mark.parametrize(
    "results",
    [
        [stored(1)],
        [stored(1), stored(2), replace(stored(2), id="other")],
        [stored(1), replace(stored(2), id="other")],
        [stored(1), replace(stored(2), instances="[]")],
        [stored(1), replace(stored(2), predictions=stored(1).predictions)],
        [stored(1), stored(2), stored(9)],
    ],
    ids=["lost", "twice", "another id", "instances changed", "predictions changed", "invented"],
)
def test_a_store_that_lies_is_found_out(results):
    """Each way of losing, doubling, changing or inventing a result."""
    history = History({"key-1": "id-1", "key-2": "id-2"})

    with pytest.raises(AssertionError):
        check(history, Listed(results))


def test_a_refusal_is_no_answer_to_a_fault():
    """A store that is away is 503, never the caller's fault."""
    with pytest.raises(AssertionError):
        check(History(refused=[(422, b"")]), Listed([]))
