"""Suggests what a function needs to serve a model: the memory and the concurrency for `service.yaml`."""

MEMORY_STEPS_MIB = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
# What the web server takes beside the model, and what requests in flight and a second model's load may add.
SERVER_BYTES = 64 * 1024**2
HEADROOM = 1.3
# The last of the requests that an instance takes at once waits about this long for its turn on one core.
LONGEST_WAIT_SECONDS = 0.2
MOST_CONCURRENCY = 80


def suggest_memory_mib(peak_bytes: float) -> int:
    """Return the memory to deploy with, in MiB, for a process that peaked at so many bytes."""
    needed = (peak_bytes * HEADROOM + SERVER_BYTES) / 1024**2
    return next((step for step in MEMORY_STEPS_MIB if step >= needed), MEMORY_STEPS_MIB[-1])


def suggest_concurrency(latency_ms: float) -> int:
    """Return how many requests an instance of one core should take at once, from the time that a call takes."""
    return max(1, min(MOST_CONCURRENCY, int(LONGEST_WAIT_SECONDS * 1000 / max(latency_ms, 1e-3))))
