"""What gcloud has no command for, or one call each where one connection will do: Google's REST, with gcloud's token."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from shared.errors import ServiceError
from shared.lazy import Once

from .gcloud import Calls

_CALL_SECONDS = 60.0
_PAUSES_SECONDS = (1.0, 3.0, 8.0, 20.0)
_PASSING = {429, 502, 503, 504}
# An API that was enabled a moment ago is not so everywhere; Firestore takes one change of its indexes after the other.
_SETTLING = re.compile(r"SERVICE_DISABLED|ABORTED|underlying data changed|contention")


class RestError(ServiceError):
    """Google refused.

    Attributes:
        status_code: Of HTTP.
    """

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class Rest:
    """Google's APIs over one connection.

    Args:
        project: Whose quota the calls count against.
        token: Returns an access token; asked again once it is refused, as it is after an hour.

    Attributes:
        calls: What was called so far.
    """

    def __init__(self, project: str, token: Callable[[], str]) -> None:
        self._project, self._find_token, self._token = project, token, Once(token)
        self._client = httpx.Client(timeout=_CALL_SECONDS)
        self.calls = Calls()

    def get(self, url: str, **query: str) -> dict[str, Any]:
        """Return a resource.

        Raises:
            RestError: Google refused; 404 where there is none.
        """
        return self._call("GET", url, None, query)

    def send(self, method: str, url: str, body: Mapping[str, Any], **query: str) -> dict[str, Any]:
        """Send a body, and return what is answered.

        Raises:
            RestError: Google refused.
        """
        return self._call(method, url, body, query)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def token(self) -> str:
        """Return the access token."""
        return self._token()

    def new_token(self) -> str:
        """Return an access token that is good for an hour from now."""
        self._token = Once(self._find_token)
        return self._token()

    def _call(self, method: str, url: str, body: Mapping[str, Any] | None, query: Mapping[str, str]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token()}", "X-Goog-User-Project": self._project}
        is_renewed = False
        for pause in (*_PAUSES_SECONDS, None):
            began = time.monotonic()
            try:
                answer = self._client.request(method, url, headers=headers, json=body, params=dict(query))
                code, text = answer.status_code, answer.text
            except httpx.HTTPError as error:
                code, text = 503, f"{type(error).__name__}: {error}"
            self.calls.add(time.monotonic() - began)
            if code < 300:
                return dict(answer.json()) if answer.content else {}
            if code == 401 and not is_renewed:
                is_renewed, headers["Authorization"] = True, f"Bearer {self.new_token()}"
                continue
            if pause is None or (code not in _PASSING and not _SETTLING.search(text)):
                break
            time.sleep(pause)
        raise RestError(f"{method} {url}: {code} {_message(text)}", code)


def _message(text: str) -> str:
    try:
        return str(httpx.Response(200, text=text).json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:300]
