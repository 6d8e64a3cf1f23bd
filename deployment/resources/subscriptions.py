"""The push subscriptions: a topic's messages to a function, with an ID token, again and again, then kept apart."""

from collections.abc import Iterator

from deployment.bindings import binding_changes
from deployment.changes import Change, change, create
from deployment.gcloud import Command
from deployment.names import DEAD_LETTERS, LABEL, Names
from deployment.present import Present, Resource
from deployment.service_files import Service

_PUBSUB = "https://pubsub.googleapis.com/v1/projects"
_ACK_SECONDS = 600
_LEAST_BACKOFF_SECONDS = 10
_MOST_BACKOFF_SECONDS = 600
_MOST_ATTEMPTS = 20


def subscription_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the push subscriptions that are missing or differ, and Pub/Sub's right to take dead letters from them."""
    there = present.named("subscriptions")
    for topic, service in names.subscriptions():
        name = service.service
        yield from _subscription_changes(names, topic, service, there.get(name))
        url = f"{_PUBSUB}/{names.project}/subscriptions/{name}:getIamPolicy"

        def command(verb: str, name: str = name) -> Command:
            return ("pubsub", "subscriptions", f"{verb}-iam-policy-binding", name, "--format=none")

        policy = present.policy(url) if name in there else {}
        wanted = {("roles/pubsub.subscriber", names.pubsub_agent)}
        yield from binding_changes(f"subscription {name}", policy, wanted, command, lambda _: False)


def _subscription_changes(names: Names, topic: str, service: Service, there: Resource | None) -> Iterator[Change]:
    what, settings = f"subscription {service.service}", _settings(names, topic, service)
    if there is None:
        make = ("pubsub", "subscriptions", "create", service.service, f"--topic={topic}", *_flags(settings), LABEL)
        yield create(what, f"{topic} to {settings['push-endpoint']}", make)
        return
    if there["topic"].rpartition("/")[2] != topic:
        # A topic that was deleted takes its subscriptions with it, whatever is made in its name later.
        remove: Command = ("pubsub", "subscriptions", "delete", service.service)
        make = ("pubsub", "subscriptions", "create", service.service, f"--topic={topic}", *_flags(settings), LABEL)
        yield change(what, there["topic"], f"{topic} to {settings['push-endpoint']}", remove, make)
        return
    present = _present_settings(there)
    differing = [name for name in settings if settings[name] != present[name]]
    if differing:
        alter = ("pubsub", "subscriptions", "update", service.service, *_flags(settings))
        yield change(
            what,
            ", ".join(f"{name} {present[name]}" for name in differing),
            ", ".join(f"{name} {settings[name]}" for name in differing),
            alter,
        )


def _settings(names: Names, topic: str, service: Service) -> dict[str, str]:
    url = names.url(service.service)
    return {
        "push-endpoint": f"{url}/",
        "push-auth-service-account": names.account("push"),
        "push-auth-token-audience": url,
        "ack-deadline": f"{_ACK_SECONDS}",
        "min-retry-delay": f"{_LEAST_BACKOFF_SECONDS}s",
        "max-retry-delay": f"{_MOST_BACKOFF_SECONDS}s",
        "dead-letter-topic": f"projects/{names.project}/topics/{topic}-{DEAD_LETTERS}",
        "max-delivery-attempts": f"{_MOST_ATTEMPTS}",
        "expiration-period": "never",
        "message-retention-duration": "7d",
    }


def _flags(settings: dict[str, str]) -> Iterator[str]:
    return (f"--{name}={value}" for name, value in settings.items())


def _present_settings(there: Resource) -> dict[str, str]:
    """Return a subscription in the words of gcloud's flags."""
    push, letters = there.get("pushConfig", {}), there.get("deadLetterPolicy", {})
    token, backoff = push.get("oidcToken", {}), there.get("retryPolicy", {})
    kept = int(str(there.get("messageRetentionDuration", "0s")).rstrip("s").partition(".")[0])
    return {
        "push-endpoint": push.get("pushEndpoint", "none"),
        "push-auth-service-account": token.get("serviceAccountEmail", "none"),
        "push-auth-token-audience": token.get("audience", "none"),
        "ack-deadline": str(there.get("ackDeadlineSeconds", 10)),
        "min-retry-delay": backoff.get("minimumBackoff", "none"),
        "max-retry-delay": backoff.get("maximumBackoff", "none"),
        "dead-letter-topic": letters.get("deadLetterTopic", "none"),
        "max-delivery-attempts": str(letters.get("maxDeliveryAttempts", 5)),
        "expiration-period": there.get("expirationPolicy", {"ttl": "default"}).get("ttl", "never"),
        "message-retention-duration": f"{kept // 86400}d",
    }
