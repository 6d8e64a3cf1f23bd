"""Asks nightly-transform, and puts what it refuses into words."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from shared.config import read_settings
from shared.errors import InvalidRequestError, ServiceError

from .deployed import Deployed, read_deployed

# A run over a full day of a busy service takes minutes; the function's own limit is an hour.
_TIMEOUT_SECONDS = 3600.0
_PAGE_SIZE = "500"
# Wide enough for every table where nobody looks: a pipe has no width.
_PIPED_COLUMNS = 240


def console_for(*, stderr: bool = False) -> Console:
    """Return where a command prints: a terminal as wide as it is, or a pipe that cuts nothing off."""
    console = Console(highlight=False, markup=False, emoji=False, stderr=stderr)
    if not console.is_terminal:
        console.width = _PIPED_COLUMNS
    return console


def asked(options: argparse.Namespace) -> Deployed | None:
    """Return which nightly-transform a command asks: the deployed one of `--env`, or None for NIGHTLY_TRANSFORM_URL's.

    Raises:
        ConfigurationError: There is no such environment, or its file is wrong.
    """
    return None if options.env is None else read_deployed(options.env)


def repeated(options: argparse.Namespace, command: str) -> str:
    """Return a command to be typed next, for the same environment."""
    return f"python -m scheduler {command}{f' --env {options.env}' if options.env else ''}"


def ask(of: Deployed | None, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
    """Return the JSON that nightly-transform answers.

    Args:
        of: The deployed one, or None for the one at NIGHTLY_TRANSFORM_URL.
        method: Of HTTP.
        path: Below its URL.
        body: Sent as JSON.
        query: Query parameters.

    Raises:
        InvalidRequestError: It refused the request; the message is its own.
        ServiceError: It failed, or does not answer.
    """
    # Slow to import, and of no use to the commands that ask nobody.
    import httpx

    url = of.url if of else read_settings().urls["nightly_transform"]
    headers = {"Authorization": f"Bearer {of.token()}"} if of else {}
    try:
        answer = httpx.request(method, url + path, json=body, params=query, headers=headers, timeout=_TIMEOUT_SECONDS)
    except httpx.TransportError as error:
        hint = f"see ./deploy.sh {of.name} --status" if of else "is `make run` running?"
        raise ServiceError(f"nothing answers at {url} ({type(error).__name__}): {hint}") from error
    if answer.is_success:
        try:
            return answer.json()
        except ValueError as error:
            raise ServiceError(f"{url} answered something else than JSON: is it nightly-transform?") from error
    try:
        problem = answer.json()["error"]
        message, reason = str(problem["message"]), str(problem["details"][0]["reason"])
    except (ValueError, LookupError, TypeError):
        message, reason = answer.text[:300], None
        if of and answer.status_code in (401, 403):
            # Cloud Run's own refusal, in HTML.
            message = "your account may not call it: is it in INVOKERS_NIGHTLY_TRANSFORM of"
            message += f" environments/{of.name}.env, and deployed?"
    refusal = InvalidRequestError if answer.status_code < 500 else ServiceError
    raise refusal(f"{path} answered {answer.status_code}: {message}", reason=reason)


def ask_pages(of: Deployed | None, path: str, name: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield every item of a list, over all of its pages."""
    token = ""
    while True:
        page = {"page_size": _PAGE_SIZE} | dict(query) | ({"page_token": token} if token else {})
        answer = ask(of, "GET", path, query=page)
        yield from answer[name]
        token = answer["next_page_token"]
        if not token:
            return
