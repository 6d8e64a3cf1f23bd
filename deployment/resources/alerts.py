"""Who is written to when a night is late or something fails: alerts on log lines."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployment.changes import Action, Change, change, create, delete
from deployment.gcloud import Gcloud
from deployment.names import PREFIX, Names
from deployment.present import Present, Resource

_LABEL = {"managed-by": "nightshift"}


def alert_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the e-mail channel and the alerts that are missing, differ, or are ours and not wanted any more."""
    email, gcloud = names.environment.alert_email, present.gcloud
    channels = {each.get("labels", {}).get("email_address"): each for each in present["channels"]}
    if email and email not in channels:
        make = ("beta", "monitoring", "channels", "create", f"--display-name={email}", "--type=email")
        labels = (f"--channel-labels=email_address={email}", "--user-labels=managed-by=nightshift")
        yield create("alerts by e-mail", email, (*make, *labels))
    there = {
        each["displayName"]: each for each in present["alerts"] if _LABEL.items() <= each.get("userLabels", {}).items()
    }
    wanted = _policies(names) if email else {}
    for title, policy in wanted.items():
        present_policy = there.get(title)
        if present_policy is None:
            yield create("alert", title, _writing(gcloud, policy, email, None))
        elif _told(present_policy) != _told(policy):
            yield change("alert", "another filter", title, _writing(gcloud, policy, email, present_policy["name"]))
    for title, policy in there.items():
        if title not in wanted:
            yield delete("alert", title, ("alpha", "monitoring", "policies", "delete", policy["name"]))


def _policies(names: Names) -> dict[str, dict[str, Any]]:
    """Return the alerts by their titles, in Cloud Monitoring's own form."""
    services = " OR ".join(f'"{service.service}"' for service in names.services)
    ours = f'resource.type="cloud_run_revision" AND resource.labels.service_name=({services})'
    filters = {
        f"{PREFIX}errors": f"{ours} AND severity>=ERROR",
        f"{PREFIX}missed-deadlines": f'{ours} AND jsonPayload.event="deadline_missed"',
    }
    return {title: _policy(title, filter_) for title, filter_ in filters.items()}


def _policy(title: str, filter_: str) -> dict[str, Any]:
    return {
        "displayName": title,
        "userLabels": _LABEL,
        "combiner": "OR",
        "conditions": [{"displayName": title, "conditionMatchedLog": {"filter": filter_}}],
        # One letter an hour says as much as a thousand.
        "alertStrategy": {"notificationRateLimit": {"period": "3600s"}, "autoClose": "86400s"},
    }


def _told(policy: Resource) -> list[str]:
    return [condition["conditionMatchedLog"]["filter"] for condition in policy["conditions"]]


def _writing(gcloud: Gcloud, policy: dict[str, Any], email: str, replaced: str | None) -> Action:
    """Return the making of an alert: its channel has a name only once there is one."""

    def write() -> None:
        channels = gcloud.read("beta", "monitoring", "channels", "list")
        (channel,) = (each["name"] for each in channels if each.get("labels", {}).get("email_address") == email)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.json"
            path.write_text(json.dumps({**policy, "notificationChannels": [channel]}), "utf-8")
            if replaced:
                gcloud.run(("alpha", "monitoring", "policies", "delete", replaced))
            gcloud.run(("alpha", "monitoring", "policies", "create", f"--policy-from-file={path}"))

    return Action("gcloud alpha monitoring policies create --policy-from-file=FILE", write)
