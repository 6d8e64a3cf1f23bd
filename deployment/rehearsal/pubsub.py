"""Pub/Sub: topics and subscriptions with their policies; messages are not rehearsed here."""

from .bodies import between, masked, only, seconds
from .pubsub_names import SERVICE, check_name, topic_name
from .pubsub_subscriptions import Subscriptions
from .wire import Api, Request, api, route
from .world import Resource, World, policy_handlers

_KNOWN = {"name", "labels", "messageRetentionDuration", "messageStoragePolicy", "kmsKeyName", "schemaSettings"}
_MUTABLE = {"labels", "messageRetentionDuration", "messageStoragePolicy"}


def pubsub_api(world: World) -> Api:
    """Return the API."""
    topics, subscriptions = _Topics(world), Subscriptions(world)
    topic, subscription = "/v1/projects/{project}/topics/{topic}", "/v1/projects/{project}/subscriptions/{subscription}"
    topic_read, topic_write = policy_handlers(world, topics.name_of)
    read, write = policy_handlers(world, subscriptions.name_of)
    return api(
        SERVICE,
        route("GET", "/v1/projects/{project}/topics", topics.list_all),
        route("PUT", topic, topics.create),
        route("GET", topic, topics.get),
        route("PATCH", topic, topics.update),
        route("DELETE", topic, topics.delete),
        route("GET", topic + "/subscriptions", topics.subscriptions),
        route("GET", topic + ":getIamPolicy", topic_read),
        route("POST", topic + ":setIamPolicy", topic_write),
        route("GET", "/v1/projects/{project}/subscriptions", subscriptions.list_all),
        route("PUT", subscription, subscriptions.create),
        route("GET", subscription, subscriptions.get),
        route("PATCH", subscription, subscriptions.update),
        route("POST", subscription + ":modifyPushConfig", subscriptions.modify_push_config),
        route("DELETE", subscription, subscriptions.delete),
        route("GET", subscription + ":getIamPolicy", read),
        route("POST", subscription + ":setIamPolicy", write),
    )


class _Topics:
    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        found = self._world.below(f"//{SERVICE}/projects/{self._project(request)}/topics/")
        return {"topics": found} if found else {}

    def create(self, request: Request) -> Resource:
        check_name(request.parts["topic"])
        body = _checked(only(request.json, _KNOWN))
        name = self.name_of(request)
        return self._world.create(name, {**body, "name": name.removeprefix(f"//{SERVICE}/")})

    def get(self, request: Request) -> Resource:
        return self._world.get(self.name_of(request))

    def update(self, request: Request) -> Resource:
        body = only(request.json, {"topic", "updateMask"})
        changed = masked(self.get(request), body.get("topic", {}), body.get("updateMask", ""), _MUTABLE)
        self._world.resources[self.name_of(request)] = _checked(changed)
        return changed

    def delete(self, request: Request) -> Resource:
        """Forget a topic; its subscriptions stay, on a topic that is no more."""
        gone = self._world.delete(self.name_of(request))
        for subscription in self._attached(gone["name"]):
            subscription["topic"] = "_deleted-topic_"
        return {}

    def subscriptions(self, request: Request) -> Resource:
        return {"subscriptions": [one["name"] for one in self._attached(self.get(request)["name"])]}

    def name_of(self, request: Request) -> str:
        return topic_name(self._world, f"projects/{self._project(request)}/topics/{request.parts['topic']}")

    def _attached(self, topic: str) -> list[Resource]:
        every = [r for n, r in sorted(self._world.resources.items()) if n.startswith(f"//{SERVICE}/")]
        return [one for one in every if one.get("topic") == topic]

    def _project(self, request: Request) -> str:
        return self._world.project_id(request.parts["project"])


def _checked(topic: Resource) -> Resource:
    if "messageRetentionDuration" in topic:
        kept = seconds(topic["messageRetentionDuration"], "message_retention_duration")
        between(kept, 600, 31 * 86400, "message_retention_duration")
    return topic
