"""A service account for each function, for builds, pushes and smoke tests, and what the project grants them."""

from collections.abc import Iterator

from deployment.bindings import Binding, binding_changes, is_one_of
from deployment.changes import Change, create
from deployment.gcloud import Command
from deployment.names import PREFIX, Names
from deployment.present import Present

_DATABASE_ROLES = {"read": "roles/datastore.viewer", "write": "roles/datastore.user"}
_TOKEN_CREATOR = "roles/iam.serviceAccountTokenCreator"  # noqa: S105 - a role


def account_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the accounts that are missing, and the project's grants that are missing or too many."""
    there = present.named("accounts", "email")
    for role, description in names.roles.items():
        if names.account(role) not in there:
            make: Command = ("iam", "service-accounts", "create", f"{PREFIX}{role}", f"--display-name={description}")
            yield create("service account", f"{PREFIX}{role}", make)
    policy = present.project_policy
    owned = is_one_of(names.members)

    def command(verb: str) -> Command:
        return ("projects", f"{verb}-iam-policy-binding", names.project, "--condition=None", "--format=none")

    yield from binding_changes(f"project {names.project}", policy, set(_project_bindings(names)), command, owned)


def smoke_changes(names: Names, present: Present, deployer: str) -> Iterator[Change]:
    """Yield the grant that lets whoever deploys ask as the account of the smoke tests.

    Args:
        names: Of the environment.
        present: The project.
        deployer: The e-mail of the account that gcloud is signed in with.
    """
    email = names.account("smoke")
    kind = "serviceAccount" if deployer.endswith(".gserviceaccount.com") else "user"
    url = f"https://iam.googleapis.com/v1/projects/{names.project}/serviceAccounts/{email}:getIamPolicy"
    policy = present.policy(url, "POST") if email in present.named("accounts", "email") else {}

    def command(verb: str) -> Command:
        return ("iam", "service-accounts", f"{verb}-iam-policy-binding", email, "--format=none")

    wanted = {(_TOKEN_CREATOR, f"{kind}:{deployer}")}
    yield from binding_changes("service account smoke", policy, wanted, command, lambda _: False)


def _project_bindings(names: Names) -> Iterator[Binding]:
    yield "roles/run.builder", names.member("build")
    for service in names.services:
        member = names.member(service.service)
        if names.uses_firestore and service.database != "none":
            yield _DATABASE_ROLES[service.database], member
        if names.environment.cloud_sql_instance and service.database != "none":
            yield "roles/cloudsql.client", member
