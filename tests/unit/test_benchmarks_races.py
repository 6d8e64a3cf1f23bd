"""Races of the benchmarks: who is compared with whom and how, memory while a stream is read, and what is left out."""

import io
import json
from datetime import timedelta

import pytest
from rich.console import Console

from benchmarks import racing
from benchmarks.__main__ import NAMES, main
from benchmarks.aims import aims
from benchmarks.answers import Answer
from benchmarks.calls import Call, Load
from benchmarks.databases import rows
from benchmarks.document import document
from benchmarks.logging_cost import outcomes
from benchmarks.paging import PAGE_RESULTS, page_race
from benchmarks.race_report import race_table, stream_lines
from benchmarks.races import Comparison, Entrant, Race, Task, numbered
from benchmarks.report import checked
from benchmarks.results import Results
from benchmarks.server import Source
from benchmarks.storing import BATCH_RESULTS, store_race
from benchmarks.streaming import EARLY_ROWS, Streamed, read_rows
from shared.config import ROOT

SOURCE = Source(ROOT, "raw")


def task(name: str, clients: int, units: int = 1) -> Task:
    """Return a task that nobody is asked to do."""
    return Task(name, clients, "stores", lambda: Call(b"", bool), units)


def load(median: float, rate: float) -> Load:
    """Return a load of 100 answers."""
    return Load([median] * 100, 100 / rate)


ONE, MANY, BATCH, DEEP = task("one", 1), task("many", 16), task("batch", 1, 500), task("deep", 1)


def race(*rounds: tuple[Load, Load], own: Task = ONE, max_times: float | None = 1.5) -> Race:
    """Return a race of one task: each round's loads of the raw client and of ours."""
    entrants = (Entrant("raw", SOURCE, {}, [own]), Entrant("ours", SOURCE, {}, [own, DEEP]))
    laps = [
        {("raw", own.name): raw, ("ours", own.name): ours, ("ours", DEEP.name): load(0.1, 10)} for raw, ours in rounds
    ]
    return Race("stores-x", entrants, [Comparison("ours", "raw", "base", max_times)], laps)


def test_one_client_is_compared_by_its_median_and_many_by_their_rate():
    """1 ms against 1.2 ms is 1.2 times; 900 a second against 600 is 1.5 times, whatever the medians."""
    loads = (load(0.001, 900), load(0.0012, 600))

    one, many = (race(loads, own=own) for own in (ONE, MANY))

    assert one.times(one.comparisons[0], ONE) == pytest.approx([1.2])
    assert many.times(many.comparisons[0], MANY) == pytest.approx([1.5])


def test_only_tasks_that_both_have_are_compared():
    """What the raw client is not asked for has no ratio."""
    found = race((load(1, 1), load(1, 1)))

    assert found.compared(found.comparisons[0]) == [ONE]


def test_the_median_of_the_rounds_decides_over_an_aim():
    """Of 1.2, 1.4 and 2.0 times, the middle one is within 1.5; of 1.2, 1.6 and 2.0 it is not."""
    within = race(*((load(1, 1), load(times, 1)) for times in (2.0, 1.2, 1.4)))
    beyond = race(*((load(1, 1), load(times, 1)) for times in (2.0, 1.2, 1.6)))

    first, second = aims(Results(races=[within, beyond]))

    assert (first.met, first.figures) == (True, "1.40 times (rounds 1.20 to 2.00)")
    assert second.met is False
    assert first.text == "stores-x, one: ours within 1.5 times raw"


def test_a_comparison_without_an_aim_is_shown_and_not_judged():
    """What logging costs is printed; nothing says how much it may."""
    found = race((load(0.001, 1), load(0.009, 1)), max_times=None)

    assert aims(Results(races=[found])) == []
    assert "9.00 x base" in shown(found)


def shown(found: Race) -> str:
    """Return the table as text."""
    out = io.StringIO()
    Console(file=out, width=120).print(race_table(found))
    return out.getvalue()


def test_predictions_that_were_not_logged_are_told(tmp_path):
    """A log that skips what it should hand over costs little."""
    lines = ['{"prediction_log":"published"}'] * 3 + ['{"prediction_log":"skipped"}', '{"function":"predict"}']
    (tmp_path / "log").write_text("\n".join(lines))

    assert outcomes(tmp_path / "log") == "prediction-log: of 4 predictions to be logged 3 published, 1 skipped"


def test_a_batch_counts_as_many_stores_as_it_holds():
    """Ten batches of 500 a second are 5,000 stores."""
    text = shown(race((load(0.1, 10), load(0.2, 5)), own=BATCH))

    assert "5,000 stores" in text
    assert "2,500 stores" in text
    assert "2.00 x base (2.00 to 2.00)" in text


def test_loads_add_up():
    """Turns of one entrant at one task are one load."""
    both = Load([0.1], 1.0, errors=1) + Load([0.3, 0.2], 2.0, reconnects=4)

    assert both == Load([0.1, 0.3, 0.2], 3.0, 1, 4)


def test_races_and_streams_are_in_the_document_and_the_count():
    """Each round's loads are there by entrant and task, and each answer is counted."""
    stream = Streamed(10, 1000, 1.0, 100, 100)
    results = Results(races=[race((load(1, 1), load(1, 1)))], streams=[stream])

    found = json.loads(json.dumps(document({}, results)))

    assert found["races"]["stores-x"][0]["ours"]["one"]["answers"] == 100
    assert found["streams"][0]["rows"] == 10
    assert checked(results).startswith("300 answers")


def test_every_row_of_a_stream_is_counted_wherever_it_is_cut():
    """A header and three rows, in pieces that end in the middle of a line end."""
    pieces = [b"id,model\r", b"\na,b\r\nc,", b"d\r\ne,f\r\n", b""]

    found = read_rows(lambda _: pieces.pop(0), lambda: 7)

    assert (found.rows, found.size_bytes, found.samples) == (3, 25, 1)


def test_memory_is_looked_at_from_the_50_000th_row_on():
    """The first look is the one that the most is compared with."""
    pieces, looks = [b"\n" * 30_000, b"\n" * 30_001, b"\n" * 30_000, b""], [100, 130, 120]

    found = read_rows(lambda _: pieces.pop(0), lambda: looks.pop(0))

    assert (found.rows, found.early_memory_bytes) == (90_000, 100)
    assert found.peak_memory_bytes == 130


@pytest.mark.parametrize(("peak", "met"), [(110, True), (111, False)])
def test_memory_that_grows_by_more_than_a_tenth_is_not_flat(peak, met):
    """Up to 1.1 times is what an allocator keeps."""
    stream = Streamed(EARLY_ROWS * 2, 10, 1.0, 100, peak)

    assert [aim.met for aim in aims(Results(streams=[stream]))] == [met]
    assert "100,000 results, each row counted" in stream_lines([stream])[0]


def test_result_numbers_are_ids_times_and_positions():
    """A later number is a later time, and no two ids are equal."""
    made = [rows.result(number) for number in range(1000)]

    assert len({result.id for result in made}) == 1000
    assert made[7].created_at - made[6].created_at > timedelta(0)
    assert (made[7].created_at, made[7].id) == (rows.position(7).created_at, rows.position(7).id)
    assert {len(result.id) for result in made} == {26}


def test_a_page_is_right_only_with_the_results_that_belong_there():
    """The newest hundred of a model, in their order."""
    found = page_race("pages-sqlite", 1000, {}, {}, {})
    (of_model,) = (each for each in found.entrants[0].tasks if each.name == "newest of a model")
    ids = [rows.position(number).id for number in range(999, -1, -1) if number % len(rows.MODELS) == 0]

    def is_right(listed: list[str]) -> bool:
        body = json.dumps({"results": [{"id": each} for each in listed]}).encode()
        return of_model.next_call().is_right(Answer(200, body, True))

    assert is_right(ids[:PAGE_RESULTS])
    assert not is_right(ids[1 : PAGE_RESULTS + 1])
    assert not is_right(ids[: PAGE_RESULTS - 1])


def test_the_raw_client_is_sent_the_same_requests_as_store_result():
    """All but the keys, which are fresh for each."""
    raw, ours = (entrant.tasks for entrant in store_race("stores-sqlite", {}, {}).entrants)

    for own, other in zip(raw, ours, strict=True):
        mine, theirs = own.next_call().request, other.next_call().request
        assert mine != theirs
        assert mine.partition(b"\r\n\r\n")[2] == theirs.partition(b"\r\n\r\n")[2]


def test_a_batch_of_which_one_is_missing_is_a_wrong_answer():
    """499 ids are not 500."""
    call = store_race("stores-sqlite", {}, {}).entrants[0].tasks[2].next_call()

    assert call.is_right(Answer(201, b'{"id":1}' * BATCH_RESULTS, True))
    assert not call.is_right(Answer(201, b'{"id":1}' * (BATCH_RESULTS - 1), True))
    assert not call.is_right(Answer(200, b'{"id":1}' * BATCH_RESULTS, True))


def test_each_call_has_a_key_of_its_own():
    """Else the second would be a replay, which is cheaper."""
    next_call = numbered("key", lambda key: Call(key.encode(), bool))

    assert [next_call().request for _ in range(2)] == [b"key-0", b"key-1"]


def test_what_cannot_be_measured_is_named_with_its_reason(monkeypatch, capsys):
    """Asked for by name it is an error; otherwise one line says that it is left out."""
    monkeypatch.setattr("benchmarks.__main__.missing", lambda name: "no Java" if name == "stores-firestore" else None)

    exit_code = main(["--only", "stores-firestore"])

    assert exit_code == 1
    assert "stores-firestore: no Java" in capsys.readouterr().err


def test_the_names_are_all_different_and_each_says_what_it_needs():
    """SQLite is always there; the others are, or there is a reason."""
    assert len(set(NAMES)) == len(NAMES)
    assert [racing.missing(name) for name in ("stores-sqlite", "pages-sqlite", "csv", "predict")] == [None] * 4
