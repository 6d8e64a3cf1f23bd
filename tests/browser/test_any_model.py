"""Try with a model that takes no image: its request as JSON, filled in from its signature and example."""

import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import violations

# In a process of its own: TensorFlow takes half a gigabyte, which this one would keep.
SAVE = """
import sys
import tensorflow as tf

class Prices(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="area"),
                                  tf.TensorSpec([None], tf.int64, name="rooms")])
    def price(self, area, rooms):
        return {"price": 2.0 * area + 10.0 * tf.cast(rooms, tf.float32)}

prices = Prices()
tf.saved_model.save(prices, sys.argv[1], signatures={"serving_default": prices.price})
"""


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    """A folder of models with `prices`, made and added as a user would."""
    folder = tmp_path_factory.mktemp("prices")
    environment = {"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(
        [sys.executable, "-c", SAVE, str(folder / "saved")], check=True, capture_output=True, env=environment
    )
    command = [sys.executable, "-m", "model", "add", str(folder / "saved"), "--name", "prices"]
    subprocess.run([*command, "--models-dir", str(folder / "models")], check=True, capture_output=True, env=environment)
    return folder / "models"


@pytest.fixture
def page(visits, serve_page, serve, prices):
    """Try, with that model."""
    return visits(serve_page(PREDICT_URL=serve("predict", MODELS_DIR=str(prices)).url)).open("/")


def test_the_example_is_filled_in_and_answered(page):
    """Both inputs by name; the number is shown large, and can be saved."""
    request = page.get_by_label("Request", exact=True)
    assert '"area"' in request.input_value()
    assert '"rooms"' in request.input_value()

    request.fill('{"instances": [{"area": 50.5, "rooms": 3}]}')
    page.get_by_role("button", name="Predict").click()

    expect(page.locator(".winner")).to_have_text("131")
    expect(page.get_by_role("application")).to_have_count(0)


def test_several_instances_are_answered_and_saved_together(page, stack):
    """A list is shown as JSON; what is stored is the whole request and the whole answer."""
    page.get_by_label("Request", exact=True).fill('{"instances": [{"area": 1, "rooms": 1}, {"area": 2, "rooms": 2}]}')
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome pre").first).to_contain_text("[12, 24]")

    page.get_by_label("Labels").fill("test=several")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("link", name="Open the result")).to_be_visible()

    (found,) = httpx.get(stack["list_results"], params={"label.test": "several"}).json()["results"]
    assert (found["model"], found["predictions"]) == ("prices", [12.0, 24.0])
    assert found["instances"] == [{"area": 1, "rooms": 1}, {"area": 2, "rooms": 2}]


@pytest.mark.parametrize(
    ("request_text", "told", "selected"),
    [
        ('{"instances": [{"area": 1}]}', "has no input rooms", '{"area": 1}'),
        ('{"instances": [\n  {"area": "large", "rooms": 3}\n]}', "Line 2: instances[0].area", '"large"'),
        ('{"instances": [{"area": 1, "rooms": 2.5}]}', "instances[0].rooms", "2.5"),
    ],
)
def test_an_error_is_shown_at_the_field_that_it_names(page, request_text, told, selected):
    """The field is selected, the message stands below it."""
    request = page.get_by_label("Request", exact=True)
    request.fill(request_text)
    page.get_by_role("button", name="Predict").click()

    expect(page.locator("#editor-problem")).to_contain_text(told)
    chosen = request.evaluate("(area) => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert chosen == selected


def test_axe_finds_nothing(page):
    """With an error at a field."""
    page.get_by_label("Request", exact=True).fill("{")
    page.get_by_role("button", name="Predict").click()

    expect(page.locator("#editor-problem")).to_contain_text("not JSON")
    assert violations(page) == []
