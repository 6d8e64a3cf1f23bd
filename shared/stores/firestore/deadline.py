"""How long one call of the store may take, however often it asks Firestore."""

import time

from shared.errors import UnavailableError

# A request has eight seconds.
DEADLINE_SECONDS = 6.0


class Deadline:
    """By when a call of the store has to be over, whatever it asks of Firestore until then."""

    def __init__(self, seconds: float = DEADLINE_SECONDS) -> None:
        self._ends = time.monotonic() + seconds

    def left_seconds(self) -> float:
        """Return the time left.

        Raises:
            UnavailableError: There is none.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise UnavailableError("the database did not answer in time", reason="STORE_UNAVAILABLE")
        return left
