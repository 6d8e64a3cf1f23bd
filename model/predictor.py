"""Custom prediction: an optional `predictor.py` beside a model, run around it, as AI Platform had it.

The file may define `preprocess(instances)` and `postprocess(predictions)`; both take and return lists of plain JSON
values, and are called for the row form of requests. It is the operator's code and part of the model: it is hashed in
model.json like every other file, and is not a place for anything a caller sent.
"""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

from shared.errors import InvalidRequestError, ModelError

FILE = "predictor.py"
_HOOKS = ("preprocess", "postprocess")


class Predictor:
    """The two hooks of one model version; one that is not defined hands its values through.

    Args:
        source: What predictor.py holds.
        where: How messages name it, such as digits/1/predictor.py.

    Raises:
        ModelError: It does not run, or defines neither hook.
    """

    def __init__(self, source: bytes, where: str) -> None:
        self._where = where
        module = ModuleType("predictor")
        try:
            exec(compile(source, where, "exec"), module.__dict__)  # noqa: S102 - the operator's own code
        except Exception as error:
            raise ModelError(f"{where}: cannot be run: {type(error).__name__}: {error}") from error
        hooks = {name: getattr(module, name, None) for name in _HOOKS}
        if not any(callable(hook) for hook in hooks.values()):
            raise ModelError(f"{where}: expected a function preprocess(instances) or postprocess(predictions)")
        self._preprocess: Callable[[Any], Any] | None = hooks["preprocess"]
        self._postprocess: Callable[[Any], Any] | None = hooks["postprocess"]

    def preprocess(self, instances: Any) -> Any:
        """Turn what a caller sent into what the model takes.

        Raises:
            InvalidRequestError: The hook raised ValueError, which is how it says that an instance is not valid; its
                message is the caller's to read.
            ModelError: It failed otherwise.
        """
        if self._preprocess is None:
            return instances
        try:
            return self._preprocess(instances)
        except ValueError as error:
            raise InvalidRequestError(f"instances: {error}") from error
        except Exception as error:
            raise ModelError(f"{self._where}: preprocess failed") from error

    def postprocess(self, predictions: Any) -> Any:
        """Turn what the model answered into what the caller gets.

        Raises:
            ModelError: It failed, or what it returned is not JSON.
        """
        if self._postprocess is None:
            return predictions
        try:
            answered = self._postprocess(predictions)
            json.dumps(answered)
        except Exception as error:
            raise ModelError(f"{self._where}: postprocess failed") from error
        return answered
