"""How every store must list runs and what they wrote, and forget them."""

import pytest

from shared.errors import InvalidRequestError
from shared.runs import RunQuery
from tests.contract.factories import NOW, a_run, claim, enqueue, some_parts
from tests.contract.run_contract import rows_of

KEYS = ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"]
JOBS = ["drift", "nightly"]
STATES = ["queued", "running", "success", "failed", "missed"]


def run_pages(list_page, query, limit, after=None):
    """Return the places of everything a query means, page by page as a caller walks them."""
    found = []
    while page := list_page(query, after=after, limit=limit):
        found += [(item.key, item.job) for item in page]
        after = found[-1]
    return found


def _bring_to(store, run, state):
    """Have a run in a state."""
    if state == "queued":
        enqueue(store, run)
    elif state == "missed":
        store.mark_deadline_missed(run, now=NOW)
    else:
        held = claim(store, run).run
        if state == "success":
            store.finish_run(held, [{"key": run.key}], now=NOW)
        elif state == "failed":
            store.fail_run(held, "no", retry_at=None, now=NOW)


class RunListContract:
    """Runs in order, in pages, and no longer than they are wanted."""

    @pytest.mark.parametrize("limit", [1, 2, 50])
    def test_runs_and_summaries_list_newest_first_in_pages(self, store, limit):
        """Newest key first, then by job; pages meet without a gap; every filter is half open."""
        for key in KEYS:
            for job in JOBS:
                store.finish_run(claim(store, a_run(key, job)).run, [{"key": key, "job": job}], now=NOW)
        claim(store, a_run("2026-11-22"))
        queries = [
            RunQuery(job, since, until)
            for job in (None, "nightly", "nobody")
            for since in (None, "2026-11-19")
            for until in (None, "2026-11-21")
        ]

        for query in queries:
            meant = [
                (key, job)
                for key in reversed(KEYS)
                for job in JOBS
                if query.job in (None, job) and (query.since_key or "") <= key < (query.until_key or "9")
            ]
            running = [("2026-11-22", "nightly")] if query.job in (None, "nightly") and not query.until_key else []
            assert run_pages(store.list_runs, query, limit) == running + meant
            assert run_pages(store.list_summaries, query, limit) == meant

    @pytest.mark.parametrize("oldest_first", [False, True])
    def test_runs_in_one_state_list_both_ways(self, store, oldest_first):
        """Of one job; every filter is half open, and pages meet without a gap."""
        for n, key in enumerate(f"2026-11-{day:02}" for day in range(1, 16)):
            for job in JOBS:
                _bring_to(store, a_run(key, job), STATES[n % 5])

        for n, state in enumerate(STATES):
            days = [f"2026-11-{day:02}" for day in range(n + 1, 16, 5)]
            for since, until in ((None, None), (days[1], None), (None, days[1]), (days[1], days[2])):
                query = RunQuery("drift", since, until, state, oldest_first)
                meant = [(day, "drift") for day in days if (since or "") <= day < (until or "9")]
                meant = meant if oldest_first else meant[::-1]
                for limit in (1, 2, 50):
                    assert run_pages(store.list_runs, query, limit) == meant
            whole = RunQuery("drift", None, None, state, oldest_first)
            beyond = [(days[2], "drift")] if oldest_first else [(days[0], "drift")]
            here = [(days[1], "drift")]
            # The position may be of another job: by key first, and then by job.
            before_here, after_here = ("aaa", "zzz") if not oldest_first else ("zzz", "aaa")
            assert run_pages(store.list_runs, whole, 9, (days[1], before_here)) == here + beyond
            assert run_pages(store.list_runs, whole, 9, (days[1], after_here)) == beyond

    @pytest.mark.parametrize(
        "query", [RunQuery(state="queued"), RunQuery(oldest_first=True), RunQuery(job="nightly", oldest_first=True)]
    )
    def test_a_list_that_nobody_declared_is_refused(self, store, query):
        """Everywhere, as in the database that has no index for it."""
        for list_page in (store.list_runs, store.list_summaries):
            with pytest.raises(InvalidRequestError) as raised:
                list_page(query, after=None, limit=9)
            assert raised.value.reason == "UNDECLARED_QUERY"

    @pytest.mark.parametrize(
        "query", [RunQuery(job="nightly", state="success"), RunQuery("nightly", state="success", oldest_first=True)]
    )
    def test_summaries_have_no_state(self, store, query):
        """They are of runs that succeeded, however those go on."""
        with pytest.raises(InvalidRequestError) as raised:
            store.list_summaries(query, after=None, limit=9)

        assert raised.value.reason == "UNDECLARED_QUERY"

    def test_old_runs_that_ended_are_forgotten_with_all_they_wrote(self, store):
        """The oldest first, and none that waits, is under way, or is of another job or a later key."""
        for n, key in enumerate(f"2026-11-{day:02}" for day in range(1, 16)):
            for job in JOBS:
                _bring_to(store, a_run(key, job), STATES[n % 5])

        counts = [store.prune_runs("nightly", before_key="2026-11-14", limit=limit) for limit in (0, 3, 99, 99)]

        left = [1, 2, 6, 7, 11, 12, 14, 15]
        assert counts == [0, 3, 4, 0]
        assert run_pages(store.list_runs, RunQuery("nightly"), 50) == [
            (f"2026-11-{day:02}", "nightly") for day in reversed(left)
        ]
        assert len(run_pages(store.list_runs, RunQuery("drift"), 50)) == 15
        assert run_pages(store.list_summaries, RunQuery("nightly"), 50) == []
        assert len(run_pages(store.list_summaries, RunQuery("drift"), 50)) == 3
        assert len(store.touch_job("nightly", now=NOW).active) == 3

    def test_what_is_pruned_begins_anew(self, store):
        """Nothing of it comes back: neither rows, nor parts, nor attempts."""
        for n in range(2):
            run = store.plan_parts(claim(store, reprocess="completed").run, some_parts())
            store.finish_run(run, [{"n": n}], now=NOW)

        assert store.prune_runs("nightly", before_key="2026-11-22", limit=9) == 1

        assert store.get_run("nightly", "2026-11-21") is None
        assert store.list_parts(run, partials=True) == []
        assert rows_of(store) == []
        again = claim(store).run
        assert (again.fence, len(again.attempts), again.generation) == (1, 1, None)
        assert rows_of(store) == []
        assert store.open_parts(store.plan_parts(again, some_parts(1))) == 1
