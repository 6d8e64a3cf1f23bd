"""Runs the README's console blocks and compares what they print with what the README says.

In a ```console block, lines that begin with "$ " are commands; the lines up to the next command are what it prints,
where "..." stands for anything. `make run` is left running for the commands after it, until the end.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

SERVERS = ("make run",)
START_SECONDS = 600


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the console blocks with the output that is promised."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            last = next(index for index in range(len(lines)) if whole("\n".join(lines[: index + 1])))
            yield "\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :]).strip()


def whole(command: str) -> bool:
    """Tell whether a command ends here: no quote is open and no backslash continues it."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return not command.endswith("\\")


def matches(promised: str, printed: str) -> bool:
    """Tell whether the promised text stands in what was printed, spacing aside."""
    words = [r"\s+".join(map(re.escape, part.split())) for part in promised.split("...")]
    return re.search(r".*?\s*".join(words), printed, re.DOTALL) is not None


def run(command: str, promised: str) -> None:
    """Run a command to its end, showing what it prints."""
    process = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed = ""
    assert process.stdout
    for line in process.stdout:
        print(line, end="", flush=True)
        printed += line
    if process.wait() != 0:
        sys.exit(f"README: `{command}` ended with status {process.returncode}")
    if not matches(promised, printed):
        sys.exit(f"README: `{command}` did not print what is promised:\n{promised}")


def serve(command: str, promised: str, stack: ExitStack) -> None:
    """Start a server, wait until it has printed what is promised, and stop it with Ctrl-C at the end."""
    log = Path("readme-server.log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    stack.callback(log.unlink)
    stack.callback(stop, process)
    deadline = time.monotonic() + START_SECONDS
    while not matches(promised, log.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"README: `{command}` did not print what is promised but:\n{log.read_text()}")
        time.sleep(0.2)
    print(log.read_text(), flush=True)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Send Ctrl-C as a terminal does, to the whole group, and wait."""
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGINT)
    process.wait(60)


def main() -> None:
    """Run every command of the file named on the command line."""
    with ExitStack() as stack:
        for command, promised in commands(Path(sys.argv[1]).read_text("utf-8")):
            print(f"\n$ {command}", flush=True)
            if command in SERVERS:
                serve(command, promised, stack)
            elif not command.startswith(("git clone", "cd ")):
                run(command, promised)
    print("\nEvery command of the README works.")


if __name__ == "__main__":
    main()
