"""What service accounts signed: known by what was written down, since nothing is signed here."""

import hashlib
import json
import time

from .id_tokens_issued import jwt_of
from .wire import invalid
from .world import World

_MOST_SECONDS = 12 * 3600
_ACCEPTED_SECONDS = 3600


def sign(world: World, email: str, payload: str) -> str:
    """Return a JWT of a service account with the claims that somebody asks for.

    Raises:
        ApiError: 400; they are no object of JSON, or they hold for longer than twelve hours.
    """
    try:
        claims = json.loads(payload)
    except ValueError as error:
        raise invalid(f"payload: expected JSON: {error}") from error
    if not isinstance(claims, dict) or not 0 < claims.get("exp", 0) - time.time() <= _MOST_SECONDS:
        raise invalid("payload: expected an object with exp, within twelve hours from now")
    token = jwt_of({"jti": str(world.next_number()), **claims})
    world.resources[_name(token)] = {"email": email, "claims": claims}
    return token


def check_signed(world: World, token: str, url: str) -> str | None:
    """Return whom a token speaks for at a URL: one that the account signed for itself, for this URL or all below."""
    known = world.find(_name(token))
    if known is None:
        return None
    claims, email = known["claims"], known["email"]
    audience = str(claims.get("aud", ""))
    meant = url.startswith(audience[:-1]) if audience.endswith("/*") else url == audience
    lasts = claims.get("exp", 0) - claims.get("iat", 0) <= _ACCEPTED_SECONDS and claims["exp"] > time.time()
    own = claims.get("iss") == claims.get("sub") == email
    return str(email) if meant and lasts and own else None


def _name(token: str) -> str:
    return f"//signedtokens/{hashlib.sha256(token.encode()).hexdigest()}"
