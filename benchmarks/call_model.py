"""Calls a model in a process of its own, as predict would, without HTTP around it.

    python -m benchmarks.call_model MODELS_DIR NAME VERSION BODY_FILE SECONDS

Writes a JSON object a line to standard output: first what the model answered to the body, then how long calls took.
Ends when standard input does, so that its memory can be looked at.
"""

import dataclasses
import json
import os
import sys
import time
from array import array
from pathlib import Path
from typing import Any, TextIO

from model.example import example_inputs
from model.registry import Registry

_WARM_CALLS = 20
# Few enough for the list of them to weigh nothing beside the model.
_MOST_CALLS = 20_000


def main(models_dir: Path, name: str, version: int, body_file: Path, seconds: float, output: TextIO) -> None:
    """Load the model, answer, then answer again for so many seconds."""
    found = Registry.scan(models_dir).find(name, version)
    runtime = found.load()
    manifest = dataclasses.replace(found.sound_manifest(), example=json.loads(body_file.read_bytes()))
    signature, inputs = example_inputs(manifest)
    outputs = runtime.run(signature, inputs)
    _tell(
        output,
        outputs={key: array.tolist() for key, array in outputs.items()},
        runtime=type(runtime).__name__,
        speedup_at_8=manifest.raw.get("batching", {}).get("speedup_at_8"),
    )
    for _ in range(_WARM_CALLS if seconds else 0):
        runtime.run(signature, inputs)
    latencies = array("d")
    started = time.perf_counter()
    while (before := time.perf_counter()) - started < seconds and len(latencies) < _MOST_CALLS:
        runtime.run(signature, inputs)
        latencies.append(time.perf_counter() - before)
    _tell(output, latencies_seconds=list(latencies), seconds=time.perf_counter() - started)
    sys.stdin.read()


def _tell(output: TextIO, **facts: Any) -> None:
    output.write(json.dumps(facts) + "\n")
    output.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as results:
        os.dup2(2, 1)  # loading logs a line, which is not for whoever reads the results
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), float(sys.argv[5]), results)
