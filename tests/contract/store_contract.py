"""What every store must do, whichever database is behind it: a base class for one test class per database."""

import hashlib
import json
import random
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConflictError, IdempotencyError
from shared.records import PayloadObject, Position, ResultQuery, RunQuery
from tests.contract.factories import LEASE, NOW, a_result, a_run, claim, in_parallel

MICROSECOND = timedelta(microseconds=1)


def pages(store, query, page_size, now=NOW):
    """Return every result of a query, page by page as a caller walks them."""
    found, after = [], None
    while page := store.list_results(query, after=after, limit=page_size, now=now):
        found += page
        after = Position(page[-1].created_at, page[-1].id)
    return found


def matches(query, result):
    """Say whether a query means a result: the naive model that stores are held to."""
    return (
        query.model in (None, result.model)
        and query.version in (None, result.version)
        and (query.label is None or result.labels.get(query.label[0]) == query.label[1])
        and (query.since is None or result.created_at >= query.since)
        and (query.until is None or result.created_at < query.until)
    )


_MOMENTS = [NOW + timedelta(microseconds=step) for step in (-3_600_000_000, -1, 0, 1, 2)]
_MODELS, _VERSIONS = ["digits", "Digits", "digits "], ["1", "2", "10"]
_LABELS = [("run", "a"), ("run", "A"), ("run", "a=b"), ("run.a", "b"), ("who", "Zoë 🙂"), ("empty", "")]


def _crowd(seed):
    """Return results that agree in every way a filter can tell apart, often at the same microsecond."""
    chance = random.Random(seed)
    return [
        a_result(
            id=hashlib.md5(b"%d %d" % (seed, number)).hexdigest(),
            created_at=chance.choice(_MOMENTS),
            model=chance.choice(_MODELS),
            version=chance.choice(_VERSIONS),
            labels=dict(chance.sample(_LABELS, chance.randrange(3))),
            expires_at=chance.choice([None, None, NOW, NOW + MICROSECOND]),
        )
        for number in range(150)
    ]


@st.composite
def _queries(draw):
    model = draw(st.sampled_from([None, *_MODELS, "other"]))
    return ResultQuery(
        model=model,
        version=draw(st.sampled_from([None, *_VERSIONS])) if model else None,
        since=draw(st.sampled_from([None, *_MOMENTS])),
        until=draw(st.sampled_from([None, *_MOMENTS])),
        label=draw(st.sampled_from([None, *_LABELS, ("run", "other")])),
        order=draw(st.sampled_from(["desc", "asc"])),
    )


class ResultContract:
    """Results: append-only, found again by id or by a declared query."""

    def test_a_result_comes_back_as_it_was_stored(self, store):
        """Every field is kept, times to the microsecond, and what was created is not called a replay."""
        result = a_result(
            created_at=NOW + MICROSECOND, labels={"who": "Zoë"}, request_id="r-1", expires_at=NOW + timedelta(days=1)
        )

        (stored,) = store.create_results([result])

        assert (stored.result, stored.replayed) == (result, False)
        assert store.get_result(result.id, NOW) == result
        assert store.list_results(ResultQuery(), after=None, limit=9, now=NOW) == [result]

    def test_an_id_that_is_not_there_is_none(self, store):
        """Getting does not raise, whatever the id looks like."""
        store.create_results([a_result()])

        assert [store.get_result(i, NOW) for i in ("a", "", "a/b", "__x__", "\0", "'; drop table results")] == [
            None
        ] * 6

    @pytest.mark.parametrize(
        "payload",
        [
            '{"b": NaN, "a": [Infinity, -Infinity, 1e999]}',
            "[123456789012345678901234567890, 1.10, 1E+2, -0.0]",
            '"Zo\u00eb \U0001f642 \u202e \\ud800 \\u0000 \u2028"',
            " [ 1 ,\r\n\t2 ] ",
            "[" * 500 + "]" * 500,
            '"' + "\u00e9x" * 2_500_000 + '"',
        ],
        ids=["non-finite", "numbers", "text", "space", "deep", "5 MB"],
    )
    def test_payloads_come_back_character_for_character(self, store, payload):
        """A payload is text to the store, never parsed and written again."""
        result = a_result(instances=payload, predictions=payload)
        store.create_results([result])

        found = store.get_result(result.id, NOW)

        assert found.instances == payload
        assert found.predictions == payload

    def test_the_same_id_with_the_same_payload_is_a_replay(self, store):
        """A replay answers what the store holds, not what came the second time."""
        result = a_result(labels={"a": "b"})
        store.create_results([result])

        (again,) = store.create_results([replace(result, created_at=NOW + timedelta(hours=1))])

        assert (again.replayed, again.result) == (True, result)
        assert store.count_results(ResultQuery()) == 1

    def test_the_same_id_with_another_payload_is_refused_and_nothing_is_kept(self, store):
        """One reused key fails the whole batch and names its index."""
        result = a_result()
        store.create_results([result])

        with pytest.raises(IdempotencyError) as raised:
            store.create_results([a_result(), a_result(labels={"a": "b"}), replace(result, payload_hash="other")])

        assert raised.value.metadata == {"index": "2"}
        assert store.list_results(ResultQuery(), after=None, limit=9, now=NOW) == [result]
        assert store.count_results(ResultQuery(label=("a", "b"))) == 0

    def test_an_id_twice_in_one_batch_is_kept_once(self, store):
        """Within a batch the first keeps and the second replays."""
        result, other = a_result(), a_result()

        stored = store.create_results([result, other, replace(result, created_at=NOW + MICROSECOND)])

        assert [item.replayed for item in stored] == [False, False, True]
        assert [item.result for item in stored] == [result, other, result]
        assert store.count_results(ResultQuery()) == 2

    def test_an_id_twice_in_one_batch_with_two_payloads_is_refused(self, store):
        """A batch may not contradict itself either."""
        result = a_result()

        with pytest.raises(IdempotencyError) as raised:
            store.create_results([a_result(), result, replace(result, payload_hash="other")])

        assert raised.value.metadata == {"index": "2"}
        assert store.count_results(ResultQuery()) == 0

    def test_a_batch_of_500_is_kept_in_its_order(self, store):
        """The largest batch fits one call, replays mixed with new results."""
        results = [a_result(labels={"n": str(n)}) for n in range(500)]
        store.create_results(results[::2])

        stored = store.create_results(results)

        assert [item.result for item in stored] == results
        assert [item.replayed for item in stored] == [True, False] * 250

    def test_no_results_are_no_work(self, store):
        """An empty batch is not an error to a store."""
        assert store.create_results([]) == []

    def test_fifty_threads_creating_one_id_keep_one_row(self, store):
        """Of simultaneous creates one keeps and the others are told that they replay."""
        result = a_result()

        answers = in_parallel(
            50, lambda n: store.create_results([replace(result, created_at=NOW + n * MICROSECOND)])[0]
        )

        assert sum(not answer.replayed for answer in answers) == 1
        assert {answer.result for answer in map(_hashable, answers)} == {_hashable(answers[0]).result}
        assert store.count_results(ResultQuery()) == 1

    @pytest.mark.parametrize("page_size", [1, 7])
    @pytest.mark.parametrize("order", ["asc", "desc"])
    def test_pages_with_equal_times_neither_skip_nor_repeat_while_rows_arrive(self, store, order, page_size):
        """Every result that was there before the first page comes exactly once."""
        before = [a_result(created_at=NOW + MICROSECOND * (n // 10)) for n in range(30)]
        store.create_results(before)
        found, after = [], None

        while page := store.list_results(ResultQuery(order=order), after=after, limit=page_size, now=NOW):
            found += [result.id for result in page]
            after = Position(page[-1].created_at, page[-1].id)
            store.create_results([a_result(created_at=NOW + MICROSECOND)] if len(found) < 40 else [])

        assert len(found) == len(set(found))
        assert {result.id for result in before} <= set(found)

    def test_every_filter_means_what_it_says(self, store):
        """Filters, both orders, pages and counts agree with a model that looks at every result."""
        crowd = _crowd(seed=1)
        store.create_results(crowd)

        @settings(max_examples=150, deadline=None, database=None)
        @given(query=_queries(), page_size=st.sampled_from([3, 50, 500]))
        def check(query, page_size):
            meant = [result for result in crowd if matches(query, result)]
            shown = [result for result in meant if not result.expires_at or result.expires_at > NOW]
            shown.sort(key=lambda result: (result.created_at, result.id), reverse=query.order == "desc")

            assert pages(store, query, page_size) == shown
            assert store.count_results(query) == len(meant)

        check()

    def test_what_has_expired_is_hidden(self, store):
        """A result is gone from get and list at the very moment it expires."""
        result = a_result(expires_at=NOW)
        store.create_results([result])

        before, at = (
            [store.get_result(result.id, now), *store.list_results(ResultQuery(), after=None, limit=9, now=now)]
            for now in (NOW - MICROSECOND, NOW)
        )

        assert before == [result, result]
        assert at == [None]

    def test_a_list_stops_when_payloads_grow_long(self, store):
        """max_chars ends a list after the result that reaches it; the rest follows from there."""
        results = [
            a_result(created_at=NOW + n * MICROSECOND, instances="1" * size, predictions="2")
            for n, size in enumerate([10, 10, 500, 10])
        ]
        store.create_results(results)
        query = ResultQuery(order="asc")

        first = store.list_results(query, after=None, limit=9, now=NOW, max_chars=100)
        rest = store.list_results(
            query, after=Position(first[-1].created_at, first[-1].id), limit=9, now=NOW, max_chars=100
        )

        assert first == results[:3]
        assert rest == results[3:]

    def test_a_list_stops_at_the_very_length(self, store):
        """Reaching max_chars is enough; one character less is not."""
        results = [a_result(created_at=NOW + n * MICROSECOND, instances="1" * 30, predictions="2") for n in range(4)]
        store.create_results(results)

        counts = [
            len(store.list_results(ResultQuery(), after=None, limit=9, now=NOW, max_chars=max_chars))
            for max_chars in (1, 31, 32, 62, 63)
        ]

        assert counts == [1, 1, 2, 2, 3]

    def test_a_list_counts_characters_and_not_bytes(self, store):
        """Letters that take four bytes end a list no sooner than others do."""
        results = [
            a_result(created_at=NOW + n * MICROSECOND, instances='"' + "🙂" * 18 + '"', predictions="")
            for n in range(30)
        ]
        store.create_results(results)

        found = store.list_results(ResultQuery(order="asc"), after=None, limit=20, now=NOW, max_chars=230)

        assert found == results[:12]
        assert (
            store.list_results(ResultQuery(order="asc"), after=None, limit=20, now=NOW, max_chars=999) == results[:20]
        )

    def test_without_payloads_the_rest_comes_back(self, store):
        """Instances and predictions are empty then; everything else, and what is found, is the same."""
        held = PayloadObject(name="a/b", sha256="c", instances_bytes=1, size_bytes=2_000_000)
        results = [
            a_result(labels={"a": "b"}, expires_at=NOW + MICROSECOND),
            a_result(created_at=NOW + MICROSECOND, instances="", predictions="", payload_object=held),
        ]
        store.create_results(results)
        bare = [replace(result, instances="", predictions="") for result in results]

        assert store.list_results(ResultQuery(order="asc"), after=None, limit=9, now=NOW, payloads=False) == bare
        assert [store.get_result(result.id, NOW, payloads=False) for result in results] == bare
        assert store.list_results(ResultQuery(order="asc"), after=None, limit=9, now=NOW) == results

    def test_equal_times_are_in_the_order_of_the_bytes_of_the_id(self, store):
        """Not in the order of any language: every store walks the same way."""
        ids = ["A", "B", "a", "a-b", "aB", "ab", "b", "z", "é", "ü"]
        store.create_results([a_result(id=i) for i in reversed(ids)])

        assert [result.id for result in pages(store, ResultQuery(order="asc"), 3)] == ids
        assert [result.id for result in pages(store, ResultQuery(order="desc"), 3)] == ids[::-1]

    def test_the_longest_names_of_the_widest_letters_are_kept_and_found(self, store):
        """What store-result lets through fits every column and index."""
        longest = a_result(model="🙂" * 128, version="🙂" * 64, request_id="r" * 259, labels={"n" * 63: "🙂" * 256})
        store.create_results([longest])

        query = ResultQuery(longest.model, longest.version, label=("n" * 63, "🙂" * 256))

        assert pages(store, query, 5) == [longest]

    def test_summaries_come_in_order_across_many_equal_times(self, store):
        """Reading all summaries of an interval skips and repeats none, however many share a microsecond."""
        results = [
            a_result(created_at=NOW + MICROSECOND * (n // 1200), summary=json.dumps({"count": n}), version=str(n % 3))
            for n in range(2600)
        ]
        for start in range(0, len(results), 500):
            store.create_results(results[start : start + 500])

        documents = list(store.read_summaries(NOW, NOW + timedelta(seconds=1)))

        moments = [document.created_at for document in documents]
        assert moments == sorted(moments)
        assert sorted(document.summary["count"] for document in documents) == list(range(2600))
        assert {document.summary["count"] % 3 == int(document.version) for document in documents} == {True}

    def test_summaries_are_read_half_open(self, store):
        """A result at the start of an interval is in, one at its end is in the next."""
        moments = [NOW - MICROSECOND, NOW, NOW + timedelta(hours=1) - MICROSECOND, NOW + timedelta(hours=1)]
        store.create_results([a_result(created_at=moment) for moment in moments])

        documents = list(store.read_summaries(NOW, NOW + timedelta(hours=1)))

        assert [document.created_at for document in documents] == moments[1:3]

    def test_expired_results_still_count_for_jobs(self, store):
        """What a day held does not change because a payload went."""
        store.create_results([a_result(expires_at=NOW)])

        assert len(list(store.read_summaries(NOW, NOW + MICROSECOND))) == 1

    def test_times_far_from_now_are_exact(self, store):
        """Years 1 and 9999 sort and come back to the microsecond."""
        edges = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
        store.create_results([a_result(created_at=moment) for moment in edges])

        assert [result.created_at for result in pages(store, ResultQuery(order="asc"), 1)] == edges


class RunContract:
    """Runs and what they wrote: claimed with a lease, finished under a fence."""

    def test_a_first_claim_makes_the_run(self, store):
        """A run begins running, with its first attempt and fence, and comes back whole."""
        wanted = a_run()

        granted = claim(store, wanted)

        assert granted.granted
        assert granted.run == replace(
            wanted, state="running", attempt=1, fence=1, lease_expires_at=NOW + LEASE, started_at=NOW
        )
        assert store.get_run("nightly", "2026-11-21") == granted.run
        assert store.get_run("nightly", "2026-11-20") is None
        assert store.get_run("other", "2026-11-21") is None

    @pytest.mark.parametrize("force", [False, True])
    def test_a_live_lease_refuses_everybody_else(self, store, force):
        """Not even force takes a run from a worker that is alive."""
        first = claim(store)

        second = claim(store, now=NOW + LEASE - MICROSECOND, force=force)

        assert not second.granted
        assert second.run == first.run

    def test_a_dead_lease_is_taken_over_under_a_new_fence(self, store):
        """When the lease has run out the next claim counts a further attempt."""
        claim(store)

        second = claim(store, now=NOW + LEASE)

        assert second.granted
        assert (second.run.fence, second.run.attempt) == (2, 2)
        assert second.run.lease_expires_at == NOW + 2 * LEASE

    def test_a_worker_that_lost_its_lease_can_neither_finish_nor_fail(self, store):
        """The fence keeps a worker that woke up late from writing anything."""
        zombie = claim(store).run
        winner = claim(store, now=NOW + LEASE).run

        with pytest.raises(ConflictError, match="nothing was written"):
            store.finish_run(zombie, [{"from": "zombie"}], now=NOW + LEASE)
        with pytest.raises(ConflictError, match="nothing was written"):
            store.fail_run(zombie, "zombie", retry=True, now=NOW + LEASE)

        assert store.get_run("nightly", "2026-11-21") == winner
        assert store.list_summaries(RunQuery(), after=None, limit=9) == []

    def test_an_ended_run_cannot_be_ended_again(self, store):
        """One claim has one outcome."""
        run = claim(store).run
        store.finish_run(run, [{"n": 1}], now=NOW)

        with pytest.raises(ConflictError):
            store.finish_run(run, [{"n": 2}], now=NOW)
        with pytest.raises(ConflictError):
            store.fail_run(run, "late", retry=True, now=NOW)

        assert _rows(store) == [({"n": 1},)]

    def test_finishing_shows_the_rows(self, store):
        """Rows come back in order with the types JSON has; the run says success."""
        rows = [{"model": "b", "n": 2, "mean": 0.1, "classes": {"z": 1, "a": 2}}, {"model": "a", "none": None}]
        run = claim(store).run

        done = store.finish_run(replace(run, output={"rows": 2}), rows, now=NOW + MICROSECOND)

        assert (done.state, done.generation, done.lease_expires_at, done.ended_at) == (
            *("success", 1, None),
            NOW + MICROSECOND,
        )
        assert store.get_run("nightly", "2026-11-21") == done
        (summary,) = store.list_summaries(RunQuery(), after=None, limit=9)
        assert (summary.job, summary.key, summary.provisional, list(summary.rows)) == (
            *("nightly", "2026-11-21", False),
            rows,
        )
        assert summary.created_at == NOW + MICROSECOND

    def test_rows_that_json_cannot_hold_are_refused_whole(self, store):
        """NaN in a row is the transform's fault; the run stays held, so that its failure can be recorded."""
        run = claim(store).run

        with pytest.raises(ValueError, match="JSON"):
            store.finish_run(run, [{"mean": float("nan")}], now=NOW)

        assert store.get_run("nightly", "2026-11-21") == run
        assert _rows(store) == []

    @pytest.mark.parametrize(
        ("provisional", "trigger", "force", "granted"),
        [
            (False, "schedule", False, False),
            (False, "manual", False, False),
            (False, "schedule", True, True),
            (True, "schedule", False, True),
            (True, "manual", False, True),
        ],
    )
    def test_a_success_is_final_unless_forced_or_provisional(self, store, provisional, trigger, force, granted):
        """A tick that comes again finds the work done."""
        store.finish_run(claim(store, a_run(provisional=provisional)).run, [], now=NOW)

        again = claim(store, a_run(trigger=trigger), force=force)

        assert again.granted is granted
        assert again.run.state == ("running" if granted else "success")

    @pytest.mark.parametrize(
        ("provisional", "trigger", "force", "granted"),
        [
            (False, "schedule", False, False),
            (False, "manual", False, True),
            (False, "schedule", True, True),
            (True, "schedule", False, True),
        ],
    )
    def test_a_failure_waits_for_a_person_unless_it_was_provisional(self, store, provisional, trigger, force, granted):
        """A failed look at an open day must not cost the day its scheduled run."""
        store.fail_run(claim(store, a_run(provisional=provisional)).run, "no", retry=False, now=NOW)

        assert claim(store, a_run(trigger=trigger), force=force).granted is granted

    def test_a_failed_attempt_with_retry_is_claimed_again_at_once(self, store):
        """Queued again, the next claim counts on; the error stays until then."""
        failed = store.fail_run(claim(store).run, "Broken: pipe", retry=True, now=NOW)

        again = claim(store)

        assert (failed.state, failed.error, failed.lease_expires_at) == ("queued", "Broken: pipe", None)
        assert (again.granted, again.run.attempt, again.run.fence, again.run.error) == (True, 2, 2, None)

    def test_an_error_of_any_characters_is_recorded(self, store):
        """Text that a database cannot keep must not hinder a failure from being recorded."""
        failed = store.fail_run(claim(store).run, "bad byte \0 and \ud800 half a pair", retry=False, now=NOW)

        assert failed.error.startswith("bad byte ")
        assert store.get_run("nightly", "2026-11-21") == failed

    def test_a_forced_rerun_counts_attempts_from_one_again(self, store):
        """The fence only ever grows; attempts belong to one asking."""
        store.finish_run(claim(store).run, [], now=NOW)

        again = claim(store, force=True)

        assert (again.run.attempt, again.run.fence, again.run.generation) == (1, 2, 1)

    def test_old_rows_stay_visible_until_a_rerun_succeeds(self, store):
        """Readers never see half a rerun, nor lose the rows of a good run to a bad one."""
        store.finish_run(claim(store).run, [{"n": 1}], now=NOW)
        seen = []

        rerun = claim(store, force=True).run
        seen.append(_rows(store))
        store.fail_run(rerun, "no", retry=True, now=NOW)
        seen.append(_rows(store))
        store.finish_run(claim(store).run, [{"n": 3}], now=NOW)
        seen.append(_rows(store))

        assert seen == [[({"n": 1},)], [({"n": 1},)], [({"n": 3},)]]

    def test_a_final_run_supersedes_a_provisional_one(self, store):
        """The summary says whether the day was still open when it was made."""
        store.finish_run(claim(store, a_run(provisional=True, trigger="manual")).run, [{"n": 1}], now=NOW)
        (before,) = store.list_summaries(RunQuery(), after=None, limit=9)

        store.finish_run(claim(store).run, [{"n": 2}], now=NOW)
        (after,) = store.list_summaries(RunQuery(), after=None, limit=9)

        assert (before.provisional, after.provisional) == (True, False)
        assert after.rows == ({"n": 2},)
        assert not claim(store).granted

    @pytest.mark.parametrize("limit", [1, 2, 50])
    def test_runs_and_summaries_list_newest_first_in_pages(self, store, limit):
        """Newest key first, then by job; pages meet without a gap; every filter is half open."""
        keys, jobs = ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"], ["drift", "nightly"]
        for key in keys:
            for job in jobs:
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
                for key in reversed(keys)
                for job in jobs
                if query.job in (None, job) and (query.since_key or "") <= key < (query.until_key or "9")
            ]
            running = [("2026-11-22", "nightly")] if query.job in (None, "nightly") and not query.until_key else []
            assert _run_pages(store.list_runs, query, limit) == running + meant
            assert _run_pages(store.list_summaries, query, limit) == meant


class RaceContract:
    """What holds when many do the same at once; not for an emulator that fails parallel transactions."""

    def test_sixteen_threads_claiming_one_run_get_one_grant(self, store):
        """A tick delivered many times at once is worked on once."""
        answers = in_parallel(16, lambda _: claim(store))

        assert sum(answer.granted for answer in answers) == 1
        assert {answer.run.fence for answer in answers} == {1}

    def test_a_dead_lease_is_taken_over_once(self, store):
        """Of workers that find the same dead one, a single one takes its place."""
        claim(store)

        answers = in_parallel(16, lambda _: claim(store, now=NOW + LEASE))

        assert sum(answer.granted for answer in answers) == 1
        assert {(answer.run.fence, answer.run.attempt) for answer in answers} == {(2, 2)}

    def test_a_late_worker_and_its_successor_never_both_have_the_run(self, store):
        """Whichever comes first, the other is told, and what is visible is of the one that has it."""
        for day in range(1, 21):
            late = claim(store, a_run(f"2026-10-{day:02}")).run

            finished, taken = in_parallel(2, lambda n, late=late: (_finished, _taken_over)[n](store, late))

            assert finished != taken
            run = store.get_run(late.job, late.key)
            assert (run.state, run.fence) == (("success", 1) if finished else ("running", 2))
        assert all(
            summary.rows == ({"from": "late"},) for summary in store.list_summaries(RunQuery(), after=None, limit=99)
        )

    def test_batches_that_share_results_do_not_wait_for_each_other_in_a_circle(self, store):
        """Many batches with the same ids, each in an order of its own: all are answered, each id is kept once."""
        results = [a_result(labels={"n": str(n)}) for n in range(40)]
        orders = [random.Random(seed).sample(results, len(results)) for seed in range(8)]

        answers = in_parallel(8, lambda n: store.create_results(orders[n]))

        assert [[item.result.id for item in answer] for answer in answers] == [
            [result.id for result in order] for order in orders
        ]
        assert sum(not item.replayed for answer in answers for item in answer) == len(results)
        assert store.count_results(ResultQuery()) == len(results)
        assert [store.count_results(ResultQuery(label=("n", str(n)))) for n in range(3)] == [1, 1, 1]

    def test_of_two_bodies_under_one_key_at_once_one_is_kept(self, store):
        """The other is refused with its index, and nothing of its batch stays."""
        for _ in range(10):
            bodies = [a_result(id=f"key-{secrets.token_hex(4)}"), None]
            bodies[1] = replace(bodies[0], payload_hash="other")

            refused = in_parallel(
                2, lambda n, bodies=bodies: _refused_index(store, [a_result(model=f"m{n}"), bodies[n]])
            )

            assert sorted(refused, key=str) == ["1", None]
            kept = bodies[refused.index(None)]
            assert store.get_result(kept.id, NOW).payload_hash == kept.payload_hash
        assert store.count_results(ResultQuery()) == 20


class StoreContract(ResultContract, RunContract):
    """Everything a store must do; a test class per database gives the `store` fixture."""


def _hashable(stored):
    return replace(stored, result=replace(stored.result, labels=tuple(stored.result.labels.items())))


def _finished(store, late):
    try:
        store.finish_run(late, [{"from": "late"}], now=NOW + LEASE)
    except ConflictError:
        return False
    return True


def _taken_over(store, late):
    return claim(store, a_run(late.key), now=NOW + LEASE).granted


def _refused_index(store, batch):
    try:
        store.create_results(batch)
    except IdempotencyError as error:
        return error.metadata["index"]
    return None


def _rows(store):
    return [summary.rows for summary in store.list_summaries(RunQuery(), after=None, limit=9)]


def _run_pages(list_page, query, limit):
    found, after = [], None
    while page := list_page(query, after=after, limit=limit):
        found += [(item.key, item.job) for item in page]
        after = found[-1]
    return found
