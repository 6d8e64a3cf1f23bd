"""Converts anyone's SavedModel to LiteRT, and says which operation stands in the way where that fails."""

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from shared.errors import ModelError

from ..manifest import Signature
from .export import save
from .quiet import quiet_stderr

# Takes a folder and its signatures; returns the file.
Convert = Callable[[Path, Mapping[str, Signature], list[str]], bytes]


def convert_directly(folder: Path, signatures: Mapping[str, Signature], tags: list[str]) -> bytes:
    """Convert through the v2 loader, with built-in operations only.

    Raises:
        ModelError: An operation has no LiteRT counterpart, or the v2 loader does not take the SavedModel.
    """
    try:
        with quiet_stderr(shown_on_error=False):
            converter = tf.lite.TFLiteConverter.from_saved_model(
                str(folder), signature_keys=list(signatures), tags=set(tags)
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            content: bytes = converter.convert()
    except Exception as error:  # ConverterError is no public name, and the loader raises whatever it trips over
        raise ModelError(reason(str(error))) from error
    return content


def convert_frozen(folder: Path, signatures: Mapping[str, Signature], tags: list[str]) -> bytes:
    """Convert what the v1 loader reads, with the weights made constants and the signatures put back.

    For what the v2 loader refuses (Keras before version 3), and for what it reads and the converter then loses weights
    of. Unlike the v1 converter's, the file has signatures.

    Raises:
        ModelError: As `convert_directly`.
    """
    with tempfile.TemporaryDirectory() as frozen:
        try:
            with quiet_stderr(shown_on_error=False):
                module = _frozen_module(folder, signatures, tags)
                save(module, module.functions, Path(frozen))
        except Exception as error:  # the loader and the importer raise whatever they trip over
            raise ModelError(reason(str(error))) from error
        return convert_directly(Path(frozen), signatures, ["serve"])


def reason(text: str) -> str:
    """Name the operations that stand in the way, or else give the first line of what the converter said."""
    blocking = re.findall(r"'tf\.(\w+)' op", text)
    for names in re.findall(r"(?:TF Select|Custom|Flex) ops?: ([\w, ]+)", text):
        blocking += [name.strip() for name in names.split(",")]
    if blocking:
        return f"LiteRT has no {', '.join(sorted(set(blocking)))} that would do"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:300] if lines else "the converter gives no reason"


def _frozen_module(folder: Path, signatures: Mapping[str, Signature], tags: list[str]) -> Any:
    graph = tf.Graph()
    module = tf.Module(name="frozen")
    module.functions = {}
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.saved_model.load(session, tags, str(folder))
        for name, signature in signatures.items():
            outputs = [spec.tensor_name.split(":")[0] for spec in signature.outputs.values()]
            definition = tf.compat.v1.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(), sorted(set(outputs))
            )
            module.functions[name] = _function(definition, signature)
    return module


def _function(definition: Any, signature: Signature) -> Any:
    inputs = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in signature.inputs.items()]

    @tf.function(input_signature=inputs)  # type: ignore[untyped-decorator]
    def serve(*tensors: Any) -> dict[str, Any]:
        named = {spec.tensor_name: tensor for spec, tensor in zip(signature.inputs.values(), tensors, strict=True)}
        wanted = [spec.tensor_name for spec in signature.outputs.values()]
        found = tf.graph_util.import_graph_def(definition, input_map=named, return_elements=wanted)
        return dict(zip(signature.outputs, found, strict=True))

    return serve
