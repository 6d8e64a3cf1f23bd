"""Who gcloud is signed in as, and that nothing in its settings leads elsewhere than to Google."""

import json

from shared.config import read_settings
from shared.errors import ConfigurationError

from .gcloud import Gcloud


def signed_in(gcloud: Gcloud) -> str:
    """Return the e-mail of the account that acts: the impersonated one, if one is.

    Raises:
        ConfigurationError: Nobody is signed in, or gcloud is set to a proxy or to other endpoints.
    """
    settings = json.loads(gcloud.text("config", "list", "--format=json") or "{}")
    elsewhere = [
        f"{section}/{name}" for section in ("api_endpoint_overrides", "proxy") for name in settings.get(section, ())
    ]
    if elsewhere and not read_settings().scheduler_emulator_host:
        commands = "; ".join(f"gcloud config unset {name}" for name in elsewhere)
        raise ConfigurationError(
            [f"deploy.sh speaks to Google itself, and gcloud is set to something else: {commands}"]
        )
    account = settings.get("auth", {}).get("impersonate_service_account") or settings.get("core", {}).get("account")
    if not account:
        raise ConfigurationError(["nobody is signed in: gcloud auth login"])
    return str(account)
