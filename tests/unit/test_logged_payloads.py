"""What is logged of a request is what stood there; tensors become columns whatever they came as."""

import json

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.predict.logged_payloads import columns_text, examples_text, member_text
from shared.errors import PayloadTooLargeError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
spaces = st.text(" \t\r\n", max_size=3)
names = st.text('"\\:{}[],é\U0001f600a', max_size=6)


@settings(max_examples=300, deadline=None, database=None)
@given(members=st.dictionaries(names, values, min_size=1, max_size=4), ascii_only=st.booleans(), data=st.data())
def test_the_text_of_a_member_is_what_stood_there(members, ascii_only, data):
    """Wherever it stands, however it and its neighbours are spelt and spaced."""

    def written(value):
        separators = (data.draw(spaces) + "," + data.draw(spaces), data.draw(spaces) + ":" + data.draw(spaces))
        return json.dumps(value, ensure_ascii=ascii_only, separators=separators)

    texts = {name: written(value) for name, value in members.items()}
    parts = [
        data.draw(spaces) + json.dumps(name, ensure_ascii=ascii_only) + data.draw(spaces) + ":" + data.draw(spaces) + t
        for name, t in texts.items()
    ]
    body = data.draw(spaces) + "{" + (data.draw(spaces) + ",").join(parts) + data.draw(spaces) + "}" + data.draw(spaces)

    assert {name: member_text(body.encode(), members, name).decode() for name in members} == texts


def test_a_number_of_any_length_is_only_skipped():
    """Python's own limit on digits is no reason to lose a prediction."""
    body = b'{"ignored":' + b"1" * 5000 + b', "instances" : [ 1e2, NaN ] }'

    assert member_text(body, {"ignored": 0, "instances": 0}, "instances") == b"[ 1e2, NaN ]"


def test_examples_are_logged_with_the_context_they_share():
    """Without it nobody could ask the same again."""
    plain, shared = b'{"examples": [ {"a": 1.0} ]}', b'{"examples": [{"a": 1.0}] , "context":{"b" : 2}}'

    assert examples_text(plain, json.loads(plain)) == b'[ {"a": 1.0} ]'
    assert examples_text(shared, json.loads(shared)) == b'{"context":{"b" : 2},"examples":[{"a": 1.0}]}'


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (numpy.array([[0.1, 2]], numpy.float32), "[[0.1,2.0]]"),
        (numpy.array([0.5, numpy.nan, -numpy.inf], numpy.float16), "[0.5,NaN,-Infinity]"),
        (numpy.array([True, False]), "[true,false]"),
        (numpy.array(7, numpy.uint64), "7"),
        (numpy.zeros((0, 3), numpy.int8), "[]"),
        (numpy.array([b"caf\xc3\xa9", b""], object), '["café",""]'),
        (numpy.array([b"caf\xc3\xa9", b"\xff"], object), '[{"b64":"Y2Fmw6k="},{"b64":"/w=="}]'),
        (numpy.ndarray((2,), "<f8", b"x" + numpy.array([1.5, 2.5]).tobytes(), 1), "[1.5,2.5]"),
    ],
    ids=["float32", "float16", "bool", "scalar", "empty", "text", "bytes", "unaligned"],
)
def test_a_tensor_becomes_a_column(array, text):
    """Whatever its element type, its shape, and where in a body it lies."""
    assert columns_text({'a"b': array, "c": numpy.array([1])}).decode() == '{"a\\"b":' + text + ',"c":[1]}'


def test_tensors_that_fit_in_no_message_are_not_even_written():
    """Writing a hundred megabytes to find that they are too many would cost the answer its time."""
    with pytest.raises(PayloadTooLargeError):
        columns_text({"a": numpy.broadcast_to(numpy.float32(0), (3_500_001,))})
