"""The whole store: results, runs with their parts, and dead letters in one database."""

from shared.stores.sql.dead_letters import SqlDeadLetters
from shared.stores.sql.engine import Database
from shared.stores.sql.parts import SqlParts
from shared.stores.sql.results import SqlResults
from shared.stores.sql.runs import SqlRuns


class SqlStore(SqlResults, SqlRuns, SqlParts, SqlDeadLetters):
    """Everything the functions keep, in one SQL database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def close(self) -> None:
        """Give back every connection."""
        self._database.close()
