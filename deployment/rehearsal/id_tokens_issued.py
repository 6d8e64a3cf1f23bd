"""The identity tokens that the rehearsed cloud gave out: known by what was written down, since nothing is signed."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping

from .world import World

_LIFETIME_SECONDS = 3600


def issue(world: World, email: str, audience: str) -> str:
    """Return a new identity token of a service account, in the form of a JWT.

    Args:
        world: Remembers it, by its digest.
        email: Whom it speaks for.
        audience: The URL that is to accept it.
    """
    began = int(time.time())
    claims = {
        "iss": "https://accounts.google.com",
        "aud": audience,
        "azp": email,
        "sub": email,
        "email": email,
        "email_verified": True,
        "iat": began,
        "exp": began + _LIFETIME_SECONDS,
        "jti": str(world.next_number()),
    }
    token = jwt_of(claims)
    with world.lock:  # metadata servers ask too, beside the requests that the control plane takes one by one
        known = [name for name in world.resources if name.startswith("//idtokens/")]
        for name in [name for name in known if world.resources[name]["exp"] < began]:
            del world.resources[name]
        world.resources[_name(token)] = {"email": email, "aud": audience, "exp": claims["exp"]}
    return token


def check(world: World, token: str, audience: str) -> str | None:
    """Return whom a token speaks for; None where it was not issued, is for another audience, or has expired."""
    known = world.find(_name(token))
    if known is None or known["aud"] != audience or known["exp"] <= time.time():
        return None
    return str(known["email"])


def jwt_of(claims: Mapping[str, object]) -> str:
    """Return claims in the form of a JWT."""
    header = {"alg": "RS256", "kid": "rehearsal", "typ": "JWT"}
    return f"{_part(header)}.{_part(claims)}.{_part({'signed': False})}"


def _name(token: str) -> str:
    return f"//idtokens/{hashlib.sha256(token.encode()).hexdigest()}"


def _part(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
