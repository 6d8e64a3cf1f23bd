"""Each staged folder is enough: it loads and answers alone, where only its own requirements are installed."""

import json
import subprocess

import httpx
import pytest

from functions._staging.stage import needed_files, stage
from shared.config import PORT_OFFSETS, ROOT
from shared.errors import ConfigurationError
from tests.support import running_function

EVENT = {"message": {"data": "", "messageId": "1", "attributes": {"job": "nightly", "key": "2026-11-21"}}}
RESULT = {"model": "digits", "version": "1", "instances": [[0]], "predictions": [{"digit": 3, "probabilities": [1.0]}]}
EXAMPLE = json.loads((ROOT / "model/digits/1/model.json").read_text())["example"]

# One request that needs all a function carries, and what its answer must hold.
REQUESTS = {
    "web": ("GET", "/api/status", None, lambda a: a["functions"][0]["ok"]),
    "predict": ("POST", "/v1/models/digits:predict", EXAMPLE, lambda a: "digit" in a["predictions"][0]),
    "store_result": ("POST", "/", RESULT, lambda a: len(a["id"]) == 26),
    "list_results": ("GET", "/?count=true", None, lambda a: a["total_size"] == 0),
    "nightly_transform": ("POST", "/", EVENT, lambda a: a["run"]["state"] == "success"),
}
# What must not be there: the environments really are apart.
ABSENT = {
    "web": "sqlalchemy numpy yaml",
    "predict": "tensorflow sqlalchemy pytest",
    "store_result": "ai_edge_litert numpy yaml",
}

WHERE_FROM = """
import sys, functions_framework
functions_framework.create_app(sys.argv[1], sys.argv[2])
for name, module in list(sys.modules.items()):
    if name.split(".")[0] in ("main", "shared", "model", "functions") and getattr(module, "__file__", None):
        print(module.__file__)
"""


def python_of(function):
    """The interpreter of the environment that `make test` made for one function."""
    python = ROOT / "build" / "environments" / function / "bin" / "python"
    assert python.exists(), "run these tests with `make test`, which makes each function's own environment"
    return str(python)


@pytest.mark.parametrize("function", REQUESTS)
def test_a_staged_function_answers_with_only_its_own_requirements(tmp_path, state_dir, function):
    """Staged, with what its requirements.txt names and nothing else, a function does its work."""
    source = stage(function, tmp_path / "staged") / "main.py"
    method, path, body, holds = REQUESTS[function]

    with running_function(
        function, {"STATE_DIR": str(state_dir)}, tmp_path / "log", source, python_of(function)
    ) as running:
        answer = httpx.request(method, running.url + path, json=body, timeout=30)

    assert answer.is_success, answer.text
    assert holds(answer.json()), answer.text


@pytest.mark.parametrize("function", REQUESTS)
def test_a_staged_function_loads_nothing_from_the_repository(tmp_path, function):
    """Every module of ours comes out of the staged folder."""
    staged = stage(function, tmp_path / "staged")
    command = [python_of(function), "-I", "-c", WHERE_FROM, function, str(staged / "main.py")]

    files = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.splitlines()

    assert files
    assert [file for file in files if not file.startswith(str(staged))] == []


@pytest.mark.parametrize("function", ABSENT)
def test_an_environment_holds_no_other_functions_libraries(function):
    """predict has no TensorFlow, store-result no LiteRT."""
    for name in ABSENT[function].split():
        found = subprocess.run([python_of(function), "-c", f"import {name}"], capture_output=True, check=False)
        assert found.returncode == 1, f"{name} is installed"


def test_staging_again_leaves_no_ghosts(tmp_path):
    """What is staged is exactly what is needed now: old files and byte code are gone."""
    staged = stage("list_results", tmp_path / "staged")
    (staged / "ghost.py").write_text("")

    stage("list_results", staged)

    names = {str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file()}
    assert "ghost.py" not in names
    assert {"main.py", "requirements.txt", "shared/guard.py"} <= names
    assert not any("__pycache__" in name or name.endswith(("service.yaml", ".in")) for name in names)


def test_only_what_a_function_imports_is_staged():
    """store-result carries no model code and predict no store."""
    predict = {str(path.relative_to(ROOT)) for path in needed_files("predict")}
    store = {str(path.relative_to(ROOT)) for path in needed_files("store_result")}

    assert not any(name.startswith(("shared/stores", "model/training")) for name in predict)
    assert [name for name in store if name.startswith("model/")] == ["model/digits/1/model.json"]


def test_an_unknown_function_is_named_with_those_there_are():
    """The message lists the choices."""
    with pytest.raises(ConfigurationError, match=r"predict.*got 'nonsense'"):
        needed_files("nonsense")


def test_every_function_with_a_port_is_a_folder():
    """The table of ports and the folders agree."""
    assert {path.parent.name for path in (ROOT / "functions").glob("*/main.py")} == set(PORT_OFFSETS)
