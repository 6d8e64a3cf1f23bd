"""A release is tried before it gets traffic: health, a golden prediction, a result stored and found, no strangers."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from shared.errors import ServiceError

from .golden import Golden
from .names import Names
from .resources.invokers import is_public
from .rest import Rest

_SECONDS = 90.0
_CREDENTIALS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
_KEPT = timedelta(days=1)


class SmokeError(ServiceError):
    """A release did not do what it is for."""


class Smoke:
    """Asks functions as the account of the smoke tests.

    Args:
        names: Of the environment.
        rest: Gets the account's ID tokens.
        golden: What predict is asked.
    """

    def __init__(self, names: Names, rest: Rest, golden: list[Golden]) -> None:
        self._names, self._rest, self._golden = names, rest, golden
        self._services = {service.function: service for service in names.services}
        self._tokens: dict[str, str] = {}
        self._client = httpx.Client(timeout=_SECONDS)

    def try_all(self, urls: Mapping[str, str], audiences: Mapping[str, str]) -> Iterator[str]:
        """Yield what was tried and found good, one sentence each.

        Args:
            urls: Where each function that is tried answers: its candidate, or the service.
            audiences: The URL of each of their services, for which tokens are made; and of the others that are needed.

        Raises:
            SmokeError: Something was not as it should be; says what.
        """
        for function, url in urls.items():
            self._expect(function, url, "GET", "/health", self._is_healthy, audiences)
            if not is_public(self._names, self._services[function]):
                self._refuses_strangers(function, url)
            yield f"{function}: healthy, and closed to strangers"
        if "predict" in urls:
            for golden in self._golden:
                asked = (urls["predict"], "POST", golden.path, golden.is_met_by, audiences, golden.body)
                self._expect("predict", *asked)
                yield f"predict: {golden.path} answers its example" + (" as it did here" if golden.predictions else "")
        if urls.keys() & {"store_result", "list_results"} and {"store_result", "list_results"} <= audiences.keys():
            yield self._round_trip(urls, audiences)
        if "nightly_transform" in urls:
            there: Callable[[Any], bool] = lambda answer: bool(answer.get("jobs"))  # noqa: E731
            self._expect("nightly_transform", urls["nightly_transform"], "GET", "/jobs", there, audiences)
            yield "nightly_transform: knows its jobs"

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _is_healthy(self, answer: Any) -> bool:
        expected = {"status": "ok", "environment": self._names.environment.name}
        return bool(answer == expected)

    def _round_trip(self, urls: Mapping[str, str], audiences: Mapping[str, str]) -> str:
        """Store a result that expires, and find it again."""
        store, find = (urls.get(name, audiences[name]) for name in ("store_result", "list_results"))
        expires = (datetime.now(UTC) + _KEPT).isoformat()
        body = {
            **{"model": "nightshift-smoke", "version": "1", "instances": [[1.5]], "predictions": [[0.25, 0.75]]},
            **{"labels": {"from": "deploy"}, "request_id": f"smoke-{uuid.uuid4()}", "expires_at": expires},
        }
        stored = self._expect(
            "store_result", store, "POST", "/", lambda answer: bool(answer.get("id")), audiences, body
        )

        def is_the_same(answer: Any) -> bool:
            return all(answer.get(name) == body[name] for name in ("instances", "predictions", "labels"))

        self._expect("list_results", find, "GET", f"/{stored['id']}", is_the_same, audiences)
        return "store_result, list_results: what was stored was found, as it was"

    def _refuses_strangers(self, function: str, url: str) -> None:
        try:
            answer = self._client.get(f"{url}/health")
        except httpx.HTTPError as error:
            raise SmokeError(f"{function}: {url}/health without a token: {type(error).__name__}: {error}") from None
        if answer.status_code not in (401, 403):
            raise SmokeError(f"{function}: {url} answers {answer.status_code} to anybody; expected 403 without a token")

    def _expect(
        self,
        function: str,
        url: str,
        method: str,
        path: str,
        holds: Callable[[Any], bool],
        audiences: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._token(audiences[function])}"}
        what = f"{function}: {method} {url}{path}"
        try:
            answer = self._client.request(method, f"{url}{path}", headers=headers, json=body)
            said = answer.json() if answer.is_success else None
        except (httpx.HTTPError, ValueError) as error:
            raise SmokeError(f"{what}: {type(error).__name__}: {error}") from None
        if not isinstance(said, dict) or not holds(said):
            raise SmokeError(
                f"{what}: not what was expected, {answer.status_code} {' '.join(answer.text.split())[:300]}"
            )
        return said

    def _token(self, audience: str) -> str:
        if audience not in self._tokens:
            url = f"{_CREDENTIALS}/{self._names.account('smoke')}:generateIdToken"
            made = self._rest.send("POST", url, {"audience": audience, "includeEmail": True})
            self._tokens[audience] = made["token"]
        return self._tokens[audience]
