"""The revisions that run: each really started from its archive on first need, and ended with the rehearsal."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from functions._local.emulators import firestore_command, free_port, started_emulator
from shared.config import child_environment

from .account_access import has_role
from .metadata import MetadataServer
from .pubsub_delivery import Messages
from .revisions_environment import UnusableError, variables_of
from .revisions_process import Instance, launch, wait_until_started
from .run_names import Place
from .world import World

_MOST_RUNNING = 6
_KEPT_VARIABLES = ("PATH", "HOME", "LANG")
_FIRESTORE_ROLES = ("roles/datastore.user", "roles/datastore.viewer", "roles/datastore.owner")


class Revisions:
    """The running revisions of a rehearsal.

    Args:
        world: Where revisions, images and secrets are.
        messages: Take what the functions publish.

    Attributes:
        closed: The rehearsal is over.
    """

    def __init__(self, world: World, messages: Messages) -> None:
        self._world, self._messages = world, messages
        self._instances: dict[str, Instance] = {}
        self._starting: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._outside: dict[str, str] = {}
        self._emulators = ExitStack()
        self._firestore_host: str | None = None
        self._firestore_lock = threading.Lock()
        self.closed = False

    def reach(self, outside: Mapping[str, str]) -> None:
        """Set the variables by which processes reach the rehearsed cloud."""
        self._outside = dict(outside)

    def start(self, place: Place, revision: dict[str, Any]) -> None:
        """Have a revision run and pass its startup probe.

        Raises:
            UnusableError: It does not.
        """
        with self.serving(place, revision):
            pass

    @contextmanager
    def serving(self, place: Place, revision: dict[str, Any]) -> Iterator[int]:
        """Have a revision run at least as long as the block does, and give its port.

        Raises:
            UnusableError: It cannot be started.
        """
        name = place.revision(revision["metadata"]["name"])
        with self._lock:
            starting = self._starting.setdefault(name, threading.Lock())
        with starting:
            instance = self._instances.get(name)
            if instance is None or instance.process.poll() is not None:
                instance = self._start(place, revision)
            with self._lock:
                self._instances[name] = instance
                instance.requests += 1
        self._end_idle()
        try:
            yield instance.port
        finally:
            with self._lock:
                instance.requests -= 1
                instance.used = time.monotonic()

    def end(self, place: Place, name: str) -> None:
        """End a revision that is no more."""
        instance = self._instances.pop(place.revision(name), None)
        if instance:
            instance.end()

    def close(self) -> None:
        """End everything, also what is just starting."""
        self.closed = True
        for starting in list(self._starting.values()):
            with starting:
                pass
        for name in list(self._instances):
            self._instances.pop(name).end()
        self._emulators.close()

    def _start(self, place: Place, revision: dict[str, Any]) -> Instance:
        if self.closed:
            raise UnusableError("the rehearsal is over")
        with self._world.lock:
            variables = variables_of(self._world, place, revision)
            contents = self._contents(revision)
        surroundings, port = ExitStack(), free_port()
        own = self._own_variables(place, revision, surroundings)
        if any(value.startswith("firestore://") for value in variables.values()):
            own["FIRESTORE_EMULATOR_HOST"] = self._firestore(place, revision["spec"]["serviceAccountName"])
        kept = {name: value for name, value in child_environment({}).items() if name in _KEPT_VARIABLES}
        environment = {**kept, **self._outside, **variables, **own, "PORT": str(port)}
        environment["FUNCTION_TARGET"] = contents["target"]
        folder = self._world.folder / "builds" / contents["digest"].removeprefix("sha256:")
        log_path = self._world.folder / "logs" / f"{revision['metadata']['name']}.log"
        instance = launch(contents, folder, environment, port, log_path, surroundings)
        try:
            wait_until_started(instance, revision["spec"]["containers"][0], lambda: self.closed)
        except UnusableError:
            instance.end()
            raise
        return instance

    def _own_variables(self, place: Place, revision: dict[str, Any], surroundings: ExitStack) -> dict[str, str]:
        """Return the variables that Cloud Run sets, and those by which Google's libraries find their credentials."""
        account = revision["spec"]["serviceAccountName"]
        metadata = MetadataServer(self._world, place, account)
        surroundings.callback(metadata.close)
        labels = revision["metadata"]["labels"]
        return {
            "K_SERVICE": labels["serving.knative.dev/service"],
            "K_REVISION": revision["metadata"]["name"],
            "K_CONFIGURATION": labels["serving.knative.dev/configuration"],
            "GCE_METADATA_HOST": metadata.host,
            "GCE_METADATA_IP": metadata.host,
            "PUBSUB_EMULATOR_HOST": self._messages.publisher(place, account, surroundings),
        }

    def _contents(self, revision: dict[str, Any]) -> dict[str, str]:
        version = self._world.resources.get(revision["rehearsal"]["version"])
        if version is None:
            raise UnusableError(f"Image '{revision['spec']['containers'][0]['image']}' not found.")
        return dict(version["rehearsal"])

    def _firestore(self, place: Place, account: str) -> str:
        """Return the emulator's host; one that nothing listens on where the account may not ask the database."""
        database = f"//firestore.googleapis.com/projects/{place.project}/databases/(default)"
        with self._world.lock:
            allowed = any(has_role(self._world, database, r, f"serviceAccount:{account}") for r in _FIRESTORE_ROLES)
            there = self._world.find(database) is not None
        if not allowed or not there:
            return f"127.0.0.1:{free_port()}"
        with self._firestore_lock:
            if self._firestore_host is None:
                log_path = self._world.folder / "logs" / "firestore.log"
                started = started_emulator("the Firestore emulator", firestore_command, log_path)
                self._firestore_host = self._emulators.enter_context(started).wait_until_listening()
            return self._firestore_host

    def _end_idle(self) -> None:
        """End what was used longest ago, where more run than this machine has room for; Cloud Run does so too."""
        with self._lock:
            idle = sorted((i.used, name) for name, i in self._instances.items() if not i.requests)
            ended = [self._instances.pop(name) for _, name in idle[: max(0, len(self._instances) - _MOST_RUNNING)]]
        for instance in ended:
            instance.end()
