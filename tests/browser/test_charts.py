"""The charts under Nights: counts, confidence and drift over thirty days, each with its data."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import fits, violations
from tests.browser.night_world import days_ago, night_world


def counted(date, version, predictions, score):
    """A row of the daily summary."""
    return {
        "date": date,
        "model": "digits",
        "version": version,
        "results": predictions,
        "predictions": predictions,
        "mean_top_score": score,
    }


def drifted(date, index):
    """A row of the drift."""
    previous = {"predictions": 700, "psi": {"classes": index, "top_scores": None}, "verdict": "significant"}
    row = {"date": date, "model": "digits", "version": "1", "predictions": 100, "previous_days": 7}
    return {**row, "previous": previous, "training": None, "verdict": "significant"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return a world of twelve days with a hole in them, of two versions, and of three days of drift."""
    with night_world(tmp_path_factory.mktemp("charts")) as made:
        for count in (12, 11, 10, 9, 8, 4, 3, 2, 1):
            date = days_ago(count)
            rows = [counted(date, "1", 100 + count, 0.9 + count / 1000)]
            made.succeed("nightly", date, [*rows, counted(date, "2", 50, 0.8)] if count < 9 else rows)
        for count, index in ((3, 0.05), (2, 0.3), (1, 7.5)):
            made.succeed("drift", days_ago(count), [drifted(days_ago(count), index)])
        yield made


def figure(page, title):
    """One chart with what belongs to it."""
    return page.get_by_role("figure").filter(has_text=title)


def test_each_chart_says_its_gist_and_has_its_data(visits, world):
    """For those who do not see it: least, most, latest; and the same numbers as a table."""
    page = visits(world.url).open("/nights")
    counts = figure(page, "Predictions a day")

    label = counts.get_by_role("img").get_attribute("aria-label")
    assert "digits 1: predictions from 101 to 112, latest 101" in label
    assert "digits 2: predictions from 50 to 50" in label
    counts.get_by_text("Data: predictions a day").click()
    rows = counts.get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(1 + 9 + 5)
    expect(rows.nth(1)).to_contain_text("digits1101101")
    assert "confidence from 0.901 to 0.912" in figure(page, "Mean top score").get_by_role("img").get_attribute(
        "aria-label"
    )


def test_a_day_without_data_is_a_gap(visits, world):
    """A line is broken there, and a bar is missing: nobody takes it for zero."""
    page = visits(world.url).open("/nights")

    line = figure(page, "Mean top score").locator("svg[role=img] path.line.s0").get_attribute("d")
    assert line.count("M") == 2
    assert line.count("L") == 9 - 2
    assert figure(page, "Predictions a day").locator("svg[role=img] rect.bar").count() == 9 + 5


def test_series_differ_in_more_than_their_colour(visits, world):
    """In markers, dashes and patterns."""
    page = visits(world.url).open("/nights")

    scores = figure(page, "Mean top score").locator("svg[role=img]")
    first, second = (scores.locator(f"path.marker.s{n}").first.get_attribute("d") for n in (0, 1))
    assert first != second
    dashes = [
        scores.locator(f"path.line.s{n}").evaluate("path => getComputedStyle(path).strokeDasharray") for n in (0, 1)
    ]
    assert dashes[0] != dashes[1]
    assert figure(page, "Predictions a day").locator("rect.bar.s1").first.get_attribute("fill").startswith("url(#")


def test_drift_is_shown_against_its_thresholds_and_told_at_the_top(visits, world):
    """What is far beyond them is an arrow at the edge, so that they can still be told apart."""
    page = visits(world.url).open("/nights")
    drift = figure(page, "Drift against the week before")

    expect(drift.locator("text.limit")).to_have_text(["moderate 0.1", "significant 0.25"])
    expect(drift).to_contain_text("An arrow: beyond the scale")
    drift.get_by_text("Data: drift").click()
    expect(drift.get_by_role("row").nth(1)).to_contain_text("significantclasses 7.5, top scores too few")
    expect(figure(page, "Drift against the training data")).to_contain_text("Nothing is known of these days.")
    expect(page.locator(".drifted")).to_contain_text("digits 1 significant")


def test_charts_end_with_the_days_that_are_shown(visits, world):
    """Earlier days have earlier charts."""
    page = visits(world.url).open(f"/nights?until={days_ago(9)}")
    assert figure(page, "Predictions a day").locator("svg[role=img] rect.bar").count() == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_they_fit_and_can_be_read(visits, world, scheme):
    """WCAG 2.2 AA in both themes with every table open, at 360 px, and drawn anew for another width."""
    page = visits(world.url, color_scheme=scheme, viewport={"width": 360, "height": 740}).open("/nights")
    for summary in page.locator("figure summary").all():
        summary.click()
    assert fits(page)
    assert violations(page) == []
    chart = figure(page, "Predictions a day").get_by_role("img")
    narrow = chart.bounding_box()["width"]
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function("narrow => document.querySelector('svg[role=img]').clientWidth > narrow", arg=narrow)
