"""Every function, served alone by functions-framework from any folder, answers its health check."""

import httpx
import pytest

from shared.config import PORT_OFFSETS


@pytest.mark.parametrize("function", PORT_OFFSETS)
def test_each_function_runs_alone_from_any_directory(serve, function):
    """functions-framework --source functions/<fn>/main.py needs no PYTHONPATH and no working directory."""
    running = serve(function)

    answer = httpx.get(f"{running.url}/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "environment": "local", "revision": "local"})
