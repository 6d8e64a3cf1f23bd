"""Fixtures of the tests that call gcloud."""

import fcntl
import os
import pickle
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.rehearsing import Rehearsed, Run, copy_repository

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the time that a whole deployment may take on a slow machine."""
    for item in items:
        if _HERE in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


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


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository, which no test changes."""
    return copy_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def created(tmp_path_factory: pytest.TempPathFactory, repository: Path, gcloud_folder: Path) -> tuple[Rehearsed, Run]:
    """Return staging as one run made it out of nothing, and that run; made once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    rehearsed = Rehearsed(shared / "created", repository, gcloud_folder)
    with (shared / "created.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = shared / "created.pickle"
        if not kept.exists():
            kept.write_bytes(pickle.dumps(rehearsed.run("staging", "--yes", "--commands")))
        run: Run = pickle.loads(kept.read_bytes())
    run.expect(0)
    return rehearsed, run


@pytest.fixture
def staging(created: tuple[Rehearsed, Run], tmp_path: Path) -> Rehearsed:
    """Return a copy of it, for one test to do with as it likes."""
    return created[0].copy(tmp_path / "staging")


@pytest.fixture
def changed_repository(repository: Path, tmp_path: Path) -> Callable[[], Path]:
    """Return a maker of copies of the repository, for one test to change."""

    def make() -> Path:
        return shutil.copytree(repository, tmp_path / f"repository-{len(list(tmp_path.iterdir()))}", symlinks=True)

    return make
