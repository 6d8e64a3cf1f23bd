"""One thing that was to be reached."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Aim:
    """One thing a function is meant to reach, and whether it did."""

    text: str
    met: bool
    figures: str
