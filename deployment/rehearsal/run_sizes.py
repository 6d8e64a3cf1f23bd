"""How large a revision may be: which memory goes with which CPUs, and how many requests at once."""

import re
from typing import Any

from .wire import invalid

TEMPLATE = "spec.template.spec"
CONTAINER = f"{TEMPLATE}.containers[0]"
_UNITS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_MI, _GI = 1024**2, 1024**3
# More memory than the first needs at least so many CPUs.
_CPUS_FOR_MEMORY = ((16 * _GI, 8), (8 * _GI, 4), (4 * _GI, 2), (1 * _GI, 1), (512 * _MI, 0.5))
_MEMORY_FOR_CPUS = {4: 2 * _GI, 6: 4 * _GI, 8: 4 * _GI}
_MOST_MEMORY, _MOST_CONCURRENCY, _MOST_TIMEOUT_SECONDS = 32 * _GI, 1000, 3600


def check_size(spec: dict[str, Any], annotations: dict[str, str]) -> None:
    """Refuse sizes that Cloud Run rejects.

    Args:
        spec: Of a revision.
        annotations: Of the same revision.

    Raises:
        ApiError: 400.
    """
    limits = spec["containers"][0].get("resources", {}).get("limits", {})
    cpus, memory = _cpus(limits.get("cpu", "1")), _bytes(limits.get("memory", "512Mi"))
    second_generation = annotations.get("run.googleapis.com/execution-environment") == "gen2"
    if not 128 * _MI <= memory <= _MOST_MEMORY or (second_generation and memory < 512 * _MI):
        raise invalid(f"{CONTAINER}.resources.limits.memory: {limits.get('memory')} is outside what is allowed")
    for most, least_cpus in _CPUS_FOR_MEMORY:
        if memory > most and cpus < least_cpus:
            text = (
                f"Invalid value specified for cpu. For {limits['memory']} of memory at least {least_cpus} is required"
            )
            raise invalid(f"{CONTAINER}.resources.limits.cpu: {text}")
    if memory < _MEMORY_FOR_CPUS.get(int(cpus), 0):
        raise invalid(f"{CONTAINER}.resources.limits.memory: too little for {cpus:g} cpu")
    concurrency = spec.get("containerConcurrency", 80 if cpus >= 1 else 1)
    if not 1 <= concurrency <= _MOST_CONCURRENCY:
        raise invalid(f"{TEMPLATE}.containerConcurrency: expected 1 to {_MOST_CONCURRENCY}, got {concurrency}")
    if cpus < 1 and (concurrency > 1 or second_generation):
        raise invalid(f"{CONTAINER}.resources.limits.cpu: Total cpu < 1 is not supported with concurrency > 1 or gen2")
    timeout = spec.get("timeoutSeconds", 300)
    if not 1 <= timeout <= _MOST_TIMEOUT_SECONDS:
        raise invalid(f"{TEMPLATE}.timeoutSeconds: expected 1 to {_MOST_TIMEOUT_SECONDS}, got {timeout}")


def _cpus(text: str) -> float:
    found = re.fullmatch(r"([0-9]+)m|([0-9]+(?:\.[0-9]+)?)", text)
    cpus = int(found[1]) / 1000 if found and found[1] else float(found[2]) if found else 0.0
    if cpus not in (1, 2, 4, 6, 8) and not 0.08 <= cpus < 1:
        raise invalid(f"{CONTAINER}.resources.limits.cpu: Invalid value specified for cpu: {text!r}")
    return cpus


def _bytes(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(k|M|G|Ki|Mi|Gi)?", text)
    if not found:
        raise invalid(f"{CONTAINER}.resources.limits.memory: Invalid value specified for memory: {text!r}")
    return float(found[1]) * _UNITS[found[2] or ""]
