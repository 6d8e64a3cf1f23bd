"""What every store must do with results, whichever database is behind it: a base class for a class per database."""

import hashlib
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import IdempotencyError, InvalidRequestError
from shared.records import PayloadObject, Position, ResultQuery
from tests.contract.factories import MICROSECOND, NOW, a_result, in_parallel


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

    def test_each_shard_is_read_by_itself(self, store):
        """Together they are all there is, each in order; there is no other."""
        results = [a_result(created_at=NOW + n % 5 * MICROSECOND) for n in range(60)]
        store.create_results(results)
        end = NOW + timedelta(seconds=1)

        shards = [
            [document.created_at for document in store.read_summaries(NOW, end, shard=shard)]
            for shard in range(store.shards)
        ]

        assert all(shard == sorted(shard) for shard in shards)
        assert sorted(moment for shard in shards for moment in shard) == sorted(result.created_at for result in results)
        assert len([shard for shard in shards if shard]) == store.shards
        for shard in (-1, store.shards):
            with pytest.raises(InvalidRequestError) as raised:
                store.read_summaries(NOW, end, shard=shard)
            assert raised.value.reason == "INVALID_SHARD"

    def test_expired_results_still_count_for_jobs(self, store):
        """What a day held does not change because a payload went."""
        store.create_results([a_result(expires_at=NOW)])

        assert len(list(store.read_summaries(NOW, NOW + MICROSECOND))) == 1

    def test_times_far_from_now_are_exact(self, store):
        """Years 1 and 9999 sort and come back to the microsecond."""
        edges = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
        store.create_results([a_result(created_at=moment) for moment in edges])

        assert [result.created_at for result in pages(store, ResultQuery(order="asc"), 1)] == edges


def _hashable(stored):
    return replace(stored, result=replace(stored.result, labels=tuple(stored.result.labels.items())))
