"""Everything one environment needs, a module a kind: what differs between what is wanted and what is there."""

from collections.abc import Iterator

from deployment.changes import Change
from deployment.names import Names
from deployment.present import Present

from .accounts import account_changes
from .alerts import alert_changes
from .apis import api_changes
from .buckets import bucket_changes
from .firestore import firestore_changes
from .images import image_changes
from .secrets import secret_changes
from .topics import topic_changes


def changes_before_release(names: Names, present: Present) -> Iterator[Change]:
    """Yield what functions need before they can run, in an order in which it can be made."""
    yield from api_changes(names, present)
    yield from account_changes(names, present)
    yield from firestore_changes(names, present)
    yield from topic_changes(names, present)
    yield from bucket_changes(names, present)
    yield from secret_changes(names, present)
    yield from image_changes(names, present)
    yield from alert_changes(names, present)
