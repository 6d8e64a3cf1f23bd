"""One event a line, whatever is in it."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from shared.log import bound, log_event, readable, start_notes


def logged(capfd):
    """Return the lines written to standard output."""
    return capfd.readouterr().out.splitlines()


@pytest.mark.parametrize("severity", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_an_event_is_one_json_object(capfd, severity):
    """With Cloud Logging's names, and the time in UTC."""
    log_event(severity, "the model was read", model="digits", seconds=0.5)

    (line,) = logged(capfd)
    event = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
    assert event == {"severity": severity, "message": "the model was read", "model": "digits", "seconds": 0.5}


def test_no_text_ends_the_line_or_reaches_the_terminal(capfd):
    """Line breaks of every kind, escapes and JSON are quoted; lone surrogates and NUL do no harm."""
    text = 'a\n{"severity":"ALERT"}\r\x1b[31m\u2028\x85\0\ud800ä'

    log_event("INFO", text, path=text)

    written = capfd.readouterr().out
    assert written.isascii()
    assert written.count("\n") == 1
    event = json.loads(written)
    assert (event["severity"], event["message"], event["path"]) == ("INFO", text, text)


def test_a_value_that_is_not_json_is_written_as_text(capfd):
    """A log line is not the place to fail."""
    log_event("INFO", "x", folder=os.path, error=OSError("gone"))

    (line,) = logged(capfd)
    assert json.loads(line)["error"] == "gone"


def test_bound_fields_are_on_every_event_of_the_block(capfd):
    """Inner ones are added to outer ones and end with their block; the request's own line has them too."""
    notes = start_notes()
    with bound(job="nightly", key="2026-11-21"):
        with bound(slice=3):
            log_event("INFO", "inner")
        log_event("INFO", "outer", key="said")
    log_event("INFO", "after")

    inner, outer, after = (json.loads(line) for line in logged(capfd))
    assert inner.items() >= {"job": "nightly", "key": "2026-11-21", "slice": 3}.items()
    assert (outer["job"], outer["key"], "slice" in outer) == ("nightly", "said", False)
    assert "job" not in after
    assert notes == {"job": "nightly", "key": "2026-11-21", "slice": 3}


def test_lines_of_many_threads_do_not_mix():
    """Longer than a pipe takes at once."""
    code = """if True:
        from concurrent.futures import ThreadPoolExecutor
        from shared.log import log_event
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: log_event("INFO", str(number) * 300_000), range(8)))
    """

    written = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout

    assert sorted(set(json.loads(line)["message"]).pop() for line in written.splitlines()) == list("01234567")


def test_a_readable_line_has_time_message_and_the_start_of_the_request_id():
    """The severity is named when it matters."""
    event = {"severity": "INFO", "message": "GET / 200 1.0 ms OK", "time": "2026-11-22T10:11:12.345Z"}

    assert readable(event) == "10:11:12.345 GET / 200 1.0 ms OK"
    assert readable({**event, "severity": "ERROR", "request_id": "0123456789"}) == (
        "10:11:12.345 ERROR GET / 200 1.0 ms OK  [01234567]"
    )


def test_a_readable_line_shows_what_cannot_be_printed():
    """A line break, an escape or a change of direction in a message is seen, and does nothing."""
    line = readable({"severity": "INFO", "message": "a\n\r\x1b[2Jb\u202ec\u2028\x85\x7fä", "request_id": "x\ny"})

    assert line == r" a\n\r\x1b[2Jb\u202ec\u2028\x85\x7fä  [x\ny]"


def test_a_stack_trace_stands_below_indented():
    """So that nothing in it passes for an event."""
    trace = "Traceback:\n  File x\nValueError: \x1b[31m\n12:00:00.000 forged"

    lines = readable({"severity": "ERROR", "message": "m", "stack_trace": trace}).split("\n")

    assert lines == [
        *(" ERROR m", "    Traceback:", "      File x", r"    ValueError: \x1b[31m", "    12:00:00.000 forged")
    ]


def test_a_terminal_gets_readable_lines():
    """Anything else gets JSON."""
    terminal, inner = pty.openpty()
    code = "from shared.log import log_event; log_event('WARNING', 'on a terminal')"

    subprocess.run([sys.executable, "-c", code], stdout=inner, check=True)

    shown = os.read(terminal, 4096).decode()
    os.close(inner)
    os.close(terminal)
    assert re.fullmatch(r"[0-9:.]{12} WARNING on a terminal\r\n", shown)
