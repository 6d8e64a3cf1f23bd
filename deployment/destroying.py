"""`--destroy`: what deploy.sh made and nothing else, in the opposite order; data only where that is asked for."""

from collections.abc import Iterator

from .bindings import binding_changes, is_one_of
from .changes import Change, delete
from .names import DEAD_LETTERS, REPOSITORY
from .planning import Planner
from .present import Resource
from .resources.alerts import deleting, is_ours


def removals(planner: Planner, *, with_data: bool) -> Iterator[Change]:
    """Yield what removes an environment; its project and its APIs stay.

    Args:
        planner: Knows the project.
        with_data: The database, the bucket of payloads, the topics with what waits in them, the images, which another
            environment may run, and the key of page tokens go as well. The models' bucket never does.
    """
    names, present = planner.names, planner.present
    place = f"--region={names.environment.region}"
    yield from planner.unscheduled()
    for service in names.services:
        there = present.named_services().get(service.service)
        if there and _is_labelled(there["metadata"]):
            yield delete("function", service.service, ("run", "services", "delete", service.service, place))
    for alert in present["alerts"]:
        if is_ours(alert):
            yield delete("alert", alert["displayName"], deleting(alert))
    if with_data:
        yield from _message_removals(planner)
        yield from _data_removals(planner)
    yield from _account_removals(planner)


def _message_removals(planner: Planner) -> Iterator[Change]:
    names, present = planner.names, planner.present
    subscriptions, topics = present.named("subscriptions"), present.named("topics")
    dead = [f"{topic}-{DEAD_LETTERS}" for topic, _ in names.subscriptions()]
    for name in [service.service for _, service in names.subscriptions()] + dead:
        if _is_labelled(subscriptions.get(name, {})):
            yield delete("subscription", name, ("pubsub", "subscriptions", "delete", name))
    for name in (*names.topics, *dead):
        if _is_labelled(topics.get(name, {})):
            yield delete("topic", name, ("pubsub", "topics", "delete", name))


def _data_removals(planner: Planner) -> Iterator[Change]:
    names, present = planner.names, planner.present
    if _is_labelled(present.named("repositories").get(REPOSITORY, {})):
        where = f"--location={names.environment.region}"
        yield delete("image repository", REPOSITORY, ("artifacts", "repositories", "delete", REPOSITORY, where))
    if names.uses_firestore and names.database in present.named("databases"):
        remove = ("firestore", "databases", "delete", f"--database={names.database}")
        yield delete("Firestore database", names.database, remove)
    # One of another name, or with a prefix, holds more than is ours.
    bucket = f"{names.project}-nightshift-objects"
    if names.environment.objects_url == f"gs://{bucket}" and bucket in present.named("buckets"):
        yield delete("bucket", bucket, ("storage", "rm", "--recursive", f"gs://{bucket}"))
    if _is_labelled(present.named("secrets").get("page-token-key", {})):
        yield delete("secret", "page-token-key", ("secrets", "delete", "page-token-key"))


def _account_removals(planner: Planner) -> Iterator[Change]:
    names, present = planner.names, planner.present

    def command(verb: str) -> tuple[str, ...]:
        return ("projects", f"{verb}-iam-policy-binding", names.project, "--condition=None", "--format=none")

    owned = is_one_of(names.members)
    yield from binding_changes(f"project {names.project}", present.project_policy, (), command, owned)
    there = present.named("accounts", "email")
    for role in names.roles:
        email = names.account(role)
        if email in there:
            yield delete("service account", email.partition("@")[0], ("iam", "service-accounts", "delete", email))


def _is_labelled(resource: Resource) -> bool:
    return bool(resource.get("labels", {}).get("managed-by") == "nightshift")
