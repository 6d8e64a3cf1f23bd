"""Fixtures of the tests that call gcloud."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_LAST_LINE = '"${CLOUDSDK_ROOT_DIR}/lib/gcloud.py"'


@contextmanager
def fast_gcloud(launcher: Path) -> Iterator[Path]:
    """Run the SDK's code without its start-up while the block runs.

    Args:
        launcher: The SDK's own `gcloud`.

    Yields:
        The folder with a `gcloud` in it, to be put first on PATH.
    """
    launcher = launcher.resolve()
    text = launcher.read_text("utf-8")
    assert text.count(_LAST_LINE) == 1, f"{launcher} does not end by running lib/gcloud.py"
    with tempfile.TemporaryDirectory(prefix="gcloud-") as scratch:
        folder = Path(scratch)
        (folder / "launcher").symlink_to(launcher)
        environment = {"PATH": os.environ["PATH"], "HOME": scratch, "CLOUDSDK_CONFIG": f"{scratch}/settings"}
        server = subprocess.Popen(
            ["/bin/sh", "-c", text.replace(_LAST_LINE, f'"{_HERE / "gcloud_server.py"}"'), str(launcher), scratch],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with server:
            python = server.stdout.readline().decode().strip()
            assert python, "gcloud_server.py did not start"
            (folder / "bin").mkdir()
            shim = folder / "bin" / "gcloud"
            shim.write_text(f"#!{python} -IS\n{(_HERE / 'fast_gcloud.py').read_text('utf-8')}", "utf-8")
            shim.chmod(0o755)
            yield shim.parent
            server.communicate()


@pytest.fixture(scope="session")
def launcher() -> Path:
    """Return the SDK's own gcloud."""
    found = shutil.which("gcloud")
    if not found:
        pytest.skip("NOT TESTED: what deploying asks of gcloud: the Google Cloud CLI is not installed")
    return Path(found)


@pytest.fixture(scope="session")
def gcloud_folder(launcher: Path) -> Iterator[Path]:
    """Return the folder to put first on PATH: its `gcloud` is the SDK's code, already started."""
    with fast_gcloud(launcher) as folder:
        yield folder
