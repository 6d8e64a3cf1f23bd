"""A release is tried before it gets traffic: health, a golden prediction, a result stored and found, no strangers."""

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .calling import BELOW, Caller, SmokeError
from .golden import Golden
from .names import Names
from .resources.invokers import is_public
from .resources.sign_in import is_behind_sign_in

_KEPT = timedelta(days=1)


class Smoke:
    """Tries the functions of one environment.

    Args:
        names: Of the environment.
        caller: Asks them.
        golden: What predict is asked.
        settling: Something was made or granted a moment ago, which Google does not know everywhere at once.
    """

    def __init__(self, names: Names, caller: Caller, golden: list[Golden], *, settling: bool) -> None:
        self._names, self._caller, self._golden, self._settling = names, caller, golden, settling
        self._services = {service.function: service for service in names.services}

    def try_all(self, urls: Mapping[str, str], audiences: Mapping[str, str]) -> Iterator[str]:
        """Yield what was tried and found good, one sentence each.

        Args:
            urls: Where each function that is tried answers: its candidate, or the service.
            audiences: The URL of each service there is, for which tokens are made; one that is not tried answers there.

        Raises:
            SmokeError: Something was not as it should be; says what.
        """
        for function, url in urls.items():
            self._try_health(function, url, self._audience(function, url, audiences))
            yield f"{function}: healthy" + ("" if self._is_public(function) else f", and {self._closed(function)}")
        if "predict" in urls:
            for golden in self._golden:
                answer = self._caller.ask("POST", urls["predict"] + golden.path, audiences["predict"], golden.body)
                _check(golden.is_met_by(answer), f"predict: {golden.path} answers its example", answer)
                yield f"predict: {golden.path} answers its example" + (" as it did here" if golden.predictions else "")
        if urls.keys() & {"store_result", "list_results"} and {"store_result", "list_results"} <= audiences.keys():
            yield self._round_trip(urls, audiences)
        if "nightly_transform" in urls:
            answer = self._caller.ask("GET", urls["nightly_transform"] + "/jobs", audiences["nightly_transform"])
            _check(bool(answer.get("jobs")), "nightly_transform: knows its jobs", answer)
            yield "nightly_transform: knows its jobs"
        if "web" in urls:
            there = sorted(set(self._services["web"].calls) & audiences.keys())
            yield from self._try_page(urls["web"], self._audience("web", urls["web"], audiences), there)

    def _try_health(self, function: str, url: str, audience: str) -> None:
        where = f"{url}/health"
        answer = (
            self._caller.ask_until_known(where, audience)
            if self._settling
            else self._caller.ask("GET", where, audience)
        )
        expected = {"status": "ok", "environment": self._names.environment.name}
        _check(expected.items() <= answer.items(), f"{function}: /health says {expected}", answer)
        if not self._is_public(function):
            status = self._caller.status_for_strangers(where)
            # Google's sign-in sends them there first.
            if status not in ((302, 401, 403) if self._is_behind_sign_in(function) else (401, 403)):
                raise SmokeError(f"{function}: expected {url} to refuse anybody without a token, it answers {status}")

    def _round_trip(self, urls: Mapping[str, str], audiences: Mapping[str, str]) -> str:
        """Store a result that expires, and find it again."""
        store, find = (urls.get(name, audiences[name]) for name in ("store_result", "list_results"))
        body = {
            **{"model": "nightshift-smoke", "version": "1", "instances": [[1.5]], "predictions": [[0.25, 0.75]]},
            **{"labels": {"from": "deploy"}, "request_id": f"smoke-{uuid.uuid4()}"},
            "expires_at": (datetime.now(UTC) + _KEPT).isoformat(),
        }
        stored = self._caller.ask("POST", f"{store}/", audiences["store_result"], body)
        _check(isinstance(stored.get("id"), str), "store_result: answers with the result's id", stored)
        found = self._caller.ask("GET", f"{find}/{stored['id']}", audiences["list_results"])
        same = all(found.get(name) == body[name] for name in ("instances", "predictions", "labels"))
        _check(same, "list_results: finds what was stored, as it was", found)
        return "store_result, list_results: what was stored was found, as it was"

    def _try_page(self, url: str, audience: str, others: list[str]) -> Iterator[str]:
        """Look at the page, and have it ask the other functions in its own name."""
        environment = self._names.environment.name
        text = self._caller.page(f"{url}/", audience)
        _check(environment in text, f"web: the page names {environment}", text)
        expected = {"web", *others}

        def healthy(answer: dict[str, Any]) -> bool:
            return expected <= {each["name"] for each in answer.get("functions", ()) if each.get("ok") is True}

        # A function that has scaled to zero may take longer to start than the page waits.
        status = self._caller.ask_until_known(f"{url}/api/status", audience, healthy)
        wrong = [f"{each['name']}: {each.get('problem')}" for each in status.get("functions", ()) if not each.get("ok")]
        _check(healthy(status), f"web: {', '.join(sorted(expected))} are well", ", ".join(wrong) or status)
        yield f"web: the page names {environment}, and reaches {', '.join(others)} in its own name"
        if self._is_public("web"):
            refusal = self._caller.refusal(f"{url}/api/results", audience)
            _check(refusal == (403, "READ_ONLY"), "web: changes nothing, since it is for everybody", refusal)
            yield "web: changes nothing, since it is for everybody"

    def _audience(self, function: str, url: str, audiences: Mapping[str, str]) -> str:
        """Return for what a token is made: Cloud Run knows the service's URL alone, Google's sign-in the one asked."""
        return url + BELOW if self._is_behind_sign_in(function) else audiences[function]

    def _closed(self, function: str) -> str:
        return "strangers have to sign in" if self._is_behind_sign_in(function) else "closed to strangers"

    def _is_behind_sign_in(self, function: str) -> bool:
        return is_behind_sign_in(self._names, self._services[function])

    def _is_public(self, function: str) -> bool:
        return is_public(self._names, self._services[function])


def _check(holds: bool, expected: str, answer: Any) -> None:
    if not holds:
        raise SmokeError(f"expected: {expected}; got {' '.join(str(answer).split())[:300]}")
