"""The whole store: results, runs with their parts, and dead letters in one Firestore database."""

from shared.stores.firestore.client import Database
from shared.stores.firestore.dead_letters import FirestoreDeadLetters
from shared.stores.firestore.parts import FirestoreParts
from shared.stores.firestore.results import FirestoreResults
from shared.stores.firestore.runs import FirestoreRuns


class FirestoreStore(FirestoreResults, FirestoreRuns, FirestoreParts, FirestoreDeadLetters):
    """Everything the functions keep, in one Firestore database.

    Args:
        project: The Google Cloud project's id.
        database: The database's id.
        shards: Over how many shards results are spread, 1 or more.
    """

    def __init__(self, project: str, database: str, shards: int) -> None:
        self._database = Database(project, database)
        self.shards = shards

    def close(self) -> None:
        """Give back the connection."""
        self._database.close()
