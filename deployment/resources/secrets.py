"""The secrets of the functions: made once, never shown, read by whoever needs them."""

import secrets as random_secrets
from collections.abc import Iterator

from deployment.bindings import binding_changes, is_account_of
from deployment.changes import Change, Secret, create
from deployment.gcloud import Command
from deployment.names import PREFIX, Names
from deployment.present import Present
from shared.errors import ConfigurationError

_ACCESSOR = "roles/secretmanager.secretAccessor"
_MADE_HERE = {"page-token-key"}
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
        if name not in there:
            make: Command = ("secrets", "create", name, "--replication-policy=automatic", "--data-file=-")
            yield create("secret", name, Secret(make, lambda: random_secrets.token_urlsafe(_KEY_BYTES)))
        url = f"https://secretmanager.googleapis.com/v1/projects/{names.project}/secrets/{name}:getIamPolicy"
        policy = present.policy(url) if name in there else {}

        def command(verb: str, name: str = name) -> Command:
            return ("secrets", f"{verb}-iam-policy-binding", name, "--format=none")

        owned = is_account_of(names.project, PREFIX)
        wanted = {(_ACCESSOR, member) for member in members}
        yield from binding_changes(f"secret {name}", policy, wanted, command, owned)


def _readers(names: Names) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for service in names.services:
        for name in names.secrets(service).values():
            found.setdefault(name, set()).add(names.member(service.service))
    return found
