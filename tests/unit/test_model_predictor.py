"""predictor.py beside a model runs around it."""

import pytest

from model.predictor import Predictor
from shared.errors import InvalidRequestError, ModelError

BOTH = b"""
SCALE = 2

def preprocess(instances):
    if not all(isinstance(i, (int, float)) for i in instances):
        raise ValueError("expected numbers")
    return [i * SCALE for i in instances]

def postprocess(predictions):
    return [{"label": "even" if p % 2 == 0 else "odd"} for p in predictions]
"""


def test_both_hooks_run_on_plain_values():
    """What goes in and out is what JSON holds."""
    predictor = Predictor(BOTH, "digits/1/predictor.py")

    assert predictor.preprocess([1, 2.5]) == [2, 5.0]
    assert predictor.postprocess([2, 3]) == [{"label": "even"}, {"label": "odd"}]


def test_a_hook_that_is_not_there_hands_through():
    """One hook is enough."""
    predictor = Predictor(b"def postprocess(predictions): return predictions[::-1]", "m/1/predictor.py")

    assert predictor.preprocess([1]) == [1]
    assert predictor.postprocess([1, 2]) == [2, 1]


def test_a_value_error_of_preprocess_is_the_callers_to_read():
    """So the hook can say what an instance should be."""
    with pytest.raises(InvalidRequestError, match="instances: expected numbers"):
        Predictor(BOTH, "digits/1/predictor.py").preprocess(["x"])


@pytest.mark.parametrize("result", ["1/0", "open", "{1: object()}"])
def test_any_other_failure_is_the_models_and_says_nothing_of_its_inside(result):
    """The cause goes to the log, not to the caller."""
    predictor = Predictor(
        f"def postprocess(p): return {result}\ndef preprocess(i): return 1/0".encode(), "m/1/predictor.py"
    )

    with pytest.raises(ModelError, match=r"^m/1/predictor.py: postprocess failed$"):
        predictor.postprocess([1])
    with pytest.raises(ModelError, match=r"^m/1/predictor.py: preprocess failed$"):
        predictor.preprocess([1])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"def preprocess(", "cannot be run: SyntaxError"),
        (b"raise RuntimeError('no')", "cannot be run: RuntimeError: no"),
        (b"x = 1", "expected a function preprocess"),
        (b"preprocess = 3", "expected a function preprocess"),
        (b"\xff\xfe", "cannot be run"),
    ],
)
def test_a_file_that_is_no_predictor_is_named(source, message):
    """Where it is, and what was expected."""
    with pytest.raises(ModelError, match=message) as refused:
        Predictor(source, "m/1/predictor.py")

    assert refused.value.message.startswith("m/1/predictor.py: ")
