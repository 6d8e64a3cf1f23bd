"""A deployed environment as the commands reach it: where its nightly-transform is, and who asks; gcloud knows both."""

import re
import subprocess
import threading
import time

from deployment.environment import Environment, read_environment
from shared.config import ROOT, child_environment
from shared.errors import ConfigurationError, ServiceError
from shared.lazy import Once

ENVIRONMENTS = ROOT / "environments"
_SERVICE = "nightly-transform"
_GCLOUD_SECONDS = 120
# A token is good for an hour, and a backfill may be watched for longer.
_TOKEN_SECONDS = 1800.0
_SHOWN_CHARS = 400


class Deployed:
    """nightly-transform in one environment.

    Args:
        environment: Its project and region are what is asked.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._found = Once(self._find)
        self._lock = threading.Lock()
        self._token, self._expires = "", 0.0

    @property
    def name(self) -> str:
        """The environment's name."""
        return self._environment.name

    @property
    def project_id(self) -> str:
        """The project it is in."""
        return self._environment.project_id

    @property
    def region(self) -> str:
        """The region it is in, and the schedules beside it."""
        return self._environment.region

    @property
    def url(self) -> str:
        """Where it answers.

        Raises:
            ServiceError: gcloud knows no such service there, or may not tell.
        """
        return self._found()

    def token(self) -> str:
        """Return an ID token of the account that gcloud is signed in with.

        Raises:
            ServiceError: gcloud is signed in with none.
        """
        with self._lock:
            if time.monotonic() >= self._expires:
                self._token = self._identity_token()
                self._expires = time.monotonic() + _TOKEN_SECONDS
            return self._token

    def _find(self) -> str:
        where = [f"--region={self.region}", f"--project={self.project_id}"]
        url = gcloud(["run", "services", "describe", _SERVICE, *where, "--format=value(status.url)"])
        if not re.fullmatch(r"https?://[^/\s]+", url):
            raise ServiceError(
                f"{_SERVICE} has no URL in {self.project_id} yet: has ./deploy.sh {self.name} ended well?"
            )
        return url

    def _identity_token(self) -> str:
        command = ["auth", "print-identity-token"]
        try:
            return gcloud([*command, f"--audiences={self.url}"])
        except ServiceError as error:
            # Only service accounts can say for whom a token is; Cloud Run takes a person's without.
            if "Invalid account type for `--audiences`" not in error.message:
                raise
        return gcloud(command)


def read_deployed(name: str) -> Deployed:
    """Return nightly-transform as environments/<name>.env has it; gcloud is asked once something is needed.

    Raises:
        ConfigurationError: There is no such environment, or its file is wrong.
    """
    return Deployed(read_environment(name, ENVIRONMENTS))


def gcloud(arguments: list[str]) -> str:
    """Return what gcloud prints.

    Raises:
        ConfigurationError: There is no gcloud.
        ServiceError: It failed; the message is its own.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and every argument has been checked
            ["gcloud", *arguments],  # noqa: S607 - wherever the operator has it
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            env=child_environment({"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}),
            stdin=subprocess.DEVNULL,
            timeout=_GCLOUD_SECONDS,
        )
    except FileNotFoundError:
        raise ConfigurationError(
            ["gcloud: expected Google Cloud's command line, which --env asks; it is not there"]
        ) from None
    except subprocess.TimeoutExpired:
        raise ServiceError(f"gcloud {arguments[0]} {arguments[1]} did not end within {_GCLOUD_SECONDS} s") from None
    if done.returncode:
        said = " ".join(done.stderr[max(done.stderr.find("ERROR:"), 0) :].split())
        raise ServiceError(f"gcloud {arguments[0]} {arguments[1]} failed: {said[:_SHOWN_CHARS] or done.returncode}")
    return done.stdout.strip()
