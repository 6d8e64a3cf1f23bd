"""What a store must do, whichever database is behind it. The contract tests hold every implementation to it."""

from typing import Protocol

from shared.ports.objects import Files, ObjectStore
from shared.ports.results import ResultStore
from shared.ports.runs import DeadLetterStore, PartStore, RunStore

__all__ = ["DeadLetterStore", "Files", "ObjectStore", "PartStore", "ResultStore", "RunStore", "Store"]


class Store(ResultStore, RunStore, PartStore, DeadLetterStore, Protocol):
    """Everything the functions keep."""
