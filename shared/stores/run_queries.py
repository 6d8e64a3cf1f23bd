"""Which lists of runs there are: each has its index in every database, and no other is asked for."""

from shared.errors import InvalidRequestError
from shared.runs import RunQuery


def check_runs(query: RunQuery) -> None:
    """Refuse a list of runs that nobody declared.

    Raises:
        InvalidRequestError: reason UNDECLARED_QUERY.
    """
    if query.state is not None and query.job is None:
        raise InvalidRequestError("runs: expected a job beside the state", reason="UNDECLARED_QUERY")
    if query.oldest_first and query.state is None:
        raise InvalidRequestError("runs: expected a state where the oldest come first", reason="UNDECLARED_QUERY")


def check_summaries(query: RunQuery) -> None:
    """Refuse a list of summaries that nobody declared. Raises as `check_runs` does."""
    if query.state is not None or query.oldest_first:
        raise InvalidRequestError("summaries: expected no state, and the newest first", reason="UNDECLARED_QUERY")
