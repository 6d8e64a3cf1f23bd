"""What holds in every store when many do the same at once."""

import random
import secrets
from dataclasses import replace

from shared.errors import ConflictError, IdempotencyError, UnavailableError
from shared.records import ResultQuery
from shared.runs import RunQuery
from tests.contract.factories import LEASE, NOW, a_letter, a_result, a_run, claim, enqueue, in_parallel, some_parts


class RaceContract:
    """What holds when many do the same at once."""

    def test_sixteen_threads_claiming_one_run_get_one_grant(self, store):
        """A tick delivered many times at once is worked on once."""
        answers = in_parallel(16, lambda _: claim(store))

        assert sum(answer.granted for answer in answers) == 1
        assert {answer.refusal for answer in answers} == {None, "running"}
        assert {answer.run.fence for answer in answers} == {1}

    def test_a_dead_lease_is_taken_over_once(self, store):
        """Of workers that find the same dead one, a single one takes its place."""
        claim(store)

        answers = in_parallel(16, lambda _: claim(store, now=NOW + LEASE))

        assert sum(answer.granted for answer in answers) == 1
        assert {(answer.run.fence, answer.run.attempt) for answer in answers} == {(2, 2)}

    def test_no_more_are_ever_under_way_than_may(self, store):
        """Many runs of a job claimed at once: as many as may begin, the others wait or are to come again."""
        enqueue(store, a_run("2026-11-01"))

        for _ in range(3):
            answers = in_parallel(
                16, lambda n: _answer(lambda: claim(store, a_run(f"2026-11-{n + 1:02}"), max_active=3))
            )

            under_way = store.list_runs(RunQuery("nightly", state="running"), after=None, limit=99)
            assert len(under_way) <= 3
            assert set(store.touch_job("nightly", now=NOW).active) == {run.key for run in under_way}
            assert set(answers) <= {None, "running", "max-active", "STORE_BUSY"}
        assert len(under_way) == 3

    def test_runs_that_end_at_once_leave_all_their_places(self, store):
        """None is forgotten by two who change the job together."""
        runs = [claim(store, a_run(f"2026-11-{n + 1:02}")).run for n in range(8)]

        def end(n):
            while _answer(lambda: store.finish_run(runs[n], [], now=NOW)) == "STORE_BUSY":
                pass

        in_parallel(8, end)

        assert store.touch_job("nightly", now=NOW).active == {}
        assert {run.state for run in store.list_runs(RunQuery("nightly"), after=None, limit=99)} == {"success"}

    def test_a_run_is_made_to_wait_once_by_many(self, store):
        """A backfill asked for twice doubles nothing."""
        answers = in_parallel(16, lambda _: enqueue(store))

        assert sorted(str(answer.refusal) for answer in answers) == ["None"] + ["queued"] * 15

    def test_a_deadline_is_noted_by_one_of_many(self, store):
        """One alert, however many look."""
        assert sum(in_parallel(16, lambda _: store.mark_deadline_missed(a_run(), now=NOW))) == 1

    def test_a_letter_is_recorded_by_one_of_many(self, store):
        """Delivered many times at once it is one."""
        assert sum(in_parallel(16, lambda _: store.record_dead_letter(a_letter()))) == 1

    def test_of_many_who_finish_a_part_the_first_is_kept(self, store):
        """And it is that one which comes back."""
        run = store.plan_parts(claim(store).run, some_parts())

        kept = in_parallel(16, lambda n: store.finish_part(run, replace(some_parts()[1], partial=str(n))))

        assert sum(kept) == 1
        assert store.list_parts(run, partials=True)[1].partial == str(kept.index(True))

    def test_whoever_finishes_the_last_part_sees_none_open(self, store):
        """Each looks after it has finished: somebody merges, however close they are."""
        for day in range(1, 6):
            run = store.plan_parts(claim(store, a_run(f"2026-10-{day:02}")).run, some_parts(8))

            def finished(n, run=run):
                store.finish_part(run, replace(some_parts(8)[n], partial=str(n)))
                return store.open_parts(run)

            assert 0 in in_parallel(8, finished)

    def test_of_two_who_merge_one_commits(self, store):
        """The other acknowledges."""
        run = store.plan_parts(claim(store).run, some_parts())

        answers = in_parallel(8, lambda n: _answer(lambda: store.finish_run(run, [{"n": n}], now=NOW).error))

        assert sorted(map(str, answers)) == ["FENCE_LOST"] * 7 + ["None"]
        (summary,) = store.list_summaries(RunQuery(), after=None, limit=9)
        assert summary.rows == ({"n": answers.index(None)},)

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


def _answer(ask):
    """Return a refusal, the reason of a conflict or of being busy, or None."""
    try:
        return getattr(ask(), "refusal", None)
    except (ConflictError, UnavailableError) as error:
        return error.reason


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
