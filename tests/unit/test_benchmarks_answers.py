"""The benchmarks refuse wrong answers, and ask the same of every way to serve."""

import json
import math
import struct

import pytest

from benchmarks.answers import Answer
from benchmarks.pictures import json_array, nested, pixels, raw_bytes
from benchmarks.wire import JsonCheck, http_request, is_close


def test_an_answer_is_right_by_status_and_content():
    """A wrong status, a wrong value, a missing key and a body that is no JSON are all wrong answers."""
    check = JsonCheck(lambda value: value["scores"] == [1])

    right = (200, b'{"scores":[1]}')
    wrong = [(500, b'{"scores":[1]}'), (200, b'{"scores":[2]}'), (200, b"{}"), (200, b"[]"), (200, b"oops")]

    found = [check(Answer(status, body, keep_alive=True)) for status, body in (right, *wrong, right)]

    assert found == [True, False, False, False, False, False, True]


def test_a_body_found_right_is_not_parsed_again():
    """The same bytes are the same answer; others are judged anew."""
    judged = []
    check = JsonCheck(lambda value: not judged.append(value))

    for body in (b"1", b"1", b"2", b"2", b"1"):
        assert check(Answer(200, body, keep_alive=True))

    assert judged == [1, 2, 1]


@pytest.mark.parametrize(
    ("found", "right"),
    [
        ([0.5, -2.0], True),
        ([0.50001, -2.0001], True),
        ([0.501, -2.0], False),
        ([-2.0, 0.5], False),
        ([0.5], False),
        ([0.5, -2.0, 0.0], False),
        ([0.5, math.nan], False),
    ],
)
def test_scores_are_right_but_for_rounding(found, right):
    """Another order, another length, a thousandth off, or no number: wrong."""
    assert is_close(found, [0.5, -2.0]) is right


def test_a_picture_is_the_same_numbers_in_json_and_in_binary():
    """Each value is written with few digits that give the very same float32."""
    values = pixels(6, 5, 3)

    from_json = json.loads(json_array(values))

    assert [struct.pack("<f", value) for value in from_json] == [struct.pack("<f", value) for value in values]
    assert b"".join(struct.pack("<f", value) for value in values) == raw_bytes(values)
    assert max(map(len, json_array(values)[1:-1].split(","))) <= 12


def test_nesting_follows_the_shape_in_row_major_order():
    """Row, column, channel: the innermost dimension varies fastest."""
    values = pixels(2, 3, 2)

    rows = json.loads(nested(values, 2, 3, 2))

    assert [[len(column) for column in row] for row in rows] == [[2, 2, 2]] * 2
    assert [number for row in rows for column in row for number in column] == json.loads(json_array(values))


def test_pixels_are_grey_values_that_differ_along_each_dimension():
    """Swapping two rows, columns or channels would change the picture, so a wrong order cannot pass."""
    values = pixels(4, 4, 3)
    at = {(y, x, c): values[(y * 4 + x) * 3 + c] for y in range(4) for x in range(4) for c in range(3)}

    assert all(0 <= value <= 1 for value in values)
    assert len({at[y, 0, 0] for y in range(4)}) == len({at[0, x, 0] for x in range(4)}) == 4
    assert len({at[0, 0, c] for c in range(3)}) == 3


def test_a_request_says_how_long_its_body_is():
    """The length and type are those of the body; without one neither is there."""
    assert http_request("POST", "/x", b"abc", "A: b\r\n", "text/plain").endswith(
        b"A: b\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"
    )
    assert b"Content" not in http_request("GET", "/")
