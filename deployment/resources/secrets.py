"""The secrets of the functions: made once, never shown, read by whoever needs them."""

import secrets as random_secrets
from collections.abc import Iterator

from deployment.bindings import binding_changes, is_one_of
from deployment.changes import Change, Secret, create
from deployment.gcloud import Command
from deployment.names import LABEL, Names
from deployment.present import Present
from deployment.rest import RestError
from shared.errors import ConfigurationError

_ACCESSOR = "roles/secretmanager.secretAccessor"
_MADE_HERE = {"page-token-key"}
_SECRETS = "https://secretmanager.googleapis.com/v1"
_KEY_BYTES = 32


def secret_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the secrets that are missing and can be made, and the grants on all.

    Raises:
        ConfigurationError: One that only its owner knows is not there.
    """
    there, readers = present.named("secrets"), _readers(names)
    if lacking := sorted(readers.keys() - there.keys() - _MADE_HERE):
        raise ConfigurationError(
            [
                f"secret {name}: expected in Secret Manager of {names.project}; make it, typing the value: "
                f"gcloud secrets create {name} --project={names.project} --data-file=-"
                for name in lacking
            ]
        )
    for name, members in readers.items():
        secret = f"{_SECRETS}/projects/{names.project}/secrets/{name}"
        value = Secret(("secrets", "versions", "add", name, "--data-file=-"), _made_value)
        if name not in there:
            make: Command = ("secrets", "create", name, "--replication-policy=automatic", LABEL)
            yield create("secret", name, make, value)
        elif name in _MADE_HERE and not _has_value(present, secret):
            yield create("secret", f"{name}, its value", value)
        policy = present.policy(f"{secret}:getIamPolicy") if name in there else {}

        def command(verb: str, name: str = name) -> Command:
            return ("secrets", f"{verb}-iam-policy-binding", name, "--format=none")

        owned = is_one_of(names.members)
        wanted = {(_ACCESSOR, member) for member in members}
        yield from binding_changes(f"secret {name}", policy, wanted, command, owned)


def _made_value() -> str:
    return random_secrets.token_urlsafe(_KEY_BYTES)


def _has_value(present: Present, secret: str) -> bool:
    """Say whether a secret has a value; it has none if making it was interrupted."""
    try:
        return present.rest.get(f"{secret}/versions/latest").get("state") == "ENABLED"
    except RestError as error:
        if error.status_code == 404:
            return False
        raise


def _readers(names: Names) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for service in names.services:
        for name in names.secrets(service).values():
            found.setdefault(name, set()).add(names.member(service.service))
    return found
