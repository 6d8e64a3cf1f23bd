"""Reads what a SavedModel says of itself, without TensorFlow and without touching its weights."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from shared.errors import ModelError

from ..manifest import Manifest, Signature, TensorSpec
from ..storage.ports import VersionFiles
from .schema import message_class

FILE = "saved_model.pb"
SERVE_TAGS = {"serve"}
# What TensorFlow's loaders would read in the place of saved_model.pb, or beside it.
OTHER_FORMS = ("saved_model.pbtxt", "saved_model.cpb")
# TensorFlow's numbers of the element types that a request can carry.
DTYPES = {
    **{1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64"},
    **{9: "int64", 10: "bool", 14: "bfloat16", 17: "uint16", 18: "complex128", 19: "float16", 22: "uint32"},
    **{23: "uint64"},
}


def read_graph(folder: Path, where: str) -> Any:
    """Return the MetaGraphDef that serving loads: the one tagged "serve", or the only one.

    Args:
        folder: Holds saved_model.pb.
        where: How messages name the folder, such as digits/1.

    Raises:
        ModelError: There is no saved_model.pb, or it is not a SavedModel in the binary form.
    """
    _refuse_other_forms((name for name in OTHER_FORMS if (folder / name).exists()), where)
    try:
        content = (folder / FILE).read_bytes()
    except OSError as error:
        raise ModelError(f"{where}/{FILE}: cannot be read: {error.strerror}") from error
    return _graph(content, where)


def _refuse_other_forms(present: Iterable[str], where: str) -> None:
    for name in present:
        raise ModelError(f"{where}/{name}: only the binary form, {FILE}, is read; save the model without it")


def _graph(content: bytes, where: str) -> Any:
    try:
        graphs = list(message_class("SavedModel").FromString(content).meta_graphs)
    except DecodeError as error:
        raise ModelError(f"{where}/{FILE}: is not a SavedModel, or a damaged one") from error
    tagged = [graph for graph in graphs if set(graph.meta_info_def.tags) == SERVE_TAGS]
    if not tagged and len(graphs) != 1:
        raise ModelError(f'{where}/{FILE}: holds {len(graphs)} graphs and none is tagged "serve"')
    return (tagged or graphs)[0]


def read_signatures(graph: Any, where: str) -> dict[str, Signature]:
    """Return what a graph takes and answers, by signature.

    Args:
        graph: From `read_graph`.
        where: How messages name the folder.

    Raises:
        ModelError: There is no signature, or one has a tensor that no request can carry.
    """
    signatures = {
        key: Signature(
            inputs={name: _tensor(name, info, f"{where}: {key}") for name, info in sorted(value.inputs.items())},
            outputs={name: _tensor(name, info, f"{where}: {key}") for name, info in sorted(value.outputs.items())},
            method_name=value.method_name,
        )
        for key, value in sorted(graph.signature_def.items())
        if not key.startswith("__")
    }
    if not signatures:
        raise ModelError(f"{where}: has no signature; save the model with signatures to serve it")
    return signatures


def read_bare(files: VersionFiles) -> Manifest:
    """Describe a SavedModel that lies among the models without a model.json.

    Args:
        files: The version's.

    Raises:
        ModelError: It is not a SavedModel that can be served.
        UnavailableError: Where it lies did not answer.
    """
    _refuse_other_forms((name for name in OTHER_FORMS if name in files), files.where)
    graph = _graph(files.read(FILE), files.where)
    return describe_bare(graph, files.where, files.model, int(files.folder), size_bytes=files.size_bytes())


def describe_bare(
    graph: Any, where: str, name: str, version: int, *, size_bytes: int = 0, example: dict[str, Any] | None = None
) -> Manifest:
    """Describe a SavedModel, wherever it lies, as a version of a model.

    Args:
        graph: From `read_graph`.
        where: How messages name its folder.
        size_bytes: What its files weigh together.
        example: A request body that it answers, if one is known.

    Raises:
        ModelError: It is not a SavedModel that can be served.
    """
    return Manifest(
        name=name,
        version=version,
        description="",
        signatures=read_signatures(graph, where),
        runtimes=("tensorflow",),
        litert_file=None,
        files={},
        size_bytes=size_bytes,
        metrics={},
        summary={},
        example=example or {},
        raw={},
    )


def _tensor(name: str, info: Any, where: str) -> TensorSpec:
    if info.dtype not in DTYPES or not info.name:
        raise ModelError(f"{where}: {name} is not a dense tensor of an element type that a request can carry")
    sizes = () if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(
        name=name,
        dtype=DTYPES[info.dtype],
        shape=tuple(None if size < 0 else size for size in sizes),
        tensor_name=info.name,
        unknown_rank=info.tensor_shape.unknown_rank,
    )
