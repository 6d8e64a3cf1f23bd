"""The SDK's own check of command lines, without running them: commands, flags, what is required, what may be chosen.

It does not see a wrong runtime, memory, time-out, region, zone, schedule or acknowledgement deadline.
"""

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_PROJECT = "example-project"


class Problem(NamedTuple):
    """What is wrong with a command line.

    Attributes:
        line: As it was given.
        message: The SDK's words.
    """

    line: str
    message: str


def lint(lines: Sequence[str], gcloud: str | Path = "gcloud") -> list[Problem]:
    """Check command lines in one run of `gcloud meta lint-gcloud-commands`, about a tenth of a second each.

    Args:
        lines: Each starts with `gcloud` and is quoted as for a shell; a flag and its value are one word.
        gcloud: What to run.

    Returns:
        One problem for each line that is wrong, in the order of the lines; a line given twice is checked once.
    """
    different = list(dict.fromkeys(lines))
    # Its identifiers must not be zero, which it takes for none.
    commands = [{"command_string": _as_it_reads(line), "id": number} for number, line in enumerate(different, 1)]
    # Two lines that differ in what it does not look at are one to it, under the later's identifier.
    identifier = {command["command_string"]: str(command["id"]) for command in commands}
    verdicts = _verdicts(commands, gcloud)
    problems = []
    for line, command in zip(different, commands, strict=True):
        given = verdicts[identifier[command["command_string"]]]
        assert len(given) == 1, f"expected one verdict on {line}, got {given}"
        if not given[0]["success"]:
            problems.append(Problem(line, given[0]["error_message"]))
    return problems


def _as_it_reads(line: str) -> str:
    """Return a line that the linter splits as a shell does.

    It takes the word after a flag for its value, even of one that has none, and ends a line at `#` wherever that is.
    """
    program, *words = shlex.split(line)
    assert program == "gcloud", f"expected a line that starts with gcloud, got {line}"
    # A quoted word is none of its flags, so that it too is not to stand behind one that has no value.
    flags = sorted((word for word in words if word.startswith("-")), key=lambda word: "=" not in word)
    rest = [word for word in words if not word.startswith("-")]
    return shlex.join([program, *rest, *flags]).replace("#", "_")


def _verdicts(commands: Sequence[dict[str, object]], gcloud: str | Path) -> dict[str, list[dict[str, object]]]:
    with tempfile.TemporaryDirectory(prefix="lint-") as scratch:
        file = Path(scratch, "commands.json")
        file.write_text(json.dumps(commands), "utf-8")
        # Flags that name a resource by its short name need a project; a person's own settings must not matter.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDSDK_")}
        environment |= {"CLOUDSDK_CONFIG": f"{scratch}/settings", "CLOUDSDK_CORE_PROJECT": _PROJECT}
        environment |= {"CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1", "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        environment |= {"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1"}
        command = [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={file}", "--serialize"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        verdicts: dict[str, list[dict[str, object]]] = json.loads(ended.stdout)
        return verdicts
