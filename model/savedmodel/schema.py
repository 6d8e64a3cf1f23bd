"""The part of TensorFlow's SavedModel format that Nightshift reads, as protobuf messages.

Field numbers of a protobuf never change, so this definition reads files of every TensorFlow; a test holds it to
TensorFlow's own. Parsing is the protobuf library's, which skips every field that is not named here. The packages
that carry the whole definition are TensorFlow itself (540 MB) and copies of it that are no longer kept up.
"""

from functools import cache
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

PACKAGE = "nightshift.savedmodel"

# Message: its fields, each `name number type`; * repeats, <> is a map from strings. Enums are read as integers.
MESSAGES = {
    "SavedModel": "meta_graphs 2 MetaGraphDef*",
    "MetaGraphDef": (
        "meta_info_def 1 MetaInfoDef, graph_def 2 GraphDef, saver_def 3 SaverDef, collection_def 4 <CollectionDef>, "
        "signature_def 5 <SignatureDef>, asset_file_def 6 AssetFileDef*, object_graph_def 7 SavedObjectGraph"
    ),
    "MetaInfoDef": "tags 4 string*, tensorflow_version 5 string",
    "GraphDef": "node 1 NodeDef*, library 2 FunctionDefLibrary",
    "NodeDef": "name 1 string, op 2 string, input 3 string*, attr 5 <AttrValue>",
    "AttrValue": "list 1 ListValue, s 2 bytes, func 10 NameAttrList",
    "ListValue": "func 9 NameAttrList*",
    "NameAttrList": "name 1 string, attr 2 <AttrValue>",
    "FunctionDefLibrary": "function 1 FunctionDef*",
    "FunctionDef": "signature 1 OpDef, node_def 3 NodeDef*, attr 5 <AttrValue>",
    "OpDef": "name 1 string, input_arg 2 ArgDef*",
    "ArgDef": "name 1 string",
    "SaverDef": "restore_op_name 3 string",
    "CollectionDef": "node_list 1 NodeList",
    "NodeList": "value 1 string*",
    "SignatureDef": "inputs 1 <TensorInfo>, outputs 2 <TensorInfo>, method_name 3 string",
    "TensorInfo": "name 1 string, dtype 2 int32, tensor_shape 3 TensorShapeProto",
    "TensorShapeProto": "dim 2 Dim*, unknown_rank 3 bool",
    "Dim": "size 1 int64",
    "AssetFileDef": "tensor_info 1 TensorInfo, filename 2 string",
    "SavedObjectGraph": "nodes 1 SavedObject*",
    "SavedObject": (
        "children 1 ObjectReference*, dependencies 15 ObjectReference*, saveable_objects 11 <SaveableObject>, "
        "function 6 SavedFunction, bare_concrete_function 8 SavedBareConcreteFunction"
    ),
    "ObjectReference": "node_id 1 int32, local_name 2 string",
    "SavedFunction": "concrete_functions 1 string*",
    "SavedBareConcreteFunction": "concrete_function_name 1 string",
    "SaveableObject": "save_function 2 int32, restore_function 3 int32",
    # Not of a SavedModel, but what its classify and regress signatures take, serialized.
    "Example": "features 1 Features",
    "Features": "feature 1 <Feature>",
    "Feature": "bytes_list 1 BytesList, float_list 2 FloatList, int64_list 3 Int64List",
    "BytesList": "value 1 bytes*",
    "FloatList": "value 1 float*",
    "Int64List": "value 1 int64*",
}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
}


@cache
def message_class(name: str) -> Any:
    """Return the protobuf class of one of MESSAGES; the same on every call."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="savedmodel.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            _add_field(message, *field.split())
    pool = descriptor_pool.DescriptorPool()  # not the default one: TensorFlow may live in this process too
    pool.Add(file)
    return pool


def _add_field(message: Any, name: str, number: str, kind: str) -> None:
    repeated = kind.endswith("*") or kind.startswith("<")
    field = message.field.add(
        name=name, number=int(number), label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    )
    if kind.startswith("<"):
        entry = message.nested_type.add(name=f"{''.join(map(str.title, name.split('_')))}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", "1", "string")
        _add_field(entry, "value", "2", kind[1:-1])
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry.name}"
    elif (plain := kind.rstrip("*")) in _SCALARS:
        field.type = _SCALARS[plain]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{plain}"
