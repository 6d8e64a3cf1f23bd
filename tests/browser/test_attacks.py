"""What a careful attacker and an impatient visitor found: late answers, odd numbers, second fingers, lost focus."""

import json
import shutil

from playwright.sync_api import expect

from shared.config import ROOT
from tests.browser.conftest import store


def test_a_result_that_loads_late_does_not_take_the_place_of_newer_work(visit, stack):
    """The sample that was clicked meanwhile stays."""
    identity = store(stack, instances=[[[0.0] * 8] * 8])
    held = []
    visit.page.route(f"**/api/results/{identity}**", lambda route: held.append(route))
    visit.page.goto(f"/?model=digits&version=1&result={identity}")
    visit.page.get_by_role("button", name="Sample 3").click()
    expect(visit.page.locator(".winner")).to_contain_text("3")

    with visit.page.expect_response(f"**/api/results/{identity}**"):
        held[0].continue_()
    visit.page.get_by_text("As JSON").first.click()

    assert json.loads(visit.page.get_by_label("Request", exact=True).input_value())["instances"] != [[[0.0] * 8] * 8]
    expect(visit.page.locator(".winner")).to_contain_text("3")


def test_a_result_is_shown_and_loaded_to_the_last_digit(visit, stack):
    """Whole numbers of 64 bits, NaN, and text that looks like a row of numbers."""
    instances = [{"image": [9007199254740993, float("nan"), -0.0, "a[  1   2 ]b"]}]
    identity = store(stack, instances=instances, predictions=[1])
    text = '[{"image": [9007199254740993, NaN, -0.0, "a[  1   2 ]b"]}]'

    page = visit.open(f"/results/{identity}")
    expect(page.locator("pre").first).to_have_text(text)
    page.get_by_role("link", name="Load into Try").click()
    page.wait_for_selector("html[data-ready=yes]")

    expect(page.locator("#request")).to_have_value(f'{{"instances": {text}}}')


def test_a_large_image_is_shown(visit, stack):
    """Of 160,000 points."""
    identity = store(stack, instances=[[[0.5] * 400] * 400], predictions=[1])

    expect(visit.open(f"/results/{identity}").get_by_role("img", name="Instance 1")).to_be_visible()


def test_a_small_number_does_not_become_nothing(visit, stack):
    """0.00003 is what the model answered."""
    identity = store(stack, model="small", instances=[1], predictions=[0.00003])

    expect(visit.open(f"/results/{identity}").locator(".winner")).to_have_text("0.00003")


def test_a_version_that_cannot_be_served_leaves_the_choice_of_another(visits, serve_page, serve, tmp_path):
    """The default is broken; the list is there, and changes by its button alone."""
    models = tmp_path / "models"
    for version in ("1", "2"):
        shutil.copytree(ROOT / "model" / "digits" / "1", models / "digits" / version)
    document = json.loads((models / "digits/1/model.json").read_text()) | {"version": 2}
    (models / "digits/2/model.json").write_text(json.dumps(document))
    (models / "digits/1/model.json").write_text("{")
    (models / "models.yaml").write_text("digits: {default: 1}\n")
    page = visits(serve_page(PREDICT_URL=serve("predict", MODELS_DIR=str(models)).url)).open("/")

    expect(page.get_by_role("alert")).to_contain_text("This version cannot be served")
    page.get_by_label("Model and version").select_option(label="digits 2")
    assert "version" not in page.url
    page.get_by_role("button", name="Choose").click()

    page.wait_for_url("**version=2")
    expect(page.get_by_role("application", name="Drawing area")).to_be_visible()


def test_a_second_finger_draws_nothing(visit):
    """A palm on the screen does not join the stroke."""
    page = visit.open("/")
    touch = """(canvas, [type, pointerId, isPrimary, x]) => canvas.dispatchEvent(new PointerEvent(type, {
        pointerId, isPrimary, button: 0, clientX: x, clientY: canvas.getBoundingClientRect().top + 40 }))"""
    canvas = page.get_by_role("application", name="Drawing area")
    canvas.evaluate("(canvas) => { canvas.setPointerCapture = () => {}; }")
    left = canvas.bounding_box()["x"]

    for event in (["pointerdown", 1, True, left + 50], ["pointerdown", 2, False, left + 250]):
        canvas.evaluate(touch, event)
    canvas.evaluate(touch, ["pointermove", 2, False, left + 200])
    with page.expect_response("**:predict") as predicted:
        canvas.evaluate(touch, ["pointerup", 1, True, left + 50])

    image = predicted.value.request.post_data_json["instances"][0]["image"]
    # A dot in the middle, as a stroke of one point is.
    assert [row for row in image if row[0] or row[7]] == []


def test_the_focus_stays_where_it_was_after_saving(visit):
    """A button that is out of use for a moment would lose it."""
    page = visit.open("/")
    page.get_by_role("button", name="Sample 7").click()
    save = page.get_by_role("button", name="Save", exact=True)

    save.focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("link", name="Open the result")).to_be_visible()
    expect(save).to_be_focused()


def test_leaving_the_canvas_with_the_pen_down_ends_the_stroke(visit):
    """Tab leads out of it, and what was drawn is predicted."""
    page = visit.open("/")
    page.get_by_role("application", name="Drawing area").focus()
    page.keyboard.press("Space")
    for _ in range(12):
        page.keyboard.press("ArrowDown")

    with page.expect_response("**:predict"):
        page.keyboard.press("Tab")

    expect(page.get_by_role("button", name="Clear")).to_be_focused()
    expect(page.locator(".winner")).to_contain_text("1")
