"""Status: the health of each function and the models there are."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, violations


def test_every_function_is_shown_with_its_health(visit):
    """Five functions, all healthy, and the environment's name."""
    page = visit.open("/status")

    rows = page.get_by_role("table", name="Functions").get_by_role("row")
    assert rows.count() == 6
    for name in ("web", "predict", "store_result", "list_results", "nightly_transform"):
        expect(rows.filter(has=page.get_by_role("rowheader", name=name, exact=True))).to_contain_text("healthy")
    expect(page.get_by_role("banner")).to_contain_text("local")


def test_models_are_listed_with_what_there_is_to_know(visit):
    """Name, version, default, size, runtime and accuracy."""
    page = visit.open("/status")

    row = page.get_by_role("table", name="Models and versions").get_by_role("row").nth(1)
    for text in ("digits", "default", "available", "154 kB", "litert, tensorflow", "99.4 %"):
        expect(row).to_contain_text(text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(chromium, stack, scheme):
    """WCAG 2.2 AA in both themes."""
    visitor = Visit(chromium, stack["web"], color_scheme=scheme)
    assert violations(visitor.open("/status")) == []
    visitor.close()
