"""Nights: whether the night went well, the jobs, and the grid of their runs."""

import json
from datetime import UTC, datetime, time, timedelta

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import answering, fits, violations
from tests.browser.night_world import days_ago, night_world, today

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return one world for all of these tests, each of which has days of its own."""
    with night_world(tmp_path_factory.mktemp("nights")) as made:
        yield made


@pytest.fixture
def nights(visits, world):
    """Return a visitor of that world."""
    return visits(world.url)


def card_of(page, job):
    """The card of a job."""
    return page.locator(".job").filter(has=page.get_by_role("heading", name=job, exact=True))


def cell(page, job, date):
    """The grid's cell of a job and a day."""
    table = page.get_by_role("table", name="Runs by day and job")
    column = ["nightly", "drift", "export", "reconcile"].index(job)
    row = table.get_by_role("row").filter(has=page.locator(f"time[datetime='{date}']"))
    return row.get_by_role("cell").nth(column)


def test_a_job_says_what_it_is_and_that_it_has_never_run(visits, tmp_path):
    """Schedule in words, next run, owner; a world in which nothing has run says so and stays usable."""
    with night_world(tmp_path) as fresh:
        visitor = visits(fresh.url)
        page = visitor.open("/nights")

        expect(page.locator(".verdict")).to_have_text("No job has run yet.")
        card = card_of(page, "nightly")
        for text in ("every day at 02:10, UTC", "in ", "data team", "It has never run."):
            expect(card).to_contain_text(text)
        expect(card_of(page, "reconcile")).to_contain_text("every 10 minutes")
        expect(page.get_by_role("columnheader", name="nightly")).to_contain_text("no runs yet")
        assert page.get_by_text("Nothing is known of these days.").count() == 4


def test_a_night_that_is_run_from_the_page_succeeds_in_the_grid(nights, world):
    """Run now, confirmed for a day: the outcome where the button is, and in the grid."""
    page, date = nights.open("/nights"), days_ago(3)

    page.get_by_role("button", name="Run nightly now").click()
    page.get_by_role("dialog").get_by_label("Day").fill(date)
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()

    expect(card_of(page, "nightly").get_by_role("status")).to_contain_text("✓succeeded")
    expect(cell(page, "nightly", date)).to_contain_text("✓succeeded")
    assert world.store.get_run("nightly", date).state == "success"
    cell(page, "nightly", date).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"nightly, {date}")


def test_the_run_of_a_day_that_is_not_over_is_marked_provisional(nights, world):
    """So that nobody takes half a day for a whole one."""
    world.trigger("nightly", days_ago(0))
    expect(cell(nights.open("/nights"), "nightly", days_ago(0))).to_contain_text("provisional")


def test_cancel_runs_nothing(nights, world):
    """A dialog that is left by Cancel or Escape has asked and no more."""
    page = nights.open("/nights")
    for leave in (lambda: page.get_by_role("button", name="Cancel").click(), lambda: page.keyboard.press("Escape")):
        page.get_by_role("button", name="Run export now").click()
        leave()
        expect(page.get_by_role("dialog")).to_have_count(0)

    expect(card_of(page, "export")).to_contain_text("It has never run.")
    assert httpx.get(f"{world.api}/runs?job=export").json()["runs"] == []


def test_a_refusal_is_shown_where_the_button_is_with_the_way_on(nights):
    """drift comes after nightly; told that it may not, a person may still insist, and sees how that fails."""
    page, date = nights.open("/nights"), days_ago(6)
    card = card_of(page, "drift")

    page.get_by_role("button", name="Run drift now").click()
    page.get_by_role("dialog").get_by_label("Day").fill(date)
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
    expect(card.get_by_role("alert")).to_contain_text(f"drift comes after nightly: expected a success for {date}")
    card.get_by_role("button", name="Run it all the same").click()

    expect(card.get_by_role("status")).to_contain_text(f"there is no summary of nightly for {date}")
    expect(cell(page, "drift", date)).to_contain_text("✗failed")


def test_a_run_that_is_under_way_is_refused_in_words(nights, world):
    """And the grid shows it as running, until it has ended, without being loaded again."""
    run = world.begin("nightly", days_ago(7))
    page = nights.open("/nights")
    expect(cell(page, "nightly", days_ago(7))).to_contain_text("◐running")

    page.get_by_role("button", name="Run nightly now").click()
    page.get_by_role("dialog").get_by_label("Day").fill(days_ago(7))
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
    expect(card_of(page, "nightly").get_by_role("alert")).to_contain_text("this run is under way already")

    world.store.finish_run(run, [], now=datetime.now(UTC))
    expect(cell(page, "nightly", days_ago(7))).to_contain_text("✓succeeded")
    expect(page.locator("#announcements")).to_have_text(f"nightly {days_ago(7)} succeeded")


def test_a_night_that_failed_is_told_in_one_sentence(visits, tmp_path):
    """Which job, and how; the rest succeeded, and it links to the run."""
    with night_world(tmp_path) as fresh:
        jobs = httpx.get(f"{fresh.api}/jobs").json()["jobs"]
        for job in jobs[:3]:
            date = str(datetime.fromisoformat(job["next_tick"]).date() - timedelta(days=2))
            (fresh.fail if job["id"] == "export" else fresh.succeed)(
                job["id"], date, *["disk full"] * (job["id"] == "export")
            )
        page = visits(fresh.url).open("/nights")

        sentence = page.locator(".verdict")
        expect(sentence).to_contain_text("✗ Last night did not go well: export failed; 2 of 3 nightly jobs succeeded")
        sentence.get_by_role("link", name="export").click()
        expect(page.get_by_text("disk full").first).to_be_visible()


def test_a_night_that_was_not_worked_on_is_told_of_jobs_that_are_older(visits, tmp_path):
    """Who ran before and not last night is named as bad, who never ran or only later is not."""
    with night_world(tmp_path) as fresh:
        jobs = httpx.get(f"{fresh.api}/jobs").json()["jobs"]
        due = {job["id"]: datetime.fromisoformat(job["next_tick"]).date() - timedelta(days=2) for job in jobs[:3]}
        fresh.succeed("drift", str(due["drift"] + timedelta(days=1)))
        visitor = visits(fresh.url)
        sentence = visitor.open("/nights").locator(".verdict")
        expect(sentence).to_contain_text("No night has been worked on yet")
        expect(sentence).to_contain_text("drift has run only for days that were not over then")

        fresh.succeed("nightly", str(due["nightly"] - timedelta(days=1)))
        visitor.open("/nights")
        expect(sentence).to_contain_text("✗ Last night did not go well: nightly did not run; 0 of 1")
        expect(sentence).to_contain_text("export has not run yet")


def test_a_job_is_paused_and_resumed(nights, world):
    """The card says so, and so does the function."""
    page = nights.open("/nights")
    card = card_of(page, "drift")

    card.get_by_role("button", name="Pause drift").click()
    expect(card).to_contain_text("paused")
    expect(card).to_contain_text("waits until it is resumed")
    assert httpx.get(f"{world.api}/jobs").json()["jobs"][1]["paused"]
    card.get_by_role("button", name="Resume drift").click()
    expect(card.get_by_role("button", name="Pause drift")).to_be_visible()
    assert not httpx.get(f"{world.api}/jobs").json()["jobs"][1]["paused"]


def test_ten_thousand_runs_are_one_cell_a_day_and_say_how_many_are_shown(visits, tmp_path):
    """The page stays quick; a day that was not reached is not shown as empty."""
    with night_world(tmp_path) as fresh:
        start = datetime.combine(today() - timedelta(days=13), time(), UTC)
        fresh.succeed("reconcile", f"{start:%Y-%m-%dT%H:%MZ}")
        fresh.multiply(
            "reconcile", f"{start:%Y-%m-%dT%H:%MZ}", [start + n * timedelta(minutes=2) for n in range(10_000)]
        )
        fresh.fail("reconcile", f"{days_ago(1)}T10:10Z", "the disk is full")
        page = visits(fresh.url).open("/nights")

        expect(page.get_by_text("The newest 2,000 runs of reconcile are shown")).to_be_visible()
        expect(cell(page, "reconcile", days_ago(1))).to_contain_text("✗1 of 720 failed")
        expect(cell(page, "reconcile", days_ago(12))).to_have_text("not loaded")
        cell(page, "reconcile", days_ago(1)).get_by_role("link").click()
        page.wait_for_selector("html[data-ready=yes]")
        expect(page.get_by_role("table", name="Runs of reconcile").get_by_role("row").nth(1)).to_contain_text(
            "the disk is full"
        )


def test_hostile_strings_are_text(nights, world):
    """What a run failed with, and what an address asks for, is shown as it stands and does nothing."""
    world.fail("nightly", days_ago(9), HOSTILE, params={"what": HOSTILE})
    page = nights.open(f"/nights?until={HOSTILE}&job={HOSTILE}&day={days_ago(1)}")

    expect(page.get_by_role("alert").first).to_contain_text("until: expected a day such as 2026-11-21, got <img src=x")
    expect(page.get_by_text("There is no job called <img src=x")).to_be_visible()
    expect(cell(page, "nightly", days_ago(9))).to_contain_text("✗failed")
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hit") is None


def test_earlier_days_have_an_address_of_their_own(nights, world):
    """Fourteen days at a time, and back."""
    world.succeed("nightly", days_ago(20))
    page = nights.open("/nights")
    page.get_by_role("link", name="Earlier").click()
    page.wait_for_selector("html[data-ready=yes]")

    expect(cell(page, "nightly", days_ago(20))).to_contain_text("✓succeeded")
    page.get_by_role("link", name="Later").click()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.url.endswith("/nights?")


def test_one_job_that_cannot_be_asked_for_is_told_of_in_its_place(nights):
    """The other jobs are there, and trying again brings it back."""
    page = nights.page
    broken = json.dumps({"error": {"code": 500, "status": "INTERNAL", "message": "the store is on fire"}})
    page.route("**/api/runs?job=export*", lambda route: route.fulfill(status=500, body=broken))
    nights.open("/nights")

    expect(card_of(page, "export").get_by_role("alert")).to_contain_text("the store is on fire")
    expect(page.get_by_role("columnheader", name="export")).to_contain_text("not loaded")
    expect(page.get_by_role("button", name="Run drift now")).to_be_visible()
    page.unroute("**/api/runs?job=export*")
    card_of(page, "export").get_by_role("button", name="Try again").click()
    expect(card_of(page, "export").get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("answer", ["[]", '{"jobs": 7}', '{"jobs": [{}]}'])
def test_nonsense_for_jobs_is_said_in_words(visits, serve_page, misbehaving, answer):
    """Whatever answers in place of nightly-transform."""
    page = visits(serve_page(NIGHTLY_TRANSFORM_URL=misbehaving(answering(200, answer)))).open("/nights")
    expect(page.get_by_role("alert")).to_contain_text("nightly_transform answered nonsense")


def test_a_page_that_is_read_only_shows_and_changes_nothing(visits, serve_page, world):
    """No button, and it says why."""
    page = visits(serve_page(READ_ONLY="1", NIGHTLY_TRANSFORM_URL=world.api)).open("/nights")

    expect(page.get_by_text("This page is read-only: it shows the jobs")).to_be_visible()
    for name in ("Run", "Pause", "Resume"):
        assert page.get_by_role("button", name=name).count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visits, world, scheme):
    """WCAG 2.2 AA in both themes, with every state in the grid and a dialog open."""
    world.fail("drift", days_ago(2), "it broke")
    run = world.begin("drift", days_ago(4))
    page = visits(world.url, color_scheme=scheme).open(f"/nights?job=nightly&day={days_ago(3)}")
    assert violations(page) == []
    page.get_by_role("button", name="Run drift now").click()
    assert violations(page) == []
    world.store.finish_run(run, [], now=datetime.now(UTC))


def test_it_fits_a_narrow_screen_and_the_keyboard_reaches_every_cell(visits, world):
    """360 px, no sideways scrolling but the grid's own; Tab goes from the grid to the links in it."""
    world.succeed("nightly", days_ago(4))
    world.succeed("reconcile", f"{days_ago(4)}T10:10Z")
    page = visits(world.url, viewport={"width": 360, "height": 740}).open("/nights")

    assert fits(page)
    page.get_by_role("link", name="Earlier").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Runs by day and job"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.cell') !== null")
