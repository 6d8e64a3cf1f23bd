"""Reads `model.json`, which says what a version takes, answers and consists of, without touching its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from shared.errors import ModelError

FILE = "model.json"
FORMAT = 1
DTYPES = frozenset(
    (
        *("bool", "string", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("bfloat16", "float16", "float32", "float64", "complex64", "complex128"),
    )
)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    Args:
        name: The name callers use.
        dtype: TensorFlow's name for the element type, such as float32, int64 or string.
        shape: One entry a dimension; None where the caller chooses, as with the batch.
        tensor_name: What the SavedModel calls it inside, such as serving_default_image:0, if known.
        minimum: The smallest value the model was trained for, if known.
        maximum: The largest value the model was trained for, if known.
        unknown_rank: Any number of dimensions will do; `shape` is then empty and says nothing.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    tensor_name: str = ""
    minimum: float | None = None
    maximum: float | None = None
    unknown_rank: bool = False


@dataclass(frozen=True)
class Signature:
    """What one entry point of a model takes and answers, by tensor name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    method_name: str


class FileRecord(NamedTuple):
    """What one file of a version weighed and hashed to when the version was made."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A version as its `model.json` describes it.

    Args:
        runtimes: Which runtimes may serve it, the preferred one first.
        litert_file: The LiteRT file, relative to the version's folder; None when there is none.
        litert_signatures: What the LiteRT file calls a signature, where that is not its name.
        files: Every file of the version but model.json, by path relative to its folder.
        summary: Which outputs a stored result keeps beside its payload, e.g. {"class": "digit"}.
        example: A request body that the model answers.
        raw: The whole document, for whatever else it says.
    """

    name: str
    version: int
    description: str
    signatures: dict[str, Signature]
    runtimes: tuple[str, ...]
    litert_file: str | None
    files: dict[str, FileRecord]
    size_bytes: int
    metrics: dict[str, Any]
    summary: dict[str, str]
    example: dict[str, Any]
    raw: dict[str, Any]
    litert_signatures: dict[str, str] = field(default_factory=dict)


def read_manifest(content: bytes, model: str, folder: str) -> Manifest:
    """Decode a version's `model.json`.

    Args:
        content: What it holds.
        model: The model among whose versions it lies; the document must name it.
        folder: The version's folder, such as 1 or 0001; the document must carry its number.

    Raises:
        ModelError: It is not JSON, of another format, or contradicts itself or its folder.
    """
    where = f"{model}/{folder}/{FILE}"
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: is not JSON: {error}") from error
    manifest = parse_manifest(document, where)
    if (manifest.name, manifest.version) != (model, int(folder)):
        raise ModelError(
            f"{where}: describes {manifest.name} version {manifest.version}, but lies in the folder {model}/{folder}"
        )
    return manifest


def parse_manifest(document: object, where: str) -> Manifest:
    """Check a decoded `model.json` and give it types.

    Args:
        document: What the JSON holds.
        where: How messages name the file, relative to the models' folder.

    Raises:
        ModelError: A field is missing or of the wrong kind, or names a file outside the version.
    """
    if not isinstance(document, dict):
        raise ModelError(f"{where}: should hold an object, holds {_kind(document)}")
    if document.get("format") != FORMAT:
        raise ModelError(f"{where}: format should be {FORMAT}, is {document.get('format')!r}")
    signatures = _field(document, "signatures", dict, where)
    runtimes = _field(document, "runtimes", list, where)
    if not signatures or not runtimes or not all(isinstance(name, str) for name in runtimes):
        raise ModelError(f"{where}: signatures and runtimes should each name at least one")
    files = _files(_field(document, "files", dict, where), where)
    return Manifest(
        name=_field(document, "name", str, where),
        version=_field(document, "version", int, where),
        description=_field(document, "description", str, where, default=""),
        signatures={key: _signature(key, value, where) for key, value in signatures.items()},
        runtimes=tuple(runtimes),
        litert_file=_litert_file(document, files, where) if "litert" in runtimes else None,
        files=files,
        size_bytes=sum(record.size_bytes for record in files.values()),
        metrics=_field(document, "metrics", dict, where, default={}),
        summary=_texts(document, "summary", where),
        example=_field(document, "example", dict, where, default={}),
        raw=document,
        litert_signatures=_texts(document["litert"], "signatures", f"{where}: litert") if "litert" in runtimes else {},
    )


def _signature(key: str, value: object, where: str) -> Signature:
    place = f"{where}: signatures.{key}"
    return Signature(
        inputs=_tensors(value, "inputs", place),
        outputs=_tensors(value, "outputs", place),
        method_name=_field(value, "method_name", str, place, default="tensorflow/serving/predict"),
    )


def _tensors(value: object, side: str, place: str) -> dict[str, TensorSpec]:
    tensors = _field(value, side, dict, place)
    return {name: _tensor(name, tensor, f"{place}.{side}.{name}") for name, tensor in tensors.items()}


def _tensor(name: str, value: object, place: str) -> TensorSpec:
    dtype = _field(value, "dtype", str, place)
    if dtype not in DTYPES:
        raise ModelError(f"{place}.dtype should be one of {', '.join(sorted(DTYPES))}, is {dtype!r}")
    unknown_rank = isinstance(value, dict) and "shape" in value and value["shape"] is None
    shape = [] if unknown_rank else _field(value, "shape", list, place)
    if not all(type(size) is int and size >= -1 for size in shape):
        raise ModelError(f"{place}.shape should list sizes, with -1 for any, is {shape!r}")
    limits = _field(value, "range", dict, place, default={})
    if not all(type(limit) in (int, float) for limit in limits.values()):
        raise ModelError(f"{place}.range should hold numbers, is {limits!r}")
    return TensorSpec(
        name=name,
        dtype=dtype,
        shape=tuple(None if size == -1 else size for size in shape),
        tensor_name=_field(value, "tensor_name", str, place, default=""),
        minimum=limits.get("minimum"),
        maximum=limits.get("maximum"),
        unknown_rank=unknown_rank,
    )


def _files(value: dict[str, Any], where: str) -> dict[str, FileRecord]:
    records = {}
    for path, record in value.items():
        place, parts = f"{where}: files[{path!r}]", PurePosixPath(path).parts
        if not parts or parts[0] == "/" or ".." in parts or "\\" in path:
            raise ModelError(f"{place} should be a path inside the version's folder")
        records[path] = FileRecord(
            size_bytes=_field(record, "bytes", int, place),
            sha256=_field(record, "sha256", str, place),
        )
    return records


def _texts(document: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    """Return an object of texts, empty when it is left out."""
    texts: dict[str, str] = _field(document, key, dict, where, default={})
    for name in texts:
        _field(texts, name, str, f"{where}{': ' if where.endswith('.json') else '.'}{key}")
    return texts


def _litert_file(document: Mapping[str, Any], files: Mapping[str, FileRecord], where: str) -> str:
    place = f"{where}: litert"
    name: str = _field(_field(document, "litert", dict, where), "file", str, place)
    if name not in files:
        raise ModelError(f"{place}.file should be one of files, is {name!r}")
    return name


def _field(value: object, key: str, kind: type, where: str, default: object = None) -> Any:
    """Return `value[key]`, which must be of the kind (an int is not a bool)."""
    if not isinstance(value, dict):
        raise ModelError(f"{where} should be an object, is {_kind(value)}")
    found = value.get(key, default)
    if not isinstance(found, kind) or isinstance(found, bool):
        separator = ": " if where.endswith(".json") else "."
        raise ModelError(f"{where}{separator}{key} should be {_KINDS[kind]}, is {_kind(found)}")
    return found


_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "text", int: "a whole number"}


def _kind(value: object) -> str:
    if value is None:
        return "missing or null"
    return _KINDS.get(type(value), type(value).__name__)
