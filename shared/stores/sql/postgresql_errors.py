"""PostgreSQL's failures in our words. https://www.postgresql.org/docs/current/errcodes-appendix.html"""

import psycopg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from shared.errors import ConfigurationError, InvalidRequestError, ServiceError, UnavailableError

_NO_ROOM = {"53100"}
# Classes: connection, resources, operator intervention, system, and rolled back because of somebody else.
_PASSING = ("08", "53", "57", "58", "40")
# Lock not available, idle too long in a transaction, and a server that takes no writes just now.
_PASSING_CODES = {"55P03", "25P03", "25P04", "25006", "25P02"}
_MISCONFIGURED = {
    "3D000": "the database does not exist",
    "28000": "the user is refused",
    "28P01": "the user or the password is refused",
    "42501": "the user lacks a right",
    "42P01": "a table is not there",
    "42703": "a column is not there",
    "42P07": "a table of this name is there already, and not one of Nightshift's",
    "3F000": "the schema does not exist",
}
# What a server says before a session begins comes without a code.
_REFUSALS = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    "is not permitted to log in": "28000",
    "permission denied for database": "42501",
    "Peer authentication failed": "28000",
    "Ident authentication failed": "28000",
}


class Translator:
    """Names the failures of one database, without its password.

    Attributes:
        place: The database, as messages name it.
    """

    def __init__(self, url: URL) -> None:
        query = {name: value for name, value in url.query.items() if name in ("host", "port", "dbname")}
        self.place = url.set(password=None, query=query).render_as_string()

    def __call__(self, error: DBAPIError) -> ServiceError:
        """Return what a failure means to a caller."""
        cause = error.orig
        code = getattr(cause, "sqlstate", None) or _refusal(str(cause))
        if code in _MISCONFIGURED:
            return ConfigurationError([f"STORE_URL: {self.place}: {_MISCONFIGURED[code]}"])
        if code in _NO_ROOM:
            return UnavailableError("the database has no room left", reason="STORE_FULL", retry_after_seconds=60)
        if code is None and isinstance(cause, psycopg.ProgrammingError):
            # libpq refuses the URL itself; it may hold a password, so it is not shown.
            return ConfigurationError([f"STORE_URL: {self.place}: an option in its query is none that libpq knows"])
        if code is None and isinstance(cause, psycopg.DataError):
            return InvalidRequestError("expected text without NUL", reason="INVALID_TEXT")
        lost = code is None and isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        if lost or error.connection_invalidated or (code or "").startswith(_PASSING) or code in _PASSING_CODES:
            return UnavailableError("the database did not answer in time", reason="STORE_UNAVAILABLE")
        return ServiceError("the database failed", reason="STORE_FAILED")


def _refusal(message: str) -> str | None:
    for words, code in _REFUSALS.items():
        if words in message:
            return code
    if "does not exist" in message:
        return "28000" if 'role "' in message else "3D000" if 'database "' in message else None
    return None
