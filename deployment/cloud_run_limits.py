"""What Cloud Run takes as memory and CPU in its second generation, which every function here runs in."""

import re

_MEBIBYTES = {"Mi": 1, "Gi": 1024}
# The least and the most memory in MiB, by vCPUs. Fractions of one are for the first generation alone.
_MEMORY_OF_CPU = {1: (512, 4096), 2: (512, 8192), 4: (2048, 16384), 6: (4096, 24576), 8: (4096, 32768)}
CPUS = tuple(_MEMORY_OF_CPU)
MAX_CONCURRENCY = 1000
MAX_INSTANCES = 1000
MAX_TIMEOUT_SECONDS = 3600
_EXPECTED = "expected memory such as 512Mi or 2Gi, from 512Mi to 32Gi"


def checked_memory(text: str) -> str:
    """Return an amount of memory if it is one Cloud Run takes.

    Raises:
        ValueError: It is not; the message says what was expected.
    """
    if not 512 <= memory_mebibytes(text) <= 32768:
        raise ValueError(_EXPECTED)
    return text


def memory_mebibytes(text: str) -> int:
    """Return an amount of memory in MiB.

    Raises:
        ValueError: It is no amount of memory.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,5})(Mi|Gi)", text)
    if not found:
        raise ValueError(_EXPECTED)
    return int(found[1]) * _MEBIBYTES[found[2]]


def memory_problem(memory: str, cpu: int) -> str | None:
    """Return what is wrong with an amount of memory beside so many vCPUs, or None."""
    least, most = _MEMORY_OF_CPU[cpu]
    if least <= memory_mebibytes(memory) <= most:
        return None
    return f"expected {_readable(least)} to {_readable(most)} with {cpu} vCPU, got {memory}"


def _readable(mebibytes: int) -> str:
    return f"{mebibytes}Mi" if mebibytes < 1024 else f"{mebibytes // 1024}Gi"
