"""The whole store: results and runs in one database."""

from shared.stores.sql.engine import Database
from shared.stores.sql.results import SqlResults
from shared.stores.sql.runs import SqlRuns


class SqlStore(SqlResults, SqlRuns):
    """Everything the functions keep, in one SQL database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def close(self) -> None:
        """Give back every connection."""
        self._database.close()
