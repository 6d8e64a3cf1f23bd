"""The one door to Google's identities: ID tokens, by which a function lets another know who asks."""

import threading
from typing import Any

from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2.id_token import fetch_id_token_credentials

from shared.errors import UnavailableError


class IdTokens:
    """ID tokens for one audience, each used until it is about to expire.

    Args:
        audience: The URL of the function that is asked; Cloud Run holds a token to it.
    """

    def __init__(self, audience: str) -> None:
        self._audience = audience
        self._request = Request()
        self._credentials: Any = None
        self._lock = threading.Lock()

    def token(self) -> str:
        """Return a token that is good for now.

        Raises:
            UnavailableError: reason NO_ID_TOKEN; there is none to be had.
        """
        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials = fetch_id_token_credentials(  # type: ignore[no-untyped-call]
                        self._audience, self._request
                    )
                if not self._credentials.valid:
                    self._credentials.refresh(self._request)
                return str(self._credentials.token)
        except GoogleAuthError as error:
            raise UnavailableError(
                f"no ID token for {self._audience}: {type(error).__name__}", reason="NO_ID_TOKEN"
            ) from error
