"""What every store must do with the parts of runs, and with messages that nobody understands."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import ConflictError
from tests.contract.factories import LEASE, MICROSECOND, NOW, a_letter, a_run, claim, enqueue, some_parts

PARTIAL = '{"sum": [1, 2.5e3], "who": "Zoë 🙂", "nul": "\\u0000"}'


def planned(store, count=3, run=None):
    """Return a run of as many parts."""
    return store.plan_parts(claim(store, run).run, some_parts(count))


class PartContract:
    """Runs in parts: what each slice came to, kept until the last one is there."""

    def test_a_plan_is_kept_with_the_run(self, store):
        """Its parts come back in their order; the plan is the fence."""
        claimed = claim(store).run
        parts = [replace(part, shard=n % 2 or None) for n, part in enumerate(some_parts(12))]

        run = store.plan_parts(claimed, parts[::-1])

        assert run == replace(claimed, plan=1, parts=12)
        assert store.get_run("nightly", "2026-11-21") == run
        assert store.list_parts(run, partials=True) == store.list_parts(run, partials=False) == parts
        assert [store.get_part(run, n) for n in (0, 11, 12)] == [parts[0], parts[11], None]
        assert store.open_parts(run) == 12

    def test_a_run_in_one_piece_has_no_parts(self, store):
        """Nor has one that nobody claimed."""
        for run in (claim(store).run, enqueue(store, a_run("2026-11-20")).run, a_run("2026-11-19")):
            assert store.list_parts(run, partials=True) == []
            assert (store.get_part(run, 0), store.open_parts(run)) == (None, 0)
            with pytest.raises(ConflictError) as raised:
                store.finish_part(run, replace(some_parts()[0], partial="1"))
            assert raised.value.reason == "PLAN_GONE"

    def test_the_first_to_finish_a_part_is_kept(self, store):
        """A message delivered twice changes nothing; what a part came to comes back character for character."""
        run = planned(store)
        part = some_parts()[1]

        kept = [
            store.finish_part(run, replace(part, partial=PARTIAL, documents=10**10)),
            store.finish_part(run, replace(part, partial='"late"', documents=1)),
        ]

        assert kept == [True, False]
        done = replace(part, partial=PARTIAL, documents=10**10)
        assert store.list_parts(run, partials=True)[1] == done
        assert store.list_parts(run, partials=False)[1] == store.get_part(run, 1) == replace(done, partial="")
        assert [each.done for each in store.list_parts(run, partials=False)] == [False, True, False]
        assert store.open_parts(run) == 2

    def test_a_part_that_fails_is_counted(self, store):
        """Until it is done; then nothing more befalls it."""
        run = planned(store)
        part = some_parts()[2]

        failed = [store.fail_part(run, 2, error) for error in ("once", "twice \0 \ud800")]
        store.finish_part(run, replace(part, partial="[]"))
        after = store.fail_part(run, 2, "late")

        assert [(each.attempt, each.partial) for each in failed] == [(1, None), (2, None)]
        assert failed[1].error.startswith("twice ")
        assert after == replace(failed[1], partial="")
        assert store.list_parts(run, partials=True)[2] == replace(failed[1], partial="[]")

    def test_the_last_part_leaves_none_open(self, store):
        """In whatever order they come."""
        run = planned(store, 5)
        left = []
        for n in (3, 0, 4, 2, 1):
            store.finish_part(run, replace(some_parts(5)[n], partial=str(n)))
            left.append(store.open_parts(run))

        assert left == [4, 3, 2, 1, 0]
        assert [part.partial for part in store.list_parts(run, partials=True)] == ["0", "1", "2", "3", "4"]

    def test_a_part_that_is_none_is_gone(self, store):
        """Named, for whoever reads the log."""
        run = planned(store)

        for step in (
            lambda: store.finish_part(run, replace(some_parts(5)[4], partial="1")),
            lambda: store.fail_part(run, 3, "no"),
        ):
            with pytest.raises(ConflictError, match="run nightly 2026-11-21: its plan has no part") as raised:
                step()
            assert raised.value.reason == "PLAN_GONE"

    def test_planning_again_leaves_nothing_of_the_plan_before(self, store):
        """Under the same fence as under another."""
        first = planned(store)
        store.finish_part(first, replace(some_parts()[0], partial="1"))

        second = store.plan_parts(first, some_parts(2))
        assert (store.open_parts(second), len(store.list_parts(second, partials=True))) == (2, 2)
        store.finish_part(second, replace(some_parts(2)[0], partial="2"))
        third = store.plan_parts(claim(store, now=NOW + LEASE).run, some_parts(4))

        assert (second.plan, third.plan, third.parts) == (1, 2, 4)
        assert store.open_parts(third) == 4
        assert store.list_parts(second, partials=True) == []
        assert (store.open_parts(second), store.get_part(second, 1)) == (0, None)
        for step in (
            lambda: store.finish_part(second, replace(some_parts()[1], partial="1")),
            lambda: store.fail_part(second, 1, "no"),
        ):
            with pytest.raises(ConflictError) as raised:
                step()
            assert raised.value.reason == "PLAN_GONE"

    @pytest.mark.parametrize("lost", [True, False])
    def test_a_run_that_goes_on_keeps_its_parts(self, store, lost):
        """Whether its worker died or failed: what is done need not be done again, under the new fence."""
        run = planned(store)
        store.finish_part(run, replace(some_parts()[0], partial="1"))
        if not lost:
            store.fail_run(run, "no", retry_at=NOW, now=NOW)

        again = claim(store, now=NOW + LEASE).run

        assert (again.plan, again.parts, again.fence) == (1, 3, 2)
        assert store.open_parts(again) == 2
        assert store.finish_part(again, replace(some_parts()[1], partial="1"))
        # Whoever still has a slice of it does what is to be done.
        assert store.finish_part(run, replace(some_parts()[2], partial="1"))
        assert store.open_parts(again) == 0

    @pytest.mark.parametrize("ask", [claim, enqueue])
    def test_a_run_that_is_asked_for_anew_has_no_parts(self, store, ask):
        """Whoever has a slice of the old one is told."""
        run = planned(store)
        store.fail_run(run, "no", retry_at=None, now=NOW)
        assert store.open_parts(run) == 3  # a run that ended keeps them, to be looked at

        again = ask(store, reprocess="failed").run

        assert (again.plan, again.parts) == (None, 0)
        assert store.list_parts(run, partials=True) == store.list_parts(again, partials=True) == []
        assert (store.open_parts(run), store.get_part(run, 0)) == (0, None)
        with pytest.raises(ConflictError) as raised:
            store.finish_part(run, replace(some_parts()[0], partial="1"))
        assert raised.value.reason == "PLAN_GONE"

    def test_a_worker_that_lost_its_lease_plans_nothing(self, store):
        """The plan of its successor stays."""
        zombie = planned(store)
        winner = store.plan_parts(claim(store, now=NOW + LEASE).run, some_parts(2))

        with pytest.raises(ConflictError) as raised:
            store.plan_parts(zombie, some_parts(9))

        assert raised.value.reason == "FENCE_LOST"
        assert store.list_parts(winner, partials=True) == some_parts(2)

    def test_finishing_the_run_keeps_its_parts(self, store):
        """To be looked at, until it is asked for anew or pruned."""
        run = planned(store)
        store.finish_part(run, replace(some_parts()[0], partial="1", documents=4))

        done = store.finish_run(run, [], now=NOW)

        assert (done.plan, done.parts) == (1, 3)
        assert [part.documents for part in store.list_parts(done, partials=False)] == [4, 0, 0]

    def test_the_parts_of_two_runs_are_apart(self, store):
        """Of another key, and of another job."""
        runs = [planned(store, run=run) for run in (a_run(), a_run("2026-11-20"), a_run(job="drift"))]

        store.finish_part(runs[0], replace(some_parts()[0], partial="1"))

        assert [store.open_parts(run) for run in runs] == [2, 3, 3]


class LetterContract:
    """Messages that can never be understood."""

    def test_a_letter_is_kept_once(self, store):
        """A redelivery changes nothing of what came first."""
        letter = a_letter(body='{"ü": "🙂', reason="expected JSON", body_bytes=10**10)

        kept = [store.record_dead_letter(letter), store.record_dead_letter(a_letter(reason="other"))]

        assert kept == [True, False]
        assert store.list_dead_letters(after=None, limit=9) == [letter]

    @pytest.mark.parametrize(
        "text", ["a/b", "", ".", "..", "__x__", "a\0b", "\ud800", "x" * 5000, "💥" * 5000, "'\";--", " "]
    )
    def test_a_letter_of_any_text_is_kept(self, store, text):
        """It comes from anybody: what cannot be kept would come for ever."""
        letter = a_letter(text, reason=text, body=text)

        assert store.record_dead_letter(letter)
        assert not store.record_dead_letter(letter)
        (found,) = store.list_dead_letters(after=None, limit=9)
        assert store.list_dead_letters(after=(found.received_at, found.id), limit=9) == []
        if len(text) < 200 and not {"\0", "\ud800"} & set(text):
            assert found == letter

    def test_long_ids_are_told_apart(self, store):
        """Though they begin alike."""
        letters = [a_letter("x" * 5000 + end) for end in "ab"]

        assert [store.record_dead_letter(letter) for letter in letters] == [True, True]

    @pytest.mark.parametrize("limit", [0, 1, 2, 50])
    def test_letters_list_newest_first_and_then_by_id(self, store, limit):
        """Pages meet without a gap, though many came at one time."""
        ids = ["a", "b", "B", "é", "a-"]
        letters = [a_letter(f"{n}{name}", received_at=NOW + n * MICROSECOND) for n in range(3) for name in ids]
        letters += [a_letter("old", received_at=NOW - timedelta(days=400))]
        for letter in letters:
            store.record_dead_letter(letter)

        found, after = [], None
        while page := store.list_dead_letters(after=after, limit=limit):
            assert len(page) <= limit
            found += page
            after = found[-1].received_at, found[-1].id

        meant = sorted(letters, key=lambda letter: (-letter.received_at.timestamp(), letter.id.encode()))
        meant = sorted(meant, key=lambda letter: letter.received_at, reverse=True)
        assert found == (meant if limit else [])
