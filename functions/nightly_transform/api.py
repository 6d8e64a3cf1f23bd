"""Everything nightly-transform answers, put together."""

from collections.abc import Callable

from shared.jobs import Job
from shared.paging import PageTokens

from .backfill import Backfills
from .contract import Task, Transform
from .deliveries import Deliveries
from .dependencies import Dependencies
from .handlers import JobsApi
from .runner import Runner
from .transforms import find_code


class Api:
    """What messages, people and programs may ask.

    Args:
        given: The world around.
        tokens: Signs where a page ended.
        find: Finds a job's code.
    """

    def __init__(
        self, given: Dependencies, tokens: PageTokens, find: Callable[[Job], Transform | Task] = find_code
    ) -> None:
        runner = Runner(given, find)
        self.deliveries = Deliveries(given, runner)
        self.backfills = Backfills(given, runner)
        self.jobs = JobsApi(given, runner, tokens)
