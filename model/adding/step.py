"""One part of checking a model, in a process of its own: fresh to measure in, and free to crash.

    python -m model.adding.step tensorflow|litert WORK_FOLDER

Reads `order.json` in the work folder, writes one JSON object a line to standard output as results come in, and ends
with code 0, or writes {"error": ...} and ends with 1.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidRequestError, ModelError, ServiceError

from ..example import example_inputs
from ..manifest import Manifest, Signature
from ..runtimes import Runtime
from ..savedmodel.read import describe_bare, read_graph
from .measure import measure_calls, peak_memory_bytes
from .samples import SIZES, is_batched, repeated, request_body, sample_inputs

COMPARED_ROWS = 32
Answers = dict[str, dict[str, NDArray[Any]]]


def main(runtime_name: str, work: Path) -> int:
    """Do one part and return the exit code."""
    order = json.loads((work / "order.json").read_bytes())
    try:
        if runtime_name == "tensorflow":
            _tensorflow(order, work)
        else:
            _litert(order, work)
    except ServiceError as error:
        _tell(error=error.message)
        return 1
    return 0


def _tensorflow(order: dict[str, Any], work: Path) -> None:
    """Load, measure, answer the samples, and convert, in this order: what comes later may crash."""
    folder, where = Path(order["folder"]), order["where"]
    graph = read_graph(folder, where)
    manifest = describe_bare(graph, where, "model", 1, example=order["example"])
    started = time.perf_counter()
    from ..runtimes.tensorflow import TensorFlowRuntime

    runtime = TensorFlowRuntime(folder, manifest.signatures, where=where)
    _tell(load_seconds=time.perf_counter() - started, loader=runtime.loader)
    samples = _answerable_samples(runtime, manifest)
    name = next(iter(samples))
    _tell(**_measured(runtime, name, manifest.signatures[name], samples[name]))
    _tell(example=request_body(name, manifest.signatures[name], _rows(manifest.signatures[name], samples[name], 1)))
    from ..training.agreement import convert_and_compare

    tags = sorted(graph.meta_info_def.tags)
    sampled = {key: _rows(manifest.signatures[key], found, COMPARED_ROWS) for key, found in samples.items()}
    answers = {key: runtime.run(key, inputs) for key, inputs in sampled.items()}
    try:
        content, agreement = convert_and_compare(folder, manifest.signatures, tags, sampled, answers)
    except ModelError as error:
        _tell(litert=None, reason=error.message)
        return
    (work / "model.tflite").write_bytes(content)
    _tell(litert=agreement)


def _litert(order: dict[str, Any], work: Path) -> None:
    graph = read_graph(Path(order["folder"]), order["where"])
    manifest = describe_bare(graph, order["where"], "model", 1, example=order["example"])
    name, inputs = example_inputs(manifest)
    content = (work / "model.tflite").read_bytes()
    started = time.perf_counter()
    from ..runtimes.litert import LiteRTRuntime

    runtime = LiteRTRuntime(content, manifest.signatures, file_names=order["file_names"])
    _tell(load_seconds=time.perf_counter() - started)
    _tell(**_measured(runtime, name, manifest.signatures[name], inputs))


def _measured(runtime: Runtime, name: str, signature: Signature, inputs: dict[str, NDArray[Any]]) -> dict[str, float]:
    one = _rows(signature, inputs, 1)
    return measure_calls(runtime, name, one, batched=is_batched(signature)) | {"memory_bytes": peak_memory_bytes()}


def _rows(signature: Signature, inputs: dict[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
    return repeated(inputs, rows) if is_batched(signature) else inputs


def _answerable_samples(runtime: Runtime, manifest: Manifest) -> Answers:
    """Return inputs that the model answers, by signature: the example's first, else the default's."""
    samples: Answers = {}
    if manifest.example:
        try:
            name, inputs = example_inputs(manifest)
            runtime.run(name, inputs)
        except ServiceError as error:
            reason = error.message.removeprefix("model/1/model.json: example: ")
            raise ModelError(f"the model does not answer the example: {reason}") from error
        samples[name] = inputs
    for name in sorted(manifest.signatures, key=lambda key: (key != "serving_default", key)):
        if name not in samples and (found := _first_answered(runtime, name, manifest.signatures[name])):
            samples[name] = found
    if not samples:
        raise ModelError(
            "the model answers none of the inputs that were made up for it; give it a request with --example FILE"
        )
    return samples


def _first_answered(runtime: Runtime, name: str, signature: Signature) -> dict[str, NDArray[Any]] | None:
    for size in SIZES:
        inputs = sample_inputs(signature, COMPARED_ROWS, size)
        try:
            runtime.run(name, inputs)
        except InvalidRequestError:
            continue  # another size may do
        return inputs
    return None


def _tell(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, default=float) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    np.seterr(all="ignore")  # a model may answer infinity
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
