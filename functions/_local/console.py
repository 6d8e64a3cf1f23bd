"""What the local stack prints: one table of URLs, and every function's log lines, told apart by colour."""

import json
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.jobs import Job
from shared.log import readable

COLOURS = {
    "web": "bright_white",
    "predict": "cyan",
    "store_result": "green",
    "list_results": "blue",
    "nightly_transform": "magenta",
    "scheduler": "yellow",
    "pubsub": "yellow",
}
_SEVERITY_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_WIDTH = max(map(len, COLOURS))


class StackConsole:
    """Prints for the whole stack; safe to call from several threads.

    Args:
        only_problems: Leave out the log lines of requests that went well.
    """

    def __init__(self, *, only_problems: bool = False) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._only_problems = only_problems

    def say(self, text: str, style: str = "") -> None:
        """Print one line of the stack's own."""
        self._console.print(Text(text, style=style))

    def log_line(self, source: str, line: str) -> None:
        """Print one line that a function wrote: an event if it is one of ours, else as it is."""
        try:
            event = json.loads(line)
            text, style = readable(event), _SEVERITY_STYLES.get(event.get("severity", ""), "")
            details = event.get("detail")
        except (ValueError, AttributeError, TypeError):
            text, style, details = line, "", None
        # LiteRT writes a line of information to standard error when it starts, and cannot be told not to.
        good = line.startswith("INFO: ") if text is line else not style
        if good and (self._only_problems or "GET /health " in text):
            return
        prefix = Text(f"{source:<{_WIDTH}} ", style=COLOURS.get(source, ""))
        self._console.print(prefix + Text(text, style=style))
        for detail in str(details).splitlines() if details else ():
            self._console.print(prefix + Text(f"  {detail}", style="dim"))

    def say_as(self, source: str, text: str) -> None:
        """Print one line of something that runs in this process, such as the scheduler."""
        self.log_line(source, json.dumps({"message": text, "time": datetime.now(UTC).isoformat()}))

    def table(self, urls: dict[str, str], jobs: list[Job], now: datetime) -> None:
        """Print where each function answers and when each job runs next."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("function", "URL", "try"):
            table.add_column(heading, no_wrap=True)
        for function, url in urls.items():
            table.add_row(Text(function, style=COLOURS.get(function, "")), url, _TRY.get(function, ""))
        self._console.print(table)
        if jobs:
            self._console.print()
            table = Table(box=None, pad_edge=False, header_style="bold")
            for heading in ("job", "schedule", "time zone", "next run"):
                table.add_column(heading, no_wrap=True)
            for job in jobs:
                table.add_row(job.id, job.schedule, job.time_zone, f"{job.next_tick(now):%Y-%m-%d %H:%M} UTC")
            self._console.print(table)
        self._console.print()


_TRY = {
    "web": "the page: open it in a browser",
    "predict": "POST /v1/models/digits:predict",
    "store_result": "POST /",
    "list_results": "GET  /?page_size=10",
    "nightly_transform": "GET  /jobs",
}
