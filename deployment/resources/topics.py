"""Topics, their dead letters, and who may publish to them."""

from collections.abc import Iterator, Set

from deployment.bindings import Binding, binding_changes, is_one_of, short
from deployment.changes import Change, create
from deployment.gcloud import Command
from deployment.names import DEAD_LETTERS, LABEL, Names
from deployment.present import Present

# As long as Pub/Sub keeps anything.
_KEPT = "--message-retention-duration=31d"
_PUBSUB = "https://pubsub.googleapis.com/v1/projects"


def topic_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the topics that are missing, each with one for its dead letters that keeps them, and the grants."""
    there, subscriptions = present.named("topics"), present.named("subscriptions")
    pushed = {topic for topic, _ in names.subscriptions()}
    for topic in names.topics:
        if topic not in there:
            make: Command = ("pubsub", "topics", "create", topic, "--message-retention-duration=7d", LABEL)
            yield create("topic", topic, make)
        publishers = {
            ("roles/pubsub.publisher", names.member(s.service)) for s in names.services if topic in s.publishes
        }
        yield from _grants(names, present, topic, publishers)
        if topic in pushed:
            yield from _dead_letter_changes(
                names, present, f"{topic}-{DEAD_LETTERS}", there.keys(), subscriptions.keys()
            )


def _dead_letter_changes(
    names: Names, present: Present, dead: str, topics: Set[str], held: Set[str]
) -> Iterator[Change]:
    if dead not in topics:
        yield create("topic", dead, ("pubsub", "topics", "create", dead, LABEL))
    # Pub/Sub drops what a topic without a subscription gets.
    if dead not in held:
        make = ("pubsub", "subscriptions", "create", dead, f"--topic={dead}", "--expiration-period=never", _KEPT)
        yield create("subscription", dead, (*make, "--ack-deadline=60", LABEL))
    grants = list(_grants(names, present, dead, {("roles/pubsub.publisher", names.pubsub_agent)}))
    if any(grant.kind == "create" for grant in grants):
        # Dead letters are moved by this account, which may never have done anything yet, and then there is none.
        identity = ("beta", "services", "identity", "create", "--service=pubsub.googleapis.com")
        yield create("Pub/Sub's own account", short(names.pubsub_agent), identity)
    yield from grants


def _grants(names: Names, present: Present, topic: str, wanted: set[Binding]) -> Iterator[Change]:
    url = f"{_PUBSUB}/{names.project}/topics/{topic}:getIamPolicy"
    policy = present.policy(url) if topic in present.named("topics") else {}

    def command(verb: str) -> Command:
        return ("pubsub", "topics", f"{verb}-iam-policy-binding", topic, "--format=none")

    yield from binding_changes(f"topic {topic}", policy, wanted, command, is_one_of(names.members))
