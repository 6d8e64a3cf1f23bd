"""Calls to Firestore, each of which ends in time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.api_core.retry import Retry, if_exception_type
from google.cloud import firestore

from shared.lazy import Once
from shared.stores.firestore.channel import open_channel
from shared.stores.firestore.deadline import DEADLINE_SECONDS, Deadline
from shared.stores.firestore.failures import PASSING, translated

T = TypeVar("T")

# A server that refuses connections is given no longer: callers shall hear of it soon.
_RETRY_SECONDS = 0.8
_RETRY = Retry(if_exception_type(*PASSING), initial=0.05, maximum=0.4, multiplier=2.0, timeout=_RETRY_SECONDS)
# The library itself retries nothing. After an error within a query's stream it would go on from where the stream
# stood, with the whole limit again, or, if nothing had come yet, end in a TypeError.
_ONCE = Retry(lambda _: False, timeout=DEADLINE_SECONDS)


class Options(TypedDict):
    """What every call of the library is given."""

    timeout: float
    retry: Retry


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read.

    Attributes:
        update_time: Changes with every write: what a later write may ask to be unchanged.
        read_time: As of when it was read; other documents can be read as they were then.
    """

    id: str
    reference: Any
    fields: dict[str, Any]
    update_time: Any
    read_time: Any

    @property
    def chars(self) -> int:
        """How much text it holds."""
        return sum(len(value) for value in self.fields.values() if isinstance(value, str))


class Database:
    """One Firestore database; every method raises as `failures.translated` says.

    Args:
        project: The Google Cloud project's id.
        database: The database's id, such as `(default)`.
    """

    def __init__(self, project: str, database: str) -> None:
        # Not sooner than needed: a client looks for credentials, and does not survive a fork.
        self._client = Once(self._connect)
        self._project = project
        self._database = database
        self._channel: Any = None

    def collection(self, name: str) -> firestore.CollectionReference:
        """Return a collection, to build queries and references from; nothing is asked."""
        with translated():
            return self._client().collection(name)

    def get(self, references: Iterable[Any], deadline: Deadline, **how: Any) -> list[Document]:
        """Return those documents that there are, in any order.

        Args:
            how: `field_paths` and `read_time`, as the library's `get_all` takes them.
        """
        wanted = list(references)

        def attempt(options: Options) -> list[Document]:
            found: Any = self._client().get_all(wanted, **how, **options)
            return [_document(snapshot) for snapshot in found if snapshot.exists]

        return self._ask(deadline, attempt) if wanted else []

    def page(
        self, query: firestore.Query, size: int, deadline: Deadline, max_chars: int
    ) -> tuple[list[Document], bool]:
        """Return a query's first documents, and whether there may be more of them.

        Args:
            size: Of how many documents it asks.
            max_chars: Fewer come once their text has reached this.
        """

        def attempt(options: Options) -> tuple[list[Document], bool]:
            found: list[Document] = []
            chars = 0
            stream: Any = query.limit(size).stream(**options)
            for snapshot in stream:
                found.append(_document(snapshot))
                chars += found[-1].chars
                if chars >= max_chars:
                    stream.close()
                    return found, True
            return found, len(found) == size

        return self._ask(deadline, attempt)

    def count(self, query: firestore.Query, deadline: Deadline) -> int:
        """Count a query's documents without reading them."""

        def attempt(options: Options) -> int:
            counting: Any = query.count()
            return int(counting.get(**options)[0][0].value)

        return self._ask(deadline, attempt)

    def commit(self, deadline: Deadline, add_writes: Callable[[firestore.WriteBatch], None]) -> bool:
        """Apply writes, all or none.

        Returns:
            False if something was not as the writes wanted it. A commit whose answer got lost is repeated, so this may
            also mean that the first one was applied.
        """

        def attempt(options: Options) -> bool:
            batch = self._client().batch()
            add_writes(batch)
            try:
                batch.commit(**options)
            except (AlreadyExists, FailedPrecondition, NotFound):
                # Of a database that is not there, too: whoever then looks is told.
                return False
            return True

        return self._ask(deadline, attempt)

    def close(self) -> None:
        """Close the connection."""
        if self._channel:
            self._channel.close()

    def _connect(self) -> firestore.Client:
        client = firestore.Client(project=self._project, database=self._database)
        self._channel = open_channel(client)
        return client

    def _ask(self, deadline: Deadline, attempt: Callable[[Options], T]) -> T:
        """Call the library, again if that may help while the deadline lasts."""

        def once() -> T:
            return attempt(Options(timeout=deadline.left_seconds(), retry=_ONCE))

        with translated():
            return _RETRY.with_timeout(min(_RETRY_SECONDS, deadline.left_seconds()))(once)()


def _document(snapshot: Any) -> Document:
    return Document(snapshot.id, snapshot.reference, snapshot.to_dict(), snapshot.update_time, snapshot.read_time)
