"""Which revision of the tables a database holds, known without Alembic, whose import takes longer than a query."""

from dataclasses import dataclass

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from shared.errors import ConfigurationError
from shared.stores.sql.tables import metadata

# One file each in migrations/versions; a test holds this list to them.
REVISIONS = ("0001", "0002", "0003")
NEWEST = REVISIONS[-1]
COMMAND = "python -m shared.stores migrate"
# As Alembic itself makes it.
_stamp = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


@dataclass(frozen=True, slots=True)
class Status:
    """What a database holds.

    Attributes:
        place: The database, without its password.
        revision: Of its tables, None if there are none.
    """

    place: str
    revision: str | None

    @property
    def missing(self) -> tuple[str, ...]:
        """The revisions that are still to come, oldest first."""
        return REVISIONS[REVISIONS.index(self.revision) + 1 :] if self.revision else REVISIONS


def read_revision(connection: Connection) -> str | None:
    """Return the revision of the tables there are, None if there are none.

    Raises:
        ConfigurationError: They were made by a newer Nightshift.
    """
    present = set(inspect(connection).get_table_names())
    found = connection.execute(select(_stamp.c.version_num)).scalar() if _stamp.name in present else None
    if found is None:
        # Before there were revisions, SQLite files were made with the tables of the first.
        return REVISIONS[0] if connection.dialect.name == "sqlite" and "results" in present else None
    if found not in REVISIONS:
        raise ConfigurationError(
            [f"STORE_URL: the database's tables are of revision {found}, newer than this code, which knows {NEWEST}"]
        )
    return str(found)


def create_newest(connection: Connection) -> None:
    """Make every table as the newest revision has it."""
    metadata.create_all(connection)
    _stamp.create(connection)
    connection.execute(insert(_stamp).values(version_num=NEWEST))
