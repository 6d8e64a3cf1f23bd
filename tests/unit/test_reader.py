"""Splitting a body into results keeps every character of their payloads."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.store_result.reader import read_batch, read_one
from shared.errors import InvalidRequestError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
spaces = st.text(" \t\r\n", max_size=3)


@st.composite
def payload_texts(draw):
    """Return JSON text of some value, in one of many spellings."""
    return json.dumps(
        draw(values),
        ensure_ascii=True,
        separators=(draw(spaces) + "," + draw(spaces), draw(spaces) + ":" + draw(spaces)),
        sort_keys=draw(st.booleans()),
    )


@settings(max_examples=200, deadline=None, database=None)
@given(instances=payload_texts(), predictions=payload_texts(), space=spaces)
def test_the_text_of_a_payload_is_what_stood_there(instances, predictions, space):
    """However a payload is spelt and wherever it stands, its characters are kept and its value is read."""
    body = (
        f'{space}{{{space}"instances"{space}:{space}{instances}{space},{space}"model"{space}:"m"'
        f'{space},"predictions":{predictions}{space}}}{space}'
    )

    raw = read_one(body.encode())

    assert raw.texts == {"instances": instances, "predictions": predictions}
    assert repr(raw.values) == repr(
        {"instances": json.loads(instances), "model": "m", "predictions": json.loads(predictions)}
    )


@settings(max_examples=50, deadline=None, database=None)
@given(texts=st.lists(payload_texts(), min_size=1, max_size=5), space=spaces)
def test_a_batch_is_its_results_in_order(texts, space):
    """Reading a batch gives what reading each result alone gives."""
    items = [f'{{"instances":{text}}}' for text in texts]
    body = f'{{"results"{space}:[{space}' + f"{space},{space}".join(items) + f"{space}]{space}}}"

    assert repr(read_batch(body.encode())) == repr([read_one(item.encode()) for item in items])


@settings(max_examples=300, deadline=None, database=None)
@given(body=st.binary(max_size=60) | st.text('{}[]":,ab\\u0 1N', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(body):
    """No body ends in anything but results or a 400."""
    for read in (read_one, read_batch):
        try:
            read(body)
        except InvalidRequestError:
            continue


@settings(max_examples=300, deadline=None, database=None)
@given(data=st.data())
def test_a_body_is_taken_exactly_if_it_is_json(data):
    """The reader's own grammar is JSON's: one character more or less and both refuse."""
    text = '{"model": "m", "instances": [1, {"a": null}], "labels": {"x": "y"}}'
    at = data.draw(st.integers(0, len(text) - 1))
    changed = (
        text[:at] + data.draw(st.sampled_from(["", ",", "}", "]", '"', ":", " ", "\x0b", "\ufeff"])) + text[at + 1 :]
    )

    assert _taken(lambda: read_one(changed.encode())) == _taken(lambda: _object_without_repeats(changed))


def _object_without_repeats(text):
    def pairs(found):
        if len(dict(found)) < len(found):
            raise ValueError("repeated")
        return dict(found)

    if not isinstance(json.loads(text, object_pairs_hook=pairs), dict):
        raise ValueError("no object")


def _taken(read):
    try:
        read()
    except (InvalidRequestError, ValueError):
        return False
    return True


@pytest.mark.parametrize("member", ["instances", "predictions"])
def test_only_payloads_may_hold_nan(member):
    """NaN is taken where a model may have answered it and nowhere else."""
    assert repr(read_one(f'{{"{member}": NaN}}'.encode()).values[member]) == "nan"
    with pytest.raises(InvalidRequestError, match="finite"):
        read_one(b'{"version": NaN}')
