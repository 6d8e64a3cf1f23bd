"""Run: one job over one interval, with its attempts, slices, summary, and running it again."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from shared.runs import Part
from tests.browser.conftest import fits, violations
from tests.browser.night_world import days_ago, night_world

HOSTILE = '<img src=x onerror="window.hit=1">'


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return one world for all of these tests, each of which has days of its own."""
    with night_world(tmp_path_factory.mktemp("runs")) as made:
        yield made


def opened(visits, world, job, key, **options):
    """A run's page."""
    return visits(world.url, **options).open(f"/nights/{job}/{quote(key, safe='')}")


def in_slices(world, key):
    """Begin a run of four slices: one done, one that failed."""
    run = world.begin("export", key)
    start = run.interval.start
    parts = [Part(n, start + n * timedelta(hours=6), start + (n + 1) * timedelta(hours=6)) for n in range(4)]
    run = world.store.plan_parts(run, parts)
    world.store.finish_part(run, Part(0, parts[0].start, parts[0].end, partial="[]", documents=7))
    world.store.fail_part(run, 1, "the store did not answer")
    return run


def test_a_run_opens_to_what_there_is_to_know(visits, world):
    """State, interval, trigger, output, attempts and the rows it wrote."""
    rows = [{"date": days_ago(2), "model": "digits", "version": "1", "predictions": 12, "classes": {"3": 5, "7": 7}}]
    world.succeed("nightly", days_ago(2), rows)
    page = opened(visits, world, "nightly", days_ago(2))

    for text in ("✓succeeded", "schedule", "local", "rows: 1", "Took"):
        expect(page.locator(".facts")).to_contain_text(text)
    expect(page.get_by_role("table", name="Attempts").get_by_role("row")).to_have_count(2)
    summary = page.get_by_role("table", name="Rows of the summary")
    expect(summary.get_by_role("row").nth(1)).to_contain_text("digits")
    summary.get_by_text("2 values").click()
    expect(summary).to_contain_text("7: 7")
    page.get_by_role("link", name="All nights").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nights")


def test_an_error_is_shown_as_text(visits, world):
    """Whatever a run failed with, and whatever it was asked with, does nothing."""
    world.fail("nightly", days_ago(3), HOSTILE, params={"what": HOSTILE, "deep": {"er": HOSTILE}})
    page = opened(visits, world, "nightly", days_ago(3))

    expect(page.locator("pre.error")).to_have_text(HOSTILE)
    expect(page.locator(".facts")).to_contain_text(f"what: {HOSTILE}")
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hit") is None


def test_slices_are_shown_with_their_progress(visits, world):
    """How many are done, what each read, and what went wrong with one; it goes on by itself."""
    run = in_slices(world, days_ago(2))
    page = opened(visits, world, "export", days_ago(2))

    expect(page.get_by_text("1 of 4 slices done")).to_be_visible()
    rows = page.get_by_role("table", name="Slices").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("✓done7")
    expect(rows.nth(2)).to_contain_text("the store did not answer")
    world.store.fail_run(run, "given up", retry_at=None, now=datetime.now(UTC))
    expect(page.locator("pre.error")).to_have_text("given up")
    expect(page.locator("#announcements")).to_have_text(f"export {days_ago(2)} failed")


def test_a_key_with_a_time_has_a_page(visits, world):
    """Those of jobs that tick many times a day hold a colon."""
    key = f"{days_ago(1)}T03:30Z"
    world.succeed("reconcile", key)
    page = opened(visits, world, "reconcile", key)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"reconcile, {key}")
    expect(page.locator(".facts")).to_contain_text("✓succeeded")


def test_a_deadline_that_was_missed_is_told(visits, world):
    """When it was, and when that was noticed; the run itself was missed."""
    run = world.begin("drift", days_ago(8), deadline_at=datetime.now(UTC) - timedelta(hours=1))
    world.store.mark_deadline_missed(run, now=datetime.now(UTC))
    facts = opened(visits, world, "drift", days_ago(8)).locator(".facts")
    expect(facts).to_contain_text("missed: noticed")
    expect(facts).to_contain_text("late")


def test_a_run_is_run_again_once_that_is_confirmed(visits, world):
    """Cancel does nothing; it says that the summary is replaced; the outcome is shown on the spot."""
    world.fail("nightly", days_ago(5), "it broke")
    page = opened(visits, world, "nightly", days_ago(5))
    again = page.get_by_role("button", name="Run nightly for")

    again.click()
    expect(page.get_by_role("dialog")).to_contain_text("replaces this run's summary")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert world.store.get_run("nightly", days_ago(5)).fence == 1

    again.click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_role("status")).to_contain_text("✓succeeded")
    expect(page.locator(".facts")).to_contain_text("✓succeeded")
    expect(page.get_by_role("table", name="Attempts").get_by_role("row")).to_have_count(3)
    assert world.store.get_run("nightly", days_ago(5)).state == "success"


def test_a_run_that_is_under_way_is_not_run_again(visits, world):
    """The refusal is shown in words where the button is."""
    run = world.begin("nightly", days_ago(6))
    page = opened(visits, world, "nightly", days_ago(6))
    page.get_by_role("button", name="Run nightly for").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()

    expect(page.get_by_role("status")).to_contain_text("this run is under way already")
    world.store.finish_run(run, [], now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("path", "said"), [("nightly/1999-01-01", "no run of this key"), ("%3Cimg%3E/%zz", "Not found")]
)
def test_a_run_that_there_is_not_is_said_in_words(visits, world, path, said):
    """And the way back is there."""
    page = visits(world.url).open(f"/nights/{path}")
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_role("link", name="All nights")).to_be_visible()


def test_a_page_that_is_read_only_runs_nothing_again(visits, serve_page, world):
    """It says so in place of the button."""
    world.succeed("nightly", days_ago(7))
    page = visits(serve_page(READ_ONLY="1", NIGHTLY_TRANSFORM_URL=world.api)).open(f"/nights/nightly/{days_ago(7)}")
    expect(page.get_by_text("This page is read-only: it shows runs")).to_be_visible()
    assert page.get_by_role("button").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_at_any_width(visits, world, scheme):
    """WCAG 2.2 AA in both themes; 360 px without sideways scrolling, with an error as long as they come."""
    key = days_ago(11 if scheme == "light" else 12)
    run = in_slices(world, key)
    world.store.fail_run(run, "x" * 1500, retry_at=None, now=datetime.now(UTC))
    page = opened(visits, world, "export", key, color_scheme=scheme, viewport={"width": 360, "height": 740})
    assert fits(page)
    assert violations(page) == []
