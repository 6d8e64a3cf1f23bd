"""batch_predict: files of JSON Lines through a model, one line out for each line in, with its key and in order.

A line is `{"instance": ..., "key"?: ...}`, or the bare instance, whose key is the line's number through all files.
Out comes `{"key": ..., "prediction": ...}`, or `{"key": ..., "error": "..."}` for a line that is no JSON or that the
model refuses. What was predicted is kept in pieces, so that another attempt goes on from there, and written whole at
the end.

Params:
    model: Its name.
    version: Which one; otherwise the one that predict chooses. Name it where one output must not be of two.
    input: What the names of the input files begin with; `{key}` stands for the run's key, here and in `output`.
    output: The output file's name; `predictions/<job>/{key}.jsonl` unless told.
    rows_per_request: How many instances predict is asked for at a time, 1 to 1000; 100 unless told.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import ConflictError, InvalidRequestError, NotFoundError, ServiceError, UnavailableError
from shared.runs import Row

from ..contract import Context, Unfinished
from ..predicting import TIMEOUT_SECONDS
from .json_lines import Line, batches, read_lines
from .params import Params
from .pieces import Piece, Pieces

_PARAMS = ("model", "version", "input", "output", "rows_per_request")
# Nothing is begun that the delivery might not live to see: predict may take its time, and a piece is to be kept.
_LEAST_SECONDS = TIMEOUT_SECONDS + 15
_MOST_REFUSALS = 8
_FIRST_WAIT_SECONDS = 0.5
_NAP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Order:
    model: str
    version: str | None
    names: list[str]
    output: str
    rows: int


class _InputChangedError(Exception):
    """The pieces are of other input, or of another model."""


class BatchPredict:
    """The task; see this module.

    Args:
        sleep: Waits so many seconds.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def __call__(self, context: Context) -> list[Row]:
        """Predict what is not predicted yet, and write it all."""
        order = _order(context)
        pieces = Pieces(context.files, order.output)
        try:
            done = self._predict_all(context, order, pieces)
        except _InputChangedError:
            pieces.remove()
            done = self._predict_all(context, order, Pieces(context.files, order.output))
        pieces.join(done, context.keep_alive)
        context.keep_alive()
        pieces.remove()
        lines, errors = sum(piece.lines for piece in done), sum(piece.errors for piece in done)
        return [
            {
                "key": context.run.key,
                "model": order.model,
                "version": order.version,
                "input_files": len(order.names),
                "output": order.output,
                "lines": lines,
                "predictions": lines - errors,
                "errors": errors,
            }
        ]

    def _predict_all(self, context: Context, order: _Order, pieces: Pieces) -> list[Piece]:
        kept, done = pieces.kept()[::-1], list[Piece]()
        digest = hashlib.sha256(json.dumps([order.model, order.version, order.rows]).encode())
        end = 0
        try:
            for batch in batches(read_lines(context.files, order.names), order.rows):
                context.keep_alive()
                full = not kept and pieces.add(*self._answer(context, order, batch))
                for line in batch:
                    digest.update(b"%d\n%b\n" % (len(line.content), line.content))
                end += 1
                if kept and kept[-1].end == end:
                    done.append(_expected(kept.pop(), digest.hexdigest()[:32]))
                elif full:
                    done += pieces.keep(end, digest.hexdigest()[:32])
        except (Unfinished, ServiceError) as error:
            if not isinstance(error, ConflictError):
                pieces.keep(end, digest.hexdigest()[:32])
            raise
        if kept:
            raise _InputChangedError
        return done + pieces.keep(end, digest.hexdigest()[:32])

    def _answer(self, context: Context, order: _Order, batch: Sequence[Line]) -> tuple[list[bytes], int]:
        """Return a line of output for each of input, and how many of them are errors."""
        if context.seconds_left() < _LEAST_SECONDS:
            raise Unfinished
        answers: list[dict[str, Any]] = []
        asked: list[int] = []
        instances: list[Any] = []
        for line in batch:
            try:
                key, instance = line.parse()
            except InvalidRequestError as error:
                answers.append(_error(line.number, line, error))
                continue
            asked.append(len(answers))
            instances.append(instance)
            answers.append({"key": key})
        for index, prediction in zip(asked, self._predict(context, order, instances), strict=True):
            if isinstance(prediction, InvalidRequestError):
                answers[index] = _error(answers[index]["key"], batch[index], prediction)
            else:
                answers[index]["prediction"] = prediction
        lines = [json.dumps(answer, separators=(",", ":")).encode() + b"\n" for answer in answers]
        return lines, sum("error" in answer for answer in answers)

    def _predict(self, context: Context, order: _Order, instances: Sequence[Any]) -> list[Any]:
        """Return for each instance its prediction, or why it was refused: halves are asked for until it is found."""
        if not instances:
            return []
        try:
            return self._patiently(context, order, instances)
        except InvalidRequestError as error:
            if len(instances) == 1:
                return [error]
        half = len(instances) // 2
        return self._predict(context, order, instances[:half]) + self._predict(context, order, instances[half:])

    def _patiently(self, context: Context, order: _Order, instances: Sequence[Any]) -> list[Any]:
        """Ask again while predict is away for a while, if the time is there."""
        refusals = 0
        while True:
            try:
                return context.predict(instances, model=order.model, version=order.version)
            except UnavailableError as error:
                wait_seconds = max(float(error.headers["Retry-After"]), _FIRST_WAIT_SECONDS * 2**refusals)
                refusals += 1
                # Not `Unfinished`: that has no end where predict never comes back.
                if refusals > _MOST_REFUSALS or context.seconds_left() < wait_seconds + _LEAST_SECONDS:
                    raise
            while wait_seconds > 0:
                self._sleep(min(wait_seconds, _NAP_SECONDS))
                context.keep_alive()
                wait_seconds -= _NAP_SECONDS


def _order(context: Context) -> _Order:
    params, key = Params(context.run.params, _PARAMS), context.run.key
    prefix = params.text("input").replace("{key}", key)
    output = params.text("output", f"predictions/{context.job.id}/{key}.jsonl").replace("{key}", key)
    if output.startswith(prefix):
        raise InvalidRequestError(
            "params.output: expected a name that does not begin as params.input does: it would be input next time",
            reason="INVALID_PARAMS",
        )
    names = context.files.names(prefix)
    if not names:
        raise NotFoundError(f"there is no file whose name begins with {prefix!a}", reason="INPUT_NOT_FOUND")
    # Null is how jobs.yaml declares that it may be given.
    pinned = context.run.params.get("version") is not None
    return _Order(
        # What is no name at all, predict would refuse line by line.
        model=params.text("model", pattern="[^/:]+"),
        version=params.text("version", pattern="[0-9]{1,18}") if pinned else None,
        names=names,
        output=output,
        rows=params.number("rows_per_request", 100, 1, 1000),
    )


def _expected(piece: Piece, digest: str) -> Piece:
    if piece.digest != digest:
        raise _InputChangedError
    return piece


def _error(key: Any, line: Line, error: InvalidRequestError) -> dict[str, Any]:
    return {"key": key, "error": f"{line.place}: {error.message}"}


task = BatchPredict()
