"""Cloud Scheduler's part on a laptop: each job's message is published when its schedule ticks."""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from shared.jobs import Job

from .delivery import Publisher

# Slept at most at once, so that a laptop that slept too notices a missed tick soon after waking.
_MAX_WAIT_SECONDS = 30.0


class LocalScheduler:
    """Publishes each job's message on time.

    A tick that passed while the machine slept is published once, late; the run it asks for is the same.

    Args:
        jobs: What to fire.
        publisher: Takes the messages.
        now: The clock.
    """

    def __init__(self, jobs: Iterable[Job], publisher: Publisher, now: Callable[[], datetime]) -> None:
        self._jobs = list(jobs)
        self._publisher = publisher
        self._now = now
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begin; the first ticks are those after now."""
        self._thread.start()

    def stop(self) -> None:
        """Fire no more; what was published is the subscription's to deliver."""
        self._stopping.set()
        self._thread.join()

    def running(self) -> bool:
        """Tell whether it still fires."""
        return self._thread.is_alive()

    def _run(self) -> None:
        due = {job.id: job.next_tick(self._now()) for job in self._jobs}
        while due:
            wait = min((min(due.values()) - self._now()).total_seconds(), _MAX_WAIT_SECONDS)
            if self._stopping.wait(max(0.0, wait)):
                return
            now = self._now()
            for job in self._jobs:
                if due[job.id] <= now:
                    self._publisher.publish({"job": job.id}, now)
                    due[job.id] = job.next_tick(now)
