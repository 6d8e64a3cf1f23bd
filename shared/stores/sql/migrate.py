"""Brings tables to the newest revision with Alembic, in whichever database."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect

from shared.stores.sql.revision import NEWEST, read_revision

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> str | None:
    """Bring the tables to the newest revision within the transaction that is under way, which nobody else is in.

    Returns:
        The revision that was there before.

    Raises:
        ConfigurationError: The tables are newer than this code.
    """
    before = read_revision(connection)
    if before == NEWEST:
        return before
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    if before and not inspect(connection).has_table("alembic_version"):
        command.stamp(config, before)
    command.upgrade(config, NEWEST)
    return before
