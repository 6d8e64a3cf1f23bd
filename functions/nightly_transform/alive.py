"""Keeps a run's lease while it is worked on, and knows how long its delivery may still take."""

import time
from datetime import timedelta

from shared.runs import Run

from .dependencies import Dependencies

# Longer than a push may take, so that a redelivery never overlaps a run that is still alive.
LEASE = timedelta(minutes=11)
# Pub/Sub gives up a push after ten minutes; what is left of them is for ending well.
DELIVERY_SECONDS = 540.0


class Alive:
    """One holder's grip on one run.

    Args:
        run: As it was claimed.
    """

    def __init__(self, given: Dependencies, run: Run) -> None:
        self._given = given
        self._run = run
        self._began = self._renewed = time.monotonic()

    def keep(self) -> None:
        """Renew the lease when a third of it has passed; cheap enough to be called for every document.

        Raises:
            ConflictError: reason FENCE_LOST; the run is another's, and whatever is done for it is in vain.
        """
        if time.monotonic() - self._renewed > LEASE.total_seconds() / 3:
            self._given.store.renew_run(self._run, now=self._given.now(), lease=LEASE)
            self._renewed = time.monotonic()

    def seconds_left(self) -> float:
        """Return how long the delivery may still take."""
        return DELIVERY_SECONDS - (time.monotonic() - self._began)
