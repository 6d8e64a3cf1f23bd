"""The codec of the Open Inference Protocol: exact both ways, strict, and never surprised by what comes."""

import json
import re
import struct

import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from functions.predict.v2_infer import read_call, write_answer
from functions.predict.v2_json_tensors import tensor_from_json, tensor_to_json
from functions.predict.v2_tensors import checked_shape, object_array, tensor_from_bytes, tensor_to_bytes
from model.manifest import Signature, TensorSpec
from shared.errors import InvalidRequestError, UnimplementedError
from shared.routing import Request

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
NUMBERS = [*INTEGERS, *FLOATS, "bool"]
DTYPES = [*NUMBERS, "string", "bfloat16", "complex64"]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def spec(dtype, *shape, **kwargs):
    """An input named x."""
    return TensorSpec("x", dtype, shape, **kwargs)


def signature(*specs):
    """A signature that answers what it takes."""
    tensors = {tensor.name: tensor for tensor in specs}
    return {"serving_default": Signature(tensors, tensors, "")}


def request(body, header_bytes=None):
    """A request for `infer`, its JSON part as long as `header_bytes` says."""
    headers = {} if header_bytes is None else {"inference-header-content-length": str(header_bytes)}
    return Request("POST", "/v2/models/m/infer", {}, {}, headers, body)


def same(left, right):
    """Whether two arrays are bit for bit the same, NaNs counted as equal."""
    return left.dtype == right.dtype and left.shape == right.shape and numpy.array_equal(left, right, equal_nan=True)


@pytest.mark.parametrize("dtype", NUMBERS)
@given(st.data())
def test_binary_round_trips_are_exact_at_any_offset(dtype, data):
    """Every bit comes back, NaN payloads included, wherever in the body the tensor lies."""
    array = data.draw(arrays.arrays(dtype, SHAPES))
    before, after = data.draw(st.binary(max_size=9)), data.draw(st.binary(max_size=3))
    raw = tensor_to_bytes("x", array)

    read = tensor_from_bytes(before + raw + after, len(before), len(raw), spec(dtype), array.shape)

    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("dtype", NUMBERS)
@given(st.data())
def test_json_round_trips_are_exact_flat_and_nested(dtype, data):
    """What is written reads back the same, NaN and the infinities as tokens."""
    array = data.draw(arrays.arrays(dtype, SHAPES))
    text = tensor_to_json("x", array)

    flat = tensor_from_json(json.loads(text), spec(dtype), array.shape)
    nested = tensor_from_json(array.tolist(), spec(dtype), array.shape) if array.ndim else flat

    assert same(flat, array)
    assert same(nested, array)


@given(st.lists(st.binary(max_size=20), max_size=12))
@example([b"", b"\0", b"a\0"])
def test_binary_strings_come_back_byte_for_byte(values):
    """Empty ones, NULs at the end and bytes that are no text included."""
    raw = tensor_to_bytes("x", object_array(values))

    read = tensor_from_bytes(b"{}" + raw, 2, len(raw), spec("string"), (len(values),))

    assert read.tolist() == values


@given(st.lists(st.text(max_size=20), max_size=12))
def test_json_strings_come_back_as_utf8(values):
    """A JSON string is its UTF-8 bytes."""
    read = tensor_from_json(values, spec("string"), (len(values),))

    assert read.tolist() == [value.encode() for value in values]
    assert json.loads(tensor_to_json("x", read)) == values


def test_a_binary_tensor_is_read_where_it_lies():
    """No copy is made of a large tensor, aligned or not."""
    body = b"abc" + bytes(64)

    read = tensor_from_bytes(body, 3, 64, spec("float32"), (4, 4))

    assert numpy.shares_memory(read, numpy.frombuffer(body, "u1"))


def test_non_finite_floats_are_bare_tokens_among_the_shortest_digits():
    """The tokens stand where they stood, and the numbers around them keep their digits."""
    array = numpy.array([[0.1, numpy.nan], [numpy.inf, -numpy.inf]], "float32")

    assert tensor_to_json("x", array) == b"[0.1,NaN,Infinity,-Infinity]"


def test_floats_too_large_for_their_type_are_infinite():
    """As in TensorFlow Serving."""
    assert tensor_from_json([1e39, -(10**39)], spec("float32"), (2,)).tolist() == [numpy.inf, -numpy.inf]


def test_output_bytes_that_are_no_text_are_refused_in_json_with_advice():
    """A JSON string cannot hold them; the binary form can."""
    with pytest.raises(InvalidRequestError, match=re.escape('ask for it with "binary_data": true')):
        tensor_to_json("x", object_array([b"\xff"]))


BAD_JSON = [
    ("float32", (2,), [1, "1.5"], "data[1]: expected FP32, got string"),
    ("float32", (1,), [True], "data[0]: expected FP32, got boolean"),
    ("float32", (1,), [None], "got null"),
    ("float32", (1,), [10**400], "data[0]: expected FP32, got a number out of its range"),
    ("float32", (4,), [[1, 2], [3, 4]], "data: expected an array of 4, got 2"),
    ("float32", (2, 2), [[1, 2], [3]], "data[1]: expected an array of 2, got 1"),
    ("float32", (2, 2), [[1, 2], 3], "data[1]: expected an array of 2, got number"),
    ("float32", (2, 2), [[1, 2], [3, "4"]], "data[1][1]: expected FP32, got string"),
    ("float32", (2, 2), [[1, 2], [3, [4]]], "data[1][1]: expected FP32, got array"),
    ("float32", (2, 2), [1, 2, [3], 4], "data[2]: expected FP32, got array"),
    ("float32", (2, 2), [1, 2, 3], "data: expected an array of 4, got 3"),
    ("float32", (), 1.5, "expected data to be an array, got number"),
    ("float32", (1,), {"0": 1}, "expected data to be an array, got object"),
    ("int64", (1,), [1.0], "data[0]: expected INT64, got a number with a fraction, or beyond 64 bits"),
    ("int64", (2,), [0, 2**63], "data[1]: expected INT64, got a number out of its range"),
    ("uint64", (1,), [-1], "data[0]: expected UINT64, got a number out of its range"),
    ("uint64", (1,), [2**64], "out of its range"),
    ("uint8", (2, 1), [[255], [256]], "data[1][0]: expected UINT8, got a number out of its range"),
    ("int8", (1,), [-129], "out of its range"),
    ("int8", (1,), [False], "got boolean"),
    ("bool", (1,), [1], "data[0]: expected BOOL, got a whole number"),
    ("string", (1,), [b"x".hex(), 1], "expected an array of 1, got 2"),
    ("string", (1,), [1], "data[0]: expected BYTES, got a whole number"),
    ("string", (1,), ["\ud800"], "lone surrogates"),
]


@pytest.mark.parametrize(("dtype", "shape", "data", "message"), BAD_JSON)
def test_nothing_is_coerced_and_the_place_is_named(dtype, shape, data, message):
    """Python and numpy would take most of these."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        tensor_from_json(data, spec(dtype), shape)


BAD_BYTES = [
    ("float32", (2,), bytes(7), "expected 8 bytes for FP32 [2], got 7"),
    ("float32", (2,), bytes(12), "expected 8 bytes for FP32 [2], got 12"),
    ("bool", (2,), b"\x01\x02", "expected each BOOL to be a byte 0 or 1"),
    ("string", (1,), b"", "expected 1 BYTES elements, got 0"),
    ("string", (1,), b"\x01\x00\x00", "element 0 ends beyond"),
    ("string", (1,), b"\x02\x00\x00\x00a", "element 0 ends beyond"),
    ("string", (1,), b"\xff\xff\xff\xffa", "element 0 ends beyond"),
    ("string", (1,), b"\x01\x00\x00\x00aa", "expected 1 BYTES elements, got 1 and 1 bytes more"),
    ("string", (0,), b"a", "expected 0 BYTES elements, got 0 and 1 bytes more"),
    ("string", (2,), b"\x01\x00\x00\x00a", "expected 2 BYTES elements, got 1"),
]


@pytest.mark.parametrize(("dtype", "shape", "raw", "message"), BAD_BYTES)
def test_bytes_that_are_not_the_tensor_are_refused(dtype, shape, raw, message):
    """Too few, too many, or no such values."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        tensor_from_bytes(raw, 0, len(raw), spec(dtype), shape)


BAD_SHAPES = [
    None,
    "3",
    [2.0, 8],
    [True, 8],
    [-1, 8],
    [2, 7],
    [8],
    [1, 2, 8],
    [2**31, 8],
    [10**4000, 8],
    [[2], 8],
]


@pytest.mark.parametrize("shape", BAD_SHAPES)
def test_a_shape_is_given_and_is_the_signatures(shape):
    """Whole numbers, the signature's where it has some; the message shows what it has."""
    with pytest.raises(InvalidRequestError, match='input "x": expected'):
        checked_shape(shape, spec("float32", None, 8))


def test_a_tensor_of_nothing_cannot_claim_endless_rows():
    """Otherwise a few bytes would have a model allocate gigabytes of outputs."""
    assert checked_shape([1000, 0], spec("float32", None, None)) == (1000, 0)
    with pytest.raises(InvalidRequestError, match="without elements"):
        checked_shape([2**30, 0], spec("float32", None, None))


def test_a_tensor_of_any_rank_takes_any_shape():
    """The model finds out; numpy's own limit on dimensions is never met."""
    free = spec("float32", unknown_rank=True)

    assert checked_shape([], free) == ()
    assert checked_shape([2, 3, 4], free) == (2, 3, 4)
    with pytest.raises(InvalidRequestError, match="expected shape"):
        checked_shape([1] * 65, free)


@pytest.mark.parametrize("dtype", ["bfloat16", "complex64"])
def test_datatypes_without_a_form_are_unimplemented(dtype):
    """501, not a guess."""
    with pytest.raises(UnimplementedError):
        tensor_from_json([1], spec(dtype), (1,))
    with pytest.raises(UnimplementedError):
        tensor_from_bytes(bytes(8), 0, 8, spec(dtype), (1,))
    with pytest.raises(UnimplementedError):
        tensor_to_json("x", numpy.zeros(1, "complex64"))
    with pytest.raises(UnimplementedError):
        tensor_to_bytes("x", numpy.zeros(1, "complex64"))


TWO = signature(spec("float32", None, 2), TensorSpec("names", "string", (None,)))
NAMES = struct.pack("<I", 2) + b"ab" + struct.pack("<I", 0)
PAIRS = numpy.array([[0.5, -1]], "<f4")


def mixed(**changes):
    """A call of two inputs, the first binary, the second JSON, and what follows the JSON."""
    first = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    second = {"name": "names", "shape": [2], "datatype": "BYTES", "data": ["ab", ""]}
    return {"inputs": [second, first], **changes}, PAIRS.tobytes()


def called(call, raw=b"", signatures=TWO):
    """Decode a call from its JSON and its bytes."""
    text = json.dumps(call).encode()
    return read_call(request(text + raw, len(text)), signatures)


def test_json_and_binary_inputs_mix_in_one_request():
    """Binary ones follow the JSON in the order of the entries; the others lie within it."""
    call = called(*mixed())

    assert same(call.inputs["x"], PAIRS)
    assert call.inputs["names"].tolist() == [b"ab", b""]
    assert call.outputs == {"x": False, "names": False}


def test_binary_inputs_are_taken_in_the_order_of_the_entries():
    """Not in the signature's."""
    document, raw = mixed()
    document["inputs"][0] = {"name": "names", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 10}}

    call = called(document, NAMES + raw)

    assert same(call.inputs["x"], PAIRS)
    assert call.inputs["names"].tolist() == [b"ab", b""]


def test_an_answer_has_the_outputs_asked_for_in_that_order():
    """JSON and binary ones mixed, the id echoed, the header's length exact."""
    call = called(*mixed(id="é-7", outputs=[{"name": "names", "parameters": {"binary_data": True}}, {"name": "x"}]))

    answer = write_answer("m", "3", call, call.inputs, TWO["serving_default"])

    length = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(answer.body[:length]) == {
        "model_name": "m",
        "model_version": "3",
        "id": "é-7",
        "outputs": [
            {"name": "names", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 10}},
            {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, -1.0]},
        ],
    }
    assert answer.body[length:] == NAMES
    assert answer.content_type == "application/octet-stream"


def test_binary_outputs_are_chosen_for_all_and_overridden_for_one():
    """`binary_data_output` of the request, `binary_data` of an output."""
    every = called(*mixed(parameters={"binary_data_output": True}))
    some = called(
        *mixed(
            parameters={"binary_data_output": True},
            outputs=[{"name": "x", "parameters": {"binary_data": False}}, {"name": "names"}],
        )
    )

    assert every.outputs == {"x": True, "names": True}
    assert some.outputs == {"x": False, "names": True}


def test_a_raw_body_is_the_only_input_and_all_outputs_are_binary():
    """Its shape follows from its size; a string is the whole body."""
    rows = read_call(request(bytes(48), 0), signature(spec("float32", None, 2, 2)))
    text = read_call(request(b"abc", 0), signature(spec("string", None)))

    assert rows.inputs["x"].shape == (3, 2, 2)
    assert rows.outputs == {"x": True}
    assert text.inputs["x"].tolist() == [b"abc"]


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        (TWO, "this model takes x (FP32 [-1, 2]), names (BYTES [-1])"),
        (signature(spec("float32", None, None)), "does not tell its shape"),
        (signature(spec("float32", unknown_rank=True)), "does not tell its shape"),
        (signature(spec("float32", None, 2)), "expected 0 bytes for FP32 [0, 2], got 7"),
        (signature(spec("float32", None, 0)), "expected 0 bytes for FP32 [0, 0], got 7"),
        (signature(spec("string", 2)), "expected shape [2], got [1]"),
    ],
)
def test_a_raw_body_that_says_too_little_is_refused(signatures, message):
    """Nothing is guessed, padded or cut."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        read_call(request(bytes(7), 0), signatures)


@pytest.mark.parametrize("header", ["-1", "1e3", "", "99", "²", "9" * 5000])
def test_a_header_length_is_within_the_body(header):
    """A whole number, and no more than there is."""
    bad = Request("POST", "/", {}, {}, {"inference-header-content-length": header}, b"{}")

    with pytest.raises(InvalidRequestError, match="Inference-Header-Content-Length: expected 0 to 2"):
        read_call(bad, TWO)


def entry(**changes):
    """The binary input of `mixed`, changed; None removes a member."""
    document, _ = mixed()
    changed = {**document["inputs"][1], **changes}
    return {"inputs": [document["inputs"][0], {k: v for k, v in changed.items() if v is not None}]}


def sized(size):
    """The binary input of `mixed`, said to be this long."""
    return entry(parameters={"binary_data_size": size})


BAD_CALLS = [
    ({}, "inputs: expected an array of objects, got null"),
    ({"inputs": {}}, "inputs: expected an array of objects, got object"),
    ({"inputs": []}, "inputs: x is missing; the model takes x (FP32 [-1, 2]), names (BYTES [-1])"),
    ({"inputs": [3]}, "inputs[0]: expected an object, got number"),
    (entry(name=3), "inputs[1]: no tensor is named number"),
    (entry(name="y"), 'inputs[1]: no tensor is named "y"; the model has x (FP32 [-1, 2]), names (BYTES [-1])'),
    (entry(name="names"), "inputs[1]: names is there twice"),
    ({"inputs": mixed()[0]["inputs"][:1]}, "inputs: x is missing"),
    (entry(datatype="FP64"), 'input "x": expected datatype FP32, got "FP64"'),
    (entry(datatype=None), 'input "x": expected datatype FP32, got null'),
    (entry(shape=[2]), 'input "x": expected shape [-1, 2], got [2]'),
    (entry(shape=None), 'input "x": expected a shape'),
    (entry(data=[1, 2]), "expected either data or parameters.binary_data_size"),
    (entry(parameters=None), "expected either data or parameters.binary_data_size"),
    (entry(parameters=[]), "parameters: expected an object, got array"),
    (sized(-1), "expected binary_data_size to be a whole number from 0 on"),
    (sized(True), "expected binary_data_size to be a whole number from 0 on"),
    (sized("8"), "expected binary_data_size to be a whole number from 0 on"),
    (sized(9), 'input "x": expected 9 bytes after the JSON, got 8'),
    (sized(7), "expected 8 bytes for FP32 [1, 2], got 7"),
    (entry(parameters=None, data=[1, 2]), "the body has 8 bytes more than its inputs"),
    (mixed(id=7)[0], "id: expected a string, got number"),
    (mixed(id="\ud800")[0], "id: expected text"),
    (mixed(parameters=3)[0], "parameters: expected an object, got number"),
    (mixed(parameters={"binary_data_output": 1})[0], "parameters.binary_data_output: expected true or false"),
    (mixed(parameters={"signature_name": "other"})[0], "signature_name: expected one of serving_default"),
    (mixed(parameters={"signature_name": 3})[0], "signature_name: expected one of serving_default"),
    (mixed(outputs={})[0], "outputs: expected an array of objects, got object"),
    (mixed(outputs=[{"name": "y"}])[0], 'outputs[0]: no tensor is named "y"; the model has x'),
    (mixed(outputs=[{"name": "x"}, {"name": "x"}])[0], "outputs[1]: x is there twice"),
    (mixed(outputs=[{"name": "x", "parameters": {"binary_data": 1}}])[0], "parameters.binary_data: expected true"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_a_bad_call_says_what_was_expected_and_where(call, message):
    """Unknown, missing, doubled, of another kind, too long or too short: never taken."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        called(call, PAIRS.tobytes())


def test_binary_data_needs_the_header_that_tells_where_it_begins():
    """Without it the whole body is JSON."""
    with pytest.raises(InvalidRequestError, match="the header Inference-Header-Content-Length tells"):
        read_call(request(json.dumps(mixed()[0]).encode()), TWO)


@pytest.mark.parametrize("parameter", ["classification", "shared_memory_region"])
def test_output_parameters_that_would_change_the_answer_are_not_ignored(parameter):
    """Triton's classes and shared memory: 501 and named."""
    with pytest.raises(UnimplementedError, match=parameter):
        called(*mixed(outputs=[{"name": "x", "parameters": {parameter: 3}}]))


def test_another_signature_may_be_asked_for():
    """`parameters.signature_name`; without it the default one."""
    other = {**TWO, "other": signature(spec("bool"))["serving_default"]}
    inputs = [{"name": "x", "shape": [], "datatype": "BOOL", "data": [True]}]

    call = called({"inputs": inputs, "parameters": {"signature_name": "other"}}, signatures=other)

    assert call.signature_name == "other"
    assert same(call.inputs["x"], numpy.array(True))


NUMBER = st.one_of(st.integers(), st.integers(-300, 300), st.floats(), st.booleans(), st.none(), st.text(max_size=3))
JSON = st.recursive(NUMBER, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner))
SIZES = st.lists(st.integers(0, 4), max_size=3)
ANY_SPEC = st.builds(lambda dtype, rank: spec(dtype, *[None] * rank), st.sampled_from(DTYPES), st.integers(0, 3))


@settings(max_examples=400)
@given(ANY_SPEC, JSON, st.one_of(SIZES, JSON))
def test_no_json_breaks_the_codec(tensor, data, shape):
    """An array of the shape and type that were asked for, or a refusal in our words."""
    try:
        sizes = checked_shape(shape, tensor)
        read = tensor_from_json(data, tensor, sizes)
    except (InvalidRequestError, UnimplementedError):
        return

    assert read.shape == sizes
    assert read.dtype == (object if tensor.dtype == "string" else tensor.dtype)


@settings(max_examples=400)
@given(ANY_SPEC, st.binary(max_size=40), SIZES, st.integers(0, 8))
def test_no_bytes_break_the_codec(tensor, body, shape, start):
    """The same for raw bytes, wherever they begin."""
    try:
        sizes = checked_shape(shape, tensor)
        read = tensor_from_bytes(body, min(start, len(body)), len(body) - min(start, len(body)), tensor, sizes)
    except (InvalidRequestError, UnimplementedError):
        return

    assert read.shape == sizes
    assert read.dtype == (object if tensor.dtype == "string" else tensor.dtype)


@settings(max_examples=600)
@given(st.data())
def test_no_body_breaks_a_call(data):
    """A good body with bytes replaced, cut out or put in anywhere, and any header: taken, or refused in our words."""
    document, raw = mixed(parameters={"binary_data_output": True}, outputs=[{"name": "x"}])
    text = json.dumps(document).encode()
    body = bytearray(text + raw)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 6))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"-", b"9" * 30])
        )
    header = data.draw(st.none() | st.just(len(text)) | st.integers(0, len(body) + 1))
    try:
        call = read_call(request(bytes(body), header), TWO)
    except (InvalidRequestError, UnimplementedError):
        return

    assert call.inputs.keys() == {"x", "names"}


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(["inputs", "outputs", "parameters", "id"]), JSON), JSON)
def test_no_members_break_a_call(members, inside):
    """Any JSON in any member, and in any member of an input."""
    good, _ = mixed()
    for document in (members, {"inputs": [{**good["inputs"][0], **members}, inside]}, entry(**members), inside):
        body = json.dumps(document).encode()
        try:
            read_call(request(body), TWO)
        except (InvalidRequestError, UnimplementedError):
            continue
