"""The tables of a PostgreSQL database, which a command makes and changes: functions hold no right to."""

from sqlalchemy import text

from shared.errors import ConfigurationError
from shared.stores.sql.engine import translated
from shared.stores.sql.migrate import upgrade
from shared.stores.sql.postgresql import new_engine, read_url
from shared.stores.sql.postgresql_errors import Translator
from shared.stores.sql.revision import Status, read_revision

# One migration of a database at a time; the number means nothing but that.
_LOCK = 7_205_881_930_114
# A change of tables that waits for a long question makes everybody behind it wait as well: rather not, and again.
_LOCK_TIMEOUT = "5s"


def read_postgresql_status(url: str) -> Status:
    """Look at a database and change nothing.

    Raises:
        ConfigurationError: The URL is wrong, the database refuses this user, or is newer than this code.
        UnavailableError: It does not answer.
    """
    parsed, _ = read_url(url)
    translate = Translator(parsed)
    with translated(translate), new_engine(parsed).connect() as connection:
        return Status(translate.place, read_revision(connection))


def migrate_postgresql(url: str) -> Status:
    """Bring a database to the newest revision, all or nothing, and return what it held before.

    It may run twice, and in several places at the same time: the others wait, and find nothing left to do.

    Raises:
        ConfigurationError: As `read_postgresql_status` does, or the database does not keep text as UTF-8.
        UnavailableError: It does not answer, or its tables are in use: again later.
    """
    parsed, _ = read_url(url)
    translate = Translator(parsed)
    with translated(translate), new_engine(parsed).begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise ConfigurationError([f"STORE_URL: {translate.place}: expected a database in UTF8, got {encoding}"])
        return Status(translate.place, upgrade(connection))
