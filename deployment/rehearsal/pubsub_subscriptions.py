"""Pub/Sub's subscriptions, and the grants without which dead letters are silently not delivered."""

from urllib.parse import urlsplit

from .bodies import between, masked, only, seconds
from .pubsub_names import SERVICE, check_name, topic_name
from .wire import Request, invalid, precondition
from .world import Resource, World

_MUTABLE = {
    *("pushConfig", "ackDeadlineSeconds", "messageRetentionDuration", "retainAckedMessages", "labels"),
    *("expirationPolicy", "deadLetterPolicy", "retryPolicy"),
}
_KNOWN = {*_MUTABLE, "name", "topic", "filter", "enableMessageOrdering", "enableExactlyOnceDelivery"}
_DEFAULTS = {
    "pushConfig": {},
    "ackDeadlineSeconds": 10,
    "messageRetentionDuration": "604800s",
    "expirationPolicy": {"ttl": "2678400s"},
}
_PUBLISHERS = ("roles/pubsub.publisher", "roles/pubsub.editor", "roles/pubsub.admin")
_SUBSCRIBERS = ("roles/pubsub.subscriber", "roles/pubsub.editor", "roles/pubsub.admin")


class Subscriptions:
    """Answers for the subscriptions of every project."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        project = self._world.project_id(request.parts["project"])
        found = self._world.below(f"//{SERVICE}/projects/{project}/subscriptions/")
        return {"subscriptions": found} if found else {}

    def create(self, request: Request) -> Resource:
        check_name(request.parts["subscription"])
        body = only(request.json, _KNOWN)
        name = self.name_of(request)
        topic = self._world.get(topic_name(self._world, body.get("topic", "")))
        made = {**_DEFAULTS, **body, "topic": topic["name"], "name": name.removeprefix(f"//{SERVICE}/")}
        return self._world.create(name, {**self._checked(made), "state": "ACTIVE"})

    def get(self, request: Request) -> Resource:
        return self._world.get(self.name_of(request))

    def update(self, request: Request) -> Resource:
        body = only(request.json, {"subscription", "updateMask"})
        return self._change(request, body.get("subscription", {}), body.get("updateMask", ""))

    def modify_push_config(self, request: Request) -> Resource:
        self._change(request, only(request.json, {"pushConfig"}), "pushConfig")
        return {}

    def delete(self, request: Request) -> Resource:
        self._world.delete(self.name_of(request))
        return {}

    def name_of(self, request: Request) -> str:
        project = self._world.project_id(request.parts["project"])
        return f"//{SERVICE}/projects/{project}/subscriptions/{request.parts['subscription']}"

    def _change(self, request: Request, change: Resource, mask: str) -> Resource:
        changed = self._checked({**_DEFAULTS, **masked(self.get(request), only(change, _KNOWN), mask, _MUTABLE)})
        self._world.resources[self.name_of(request)] = changed
        return changed

    def _checked(self, subscription: Resource) -> Resource:
        between(subscription["ackDeadlineSeconds"], 10, 600, "ack_deadline_seconds")
        kept = seconds(subscription["messageRetentionDuration"], "message_retention_duration")
        between(kept, 600, 31 * 86400, "message_retention_duration")
        if ttl := subscription["expirationPolicy"].get("ttl"):
            between(seconds(ttl, "expiration_policy.ttl"), 86400, float("inf"), "expiration_policy.ttl")
        self._check_push(subscription["pushConfig"])
        checked = dict(subscription)
        if "retryPolicy" in subscription:
            checked["retryPolicy"] = _checked_backoff(subscription["retryPolicy"])
        if letters := subscription.get("deadLetterPolicy"):
            checked["deadLetterPolicy"] = self._checked_letters(letters)
        return checked

    def _check_push(self, push: Resource) -> None:
        only(push, {"pushEndpoint", "oidcToken", "attributes", "noWrapper", "pubsubWrapper"})
        url = urlsplit(push.get("pushEndpoint", "https://unused"))
        if url.scheme != "https" or not url.hostname:
            raise invalid(f"Invalid push endpoint given (endpoint={push['pushEndpoint']}); expected an HTTPS URL.")
        token = only(push.get("oidcToken", {}), {"serviceAccountEmail", "audience"})
        if token and "pushEndpoint" not in push:
            raise invalid("A push authentication token needs a push endpoint.")
        if token:
            email = token.get("serviceAccountEmail", "")
            project = email.partition("@")[2].partition(".")[0]
            if not self._world.find(f"//iam.googleapis.com/projects/{project}/serviceAccounts/{email}"):
                raise invalid(f"Service account {email} of the push authentication token does not exist.")

    def _checked_letters(self, letters: Resource) -> Resource:
        only(letters, {"deadLetterTopic", "maxDeliveryAttempts"})
        attempts = letters.get("maxDeliveryAttempts", 5)
        between(attempts, 5, 100, "dead_letter_policy.max_delivery_attempts")
        topic = topic_name(self._world, letters.get("deadLetterTopic", ""))
        short = self._world.get(topic)["name"]
        project = short.split("/")[1]
        if not _has_one(self._world, project, topic, _PUBLISHERS):
            raise precondition(f"{_agent(self._world, project)} needs roles/pubsub.publisher on {short} first.")
        return {"deadLetterTopic": short, "maxDeliveryAttempts": attempts}


def dead_letter_problems(world: World, project: str) -> list[str]:
    """Return the subscriptions of a project whose dead letters Pub/Sub could not deliver.

    Returns:
        One line each, naming the role that its agent lacks and on what; empty where both grants are there for all.
    """
    problems = []
    for subscription in world.below(f"//{SERVICE}/projects/{project}/subscriptions/"):
        if letters := subscription.get("deadLetterPolicy"):
            for short, roles in ((subscription["name"], _SUBSCRIBERS), (letters["deadLetterTopic"], _PUBLISHERS)):
                if not _has_one(world, project, f"//{SERVICE}/{short}", roles):
                    problems.append(f"{subscription['name']}: {_agent(world, project)} lacks {roles[0]} on {short}")
    return problems


def _has_one(world: World, project: str, name: str, roles: tuple[str, ...]) -> bool:
    names = (name, f"//cloudresourcemanager.googleapis.com/projects/{project}")
    return any(world.has_role(one, role, _agent(world, project)) for one in names for role in roles)


def _agent(world: World, project: str) -> str:
    return f"serviceAccount:service-{world.project_number(project)}@gcp-sa-pubsub.iam.gserviceaccount.com"


def _checked_backoff(retry: Resource) -> Resource:
    only(retry, {"minimumBackoff", "maximumBackoff"})
    checked = {"minimumBackoff": "10s", "maximumBackoff": "600s", **retry}
    high = seconds(checked["maximumBackoff"], "retry_policy.maximum_backoff")
    between(high, 0, 600, "retry_policy.maximum_backoff")
    between(seconds(checked["minimumBackoff"], "retry_policy.minimum_backoff"), 0, high, "retry_policy.minimum_backoff")
    return checked
