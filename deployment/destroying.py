"""`--destroy`: everything that deploy.sh made, in the opposite order; data only where that is asked for."""

from collections.abc import Iterator

from .bindings import binding_changes, is_account_of
from .changes import Change, delete
from .names import DEAD_LETTERS, PREFIX, REPOSITORY
from .planning import Planner
from .resources.alerts import deleting, is_ours


def removals(planner: Planner, *, with_data: bool) -> Iterator[Change]:
    """Yield what removes an environment; its project and its APIs stay, and so do results unless they are asked for.

    Args:
        planner: Knows the project.
        with_data: The database, the buckets that we made, and the secrets go as well.
    """
    names, present = planner.names, planner.present
    place = f"--region={names.environment.region}"
    yield from planner.unscheduled()
    subscriptions, topics = present.named("subscriptions"), present.named("topics")
    dead = [f"{topic}-{DEAD_LETTERS}" for topic, _ in names.subscriptions()]
    for name in [service.service for _, service in names.subscriptions()] + dead:
        if name in subscriptions:
            yield delete("subscription", name, ("pubsub", "subscriptions", "delete", name))
    for name in (*names.topics, *dead):
        if name in topics:
            yield delete("topic", name, ("pubsub", "topics", "delete", name))
    for service in names.services:
        if service.service in present.named_services():
            yield delete("function", service.service, ("run", "services", "delete", service.service, place))
    for alert in present["alerts"]:
        if is_ours(alert):
            yield delete("alert", alert["displayName"], deleting(alert))
    if REPOSITORY in present.named("repositories"):
        where = f"--location={names.environment.region}"
        yield delete("image repository", REPOSITORY, ("artifacts", "repositories", "delete", REPOSITORY, where))
    if with_data:
        yield from _data_removals(planner)
    yield from _account_removals(planner)


def _data_removals(planner: Planner) -> Iterator[Change]:
    names, present = planner.names, planner.present
    if names.uses_firestore and names.database in present.named("databases"):
        remove = ("firestore", "databases", "delete", f"--database={names.database}")
        yield delete("Firestore database", names.database, remove)
    for bucket in set(names.buckets().values()) & present.named("buckets").keys():
        yield delete("bucket", bucket, ("storage", "rm", "--recursive", f"gs://{bucket}"))
    if "page-token-key" in present.named("secrets"):
        yield delete("secret", "page-token-key", ("secrets", "delete", "page-token-key"))


def _account_removals(planner: Planner) -> Iterator[Change]:
    names, present = planner.names, planner.present

    def command(verb: str) -> tuple[str, ...]:
        return ("projects", f"{verb}-iam-policy-binding", names.project, "--condition=None", "--format=none")

    owned = is_account_of(names.project, PREFIX)
    yield from binding_changes(f"project {names.project}", present.project_policy, (), command, owned)
    for email in sorted(present.named("accounts", "email")):
        if email.startswith(PREFIX):
            yield delete("service account", email.partition("@")[0], ("iam", "service-accounts", "delete", email))
