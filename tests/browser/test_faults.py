"""What the page says when a function is down, slow, or answers nonsense; and that the rest goes on."""

import json
import shutil
import threading

import httpx
import pytest
from playwright.sync_api import expect

from shared.config import ROOT
from tests.browser.conftest import answering
from tests.support import free_port

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def alert(page):
    """What is said to be wrong."""
    return page.get_by_role("alert").filter(has_text="✗")


def test_a_predict_that_is_down_is_told_and_tried_again(visits, serve_page, serve):
    """The message says which function, the sample stays, and Try again answers once it is back."""
    predict = serve("predict")
    page = visits(serve_page(PREDICT_URL=predict.url)).open("/")
    predict.process.terminate()
    predict.process.wait()

    page.get_by_role("button", name="Sample 3").click()

    expect(alert(page)).to_contain_text("A function is down")
    expect(alert(page)).to_contain_text("predict cannot be reached")
    expect(page.get_by_role("img", name="What the model sees")).to_be_visible()
    expect(alert(page).get_by_role("button", name="Try again")).to_be_visible()


def test_a_predict_that_was_never_there_leaves_results_and_nights(visits, serve_page, stack):
    """Try says so; the other views do not need it."""
    visitor = visits(serve_page(PREDICT_URL=f"http://127.0.0.1:{free_port()}"))

    page = visitor.open("/")
    expect(alert(page)).to_contain_text("A function is down")
    visitor.open("/results")
    expect(alert(page)).to_have_count(0)
    visitor.open("/status")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="predict", exact=True))
    expect(row).to_contain_text("not healthy")
    expect(row).to_contain_text("cannot be reached")


def test_a_slow_predict_is_waited_for_in_words_and_the_rest_goes_on(visits, serve_page, misbehaving, stack):
    """While it hangs, the page says that it waits, and other views answer."""
    asked, let_go = threading.Event(), threading.Event()
    catalogue = json.dumps(
        {
            "default_model": "m",
            "models": [
                {
                    "name": "m",
                    "default_version": "1",
                    "labels": {},
                    "versions": [
                        {
                            **{"version": "1", "state": "AVAILABLE", "problem": "", "description": "", "metrics": {}},
                            **{"created_at": None, "runtimes": [], "size_bytes": 1, "summary": {}, "interface": {}},
                            "signatures": {
                                "serving_default": {
                                    "inputs": [{"name": "x", "dtype": "float32", "shape": [-1]}],
                                    "outputs": [],
                                }
                            },
                        }
                    ],
                }
            ],
        }
    )

    def hang(handler):
        if handler.command == "GET":
            answering(200, catalogue)(handler)
            return
        asked.set()
        let_go.wait(60)
        answering(200, '{"predictions": [0.5]}')(handler)

    visitor = visits(serve_page(PREDICT_URL=misbehaving(hang)))
    page = visitor.open("/")
    page.get_by_role("button", name="Predict").click()

    expect(page.get_by_text("Waiting for the model")).to_be_visible()
    assert asked.wait(10)
    assert page.request.get(f"{visitor.base}/api/results").status == 200
    let_go.set()
    expect(page.locator(".winner")).to_have_text("0.5")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (answering(200, "<html>Welcome to the proxy</html>", "text/html"), "predict answered 200 with text/html"),
        (answering(200, '{"models": '), "expected JSON, got"),
        (answering(200, '{"models": 7}'), "expected a list of models"),
        (answering(200, "[]"), "expected a list of models"),
        (answering(200, "null"), "expected a JSON object"),
        (answering(500, "Traceback", "text/plain"), "predict answered 500 with text/plain"),
        (answering(403, "<html>Forbidden</html>", "text/html"), "run.invoker"),
        (answering(500, f'{{"error": {json.dumps(HOSTILE)}}}'), HOSTILE),
    ],
)
def test_nonsense_is_told_in_words(visits, serve_page, misbehaving, answer, told):
    """Whatever comes, the page says what it expected, and stays whole."""
    page = visits(serve_page(PREDICT_URL=misbehaving(answer))).open("/")

    expect(alert(page).first).to_contain_text(told)
    assert page.title().startswith("Try")
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()


def test_predictions_that_are_none_are_told(visits, serve_page, misbehaving, stack):
    """A prediction that is no JSON object of predictions is not shown as one."""

    def pass_or_lie(handler):
        if handler.command == "GET":
            answering(200, httpx.get(stack["predict"] + handler.path).text)(handler)
        else:
            answering(200, '{"prediction": "yes"}')(handler)

    page = visits(serve_page(PREDICT_URL=misbehaving(pass_or_lie))).open("/")
    page.get_by_role("button", name="Sample 3").click()

    expect(alert(page)).to_contain_text("predict answered nonsense")
    expect(alert(page)).to_contain_text("expected predictions")


def test_what_is_saved_is_what_was_answered_to_the_last_digit(visits, serve_page, misbehaving, stack):
    """Whole numbers of 64 bits, NaN and the way a number was written are more than JavaScript keeps."""
    answered = '{"predictions": [{"digit": 9007199254740993, "price": NaN, "share": 1.0}]}'

    def pass_or_answer(handler):
        if handler.command == "GET":
            answering(200, httpx.get(stack["predict"] + handler.path).text)(handler)
        else:
            answering(200, answered)(handler)

    page = visits(serve_page(PREDICT_URL=misbehaving(pass_or_answer))).open("/")
    page.get_by_role("button", name="Sample 3").click()
    page.get_by_label("Labels").fill("test=exact")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("link", name="Open the result")).to_be_visible()

    stored = httpx.get(stack["list_results"], params={"label.test": "exact"}).text
    assert '"predictions":[{"digit": 9007199254740993, "price": NaN, "share": 1.0}]' in stored


def test_a_hostile_model_is_shown_as_text(visits, serve_page, serve, tmp_path):
    """A description that is markup."""
    folder = tmp_path / "models" / "hostile" / "1"
    shutil.copytree(ROOT / "model" / "digits" / "1", folder)
    document = json.loads((folder / "model.json").read_text())
    document |= {"name": "hostile", "description": HOSTILE, "samples": [{"label": HOSTILE, "instance": {"image": 1}}]}
    (folder / "model.json").write_text(json.dumps(document))
    predict = serve("predict", MODELS_DIR=str(tmp_path / "models"))

    page = visits(serve_page(PREDICT_URL=predict.url)).open("/")

    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert page.locator("main img:not([role])").count() == 0
    assert page.title().startswith("Try")


def test_there_is_no_model_yet(visits, serve_page, serve, tmp_path):
    """An empty folder of models: how to add one."""
    (tmp_path / "models").mkdir()
    predict = serve("predict", MODELS_DIR=str(tmp_path / "models"))

    page = visits(serve_page(PREDICT_URL=predict.url)).open("/")

    expect(page.get_by_text("python -m model add")).to_be_visible()


def test_a_model_and_a_version_that_are_not_there_are_told(visit):
    """An old link."""
    page = visit.open("/?model=gone")
    expect(alert(page)).to_contain_text("gone is not served here; there is digits")
    visit.open("/?model=digits&version=99")
    expect(alert(page)).to_contain_text("digits has no version 99")


def test_production_looks_different_and_read_only_keeps_nothing(visits, serve_page):
    """The environment is named in colour and capitals; there is no way to save."""
    page = visits(serve_page(ENVIRONMENT="prod", READ_ONLY="1")).open("/")

    badge = page.locator(".environment")
    expect(badge).to_contain_text("prod · read-only")
    assert badge.evaluate("(one) => getComputedStyle(one).backgroundColor") == "rgb(143, 16, 36)"
    page.get_by_role("button", name="Sample 3").click()
    expect(page.get_by_text("predictions are shown and not kept")).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)


def test_without_scripts_the_page_says_what_it_needs(visits, stack):
    """And still names itself and its environment."""
    visitor = visits(stack["web"], java_script_enabled=False)
    visitor.page.goto("/")

    expect(visitor.page.get_by_text("needs JavaScript")).to_be_visible()
    expect(visitor.page.locator(".environment")).to_contain_text("local")


def test_a_path_that_leads_nowhere_is_a_page_too(visit):
    """With the way back."""
    visit.page.goto("/nowhere")

    expect(visit.page.get_by_role("heading", name="404")).to_be_visible()
    expect(visit.page.get_by_text("nothing at this path")).to_be_visible()
    expect(visit.page.get_by_role("link", name="Results")).to_be_visible()
