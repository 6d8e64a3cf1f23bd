"""Shards of results, as readers name them."""

from shared.errors import InvalidRequestError


def check_shard(shard: int | None, shards: int) -> None:
    """Refuse a shard that is none.

    Raises:
        InvalidRequestError: reason INVALID_SHARD.
    """
    if shard is not None and not 0 <= shard < shards:
        raise InvalidRequestError(
            f"results: expected a shard from 0 and below {shards}, got {shard}", reason="INVALID_SHARD"
        )
