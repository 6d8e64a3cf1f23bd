"""Cloud Monitoring: alerting policies, and the channels that they notify."""

from typing import Any

from .wire import Api, Request, api, invalid, not_found, route
from .world import Resource, World

_SERVICE = "monitoring.googleapis.com"
_POLICY_FIELDS = {
    "displayName",
    "documentation",
    "userLabels",
    "conditions",
    "combiner",
    "enabled",
    "notificationChannels",
}
_POLICY_FIELDS |= {"alertStrategy", "severity", "name", "validity", "mutationRecord", "creationRecord"}
_CONDITIONS = {
    "conditionThreshold",
    "conditionAbsent",
    "conditionMatchedLog",
    "conditionPrometheusQueryLanguage",
    "conditionSql",
}
_LABELS_OF_CHANNEL = {"email": "email_address", "pubsub": "topic", "webhook_tokenauth": "url"}


def monitoring_api(world: World) -> Api:
    """Return the API."""
    monitoring = _Monitoring(world)
    policies, channels = "/v3/projects/{project}/alertPolicies", "/v3/projects/{project}/notificationChannels"
    return api(
        _SERVICE,
        route("GET", policies, lambda request: {"alertPolicies": monitoring.listed(request, "alertPolicies")}),
        route("POST", policies, monitoring.create_policy),
        route("GET", policies + "/{id}", monitoring.get),
        route("PATCH", policies + "/{id}", monitoring.patch_policy),
        route("DELETE", policies + "/{id}", monitoring.delete),
        route(
            "GET",
            channels,
            lambda request: {"notificationChannels": monitoring.listed(request, "notificationChannels")},
        ),
        route("POST", channels, monitoring.create_channel),
        route("GET", channels + "/{id}", monitoring.get),
        route("DELETE", channels + "/{id}", monitoring.delete_channel),
    )


class _Monitoring:
    def __init__(self, world: World) -> None:
        self._world = world

    def listed(self, request: Request, kind: str) -> list[Resource]:
        return self._world.below(f"//{_SERVICE}/projects/{request.parts['project']}/{kind}/")

    def get(self, request: Request) -> Resource:
        return self._world.get(_name(request))

    def create_policy(self, request: Request) -> Resource:
        policy = self._checked(request)
        number = self._world.next_number()
        name = f"projects/{request.parts['project']}/alertPolicies/{number}"
        for position, condition in enumerate(policy["conditions"], 1):
            condition["name"] = f"{name}/conditions/{number}{position}"
        return self._world.create(f"//{_SERVICE}/{name}", {"enabled": True, **policy, "name": name})

    def patch_policy(self, request: Request) -> Resource:
        kept, given = self._world.get(_name(request)), request.json
        mask = request.query.get("updateMask")
        fields = mask.split(",") if mask else sorted(_POLICY_FIELDS - {"name"})
        unknown = [field for field in fields if field.partition(".")[0] not in _POLICY_FIELDS]
        if unknown:
            raise invalid(f"updateMask: there is no field {unknown[0]!r}")
        changed = {**kept, **{field: given[field] for field in fields if field in given}}
        kept.update(self._check(changed))
        return kept

    def delete(self, request: Request) -> Resource:
        self._world.delete(_name(request))
        return {}

    def create_channel(self, request: Request) -> Resource:
        given = request.json
        label = _LABELS_OF_CHANNEL.get(given.get("type", ""))
        if label is None:
            raise invalid(f"Field notification_channel.type had an invalid value of {given.get('type')!r}")
        if not given.get("labels", {}).get(label):
            raise invalid(f"Field notification_channel.labels is missing {label!r}, which {given['type']} needs")
        name = f"projects/{request.parts['project']}/notificationChannels/{self._world.next_number()}"
        return self._world.create(f"//{_SERVICE}/{name}", {"enabled": True, **given, "name": name})

    def delete_channel(self, request: Request) -> Resource:
        name = _name(request).removeprefix(f"//{_SERVICE}/")
        using = [p for p in self.listed(request, "alertPolicies") if name in p.get("notificationChannels", [])]
        if using and request.query.get("force") != "true":
            raise invalid(f"Field name: {name} is used by {using[0]['name']}")
        for policy in using:
            policy["notificationChannels"].remove(name)
        return self.delete(request)

    def _checked(self, request: Request) -> Resource:
        return self._check(request.json)

    def _check(self, policy: Resource) -> Resource:
        unknown = set(policy) - _POLICY_FIELDS
        if unknown:
            raise invalid(f"Invalid JSON payload received. Unknown name {sorted(unknown)[0]!r}: Cannot find field.")
        if not policy.get("displayName") or not policy.get("conditions") or not policy.get("combiner"):
            raise invalid("Field alert_policy: displayName, combiner and at least one condition are required")
        for condition in policy["conditions"]:
            _check_condition(condition)
        matched = any("conditionMatchedLog" in condition for condition in policy["conditions"])
        if matched and not policy.get("alertStrategy", {}).get("notificationRateLimit"):
            raise invalid("Field alert_policy.alert_strategy.notification_rate_limit: log-based conditions require it")
        for channel in policy.get("notificationChannels", []):
            if self._world.find(f"//{_SERVICE}/{channel}") is None:
                raise not_found(channel)
        return policy


def _check_condition(condition: dict[str, Any]) -> None:
    kinds = _CONDITIONS & set(condition)
    if len(kinds) != 1 or not condition.get("displayName"):
        raise invalid("Field alert_policy.conditions: each has a displayName and exactly one kind of condition")
    threshold = condition.get("conditionThreshold")
    if threshold is None:
        return
    if "metric.type" not in threshold.get("filter", "") or "resource.type" not in threshold.get("filter", ""):
        raise invalid("Field alert_policy.conditions.filter: must restrict metric.type and resource.type")
    if threshold.get("comparison") not in ("COMPARISON_GT", "COMPARISON_LT") or "duration" not in threshold:
        raise invalid(
            "Field alert_policy.conditions: comparison must be COMPARISON_GT or _LT, and duration is required"
        )
    seconds = threshold["duration"].removesuffix("s")
    if not seconds.isdigit() or int(seconds) % 60:
        raise invalid(
            f"Field alert_policy.conditions.duration: whole minutes are expected, got {threshold['duration']}"
        )


def _name(request: Request) -> str:
    return f"//{_SERVICE}{request.path.removeprefix('/v3')}"
