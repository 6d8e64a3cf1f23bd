"""What the models of the benchmarks are asked: the same numbers on every run, without numpy.

A library that this process maps would be shared with the servers and count as less memory of theirs.
"""

import struct
from functools import cache


def pixels(*shape: int) -> list[float]:
    """Return a pattern of grey values k/255, as float32, in row-major order; no two places can be swapped unseen.

    Args:
        shape: Sizes of the dimensions.
    """
    values = [0]
    for size in shape:
        # Odd steps of different sizes, so that each dimension runs through the grey values at a speed of its own.
        values = [7 * value + 37 * index for value in values for index in range(size)]
    return [_float32((value * 31 + 11) % 256 / 255) for value in values]


def json_array(values: list[float]) -> str:
    """Write float32 values as JSON with as few digits as tell each apart."""
    return f"[{','.join(map(_shortest, values))}]"


def nested(values: list[float], *shape: int) -> str:
    """Write the same nested as the shape is."""
    if len(shape) == 1:
        return json_array(values)
    step = len(values) // shape[0]
    return f"[{','.join(nested(values[at : at + step], *shape[1:]) for at in range(0, len(values), step))}]"


def raw_bytes(values: list[float]) -> bytes:
    """Return float32 values as they lie in memory, little-endian."""
    return struct.pack(f"<{len(values)}f", *values)


def _float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


@cache
def _shortest(value: float) -> str:
    texts = (f"{value:.{digits}g}" for digits in range(1, 10))  # nine tell every float32 apart
    return next(text for text in texts if _float32(float(text)) == value)
