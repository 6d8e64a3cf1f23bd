"""TensorFlow Serving's JSON into tensors: exact for whatever is right, and never surprised by what is not."""

import base64
import json
import struct

import numpy
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from functions.predict.decode import columns_to_tensors, parse_body, rows_to_tensors
from functions.predict.examples import MAX_CONTEXT_BYTES, examples_to_tensors
from model.manifest import Signature, TensorSpec
from model.savedmodel.schema import message_class
from shared.errors import InvalidRequestError, PayloadTooLargeError, UnimplementedError

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES = [*INTEGERS, "float32", "float64", "bool", "string"]
fuzzed = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])


def signature(*specs):
    """A signature of these inputs, and without outputs."""
    return Signature({spec.name: spec for spec in specs}, {}, "")


def same(left, right):
    """Whether two tensors are bit for bit the same; any NaN is as good as another."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind == "f":
        nan = numpy.isnan(left)
        left, right = numpy.where(nan, 0, left), numpy.where(numpy.isnan(right), 0, right)
        return numpy.array_equal(nan, nan) and left.tobytes() == right.tobytes()
    return left.tolist() == right.tolist()


@st.composite
def tensors(draw, dtype=None, rows=None):
    """A tensor of any type that JSON can carry, with a signature's shape that admits it."""
    dtype = dtype or draw(st.sampled_from(DTYPES))
    shape = draw(arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    # An empty list has no shape of its own beyond it: only the last size can be none.
    shape = (rows or max(shape[0], 1), *(max(size, 1) for size in shape[1:-1]), *shape[1:][-1:])
    if dtype == "string":
        array = numpy.empty(shape, object)
        array[...] = draw(arrays.arrays(object, shape, elements=st.binary(max_size=6), fill=st.nothing()))
    else:
        array = draw(arrays.arrays(dtype, shape))
    free = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    spec_shape = tuple(None if is_free else size for is_free, size in zip(free, shape, strict=True))
    return array, TensorSpec("x", dtype, (None, *spec_shape[1:]))


def as_json(array, plain):
    """A tensor as a client writes it; bytes as text where they are text and `plain` says so, else in base64."""
    if array.dtype != object:
        return array.tolist()

    def write(value):
        if isinstance(value, list):
            return [write(item) for item in value]
        try:
            text = value.decode()
        except UnicodeDecodeError:
            plain_here = False
        else:
            plain_here = plain
        return text if plain_here else {"b64": base64.b64encode(value).decode()}

    return write(array.tolist())


def decoded(body, spec, form):
    """Send a value through the very text that a client would."""
    name = spec.name
    text = {
        "rows": lambda: {"instances": body},
        "named rows": lambda: {"instances": [{name: row} for row in body]},
        "columns": lambda: {"inputs": {name: body}},
        "bare columns": lambda: {"inputs": body},
    }[form]()
    order = parse_body(json.dumps(text).encode())
    if "instances" in order:
        return rows_to_tensors(order["instances"], signature(spec))[name]
    return columns_to_tensors(order["inputs"], signature(spec))[name]


@pytest.mark.parametrize("form", ["rows", "named rows", "columns", "bare columns"])
@settings(fuzzed, max_examples=150)
@given(tensors(), st.booleans())
def test_every_tensor_comes_back_as_it_was(form, made, plain):
    """Each type and shape, in each form: the same bits, infinities, signed zeros and the smallest numbers included."""
    array, spec = made

    assert same(decoded(as_json(array, plain), spec, form), array)


@settings(fuzzed, max_examples=100)
@given(st.data(), st.integers(1, 4))
def test_several_inputs_of_one_request_do_not_mix(data, rows):
    """Rows are taken apart by name, whatever the order of the members."""
    made = {name: data.draw(tensors(rows=rows)) for name in ("a", "b", "c")}
    specs = [TensorSpec(name, spec.dtype, spec.shape) for name, (_, spec) in made.items()]
    columns = {name: as_json(array, True) for name, (array, _) in made.items()}
    orders = [data.draw(st.permutations(list(made))) for _ in range(rows)]
    instances = [{name: columns[name][row] for name in order} for row, order in enumerate(orders)]

    by_row = rows_to_tensors(parse_body(json.dumps({"instances": instances}).encode())["instances"], signature(*specs))
    by_column = columns_to_tensors(columns, signature(*specs))

    for name, (array, _) in made.items():
        assert same(by_row[name], array)
        assert same(by_column[name], array)


LEAVES = st.one_of(
    *(st.integers(), st.integers(-300, 300), st.sampled_from([2**31, 2**63, 2**64, -(2**63) - 1, 10**400])),
    *(st.floats(), st.booleans(), st.none(), st.text(max_size=3)),
    *(st.just("\ud800"), st.builds(lambda text: {"b64": text}, st.text("AQ=_- \n", max_size=5))),
)
ANY = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner))
SIZES = st.lists(st.none() | st.integers(0, 3), max_size=3)
SPECS = st.builds(
    lambda dtype, shape, unknown: TensorSpec("x", dtype, () if unknown else tuple(shape), unknown_rank=unknown),
    *(st.sampled_from([*DTYPES, "float16", "complex64"]), SIZES, st.booleans()),
)


def admits(spec, shape):
    """Whether a tensor of this shape is one of the signature's; a column of one may be bare."""
    bare = spec.shape == (None, 1) and len(shape) == 1
    sizes = zip(shape, spec.shape, strict=False)
    fits = len(shape) == len(spec.shape) and all(wanted in (None, size) for size, wanted in sizes)
    return spec.unknown_rank or fits or bare


def attempt(read):
    """Return what a call gives, and its refusal if it is one of ours; any other failure is the test's."""
    try:
        return read(), None
    except (InvalidRequestError, PayloadTooLargeError, UnimplementedError) as error:
        return None, error


def check_or_refuse(read, *specs):
    """Decode; what comes is of the signature, or the refusal is one of ours."""
    made, refusal = attempt(lambda: read(signature(*specs)))
    if refusal:
        assert 0 < len(refusal.message) < 1000
        return
    assert made.keys() == {spec.name for spec in specs}
    for spec in specs:
        array = made[spec.name]
        assert array.dtype == (object if spec.dtype == "string" else spec.dtype)
        assert admits(spec, array.shape)
        if array.dtype == object:
            assert {type(item) for item in array.ravel()} <= {bytes}


@settings(fuzzed, max_examples=250)
@given(SPECS, ANY)
@example(TensorSpec("x", "float32", (None,)), [1, True])
@example(TensorSpec("x", "int64", (None,)), [2**63])
@example(TensorSpec("x", "string", (None,)), ["\ud800"])
def test_no_json_value_breaks_the_parser(spec, value):
    """Whatever stands in `instances` or `inputs`: a tensor of the signature, or a refusal in our words."""
    check_or_refuse(lambda wanted: rows_to_tensors(value, wanted), spec)
    check_or_refuse(lambda wanted: columns_to_tensors(value, wanted), spec)
    check_or_refuse(lambda wanted: rows_to_tensors([value, value], wanted), spec)
    check_or_refuse(lambda wanted: columns_to_tensors({"x": value}, wanted), spec)


@settings(fuzzed, max_examples=150)
@given(st.data())
def test_a_right_value_with_one_leaf_changed_is_refused_or_right(data):
    """One element of another kind, one list of another length: never cast, never padded, never cut."""
    array, spec = data.draw(tensors())
    value = as_json(array, False)
    place = value
    while place and isinstance(place[0], list) and data.draw(st.booleans()):
        place = place[data.draw(st.integers(0, len(place) - 1))]
    if place:
        place[data.draw(st.integers(0, len(place) - 1))] = data.draw(ANY)

    check_or_refuse(lambda wanted: rows_to_tensors(value, wanted), spec)
    check_or_refuse(lambda wanted: rows_to_tensors([{"x": row} for row in value], wanted), spec)


@settings(fuzzed, max_examples=60)
@given(SPECS, SPECS, st.lists(st.dictionaries(st.sampled_from("xyz"), ANY), max_size=3), ANY)
def test_no_rows_break_a_signature_of_two_inputs(one, other, rows, anything):
    """Names that are missing, left over or in one row only: refused."""
    specs = (one, TensorSpec("y", other.dtype, other.shape, unknown_rank=other.unknown_rank))

    for value in (rows, [*rows, anything], anything):
        check_or_refuse(lambda wanted, value=value: rows_to_tensors(value, wanted), *specs)
        check_or_refuse(lambda wanted, value=value: columns_to_tensors(value, wanted), *specs)


@settings(fuzzed, max_examples=400)
@given(st.data())
def test_no_bytes_break_the_body(data):
    """A good body with bytes replaced, cut out or put in: an object, or a refusal in our words."""
    body = bytearray(b'{"signature_name": "s", "instances": [{"x": [1, -2.5e3]}, {"x": {"b64": "AA=="}}], "n": NaN}')
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 6))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"[" * 70, b"9" * 5000, b'"', b"\\ud800", b'"x":1,', b"1e999"])
        )
    value, refusal = attempt(lambda: parse_body(bytes(body)))

    assert isinstance(value, dict) if refusal is None else len(refusal.message) < 300


TREE = st.recursive(
    st.integers(0, 9) | st.sampled_from(["a", ":", "a:b", '"', "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(st.sampled_from("xyz:"), inner), max_size=3),
)


def spelled(tree):
    """Write a tree whose lists of pairs are objects, and tell whether one has a member twice."""
    if not isinstance(tree, list):
        return json.dumps(tree), False
    if not tree or not isinstance(tree[0], tuple):
        parts = [spelled(item) for item in tree]
        return f"[{', '.join(text for text, _ in parts)}]", any(twice for _, twice in parts)
    parts = [spelled(value) for _, value in tree]
    names = [name for name, _ in tree]
    text = ", ".join(f"{json.dumps(name)} : {text}" for name, (text, _) in zip(names, parts, strict=True))
    return f"{{{text}}}", len(set(names)) < len(names) or any(twice for _, twice in parts)


@settings(fuzzed, max_examples=400)
@given(TREE, st.booleans())
@example([("x", 1), ("x", 1)], False)
@example([("x", ":"), ("y", [[("z", 1), ("z", 2)]])], False)
def test_a_member_is_there_once(tree, non_finite):
    """Of two members of one name parsers take the one or the other; here neither, at any depth."""
    text, twice = spelled(tree)
    body = f'{{"a": {text}, "b": {"NaN" if non_finite else 1}}}'.encode()

    value, refusal = attempt(lambda: parse_body(body))

    if twice:
        assert refusal.reason == "DUPLICATE_KEY"
    else:
        assert value["a"] == json.loads(text)


FEATURES = st.dictionaries(st.sampled_from(["a", "b", "c"]) | st.text(max_size=2), st.lists(ANY, max_size=2) | ANY)
TEXTS = TensorSpec("x", "string", (None,))


@settings(fuzzed, max_examples=60)
@given(st.lists(FEATURES, max_size=3) | ANY, FEATURES | ANY)
@example([{"\ud800": 1}], {})
@example([{"a": "\ud800"}], {})
@example([{"a": 2**64}], {})
@example([{"a": 1e39}], {"a": 1})
def test_no_json_value_breaks_the_examples(examples, context):
    """Serialized tf.Examples that read, or a refusal in our words."""
    order = {"examples": examples, "context": context}

    made, refusal = attempt(lambda: examples_to_tensors(order, signature(TEXTS))["x"])

    if refusal:
        assert 0 < len(refusal.message) < 1000
        return
    read = [message_class("Example").FromString(raw).features.feature for raw in made]
    assert [set(features) for features in read] == [{*context, *example_} for example_ in examples]


@settings(fuzzed, max_examples=100)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3),
    st.lists(st.binary(max_size=5), min_size=1, max_size=3),
)
def test_features_come_back_as_they_were(integers, floats, texts):
    """The kind by the token, the values exact; an example's own feature before the context's."""
    own = {"i": integers, "t": [{"b64": base64.b64encode(text).decode()} for text in texts]}
    order = {"examples": [own, {}], "context": {"f": floats, "i": [7]}}

    made = examples_to_tensors(order, signature(TEXTS))["x"]

    first, second = (message_class("Example").FromString(raw).features.feature for raw in made)
    assert list(first["i"].int64_list.value) == integers
    assert list(second["i"].int64_list.value) == [7]
    assert list(first["t"].bytes_list.value) == texts
    for features in (first, second):
        packed = [struct.pack("<f", value) for value in features["f"].float_list.value]
        assert packed == [struct.pack("<f", value) for value in floats]


def test_a_context_is_not_copied_without_end():
    """What all examples share may be copied 16 MiB long in all, however small the request is."""
    context = {"x": ["y" * 1000] * 100}
    fitting = MAX_CONTEXT_BYTES // 100_500

    made = examples_to_tensors({"examples": [{}] * fitting, "context": context}, signature(TEXTS))["x"]

    assert len({bytes(raw) for raw in made}) == 1
    with pytest.raises(PayloadTooLargeError, match="context: is copied into each example"):
        examples_to_tensors({"examples": [{}] * (fitting + 20), "context": context}, signature(TEXTS))


def test_numbers_at_the_ends_of_their_types_are_exact():
    """The ends are taken, one beyond is refused; what is too large for a float is Infinity, what is too small zero."""
    for dtype in INTEGERS:
        limits = numpy.iinfo(dtype)
        spec = TensorSpec("x", dtype, (None,))
        for value in (limits.min, limits.max):
            assert decoded([value], spec, "rows").tolist() == [value]
        for value in (limits.min - 1, limits.max + 1, 10**400):
            with pytest.raises(InvalidRequestError):
                decoded([value], spec, "rows")

    texts = b'{"instances": [-0.0, 1e39, -1e39, 1e-46, 1e-45, 1e999, 3.4028236e38, 16777217]}'
    array = rows_to_tensors(parse_body(texts)["instances"], signature(TensorSpec("x", "float32", (None,))))["x"]

    infinity, smallest = float("inf"), float(numpy.float32(1e-45))
    assert array.tolist() == [0, infinity, -infinity, 0, smallest, infinity, infinity, 16777216]
    assert numpy.signbit(array[0])
