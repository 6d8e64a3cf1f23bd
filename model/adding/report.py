"""Shows what is known of a SavedModel, for people."""

from collections.abc import Mapping

from rich.console import Console

from ..manifest import Signature, TensorSpec
from .examine import Examination
from .suggest import suggest_concurrency, suggest_memory_mib

WORTH_BATCHING = 1.3


def show_read(console: Console, found: Examination, limit_bytes: int) -> None:
    """Show what reading it told."""
    for name, signature in found.signatures.items():
        console.print(f"Signature {name}")
        _show_tensors(console, "takes", signature, signature.inputs)
        _show_tensors(console, "answers", signature, signature.outputs)
    console.print(f"Size        {found.size_bytes / 1e6:.1f} MB of {limit_bytes / 1e6:.0f} MB allowed")
    console.print("Operations  all on the allow-list")


def show_run(console: Console, found: Examination) -> None:
    """Show what running it told, and what to deploy it with."""
    if found.litert is None:
        console.print(f"LiteRT      no: {found.reason}", soft_wrap=True)
    else:
        difference, rows = found.litert["max_difference"], found.litert["compared_rows"]
        console.print(f"LiteRT      yes; differs by {difference:.1e} at most on {rows} sample rows")
    for runtime in found.runtimes:
        facts = found.measured[runtime]
        speedup = f", {facts['speedup_at_8']:.1f} times the rows in batches of 8" if "speedup_at_8" in facts else ""
        loader = f" ({facts['loader']} loader)" if "loader" in facts else ""
        console.print(
            f"{runtime:<11} loads in {_duration(facts['load_seconds'])}{loader}, "
            f"answers in {facts['latency_ms']:.2f} ms{speedup}, takes {facts['memory_bytes'] / 1e6:.0f} MB",
            soft_wrap=True,
        )
    facts = found.measured[found.runtimes[0]]
    console.print(
        f"service.yaml  memory: {suggest_memory_mib(facts['memory_bytes'])}Mi  "
        f"concurrency: {suggest_concurrency(facts['latency_ms'])}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _show_tensors(console: Console, verb: str, signature: Signature, tensors: Mapping[str, TensorSpec]) -> None:
    for name, spec in tensors.items():
        shape = "any shape" if spec.unknown_rank else str([-1 if size is None else size for size in spec.shape])
        console.print(f"  {verb:<8}{name}: {spec.dtype} {shape}", markup=False)
