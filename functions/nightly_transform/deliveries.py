"""Pub/Sub's pushes into runs: 2xx acknowledges a message, anything else has it delivered again."""

import hashlib
import math
import re
from datetime import timedelta
from typing import Any

from shared.errors import ConflictError, InvalidRequestError, NotFoundError, ServiceError, UnavailableError
from shared.events import delivery_of, parse_message
from shared.log import log_event, note
from shared.routing import Request, Response, json_response
from shared.runs import Claim, DeadLetter, Run
from shared.strict_json import loads

from .dependencies import Dependencies
from .orders import Order, is_lacking, order_of
from .runner import Runner
from .views import run_view

_KEPT_CHARS = 65_536
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ON_ITS_WAY = ("queued", "running")


class Deliveries:
    """Takes one delivery at a time, of whatever may come."""

    def __init__(self, given: Dependencies, runner: Runner) -> None:
        self._given = given
        self._runner = runner

    def receive(self, request: Request) -> Response:
        """Do what a message asks for; one that nobody can understand is recorded and acknowledged.

        A refusal would have it delivered for days, and understood no better.

        Raises:
            UnavailableError: The message is to be delivered again.
            ConflictError: Likewise; the run became another's meanwhile.
        """
        try:
            order = order_of(parse_message(request.body), self._given.jobs, self._given.now())
        except (InvalidRequestError, NotFoundError) as error:
            return self._bury(request.body, error)
        if order.plan is not None:
            return self._slice(order, order.plan)
        if order.tick is not None and self._given.now() >= order.job.next_tick(order.tick):
            return self._late(order)
        return self._whole(order)

    def _whole(self, order: Order) -> Response:
        if order.tick is not None:
            self._check_settled(order)
        elif not order.force:
            kept = self._given.store.get_run(order.job.id, order.interval.key)
            if kept is not None and kept.state in ("success", "failed"):
                return _answer(kept, ran=False)  # a provisional one too: this message is a copy of the one that made it
        wanted = self._runner.wanted(order.job, order.interval, "schedule", order.params)
        if not order.force and self._unmet(order):
            claim = self._given.store.enqueue_run(wanted, now=self._given.now(), reprocess="none")
            # Asked again: what it waits for may have succeeded, and found nobody waiting, just before.
            if unmet := self._unmet(order):
                return _answer(claim.run, ran=False, waiting_for=unmet)
        claim = self._runner.run(order.job, wanted, reprocess="completed" if order.force else "none")
        return _acknowledge(claim)

    def _check_settled(self, order: Order) -> None:
        """Let a tick wait until what was stored in the last moments of its interval can be read.

        Raises:
            UnavailableError: It is to be delivered again, a little later.
        """
        left = order.interval.end + timedelta(minutes=order.job.settle_minutes) - self._given.now()
        if left > timedelta(0):
            note(job=order.job.id, key=order.interval.key, ran=False, severity="INFO")
            raise UnavailableError(
                "the interval has just ended, and its last results may be on their way",
                reason="INTERVAL_UNSETTLED",
                retry_after_seconds=math.ceil(left.total_seconds()),
            )

    def _late(self, order: Order) -> Response:
        """Take a tick after which another has passed: the job's policy decides what becomes of it."""
        run = self._given.store.get_run(order.job.id, order.interval.key)
        if run is not None and run.state in _ON_ITS_WAY:
            return self._whole(order)
        wanted = self._runner.wanted(order.job, order.interval, "catch-up", order.params)
        ticks = order.job.ticks(order.interval.end, self._given.now(), order.job.max_catch_up_runs + 1)
        is_old = len(ticks) > order.job.max_catch_up_runs
        if order.job.catch_up != "all" or is_old or not is_lacking(run):
            log_event("INFO", f"job {order.job.id}: the tick of {order.interval.key} came late and is left")
            return _answer(run or wanted, ran=False, late=True)
        claim = self._given.store.enqueue_run(wanted, now=self._given.now(), reprocess="none")
        self._runner.dispatcher.dispatch(order.job)
        return _answer(claim.run, ran=False, late=True)

    def _slice(self, order: Order, plan: int) -> Response:
        try:
            run = self._runner.work_slice(order.job, order.interval.key, plan, order.slice)
        except ConflictError as error:
            if error.reason not in ("FENCE_LOST", "PLAN_GONE"):
                raise
            run = None  # somebody else has ended it, or taken it over
        kept = run or self._given.store.get_run(order.job.id, order.interval.key)
        if run is None and kept is not None and kept.state == "queued" and kept.plan == plan:
            return self._whole(order)  # its merge failed, and this is the message that has it tried again
        if run is None:
            return json_response({"ran": False, "slice": order.slice})
        if run.state == "queued":
            raise _again(run)
        return _answer(run, ran=True, slice=order.slice)

    def _unmet(self, order: Order) -> list[str]:
        unmet = self._runner.dispatcher.unmet(order.job, order.interval.key)
        run = self._given.store.get_run(order.job.id, order.interval.key) if unmet else None
        # Who asked by hand did so all the same; that run waits for its place alone.
        return [] if run and run.state in _ON_ITS_WAY and run.trigger == "manual" else unmet

    def _bury(self, body: bytes, error: ServiceError) -> Response:
        digest = hashlib.sha256(body).hexdigest()
        text = body[:_KEPT_CHARS].decode("utf-8", "backslashreplace").replace("\0", "\ufffd")
        letter = DeadLetter(
            id=_message_id(body) or f"body-{digest[:40]}",
            received_at=self._given.now(),
            reason=f"{error.reason}: {error.message}",
            body=text,
            body_sha256=digest,
            body_bytes=len(body),
        )
        new = self._given.store.record_dead_letter(letter)
        log_event("ERROR", f"a message that cannot be understood was recorded: {letter.reason}", dead_letter=letter.id)
        return json_response({"dead_letter": letter.id, "reason": letter.reason, "recorded": new})


def _acknowledge(claim: Claim) -> Response:
    """Answer a claim.

    Raises:
        UnavailableError: The run is under way elsewhere, and may yet be lost; or its attempt failed, or is not due.
    """
    if claim.refusal in ("running", "backing-off") or (claim.granted and claim.run.state == "queued"):
        if claim.granted and claim.run.not_before is None:
            return _answer(claim.run, ran=True)  # it goes on in a message of its own
        raise _again(claim.run)
    return _answer(claim.run, ran=claim.granted)


def _again(run: Run) -> UnavailableError:
    note(job=run.job, key=run.key, state=run.state, ran=False, severity="INFO")  # nothing is wrong with that
    if run.state == "running":
        return UnavailableError("this run is under way elsewhere", reason="RUN_IN_PROGRESS", retry_after_seconds=30)
    return UnavailableError("the attempt failed and will be made again", reason="RUN_FAILED", retry_after_seconds=30)


def _answer(run: Run, *, ran: bool, **more: Any) -> Response:
    note(job=run.job, key=run.key, state=run.state, ran=ran)
    return json_response({"ran": ran, "run": run_view(run), **more})


def _message_id(body: bytes) -> str | None:
    """Return the message's id, the same on every delivery, where that much can be read."""
    try:
        found = delivery_of(loads(body)).message_id
    except InvalidRequestError:
        return None
    return f"message-{found}" if _MESSAGE_ID.fullmatch(found) else None
