"""Acceptance test 3: kill -9 at every step, until none is left to be killed at; what is delivered again makes it good.

A real process is killed, before and after each call it makes of its store and its topic. Nothing in the code that is
tested knows of it. After the lease what was not answered is delivered to another process, and the reconciler ticks.
"""

from itertools import count

import pytest


@pytest.mark.parametrize(
    ("name", "least"), [("inline", 9), ("fan-out", 30), ("chain", 20), ("backfill", 25), ("reconcile", 60)]
)
def test_03_killed_at_any_step_the_night_ends_the_same(start_night, name, least):
    """Rows, runs and marks are those of a night that nothing disturbed; each run succeeded once and none is left."""
    undisturbed = start_night(name)
    assert not undisturbed.run()
    expected = undisturbed.outcome()

    for step in count(1):
        night = start_night(name)
        killed = night.run("kill", step)
        assert night.outcome() == expected, f"killed at step {step}"
        if not killed:
            break

    assert step > least
