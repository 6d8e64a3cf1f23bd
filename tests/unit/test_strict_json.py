"""JSON from strangers: what is refused, and that refusing is quick."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import InvalidRequestError
from shared.strict_json import MAX_DEPTH, canonical, check_depth, check_text, kind_of, loads


def naive_depth(body):
    """Count levels one byte at a time, strings aside."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in body:
        character = chr(byte)
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def refusal(body):
    """Return why a body was refused."""
    with pytest.raises(InvalidRequestError) as caught:
        loads(body)
    return caught.value.reason


_PIECES = st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b"\\\\", b'\\"', b"\n", b"x", b",", b"\xff", b"[[["])


@settings(deadline=None)
@given(st.lists(_PIECES, max_size=60).map(b"".join), st.integers(0, 6))
@example(b'"\\', 0)
@example(b'["\\"]"]', 1)
def test_the_depth_check_agrees_with_a_naive_count(body, max_depth):
    """For any bytes, however broken."""
    too_deep = naive_depth(body) > max_depth

    try:
        check_depth(body, max_depth)
        refused = False
    except InvalidRequestError as error:
        refused = error.reason == "JSON_TOO_DEEP"

    assert refused == too_deep


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@settings(max_examples=50, deadline=None)
@given(_VALUES)
def test_ordinary_json_is_parsed_as_the_standard_library_does(value):
    """Strictness changes no value."""
    body = json.dumps(value).encode()

    assert loads(body) == json.loads(body)
    assert loads(canonical(value)) == value


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_64_levels_are_taken_and_65_are_not(opening):
    """The limit is on levels, whatever they are made of."""
    closing = b"]" if opening == b"[" else b"}"

    def nested(levels):
        return opening * (levels - 1) + b"[" + b"]" + closing * (levels - 1)

    assert loads(nested(MAX_DEPTH)) is not None
    assert refusal(nested(MAX_DEPTH + 1)) == "JSON_TOO_DEEP"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2_000_000,
        b'"' + b'\\"' * 1_000_000 + b"[" * 65,
        b"[" * 65 + b'"' + b"\\" * 2_000_000,
        b'["' + b"x" * 8_000_000 + b"[" * 65,
        b'["a",' * 65 + b'"",' * 500_000,
    ],
    ids=["brackets", "escaped quotes", "backslashes", "a long string", "many strings"],
)
def test_no_body_takes_long_to_refuse(body):
    """The check is linear, also in strings that never end."""
    began = time.monotonic()

    with pytest.raises(InvalidRequestError):
        loads(body)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "INVALID_JSON"),
        (b" \n", "INVALID_JSON"),
        (b"{", "INVALID_JSON"),
        (b"[1,]", "INVALID_JSON"),
        (b"{} {}", "INVALID_JSON"),
        (b"\xef\xbb\xbf{}", "INVALID_JSON"),
        ("{}".encode("utf-16-le"), "INVALID_JSON"),
        ("{}".encode("utf-16"), "INVALID_TEXT"),
        (b'"\xff"', "INVALID_TEXT"),
        (b'"\xed\xa0\x80"', "INVALID_TEXT"),
        (b'"\xc0\x80"', "INVALID_TEXT"),
        (b'{"a":1,"a":2}', "DUPLICATE_KEY"),
        (b'[{"b":{"a":1,"\\u0061":2}}]', "DUPLICATE_KEY"),
        (b"NaN", "NON_FINITE"),
        (b"[Infinity]", "NON_FINITE"),
        (b'{"a":-Infinity}', "NON_FINITE"),
        (b"1e999", "NON_FINITE"),
        (b"-1e999", "NON_FINITE"),
        (b"9" * 5000, "NUMBER_OUT_OF_RANGE"),
        (b"-" + b"9" * 5000, "NUMBER_OUT_OF_RANGE"),
    ],
)
def test_what_other_parsers_disagree_on_is_refused(body, reason):
    """One value a key, finite numbers, UTF-8, and nothing after the value."""
    assert refusal(body) == reason


def test_an_empty_body_is_called_empty():
    """The message says what came."""
    with pytest.raises(InvalidRequestError, match="an empty body"):
        loads(b"")


def test_large_integers_and_odd_but_valid_numbers_are_kept():
    """Strict is not narrow."""
    assert loads(b"[-0, 1e-999, 12345678901234567890, 1E5]") == [0, 0.0, 12345678901234567890, 100000.0]


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "a\0", "\0"])
def test_text_that_no_database_keeps_is_refused(text):
    """Lone surrogates arrive as escapes in valid JSON."""
    assert loads(json.dumps(text).encode()) == text

    with pytest.raises(InvalidRequestError, match="labels: expected") as caught:
        check_text(text, "labels")

    assert caught.value.reason == "INVALID_TEXT"


def test_text_beyond_ascii_is_taken():
    """Pairs of surrogates are one character."""
    assert check_text(loads(b'"\\ud83d\\ude00 \xc3\xa4"'), "x") == "\U0001f600 ä"


def test_canonical_bytes_do_not_depend_on_order_or_spaces():
    """Two bodies are equal if these are."""
    assert canonical(loads(b'{ "b" : [1, 2], "a":null }')) == b'{"a":null,"b":[1,2]}'


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (True, "boolean"), (1, "number"), (1.5, "number"), ("", "string"), ([], "array"), ({}, "object")],
)
def test_kinds_have_their_names_in_json(value, kind):
    """Messages speak of JSON, not of Python."""
    assert kind_of(value) == kind
