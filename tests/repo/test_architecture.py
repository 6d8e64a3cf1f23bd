"""The house keeps its import rules, and each rule notices when one is broken."""

import shutil
import subprocess
import sys

import pytest

from shared.config import ROOT
from tests.repo.rules import PACKAGES, RULES

PLANTED = [
    ("library_imports_no_function", "shared/routing.py", "import functions.predict.main"),
    ("library_imports_no_function", "shared/lazy.py", "from model import registry"),
    ("library_imports_no_function", "shared/lazy.py", "import scheduler"),
    ("library_imports_no_function", "model/registry.py", "from shared.config import ROOT"),
    ("library_imports_no_function", "model/registry.py", "import functions"),
    ("functions_stay_apart", "functions/predict/main.py", "from functions.store_result import reader"),
    ("functions_stay_apart", "functions/list_results/main.py", "from model.registry import Registry"),
    ("functions_stay_apart", "functions/list_results/main.py", "import scheduler"),
    ("functions_stay_apart", "functions/list_results/main.py", "import handlers"),
    ("library_imports_no_function", "shared/lazy.py", "from deployment.environment import Environment"),
    ("library_imports_no_function", "model/registry.py", "import deployment"),
    ("functions_stay_apart", "functions/predict/main.py", "import deployment.regions"),
    ("packages_have_doors", "deployment/environment.py", "import yaml"),
    ("no_cycles", "deployment/env_file.py", "import deployment.environment"),
    ("environment_has_one_reader", "deployment/environment.py", "import os\nos.environ.get('X')"),
    ("shared_is_layered", "shared/errors.py", "from shared.log import log_event"),
    ("shared_is_layered", "shared/log.py", "def f():\n    from shared.config import ROOT"),
    ("environment_has_one_reader", "shared/jobs.py", "import os\nos.environ.get('X')"),
    ("environment_has_one_reader", "functions/predict/serving.py", "from os import getenv"),
    ("packages_have_doors", "functions/predict/main.py", "import flask"),
    ("packages_have_doors", "shared/guard.py", "import sqlalchemy.orm"),
    ("clock_is_passed_in", "functions/list_results/handlers.py", "from datetime import datetime\ndatetime.now()"),
    ("packages_have_doors", "functions/predict/decode.py", "import tensorflow"),
    ("no_cycles", "shared/errors.py", "import shared.endpoint"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule):
    """No place breaks a rule."""
    assert rule(ROOT) == []


@pytest.mark.parametrize(("rule_name", "file", "line"), PLANTED)
def test_a_planted_violation_turns_its_rule_red(tmp_path, rule_name, file, line):
    """A rule that cannot fail would guard nothing."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "variables"))
    target = tmp_path / file
    target.write_text(f"{target.read_text()}\n{line}\n")
    rule = next(rule for rule in RULES if rule.__name__ == rule_name)

    broken = set(rule(tmp_path)) - set(rule(ROOT))

    assert any(place.startswith((file, file.removesuffix(".py").replace("/", "."))) for place in broken)


IMPORT_EVERYTHING = """
import importlib, os, sys, threading
root = sys.argv[1] + os.sep

def ours():
    frame = sys._getframe(2)
    while frame:
        if frame.f_code.co_filename.startswith(root) and ".venv" not in frame.f_code.co_filename:
            return frame.f_code.co_filename
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return None
        frame = frame.f_back

def watch(event, arguments):
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc")) or event.split(".")[0] in (
        "socket", "subprocess", "sqlite3", "shutil", "glob"
    ):
        if place := ours():
            print("EFFECT", event, arguments[:1], place)

class Environ(type(os.environ)):
    def __getitem__(self, key):
        if place := ours():
            print("EFFECT environ", key, place)
        return super().__getitem__(key)

os.environ.__class__ = Environ
sys.addaudithook(watch)
for name in sys.argv[2:]:
    importlib.import_module(name)
if threading.active_count() > 1:
    print("EFFECT threads", threading.enumerate())
"""


def modules():
    """Every module of the house by dotted name; training needs TensorFlow and __main__ is a command."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(files)]
    return [name for name in names if ".training" not in name and "__main__" not in name]


def importing(*names):
    """Import modules in a process that reports effects, and return what it reported."""
    command = [sys.executable, "-c", IMPORT_EVERYTHING, str(ROOT), *names]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout


def test_importing_any_module_has_no_effect():
    """No I/O, no environment, no thread: the framework imports a function before it forks."""
    assert importing(*modules()) == ""


@pytest.mark.parametrize(
    "line", ["import os; os.environ['HOME']", "open('/etc/hostname')", "import socket; socket.socket()"]
)
def test_an_effect_at_import_is_noticed(tmp_path, line):
    """The watch itself works."""
    (tmp_path / "planted.py").write_text(line + "\n")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{IMPORT_EVERYTHING}"]

    reported = subprocess.run([*command, str(tmp_path), "planted"], capture_output=True, text=True, check=True).stdout

    assert "EFFECT" in reported
