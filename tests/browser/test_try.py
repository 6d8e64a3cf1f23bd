"""Try: draw, click, or write JSON, see what the model makes of it, and keep it."""

import json
import subprocess

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import fits, violations
from tests.browser.handwriting import DIGITS, draw


def winner(page):
    """The large digit."""
    return page.locator(".winner")


def predicted(page):
    """Wait for an answer to what was just sent, and return it."""
    expect(page.locator(".outcome")).not_to_have_attribute("aria-busy", "true")
    return winner(page).inner_text().split()[-1]


def canvas(page):
    """The drawing area."""
    return page.get_by_role("application", name="Drawing area")


def draw_and_read(page, digit, **how):
    """Draw a digit on a clean canvas, and return what the model takes it for."""
    page.get_by_role("button", name="Clear").click()
    expect(winner(page)).to_have_count(0)
    with page.expect_response("**:predict"):
        draw(page, canvas(page), DIGITS[digit][:1], **how)
    for stroke in DIGITS[digit][1:]:
        with page.expect_response("**:predict"):
            draw(page, canvas(page), [stroke], **how)
    return predicted(page)


def test_a_three_that_is_drawn_is_seen_saved_and_found_again(visit):
    """The whole way: draw, see, save, find in Results, open, load into Try again."""
    page = visit.open("/")

    assert draw_and_read(page, 3) == "3"
    page.get_by_label("Labels").fill("who=ada, set=first")
    page.get_by_role("button", name="Save as right").click()
    page.get_by_role("link", name="Open the result").click()

    expect(page.get_by_role("heading", name="Result", exact=True)).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("who=ada")
    expect(page.locator(".facts")).to_contain_text("verdict=right")
    expect(page.get_by_role("img", name="Instance 1")).to_be_visible()
    identity = page.url.rsplit("/", 1)[1]

    page.get_by_role("link", name="Results").first.click()
    page.get_by_label("Label").fill("who=ada")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("table", name="Results")).to_contain_text("3 (")
    page.locator(f"a[href='/results/{identity}']").click()

    page.get_by_role("link", name="Load into Try").click()
    expect(winner(page)).to_contain_text("3")


def test_eighty_of_ninety_scripted_digits_are_read_right(visit):
    """Ten digits in three widths at three places."""
    page = visit.open("/")
    right = {
        (digit, width, place)
        for digit in DIGITS
        for width in (0.6, 1.0, 1.3)
        for place in ((0, 0), (-10, 9), (10, -9))
        if draw_and_read(page, digit, width=width, dx=place[0], dy=place[1]) == str(digit)
    }

    assert len(right) >= 80, sorted({digit for digit in DIGITS if not any(r[0] == digit for r in right)})


def test_a_one_can_be_drawn_by_keyboard(visit):
    """Arrows move the pen, Space puts it down; what happened is said."""
    page = visit.open("/")
    canvas(page).focus()

    page.keyboard.press("Space")
    expect(page.locator("#announcements")).to_have_text("Pen down")
    for _ in range(15):
        page.keyboard.press("ArrowDown")
    with page.expect_response("**:predict"):
        page.keyboard.press("Space")

    assert predicted(page) == "1"
    expect(page.locator("#announcements")).to_contain_text("Prediction 1")
    page.keyboard.press("Backspace")
    expect(winner(page)).to_have_count(0)


@pytest.mark.parametrize("digit", range(10))
def test_every_sample_is_read_as_what_it_is(visit, digit):
    """The bundled model's samples are held-out images."""
    page = visit.open("/")

    with page.expect_response("**:predict"):
        page.get_by_role("button", name=f"Sample {digit}").click()

    assert predicted(page) == str(digit)
    expect(page.get_by_role("list", name="Confidence of each class").get_by_role("listitem")).to_have_count(10)


def test_the_answer_says_how_long_it_took_and_whether_the_instance_was_warm(visit, serve_page, visits, serve):
    """The first answer of a new process is cold, the next one warm."""
    page = visits(serve_page(PREDICT_URL=serve("predict").url)).open("/")

    page.get_by_role("button", name="Sample 4").click()
    expect(page.locator(".outcome")).to_contain_text("cold start")
    page.get_by_role("button", name="Sample 5").click()
    expect(page.locator(".outcome")).to_contain_text("warm")
    expect(page.locator(".outcome")).to_contain_text(" ms")


def test_what_is_copied_as_curl_runs(visit):
    """The very text answers with the prediction that is shown."""
    page = visit.open("/")
    page.get_by_role("button", name="Sample 6").click()
    assert predicted(page) == "6"
    page.get_by_text("Copy as curl").click()

    command = page.locator("pre.curl").inner_text()
    answer = subprocess.run(["/bin/sh", "-c", f"{command} -s"], capture_output=True, text=True, check=True).stdout

    assert json.loads(answer)["predictions"][0]["digit"] == 6


def test_two_clicks_keep_one_result(visit, stack):
    """The second click of a double click meets a disabled button, a later one the same key."""
    page = visit.open("/")
    page.get_by_role("button", name="Sample 8").click()
    assert predicted(page) == "8"
    page.get_by_label("Labels").fill("test=twice")

    page.get_by_role("button", name="Save", exact=True).dblclick()
    expect(page.get_by_role("link", name="Open the result")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_enabled()

    found = httpx.get(stack["list_results"], params={"label.test": "twice", "count": "true"}).json()
    assert found["total_size"] == 1


def test_a_label_that_cannot_be_one_is_told_at_the_field(visit):
    """Nothing is sent; the field is marked and has the focus."""
    page = visit.open("/")
    page.get_by_role("button", name="Sample 1").click()
    assert predicted(page) == "1"

    page.get_by_label("Labels").fill("7 of 9")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.locator("#labels-problem")).to_contain_text("got 7 of 9")
    expect(page.get_by_label("Labels")).to_be_focused()
    expect(page.get_by_label("Labels")).to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    ("request_text", "told", "selected"),
    [
        ('{"instances": [[1, 2,]]}', "not JSON from line 1, column 21", ","),
        ('{"instances":\n [{"image": [[1, 2], [3]]}]}', "Line 2: instances[0].image[1]", "[3]"),
        ('{"instances": [{"picture": 1}]}', "instances[0]: has no input image", '{"picture": 1}'),
    ],
)
def test_what_is_wrong_with_a_request_is_shown_at_its_place(visit, request_text, told, selected):
    """A message that names a field selects it in the text."""
    page = visit.open("/")
    page.get_by_text("As JSON").first.click()
    page.get_by_label("Request", exact=True).fill(request_text)
    page.get_by_role("button", name="Predict").click()

    expect(page.locator("#editor-problem")).to_contain_text(told)
    chosen = page.locator("#request").evaluate("(area) => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert chosen == selected


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visits, stack, scheme):
    """WCAG 2.2 AA, with a prediction and everything unfolded."""
    page = visits(stack["web"], color_scheme=scheme).open("/")
    page.get_by_role("button", name="Sample 9").click()
    assert predicted(page) == "9"
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    assert violations(page) == []


def test_it_works_at_360_pixels_by_touch(visits, stack):
    """Nothing is wider than the screen, and a finger draws."""
    page = visits(stack["web"], viewport={"width": 360, "height": 740}, has_touch=True).open("/")
    page.get_by_role("button", name="Sample 2").tap()
    assert predicted(page) == "2"

    assert fits(page)
