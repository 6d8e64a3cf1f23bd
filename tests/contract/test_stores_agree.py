"""Every store there is, driven side by side: whatever is asked, in whatever order, all give the same answer."""

import hashlib
import itertools
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from shared.errors import ServiceError
from shared.records import Position, ResultQuery
from shared.runs import Run, RunQuery
from shared.stores import open_store
from tests.contract.factories import LEASE, MICROSECOND, NOW, a_letter, a_result, a_run, some_parts
from tests.emulators import firestore, postgresql

# One PostgreSQL for these and for its own tests.
pytestmark = pytest.mark.xdist_group("postgresql")

_MOMENTS = st.sampled_from([NOW + n * MICROSECOND for n in (-3_600_000_000, -1, 0, 1, 2)])
_IDS = st.sampled_from(["a", "A", "a-", "b", "b-", "c", "d", "é", "ü", "z9"])
_MODELS, _VERSIONS = ["digits", "Digits"], ["1", "10", "2"]
_LABELS = [("run", "a"), ("run", "a=b"), ("run.a", "b"), ("who", "Zoë 🙂"), ("empty", "")]
_JOBS, _KEYS = ["nightly", "drift"], ["2026-11-20", "2026-11-21"]
# Before, at and after the end of a lease that began at NOW.
_NOWS = st.sampled_from([NOW, NOW + LEASE - MICROSECOND, NOW + LEASE])
_LIMITS = st.sampled_from([0, 1, 2, 3, 50])
_BODIES = ["[[1]]", '[{"deep":[[NaN]]}]', '"Zoë 🙂"']


def _maybe(values):
    return st.one_of(st.none(), values)


@st.composite
def _results(draw):
    result_id = draw(_IDS)
    # Seldom another body than the id's own: most batches are kept, and replay some of what is there.
    body = draw(st.sampled_from([*[_BODIES[len(result_id) % 2]] * 19, _BODIES[2]]))
    return a_result(
        id=result_id,
        created_at=draw(_MOMENTS),
        model=draw(st.sampled_from(_MODELS)),
        version=draw(st.sampled_from(_VERSIONS)),
        instances=body,
        predictions=body * draw(st.sampled_from([1, 1, 40])),
        payload_hash=hashlib.sha256(body.encode()).hexdigest(),
        labels=dict(draw(st.lists(st.sampled_from(_LABELS), max_size=2))),
        request_id=draw(_maybe(st.just("r"))),
        expires_at=draw(st.sampled_from([None, None, NOW, NOW + MICROSECOND])),
    )


@st.composite
def _result_queries(draw):
    model = draw(_maybe(st.sampled_from(_MODELS)))
    return ResultQuery(
        model=model,
        version=draw(_maybe(st.sampled_from(_VERSIONS))) if model else None,
        since=draw(_maybe(_MOMENTS)),
        until=draw(_maybe(_MOMENTS)),
        label=draw(_maybe(st.sampled_from(_LABELS))),
        order=draw(st.sampled_from(["desc", "asc"])),
    )


_POSITIONS = st.builds(Position, _MOMENTS, _IDS)
_RUNS = st.builds(
    a_run,
    key=st.sampled_from(_KEYS),
    job=st.sampled_from(_JOBS),
    trigger=st.sampled_from(["schedule", "backfill", "manual"]),
    params=st.sampled_from([{}, {"a": [1, None]}]),
    provisional=st.booleans(),
    max_active=st.sampled_from([None, None, 1]),
    deadline_at=_maybe(st.just(NOW)),
    code_version=st.sampled_from(["", "v1"]),
)
_REPROCESS = st.sampled_from(["none", "failed", "completed"])
_STATES = ["queued", "running", "success", "failed", "missed"]
_RUN_QUERIES = st.builds(
    RunQuery,
    job=_maybe(st.sampled_from(_JOBS)),
    since_key=_maybe(st.sampled_from(_KEYS)),
    until_key=_maybe(st.sampled_from(_KEYS)),
    state=st.sampled_from([None, *_STATES]),
    oldest_first=st.booleans(),
)
_RUN_POSITIONS = _maybe(st.tuples(st.sampled_from(_KEYS), st.sampled_from(_JOBS)))
_ROWS = st.sampled_from([[], [{"n": 1}], [{"b": {"z": 1, "a": 0.1}}, {"none": None}], [{"mean": float("nan")}]])
_PARTIALS = st.sampled_from([None, "", "[1]", '"Zoë 🙂"'])
_INDEXES = st.integers(0, 3)
_LETTERS = st.builds(
    a_letter,
    st.sampled_from(["a", "b", "é", "a/b", "\0"]),
    received_at=st.sampled_from([NOW, NOW + MICROSECOND]),
    body=st.sampled_from(["{", "\ud800"]),
)
_LETTER_POSITIONS = _maybe(st.tuples(st.sampled_from([NOW, NOW + MICROSECOND]), st.sampled_from(["a", "b", "c"])))


def outcome(ask, store):
    """Return what a store answers, or how it refuses."""
    try:
        return ask(store)
    except ServiceError as error:
        return type(error), error.reason, error.metadata, error.message
    except (ValueError, TypeError) as error:
        return type(error)


class _SideBySide(RuleBasedStateMachine):
    """One thing at a time is asked of all stores, and all must answer it alike."""

    def __init__(self, open_all):
        super().__init__()
        self._stack = ExitStack()
        self._stores = open_all(self._stack)

    def teardown(self):
        self._stack.close()

    def _agreed(self, ask):
        first, *others = ((name, outcome(ask, store)) for name, store in self._stores.items())
        for name, answer in others:
            assert answer == first[1], f"{name} and {first[0]} differ"
        return first[1]

    def _walk(self, ask, after_of, after):
        """Go from page to page as a caller does, each from where the last one ended."""
        for _ in range(5):
            page = self._agreed(lambda store, after=after: ask(store, after))
            if not isinstance(page, list) or not page:
                return
            after = after_of(page[-1])


class Results(_SideBySide):
    """Results: created, replayed and refused, found by id, in pages, and counted."""

    @rule(batch=st.lists(_results(), min_size=1, max_size=6))
    def create(self, batch):
        self._agreed(lambda store: store.create_results(batch))

    @rule(result_id=_IDS, now=st.sampled_from([NOW, NOW + MICROSECOND]), payloads=st.booleans())
    def get(self, result_id, now, payloads):
        self._agreed(lambda store: store.get_result(result_id, now, payloads=payloads))

    @rule(
        query=_result_queries(),
        after=_maybe(_POSITIONS),
        limit=_LIMITS,
        max_chars=st.sampled_from([None, None, 10, 200]),
        payloads=st.booleans(),
    )
    def walk(self, query, after, limit, max_chars, payloads):
        self._walk(
            lambda store, after: store.list_results(
                query, after=after, limit=limit, now=NOW, max_chars=max_chars, payloads=payloads
            ),
            lambda result: Position(result.created_at, result.id),
            after,
        )

    @rule(query=_result_queries())
    def count(self, query):
        self._agreed(lambda store: store.count_results(query))

    @rule(start=_MOMENTS, end=_MOMENTS)
    def read_summaries(self, start, end):
        self._agreed(lambda store: list(store.read_summaries(start, end)))


class Runs(_SideBySide):
    """Runs: claimed, finished and failed by whoever holds them or thinks so, and listed with what they wrote."""

    def __init__(self, open_all):
        super().__init__(open_all)
        self._seen = []

    def _pick(self, number):
        """Return a run as somebody saw it lately; whoever was not granted it may try all the same."""
        return self._seen[-1 - number % len(self._seen)]

    def _keep(self, answer):
        """Keep a run that a store answered with, if it was not refused."""
        if isinstance(answer, Run):
            self._seen.append(answer)

    @rule(wanted=_RUNS, now=_NOWS, max_active=st.sampled_from([1, 2]), reprocess=_REPROCESS)
    def claim(self, wanted, now, max_active, reprocess):
        answer = self._agreed(
            lambda store: store.claim_run(wanted, now=now, lease=LEASE, max_active=max_active, reprocess=reprocess)
        )
        self._keep(answer.run)

    @rule(wanted=_RUNS, now=_NOWS, reprocess=_REPROCESS)
    def enqueue(self, wanted, now, reprocess):
        self._keep(self._agreed(lambda store: store.enqueue_run(wanted, now=now, reprocess=reprocess)).run)

    @rule(wanted=_RUNS, now=_NOWS)
    def mark_deadline_missed(self, wanted, now):
        self._agreed(lambda store: store.mark_deadline_missed(wanted, now=now))

    @precondition(lambda self: self._seen)
    @rule(number=st.integers(0, 3), rows=_ROWS, now=_NOWS)
    def finish(self, number, rows, now):
        run = replace(self._pick(number), output={"rows": len(rows)})
        self._agreed(lambda store: store.finish_run(run, rows, now=now))

    @precondition(lambda self: self._seen)
    @rule(number=st.integers(0, 3), retry_at=_maybe(_NOWS), now=_NOWS)
    def fail(self, number, retry_at, now):
        run = self._pick(number)
        self._agreed(lambda store: store.fail_run(run, "Broken: \0 pipe", retry_at=retry_at, now=now))

    @precondition(lambda self: self._seen)
    @rule(number=st.integers(0, 3), now=_NOWS, again=st.booleans())
    def renew_or_requeue(self, number, now, again):
        run = self._pick(number)
        self._keep(
            self._agreed(
                lambda store: store.requeue_run(run, now=now) if again else store.renew_run(run, now=now, lease=LEASE)
            )
        )

    @rule(job=st.sampled_from(_JOBS), paused=st.booleans(), now=_NOWS)
    def pause(self, job, paused, now):
        self._agreed(lambda store: store.set_paused(job, paused=paused and now == NOW, now=now))

    @rule(job=st.sampled_from([*_JOBS, "nobody"]), now=_NOWS)
    def touch(self, job, now):
        self._agreed(lambda store: store.touch_job(job, now=now))

    @rule(job=st.sampled_from(_JOBS), before_key=st.sampled_from([*_KEYS, "3"]), limit=st.sampled_from([0, 1, 9]))
    def prune(self, job, before_key, limit):
        self._agreed(lambda store: store.prune_runs(job, before_key=before_key, limit=limit))

    @rule(query=_RUN_QUERIES, after=_RUN_POSITIONS, limit=_LIMITS)
    def walk(self, query, after, limit):
        for runs in (True, False):
            self._walk(
                lambda store, after, runs=runs: (store.list_runs if runs else store.list_summaries)(
                    query, after=after, limit=limit
                ),
                lambda item: (item.key, item.job),
                after,
            )

    @rule(job=st.sampled_from([*_JOBS, "nobody"]), key=st.sampled_from(_KEYS))
    def get_run(self, job, key):
        self._agreed(lambda store: store.get_run(job, key))


class Parts(_SideBySide):
    """One run in parts: planned, worked on by whoever has or had a slice, begun again and ended."""

    @initialize()
    def begin(self):
        self._seen = []
        self.claim(NOW, {}, "none")
        self.plan_parts(0, 3)

    def _pick(self, number):
        return self._seen[-1 - number % len(self._seen)]

    def _keep(self, answer):
        if isinstance(answer, Run):
            self._seen.append(answer)

    @rule(now=_NOWS, params=st.sampled_from([{}, {}, {"a": 1}]), reprocess=_REPROCESS)
    def claim(self, now, params, reprocess):
        wanted = a_run(params=params, trigger="manual" if params else "schedule")
        self._keep(
            self._agreed(
                lambda store: store.claim_run(wanted, now=now, lease=LEASE, max_active=1, reprocess=reprocess)
            ).run
        )

    @rule(number=st.integers(0, 2), count=st.integers(0, 3))
    def plan_parts(self, number, count):
        run = self._pick(number)
        self._keep(self._agreed(lambda store: store.plan_parts(run, some_parts(count) if count else [])))

    @rule(number=st.integers(0, 2), index=_INDEXES, partial=_PARTIALS)
    def finish_part(self, number, index, partial):
        run, part = self._pick(number), replace(some_parts(4)[index], partial=partial, documents=index)
        self._agreed(lambda store: store.finish_part(run, part))

    @rule(number=st.integers(0, 2), index=_INDEXES)
    def fail_part(self, number, index):
        run = self._pick(number)
        self._agreed(lambda store: store.fail_part(run, index, "no \ud800"))

    @rule(number=st.integers(0, 2), index=_INDEXES, partials=st.booleans())
    def look(self, number, index, partials):
        run = self._pick(number)
        self._agreed(
            lambda store: (store.list_parts(run, partials=partials), store.get_part(run, index), store.open_parts(run))
        )

    @rule(number=st.integers(0, 2), retry_at=_maybe(st.just(NOW)))
    def fail(self, number, retry_at):
        run = self._pick(number)
        self._keep(self._agreed(lambda store: store.fail_run(run, "no", retry_at=retry_at, now=NOW)))


class Letters(_SideBySide):
    """Dead letters: recorded once, and listed."""

    @rule(letter=_LETTERS)
    def record(self, letter):
        self._agreed(lambda store: store.record_dead_letter(letter))

    @rule(after=_LETTER_POSITIONS, limit=_LIMITS)
    def walk(self, after, limit):
        self._walk(
            lambda store, after: store.list_dead_letters(after=after, limit=limit),
            lambda letter: (letter.received_at, letter.id),
            after,
        )


@pytest.fixture
def open_all(request, tmp_path):
    """Return what opens an empty store of each kind there is, to be closed by the stack it is given."""
    servers = {}
    if not firestore.missing():
        servers["Firestore"] = request.getfixturevalue("firestore")
    if not postgresql.missing():
        servers["PostgreSQL"] = request.getfixturevalue("running_postgresql")
    if not servers:
        pytest.skip("NOT TESTED: that stores agree: there is none but SQLite here")
    numbers = itertools.count()

    def open_(stack):
        urls = {"SQLite": f"sqlite:///{tmp_path}/{next(numbers)}.db"}
        if "Firestore" in servers:
            urls["Firestore"] = servers["Firestore"].new_url()
            urls["Firestore with 2 shards"] = servers["Firestore"].new_url("?shards=2")
        if "PostgreSQL" in servers:
            database = servers["PostgreSQL"].new_database()
            stack.callback(servers["PostgreSQL"].drop, database)
            urls["PostgreSQL"] = servers["PostgreSQL"].url(database)
        stores = {name: open_store(url) for name, url in urls.items()}
        for store in stores.values():
            stack.callback(store.close)
        return stores

    return open_


@pytest.mark.parametrize("machine", [Results, Runs, Parts, Letters])
def test_all_stores_give_the_same_answers(open_all, machine):
    """Whoever moves from a laptop to the cloud notices nothing."""
    # Nothing is shrunk: that would open these databases hundreds of times, and the steps are printed as they are.
    bounds = settings(
        max_examples=10,
        stateful_step_count=40,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
    )
    run_state_machine_as_test(lambda: machine(open_all), settings=bounds)
