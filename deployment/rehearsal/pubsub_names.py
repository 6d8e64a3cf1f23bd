"""Names of Pub/Sub's resources."""

import re

from .wire import invalid
from .world import World

SERVICE = "pubsub.googleapis.com"


def check_name(name: str) -> None:
    """Let the last part of a topic's or subscription's name pass.

    Raises:
        ApiError: 400; Pub/Sub does not take it.
    """
    if not re.fullmatch(r"[A-Za-z][-A-Za-z0-9_.~+%]{2,254}", name) or name.startswith("goog"):
        raise invalid(f"Invalid resource name given (name={name}): 3 to 255 of letters, digits and -_.~+%, not goog...")


def topic_name(world: World, short: str) -> str:
    """Return the full name of a topic.

    Args:
        world: Knows the projects.
        short: Such as `projects/p/topics/t`; the project may be given by its number.

    Raises:
        ApiError: 400; it is not the name of a topic. 403; the project is not ours.
    """
    found = re.fullmatch(r"projects/([^/]+)/topics/([^/]+)", short)
    if not found:
        raise invalid(f"Invalid topic given (name={short}); expected projects/PROJECT/topics/TOPIC.")
    return f"//{SERVICE}/projects/{world.project_id(found[1])}/topics/{found[2]}"
