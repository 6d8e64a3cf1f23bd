"""Results: found by filters in the address, a page at a time, opened whole, taken away as CSV."""

import csv

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import fits, store, violations

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def rows(visit):
    """The rows of the list, without its head."""
    return visit.page.get_by_role("table", name="Results").locator("tbody tr")


def test_filters_stand_in_the_address_and_in_the_form(visit, stack, rows):
    """What was filtered can be sent to a colleague."""
    store(stack, model="filtered", version="7", labels={"set": "odd one"})
    store(stack, model="filtered", version="8", labels={"set": "even"})
    page = visit.open("/results")

    page.get_by_label("Model").fill("filtered")
    page.get_by_label("Label").fill("set = odd one")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_selector("html[data-ready=yes]")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("filtered 7")
    assert "model=filtered" in page.url

    visit.open(page.url)
    expect(page.get_by_label("Model")).to_have_value("filtered")
    expect(rows).to_have_count(1)


def test_days_are_included_from_the_first_to_the_last(visit, stack, rows):
    """A result of today is found from today to today, and not up to yesterday."""
    identity = store(stack, labels={"test": "days"})
    page = visit.open(f"/results/{identity}")
    today = page.locator("time").first.get_attribute("datetime")[:10]

    visit.open(f"/results?label=test%3Ddays&from={today}&to={today}")
    expect(rows).to_have_count(1)
    visit.open("/results?label=test%3Ddays&to=2026-01-01")
    expect(page.get_by_text("No result is like that.")).to_be_visible()


def test_pages_follow_each_other_and_lead_back(visit, stack, rows):
    """Sixty results are three pages; each result is on one of them, the newest first."""
    made = [store(stack, labels={"test": "pages"}) for _ in range(60)]
    page = visit.open("/results?label=test%3Dpages")
    page.get_by_role("button", name="How many are there?").click()
    expect(page.get_by_text("60 results in all")).to_be_visible()

    seen = []
    for expected in (25, 25, 10):
        expect(rows).to_have_count(expected)
        seen += [row.get_attribute("href").rsplit("/", 1)[1] for row in rows.locator("a").all()]
        older = page.get_by_role("link", name="Older")
        if older.count():
            visit.open(older.get_attribute("href"))
    assert seen == made[::-1]

    visit.open(page.get_by_role("link", name="Newest").get_attribute("href"))
    expect(rows).to_have_count(25)


def test_what_is_filtered_is_downloaded_as_csv(visit, stack, tmp_path):
    """The file holds the rows of every page, and no other."""
    for _ in range(30):
        store(stack, labels={"test": "csv"})
    page = visit.open("/results?label=test%3Dcsv")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    download.value.save_as(tmp_path / "results.csv")

    with (tmp_path / "results.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 30
    assert {row["labels"] for row in found} == {'{"test":"csv"}'}


def test_hostile_text_is_shown_as_text(visit, stack, rows):
    """Markup in a model's name, a label, an instance and a prediction stays what it is."""
    identity = store(
        stack, model=HOSTILE, labels={"test": "hostile", "x": HOSTILE}, instances=[HOSTILE], predictions=[HOSTILE]
    )
    page = visit.open("/results?label=test%3Dhostile")
    expect(rows).to_contain_text(HOSTILE)
    assert page.title().startswith("Results")

    visit.open(f"/results/{identity}")
    assert page.get_by_text("onerror=").count() >= 3
    assert page.locator("main img").count() == 0
    assert page.title().startswith("Result ")


def test_a_large_result_is_cut_and_stays_usable(visit, stack):
    """A million numbers are not laid out; how many are left out is said."""
    identity = store(stack, instances=[[0.25] * 1_000_000], predictions=[1])
    page = visit.open(f"/results/{identity}")

    expect(page.get_by_text("more characters")).to_be_visible()


def test_not_a_number_is_shown_as_null(visit, stack):
    """NaN is no JSON, which the page reads."""
    identity = store(stack, instances=[[1.0]], predictions=[{"price": float("nan")}])
    page = visit.open(f"/results/{identity}")

    expect(page.locator("pre").filter(has_text="null").first).to_be_visible()


def test_a_result_that_is_not_there_is_told(visit):
    """An id of the right form, and of no result."""
    page = visit.open(f"/results/{'a' * 26}")

    expect(page.get_by_role("alert")).to_contain_text("Not found")
    expect(page.get_by_role("alert")).to_contain_text("no result with this id")


def test_a_page_token_that_was_tampered_with_is_told(visit):
    """The function's own words, and a way on."""
    page = visit.open("/results?page=nonsense")

    expect(page.get_by_role("alert")).to_contain_text("That was refused")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing(visits, stack, scheme, width):
    """WCAG 2.2 AA for the list and for one result, on a large screen and on a small one."""
    identity = store(stack, labels={"test": "axe", "long": "x" * 200})
    visitor = visits(stack["web"], color_scheme=scheme, viewport={"width": width, "height": 800})
    for path in ("/results?label=test%3Daxe", f"/results/{identity}"):
        page = visitor.open(path)
        assert violations(page) == []
        assert fits(page)
