"""Cloud Scheduler's part on a laptop: each job's message is published when its schedule ticks."""

import json
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from shared.errors import ServiceError
from shared.jobs import Job

# Slept at most at once, so that a laptop that slept too notices a missed tick soon after waking.
_MAX_WAIT_SECONDS = 30.0
# After a message that could not be published.
_RETRY = timedelta(seconds=5)

# Takes a message and when it was published; raises ServiceError where it cannot.
Publish = Callable[[bytes, datetime], object]


class LocalScheduler:
    """Publishes each job's message on time.

    A tick that passed while the machine slept is published once, late; the run it asks for is the same. Jobs that are
    paused in the file do not tick, as in Cloud Scheduler; those that are paused in the store do.

    Args:
        jobs: What to fire.
        publish: Takes the messages.
        now: The clock.
        say: Told what goes wrong, in a line.
    """

    def __init__(
        self, jobs: Iterable[Job], publish: Publish, now: Callable[[], datetime], say: Callable[[str], None]
    ) -> None:
        self._jobs = [job for job in jobs if not job.paused]
        self._publish = publish
        self._now = now
        self._say = say
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
        started = self._now()
        due = {job.id: job.next_tick(started) for job in self._jobs}
        while due:
            wait = min((min(due.values()) - self._now()).total_seconds(), _MAX_WAIT_SECONDS)
            if self._stopping.wait(max(0.0, wait)):
                return
            now = self._now()
            for job in self._jobs:
                if due[job.id] <= now:
                    due[job.id] = self._fire(job, now)

    def _fire(self, job: Job, now: datetime) -> datetime:
        """Publish a job's message and return when to do so again."""
        try:
            self._publish(json.dumps({"job": job.id}).encode(), now)
        except (ServiceError, OSError) as error:
            self._say(f"{job.id}: its message could not be published, again in {_RETRY.seconds} s: {error}")
            return now + _RETRY
        return job.next_tick(now)
