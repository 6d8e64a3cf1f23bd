"""The store in Firestore: each change one atomic commit, each query along an index of its own. The only door to it."""

import re

from shared.errors import ConfigurationError
from shared.ports import Store

# https://cloud.google.com/firestore/docs/manage-databases#database_id_guidelines; a project may belong to a domain.
_URL = re.compile(
    r"firestore://(?P<project>[a-z][a-z0-9.:-]{0,99})/(?P<database>\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9])"
    r"(\?shards=(?P<shards>[1-9][0-9]?))?"
)
# Each shard is a query of its own in every list: more of them than this cost more than they spread.
_MAX_SHARDS = 32


def open_firestore(url: str) -> Store:
    """Open a Firestore database; nothing is asked of it yet.

    Args:
        url: `firestore://PROJECT/DATABASE`, or with `?shards=N`: into how many stretches of the index results created
            at one time are spread. It may grow, and must not shrink: results in the shards beyond would be missed.

    Raises:
        ConfigurationError: The URL is not of this form, or the package that it needs is not installed.
    """
    found = _URL.fullmatch(url)
    shards = int(found["shards"] or 1) if found else 0
    if not found or shards > _MAX_SHARDS:
        raise ConfigurationError(
            [f"STORE_URL: expected firestore://PROJECT/DATABASE or ...?shards=N up to {_MAX_SHARDS}, got {url[:200]!r}"]
        )
    try:
        from shared.stores.firestore.store import FirestoreStore
    except ImportError as error:
        raise ConfigurationError(["STORE_URL: firestore:// needs the package google-cloud-firestore"]) from error
    return FirestoreStore(found["project"], found["database"], shards)
