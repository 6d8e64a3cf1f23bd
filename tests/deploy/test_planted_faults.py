"""Faults planted in deployment/: a step left out, an order turned round, a flag dropped. Each is found.

Each starts from the created environment, of which what the fault is about was taken away or is to change; the same
without a fault is the first test. A fault is found when the run fails, or when what it left is not what it is to be.
"""

import re
from dataclasses import dataclass

import pytest

from tests.deploy.deployed import Deployed, check_calls, check_release
from tests.deploy.rehearsing import STAGING, make_impatient, replace_in

_MESSAGES = (r"//pubsub\..*/(topics|subscriptions)/.*",)
_PUSHES = (r"//pubsub\..*/subscriptions/(nightly-transform|store-result)",)
_PUBSUB = (*_MESSAGES, r"//serviceusage\..*staging/services/pubsub\..*", r"//serviceagents/.*@gcp-sa-pubsub\..*")
_BUCKET = (r"//storage\..*-nightshift-objects",)
_SECRET = (r"//secretmanager\..*",)
_SCHEDULE = (r"//cloudscheduler\..*",)
_FUNCTION = (r"//run\..*/(services|revisions)/list-results.*",)
_ACCOUNT = (*_FUNCTION, r"//iam\..*/nightshift-list-results@.*")


@dataclass(frozen=True)
class Fault:
    """A change of deployment/, and where it shows.

    Attributes:
        file: In deployment/.
        changes: What stands there once, and what is put in its place.
        lost: What the environment is without, as patterns of full names.
        callers: Nobody may call predict any more, but everybody.
        released: A setting of list-results changes.
    """

    file: str
    changes: dict[str, str]
    lost: tuple[str, ...] = ()
    callers: bool = False
    released: bool = False


_BEFORE = "    make_changes(out, planner, plan.before)\n"
_AFTER = "    make_changes(out, planner, plan.after)\n"
_DEPLOY = "    release.deploy(deployed, lambda change: make_changes(out, planner, [change]))\n"
_TRY = '        self._try(candidates, before, "before it gets traffic")\n'
_AGAIN = '            self._try(urls, before, "with its traffic")\n'
FAULTS = {
    "no topics": Fault("resources/__init__.py", {"    yield from topic_changes(names, present)\n": ""}, _MESSAGES),
    "no account for Pub/Sub": Fault(
        "resources/topics.py", {'if any(grant.kind == "create" for grant in grants):': "if False:"}, _PUBSUB
    ),
    "functions before their accounts": Fault("making.py", {_BEFORE: "", _DEPLOY: _DEPLOY + _BEFORE}, _ACCOUNT),
    "pushes before their topics": Fault("making.py", {_AFTER: "", _BEFORE: _AFTER + _BEFORE}, _MESSAGES),
    "no dead letters": Fault(
        "resources/subscriptions.py",
        {'        "dead-letter-topic": f"projects/{names.project}/topics/{topic}-{DEAD_LETTERS}",\n': ""},
        _PUSHES,
    ),
    "pushes without a token": Fault(
        "resources/subscriptions.py", {'        "push-auth-service-account": names.account("push"),\n': ""}, _PUSHES
    ),
    "a bucket that could be public": Fault("resources/buckets.py", {', "--public-access-prevention"': ""}, _BUCKET),
    "no schedules": Fault("planning.py", {", *self._schedule_changes(self.configuration.jobs)": ""}, _SCHEDULE),
    "nobody let in": Fault("planning.py", {"list(invoker_changes(names, present, released))": "[]"}, callers=True),
    "nobody put out": Fault("bindings.py", {"in (present | under_condition) - wanted if": "in () if"}, callers=True),
    "open to everybody": Fault("releases.py", {'"--no-allow-unauthenticated"': '"--allow-unauthenticated"'}, _FUNCTION),
    "run as nobody": Fault("run_settings.py", {', "service-account", "ingress")': ', "ingress")'}, _FUNCTION),
    "THREADS is not said": Fault("run_settings.py", {', "THREADS": str(service.concurrency)': ""}, _FUNCTION),
    "traffic at once": Fault(
        "releases.py", {'("--no-traffic", f"--tag={CANDIDATE}")': '(f"--tag={CANDIDATE}",)'}, released=True
    ),
    "traffic before it is tried": Fault("release.py", {_TRY: "", _AGAIN: f"    {_TRY}{_AGAIN}"}, released=True),
    "nothing tried": Fault("release.py", {"in self._smoke.try_all(urls, audiences)": "in ()"}, released=True),
    "strangers not tried": Fault(
        "smoke.py", {"status = self._caller.status_for_strangers(where)": "status = 403"}, released=True
    ),
}


def test_without_a_fault_all_of_it_is_made_again(staging):
    """Whatever a fault below is shown with is made, and found to be as it is to be."""
    _take_away(staging, {name for fault in FAULTS.values() for name in fault.lost}, callers=True)
    assert _found(staging, released=False) is None


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_found(staging, changed_repository, kind):
    """By the run itself, or by what it left."""
    fault = FAULTS[kind]
    staging.repository = changed_repository()
    make_impatient(staging.repository)
    for old, new in fault.changes.items():
        replace_in(staging.repository / "deployment" / fault.file, old, new)
    _take_away(staging, fault.lost, callers=fault.callers)
    if fault.released:
        staging.set("staging", MEMORY_LIST_RESULTS="1Gi")
    found = _found(staging, released=fault.released)
    assert found, f"{kind}: nothing was found"
    assert "SyntaxError" not in found
    assert "Traceback" not in found, found


def _take_away(rehearsed, patterns, *, callers):
    state = rehearsed.state
    there = set(state["resources"])
    for pattern in patterns:
        names = {name for name in there if re.fullmatch(pattern, name)}
        assert names, f"nothing is like {pattern}"
        for kind in state.values():
            if isinstance(kind, dict):
                for name in names & kind.keys():
                    del kind[name]
    if callers:
        predict = f"//run.googleapis.com/projects/{STAGING}/locations/europe-west1/services/predict"
        state["policies"][predict]["bindings"] = [{"role": "roles/run.invoker", "members": ["allUsers"]}]
    rehearsed.keep(state)


def _found(rehearsed, *, released):
    """Deploy, and return what was found to be wrong."""
    run = rehearsed.run("staging", "--yes", "--only", "list-results")
    if run.code:
        return f"exit code {run.code}: {run.errors}"
    try:
        check_calls(run.calls)
        if released:
            check_release(run, "list-results")
        else:
            Deployed(rehearsed.state, rehearsed.repository).check()
    except (AssertionError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None
