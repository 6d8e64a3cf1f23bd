"""firestore.indexes.json and the code agree: the emulator answers queries that Firestore, without an index, refuses."""

import json
from datetime import timedelta

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import Client

from shared.config import ROOT
from shared.errors import InvalidRequestError
from shared.runs import JobState
from shared.stores.firestore.documents import result_document
from shared.stores.firestore.indexes import index_file
from shared.stores.firestore.shapes import FIELDS, SHAPES, Shape, build_query
from shared.stores.letter_fields import letter_fields
from shared.stores.part_fields import part_fields
from shared.stores.run_fields import job_fields, run_fields
from tests.contract.factories import NOW, a_letter, a_result, a_run, some_parts

FILE = json.loads((ROOT / "firestore.indexes.json").read_text("utf-8"))


def shape_of_index(index):
    """Return the shape of query that an index is good for: equality fields, then those of its order."""
    fields = [(field["fieldPath"], field.get("order", field.get("arrayConfig"))) for field in index["fields"]]
    # What is ordered by two fields, and not by one and the document's name.
    by_two = index["collectionGroup"] in ("parts", "dead_letters") or fields[0][0] == "key"
    ordered = 2 if by_two else 1
    equal = tuple(name for name, _ in fields[:-ordered])
    assert {way for name, way in fields[:-ordered] if name != "label_pairs"} <= {"ASCENDING"}
    assert [way for name, way in fields if name == "label_pairs"] in ([], ["CONTAINS"])
    return Shape(index["collectionGroup"], equal, tuple(fields[-ordered:]))


def test_every_shape_has_its_index_and_every_index_its_shape():
    """None is missing in the cloud, and none is paid for in vain."""
    indexes = [shape_of_index(index) for index in FILE["indexes"]]

    assert sorted(map(repr, indexes)) == sorted(map(repr, SHAPES))
    assert {index["queryScope"] for index in FILE["indexes"]} == {"COLLECTION"}


def test_the_file_is_what_the_shapes_make():
    """A change of shapes changes the file: python -m shared.stores.firestore.indexes > firestore.indexes.json."""
    assert (ROOT / "firestore.indexes.json").read_text("utf-8") == index_file()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.collection} {shape.equal} {shape.order}")
def test_a_query_asks_for_its_shape_and_no_more(shape):
    """What is sent compares the fields of the shape and orders by its order, so that its index serves it."""
    collection = Client(project="p", credentials=AnonymousCredentials()).collection(shape.collection)

    sent = build_query(collection, dict.fromkeys(shape.equal, "x"), shape.order, since=1, until=2)._to_protobuf()

    filters = [filter_.field_filter for filter_ in sent.where.composite_filter.filters]
    operators = {filter_.op.name for filter_ in filters if filter_.field.field_path == "label_pairs"}
    ranges = [filter_ for filter_ in filters if "THAN" in filter_.op.name]
    orders = [(order.field.field_path, order.direction.name) for order in sent.order_by]
    assert [filter_.field.field_path for filter_ in filters] == [*shape.equal, shape.order[0][0], shape.order[0][0]]
    assert [filter_.op.name for filter_ in ranges] == ["GREATER_THAN_OR_EQUAL", "LESS_THAN"]
    assert operators <= {"ARRAY_CONTAINS"}
    assert orders == [*shape.order, ("__name__", shape.order[-1][1])]


@pytest.mark.parametrize(
    ("equal", "order"),
    [
        ({"shard": 0, "version": "1"}, (("created_at_us", "ASCENDING"),)),
        ({"model": "m"}, (("created_at_us", "ASCENDING"),)),
        ({"shard": 0, "payload_hash": "x"}, (("created_at_us", "ASCENDING"),)),
        ({"shard": 0}, (("model", "ASCENDING"),)),
        ({"state": "queued"}, (("key", "ASCENDING"),)),
    ],
)
def test_a_query_of_no_declared_shape_is_refused(equal, order):
    """Here already, where the emulator would answer it."""
    collection = Client(project="p", credentials=AnonymousCredentials()).collection("results")

    with pytest.raises(InvalidRequestError) as raised:
        build_query(collection, equal, order)

    assert raised.value.reason == "UNDECLARED_QUERY"


def test_no_field_has_an_index_by_itself():
    """Neither payloads, which are large, nor the time, which grows: its index would be written at one end."""
    exempt = {(field["collectionGroup"], field["fieldPath"]): field["indexes"] for field in FILE["fieldOverrides"]}

    assert exempt == {(collection, field): [] for collection, fields in FIELDS.items() for field in fields}


def test_every_field_that_is_written_is_declared():
    """A field that nobody declared would have indexes of its own."""
    result = result_document(a_result(expires_at=NOW + timedelta(days=1)), 1, "w")

    assert sorted(result) == sorted(FIELDS["results"])
    assert sorted([*run_fields(a_run()), "write_id", "kept_generation"]) == sorted(FIELDS["runs"])
    assert sorted(job_fields(JobState("nightly"))) == sorted(FIELDS["job_states"])
    assert sorted([*part_fields(some_parts()[0]), "plan", "write_id"]) == sorted(FIELDS["parts"])
    assert sorted([*letter_fields(a_letter()), "write_id"]) == sorted(FIELDS["dead_letters"])


def test_results_are_deleted_by_the_time_they_expire():
    """One field of one collection, as Firestore wants it."""
    ttl = [(field["collectionGroup"], field["fieldPath"]) for field in FILE["fieldOverrides"] if field.get("ttl")]

    assert ttl == [("results", "expires_at")]


def test_every_index_of_results_begins_with_the_shard():
    """An index that began with the time would take 500 writes a second and no more."""
    first = {index["fields"][0]["fieldPath"] for index in FILE["indexes"] if index["collectionGroup"] == "results"}

    assert first == {"shard"}
