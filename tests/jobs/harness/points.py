"""Every step of a run that another process could see, numbered: where a test kills it, stops it, or looks on.

The code under test has no hooks. Its store and its publishing are wrapped: there is a point before and after each
call, and one before each document that is read.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Point = Callable[[str], None]


class WatchedStore:
    """A store that passes a point before and after whatever is asked of it."""

    def __init__(self, inner: Any, point: Point) -> None:
        self._inner = inner
        self._point = point

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._point(f"before {name}")
            found = value(*args, **kwargs)
            if isinstance(found, Iterator):
                found = self._each(found, name)
            self._point(f"after {name}")
            return found

        return call

    def _each(self, found: Iterator[Any], name: str) -> Iterator[Any]:
        for one in found:
            self._point(f"during {name}")
            yield one


def watched_publish(publish: Callable[[Mapping[str, Any]], Any], point: Point) -> Callable[[Mapping[str, Any]], None]:
    """Return a way to publish that passes a point before and after."""

    def call(message: Mapping[str, Any]) -> None:
        point("before publish")
        publish(message)
        point("after publish")

    return call
