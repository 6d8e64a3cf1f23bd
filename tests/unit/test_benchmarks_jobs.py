"""Regular jobs in the benchmarks: what is compared with what, what is judged, and what is refused as a wrong answer."""

import io
import json
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from rich.console import Console

from benchmarks import summaries
from benchmarks.__main__ import NAMES
from benchmarks.aims import aims
from benchmarks.airflow.asking import EVERY_MINUTE, ON_REQUEST, Airflow
from benchmarks.airflow.installation import pinned_version, version
from benchmarks.airflow.server import environment
from benchmarks.backfilling import DAYS, Backfilled, last_lines, times_of_year
from benchmarks.children import child_json, run
from benchmarks.databases import rows
from benchmarks.document import document
from benchmarks.errors import MeasurementError, WrongAnswerError
from benchmarks.fanning_out import FannedOut, times_of_day
from benchmarks.job_report import job_lines, job_tables
from benchmarks.regular_jobs import NAMES as JOBS
from benchmarks.regular_jobs import JobResults
from benchmarks.results import Results
from benchmarks.summaries import Summarised
from benchmarks.waits import Ticked, Waits

ASKED, BEGAN = "2026-11-22T10:00:00.500000Z", "2026-11-22T10:00:02.250000Z"


def summaries_of(*seconds, peaks=(100, 100)):
    """Return jobs with rounds of one store: each round's seconds of summarising what takes 1 s to read."""
    rounds = [[Summarised(10, 1, each, peaks[0]), Summarised(1000, 1, each, peaks[1])] for each in seconds]
    return JobResults(summaries={"summary-x": rounds})


def judged(jobs):
    """Return what was met, by text."""
    return {aim.text: aim.met for aim in aims(Results(jobs=jobs))}


def shown(jobs):
    """Return tables and lines as text."""
    out = io.StringIO()
    console = Console(file=out, width=160)
    for table in job_tables(jobs):
        console.print(table)
    return out.getvalue() + "\n".join(job_lines(jobs))


def test_summarising_is_judged_by_its_share_of_the_rate_of_reading():
    """Twice as long as reading is half of its rate, which is enough; the median of the rounds decides."""
    text = "summary-x, 1,000 results: daily_summary at least 50% of the rate of reading"

    assert judged(summaries_of(2.0, 1.5, 9.0))[text] is True
    assert judged(summaries_of(2.1, 1.5, 9.0))[text] is False


@pytest.mark.parametrize(("peak", "met"), [(120, True), (121, False)])
def test_memory_of_a_summary_is_judged_between_fewest_and_most(peak, met):
    """Up to 1.2 times."""
    found = judged(summaries_of(1.5, peaks=(100, peak)))

    assert found["summary-x: memory at 1,000 results at most 1.2 times that at 10"] is met


def test_rates_of_summaries_are_shown_by_size():
    """1,000 results in 2 s are 500 a second, beside 1,000 a second just read."""
    text = shown(summaries_of(2.0, peaks=(50_000_000, 60_000_000)))

    (line,) = (line for line in text.splitlines() if " 1,000 " in line and "summary-x" in line)
    assert [part for part in line.replace("│", " ").split() if part][1:4] == ["1,000", "1,000", "500"]
    assert "60.0" in line


@pytest.mark.parametrize(("results", "turns"), [(10_000, 30), (100_000, 3), (1_000_000, 2)])
def test_few_results_are_summarised_more_often(monkeypatch, results, turns):
    """So that what is over in a moment is not the clock's doing; many at least twice, each way first once."""
    asked = []

    def child(*arguments):
        asked.append(arguments)
        seconds = {"reading": [1.0, 3.0, 2.0], "summary": [4.0]}
        return {"results": [results], "seconds": seconds, "peak_memory_bytes": 7}

    monkeypatch.setattr(summaries, "child_json", child)

    found = summaries.summarised("sqlite:///x", results)

    assert found == Summarised(results, 2.0, 4.0, 7)
    assert found.share == 0.5
    assert asked[0][-1] == str(turns)
    assert asked[0][-2] == rows.USUAL_TIMES.of(results).isoformat()


@pytest.mark.parametrize("found", [[999], [999, 1000]])
def test_a_result_that_was_not_summarised_is_a_wrong_answer(monkeypatch, found):
    """However fast that was."""
    monkeypatch.setattr(summaries, "child_json", lambda *_: {"results": found})

    with pytest.raises(WrongAnswerError, match="of 1000"):
        summaries.summarised("sqlite:///x", 1000)


def test_slices_are_compared_with_the_inline_run_of_their_round():
    """6 s against 5 s is 1.2 times, of which each of the 24 slices has its part; so has each of 240 empty ones."""
    found = FannedOut(1000, 8, inline_seconds=5, sliced_seconds=6.2, empty_inline_seconds=0.2, empty_seconds=2.6)
    slower = FannedOut(1000, 8, inline_seconds=5, sliced_seconds=7, empty_inline_seconds=0.2, empty_seconds=2.6)

    assert found.times == pytest.approx(1.24)
    assert found.slice_seconds == pytest.approx(0.05)
    assert found.empty_slice_seconds == pytest.approx(0.01)
    text = "fan-out-x: 24 slices within 1.3 times inline"
    assert judged(JobResults(fan_outs={"fan-out-x": [found]}))[text] is True
    assert judged(JobResults(fan_outs={"fan-out-x": [slower, found, slower]}))[text] is False
    line = shown(JobResults(fan_outs={"fan-out-x": [found]}))
    assert "+50.0 ms a slice, and 10.0 ms for each of 240 empty ones; THREADS 8" in line


def ticked(ours, airflow):
    """Return a round in which each of the three figures is the same, one wait of many seconds aside."""
    return Ticked(*(Waits(each, [each, each, 1000.0], [each]) for each in (ours, airflow)))


def test_ticks_are_judged_by_how_many_times_sooner_a_run_begins():
    """Ten times, in the median of the rounds; within a round the median wait counts."""
    enough = judged(JobResults(ticks=[ticked(0.1, 1.0), ticked(0.1, 0.5), ticked(0.1, 9.0)]))
    short = judged(JobResults(ticks=[ticked(0.1, 0.99), ticked(0.1, 0.5), ticked(0.1, 9.0)]))

    assert len(enough) == 3
    assert all(enough.values())
    assert not any(short.values())


def test_ticks_are_shown_beside_the_version_they_were_compared_with():
    """So that a figure says what it is about."""
    text = shown(JobResults(ticks=[ticked(0.1, 1.0)], airflow="3.9.9"))

    assert "Airflow 3.9.9 s" in text
    assert "10.00 times" in text


def test_a_backfill_is_shown_with_its_rates_and_its_own_words():
    """365 runs over 73,000 results in 36.5 s."""
    text = shown(JobResults(backfills=[Backfilled(365, 73_000, 8, 36.5, "nightly 365/365")]))

    assert "10.0 runs/s, 2,000 documents/s" in text
    assert text.endswith("nightly 365/365")


def test_a_backfill_whose_progress_bar_is_not_full_is_refused():
    """The bar is drawn again and again over the same line; the last one counts."""
    done = f"nightly: 365 queued\nnightly -- 12/{DAYS}\rnightly -- {DAYS}/{DAYS}  \n\nnightly: {DAYS} success\n"

    assert last_lines(done) == f"nightly -- {DAYS}/{DAYS}\nnightly: {DAYS} success"
    with pytest.raises(MeasurementError, match="no progress bar"):
        last_lines(f"nightly -- 12/{DAYS}\n")


@pytest.mark.parametrize("count", [7, 10_000, 1_000_000])
@pytest.mark.parametrize(("times_of", "span"), [(times_of_day, timedelta(1)), (times_of_year, timedelta(DAYS))])
def test_results_fill_the_time_that_is_summarised(times_of, span, count):
    """The first at its beginning, the last before its end, and the next would be at the end or within a moment."""
    times = times_of(count)

    end = times.first + span
    assert times.of(0) == times.first
    assert times.of(count - 1) < end
    assert end - times.of(count) < timedelta(seconds=1)
    assert rows.result(3, times).created_at == times.of(3)


def airflow(answers):
    """Return Airflow's client, answered from a mapping of paths to JSON values, and what it asked."""
    asked = []

    def answer(request):
        asked.append(request)
        return httpx.Response(200, json=answers[request.url.path])

    return Airflow(httpx.Client(base_url="http://127.0.0.1:1", transport=httpx.MockTransport(answer))), asked


def tasks(dag, run_id, state="success"):
    """Return the answer that says when a run's task began."""
    path = f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances"
    return {path: {"task_instances": [{"state": state, "start_date": BEGAN}]}}


def test_airflow_is_timed_from_queueing_a_run_to_the_start_of_its_task():
    """By its own metadata."""
    path = f"/api/v2/dags/{ON_REQUEST}/dagRuns"
    answers = {path: {"dag_run_id": "r", "queued_at": ASKED}, **tasks(ON_REQUEST, "r")}
    client, asked = airflow(answers)

    assert client.trigger() == pytest.approx(1.75)
    assert (asked[0].method, json.loads(asked[0].content)) == ("POST", {"logical_date": None})


def test_airflow_is_timed_from_a_tick_to_the_start_of_its_task():
    """The first tick after some time: what it makes up for does not count."""
    path = f"/api/v2/dags/{EVERY_MINUTE}/dagRuns"
    found = {"dag_runs": [{"dag_run_id": "r", "run_after": "2026-11-22T10:00:00Z"}]}
    client, asked = airflow({path: found, **tasks(EVERY_MINUTE, "r")})
    since = datetime(2026, 11, 22, 9, 59, 30, tzinfo=UTC)

    seconds, tick = client.tick(since)

    assert seconds == pytest.approx(2.25)
    assert tick == since + timedelta(seconds=30)
    assert asked[0].url.params["run_after_gt"] == since.isoformat()


def test_a_task_that_fails_in_airflow_is_no_figure():
    """A task that never began is not sooner."""
    path = f"/api/v2/dags/{ON_REQUEST}/dagRuns"
    client, _ = airflow({path: {"dag_run_id": "r", "queued_at": ASKED}, **tasks(ON_REQUEST, "r", "failed")})

    with pytest.raises(MeasurementError, match="failed"):
        client.trigger()


def test_airflow_stays_on_this_machine_and_tells_nobody(tmp_path):
    """Every address in its settings is loopback, and what it might report is off."""
    env = environment(tmp_path, 1234)

    hosts = [value for name, value in env.items() if "URL" in name or name.endswith("HOST")]
    assert len(hosts) == 3
    assert all("127.0.0.1" in host for host in hosts)
    assert env["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "False"


def test_the_pinned_airflow_is_told():
    """As the locked requirements have it."""
    assert pinned_version("aiofiles==1.0 \\\napache-airflow==3.1.4 \\\n    --hash=x\n") == "3.1.4"
    assert version().startswith("3.")


def test_a_process_that_fails_says_why():
    """With its status and its last words."""
    with pytest.raises(MeasurementError, match=r"(?s)status 3:.*no such thing"):
        run([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(MeasurementError, match="nowhere"):
        run(["/nowhere/at/all"])


def test_what_a_process_found_is_its_last_line(tmp_path):
    """Whatever was logged before."""
    (tmp_path / "found.py").write_text("print('a log line'); print('{\"found\": 1}')")

    assert json.loads(run([sys.executable, str(tmp_path / "found.py")]).output.splitlines()[-1]) == {"found": 1}
    with pytest.raises(MeasurementError, match="nothing_there"):
        child_json("benchmarks.nothing_there")


_ALLOCATES = """
from benchmarks.summarise import peak_memory_bytes
before = peak_memory_bytes()
held = bytearray(64 << 20)
held[::4096] = b"x" * len(held[::4096])
del held
print([before, peak_memory_bytes()])
"""


def test_the_peak_of_memory_is_this_process_s_own_and_stays():
    """It grows with what is allocated, also when that is given back; what started the process does not count."""
    weight = bytearray(512 << 20)
    weight[::4096] = b"x" * len(weight[::4096])

    before, after = json.loads(run([sys.executable, "-c", _ALLOCATES]).output)

    assert before < len(weight)
    assert after - before > 60 << 20


def test_jobs_are_in_the_names_and_in_the_document():
    """Each round's figures, by name."""
    jobs = summaries_of(2.0)
    jobs.ticks.append(ticked(0.1, 1.0))

    found = json.loads(json.dumps(document({}, Results(jobs=jobs))))

    assert set(JOBS) < set(NAMES)
    assert found["jobs"]["summaries"]["summary-x"][0][1]["results"] == 1000
    assert found["jobs"]["ticks"][0]["airflow"]["tick"] == [1.0]
