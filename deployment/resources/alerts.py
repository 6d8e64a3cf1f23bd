"""What is told when a night is late or something fails: alerts on log lines, and by e-mail to whom."""

from collections.abc import Iterator
from typing import Any

from deployment.changes import Action, Call, Change, change, create, delete
from deployment.names import PREFIX, Names
from deployment.present import Present, Resource
from deployment.rest import Rest

# gcloud has these in its alpha alone.
_MONITORING = "https://monitoring.googleapis.com/v3"
_LABELS = {"managed-by": "nightshift"}


def alert_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the channel and the alerts that are missing or differ, and the alerts of ours that are not wanted any more.

    Without ALERT_EMAIL an alert is seen in the console, and nobody is written to.
    """
    email, base = names.environment.alert_email, f"{_MONITORING}/projects/{names.project}"
    channel = next((each["name"] for each in present["channels"] if _email(each) == email), "") if email else ""
    if email and not channel:
        body = {"type": "email", "displayName": email, "labels": {"email_address": email}, "userLabels": _LABELS}
        yield create("alerts by e-mail", email, Call("POST", f"{base}/notificationChannels", body))
    there = {each["displayName"]: each for each in present["alerts"] if is_ours(each)}
    wanted = _policies(names)
    for title, policy in wanted.items():
        step, told = _Writing(present.rest, base, policy, there.get(title), email), _told(policy, channel)
        if title not in there:
            yield create("alert", title, step.action)
        elif _told(there[title], *there[title].get("notificationChannels", ())) != told or (email and not channel):
            yield change("alert", "other lines, or other people", title, step.action)
    for title, policy in there.items():
        if title not in wanted:
            yield delete("alert", title, deleting(policy))


def is_ours(policy: Resource) -> bool:
    """Say whether we made an alert."""
    return bool(_LABELS.items() <= policy.get("userLabels", {}).items())


def deleting(policy: Resource) -> Call:
    """Return what removes an alert."""
    return Call("DELETE", f"{_MONITORING}/{policy['name']}", {})


class _Writing:
    """The making of an alert: its channel has a name only once there is one."""

    def __init__(self, rest: Rest, base: str, policy: dict[str, Any], there: Resource | None, email: str) -> None:
        self._rest, self._base, self._policy, self._there, self._email = rest, base, policy, there, email
        where = f"PATCH {_MONITORING}/{there['name']}" if there else f"POST {base}/alertPolicies"
        self.action = Action(where, self._write)

    def _write(self) -> None:
        channels = self._rest.get(f"{self._base}/notificationChannels", pageSize="500").get("notificationChannels", ())
        told = [each["name"] for each in channels if self._email and _email(each) == self._email]
        policy = {**self._policy, "notificationChannels": told[:1]}
        if self._there:
            fields = "conditions,notificationChannels,alertStrategy,userLabels"
            self._rest.send("PATCH", f"{_MONITORING}/{self._there['name']}", policy, updateMask=fields)
        else:
            self._rest.send("POST", f"{self._base}/alertPolicies", policy)


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
        "userLabels": _LABELS,
        "combiner": "OR",
        "conditions": [{"displayName": title, "conditionMatchedLog": {"filter": filter_}}],
        # One letter an hour says as much as a thousand.
        "alertStrategy": {"notificationRateLimit": {"period": "3600s"}, "autoClose": "86400s"},
    }


def _told(policy: Resource, *channels: str) -> tuple[list[str], list[str]]:
    """Return what an alert is raised by, and who is told."""
    filters = [condition.get("conditionMatchedLog", {}).get("filter") for condition in policy["conditions"]]
    return filters, [channel for channel in channels if channel]


def _email(channel: Resource) -> str:
    return str(channel.get("labels", {}).get("email_address", ""))
