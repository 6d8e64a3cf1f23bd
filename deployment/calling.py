"""Calls deployed functions as the account of the smoke tests, which may call all of them."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from shared.errors import ServiceError

from .names import Names
from .rest import Rest, RestError

_CALL_SECONDS = 90.0
_CREDENTIALS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
_PAUSES_SECONDS = (2, 3, 5, 10, 10, 15, 15, 30, 30, 30)
# To a grant, a service account or a URL that is new.
_REFUSALS = (401, 403, 404)
# Google's sign-in takes a token that the account signs itself, for all URLs that begin so.
# https://docs.cloud.google.com/iap/docs/authentication-howto
BELOW = "/*"
_SIGNED_SECONDS = 3600


class SmokeError(ServiceError):
    """A release did not do what it is for.

    Attributes:
        status_code: What was answered; 0: nothing was.
    """

    def __init__(self, message: str, status_code: int = 0) -> None:
        super().__init__(message)
        self.status_code = status_code


class Caller:
    """Calls the functions of one environment.

    Args:
        names: Of the environment.
        rest: Gets the account's ID tokens.
    """

    def __init__(self, names: Names, rest: Rest) -> None:
        self._account, self._rest = names.account("smoke"), rest
        self._tokens: dict[str, str] = {}
        self._client = httpx.Client(timeout=_CALL_SECONDS)

    def ask(self, method: str, url: str, audience: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what a function answers: a JSON object.

        Args:
            method: Of HTTP.
            url: With the path.
            audience: The URL of the service, for which the token is; with BELOW at its end where Google's sign-in
                stands in front of it.
            body: Sent as JSON.

        Raises:
            SmokeError: It answered with an error, with something else, or not at all.
            RestError: The token could not be had.
        """
        answer = self._asked(method, url, audience, body)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise SmokeError(f"{method} {url}: expected a JSON object, got {_shown(answer.text)}")
        return said

    def page(self, url: str, audience: str) -> str:
        """Return the HTML that a function answers.

        Raises:
            SmokeError: It answered with an error, with something else, or not at all.
            RestError: The token could not be had.
        """
        answer = self._asked("GET", url, audience, None)
        if not answer.headers.get("content-type", "").startswith("text/html"):
            raise SmokeError(f"GET {url}: expected HTML, got {_shown(answer.text)}")
        return answer.text

    def refusal(self, url: str, audience: str) -> tuple[int, str]:
        """Return the status and the reason with which the page answers what its own script would have it store.

        Raises:
            SmokeError: Nothing answers.
            RestError: The token could not be had.
        """
        headers = {"Authorization": f"Bearer {self._token(audience)}", "Sec-Fetch-Site": "same-origin"}
        # No result: where it is not refused, the store refuses it.
        answer = self._send("POST", url, headers, {})
        try:
            return answer.status_code, str(answer.json()["error"]["details"][0]["reason"])
        except (ValueError, LookupError, TypeError):
            return answer.status_code, _shown(answer.text)

    def ask_until_known(
        self, url: str, audience: str, holds: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """Return what a new function answers: until Google knows everywhere what was granted, it is refused.

        Args:
            url: With the path.
            audience: As `ask` takes it.
            holds: Whether this is the answer; if not it is asked for again, and the last one is returned.

        Raises:
            SmokeError: As `ask` does; a refusal once two minutes and a half have passed.
        """
        for pause in _PAUSES_SECONDS:
            try:
                answer = self.ask("GET", url, audience)
                if holds(answer):
                    return answer
            except (SmokeError, RestError) as error:
                if error.status_code not in _REFUSALS:
                    raise
            time.sleep(pause)
        return self.ask("GET", url, audience)

    def status_for_strangers(self, url: str) -> int:
        """Return the status of HTTP that somebody without a token gets.

        Raises:
            SmokeError: Nothing answers.
        """
        return self._send("GET", url, {}, None).status_code

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _asked(self, method: str, url: str, audience: str, body: Mapping[str, Any] | None) -> httpx.Response:
        answer = self._send(method, url, {"Authorization": f"Bearer {self._token(audience)}"}, body)
        if not answer.is_success:
            raise SmokeError(f"{method} {url}: {answer.status_code} {_shown(answer.text)}", answer.status_code)
        return answer

    def _send(self, method: str, url: str, headers: dict[str, str], body: Mapping[str, Any] | None) -> httpx.Response:
        try:
            return self._client.request(method, url, headers=headers, json=body)
        except httpx.HTTPError as error:
            raise SmokeError(f"{method} {url}: {type(error).__name__}: {error}") from None

    def _token(self, audience: str) -> str:
        if audience not in self._tokens:
            self._tokens[audience] = self._signed(audience) if audience.endswith(BELOW) else self._issued(audience)
        return self._tokens[audience]

    def _issued(self, audience: str) -> str:
        body = {"audience": audience, "includeEmail": True}
        return str(self._rest.send("POST", f"{_CREDENTIALS}/{self._account}:generateIdToken", body)["token"])

    def _signed(self, audience: str) -> str:
        began = int(time.time())
        whose = {"iss": self._account, "sub": self._account, "aud": audience}
        claims = {**whose, "iat": began, "exp": began + _SIGNED_SECONDS}
        body = {"payload": json.dumps(claims)}
        return str(self._rest.send("POST", f"{_CREDENTIALS}/{self._account}:signJwt", body)["signedJwt"])


def _shown(text: str) -> str:
    return " ".join(text.split())[:300]
