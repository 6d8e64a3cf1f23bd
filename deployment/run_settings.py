"""A service's settings as one flat mapping: as they are to be, as they are, and as flags of `gcloud run deploy`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .names import Names
from .present import Resource
from .service_files import Service

Settings = dict[str, str]
# What every function is run with, whatever it is.
_ENVIRONMENT = {
    # TensorFlow tells of its processor at every start otherwise.
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # Otherwise Google's Storage client asks for the bucket's metadata before each first use, which needs one more role.
    "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
}
_PROBE_SECONDS = 5
_PROBE_FAILURES = 48


def wanted_settings(names: Names, service: Service) -> Settings:
    """Return the settings that the files ask for."""
    of, function = names.environment, service.function
    found = {
        "memory": of.memory.get(function, service.memory),
        "cpu": str(service.cpu),
        "concurrency": str(service.concurrency),
        "timeout": str(service.timeout_seconds),
        "min-instances": str(of.min_instances.get(function, 0)),
        "max-instances": str(of.max_instances.get(function, service.max_instances)),
        "service-account": names.account(service.service),
        "ingress": "all",
        "invoker-iam-check": "on",
        "startup-path": service.startup_path,
        "cloud-sql": of.cloud_sql_instance if service.database != "none" else "",
    }
    found |= {f"env {name}": value for name, value in _variables(names, service).items()}
    return found | {f"secret {name}": secret for name, secret in names.secrets(service).items()}


def _variables(names: Names, service: Service) -> dict[str, str]:
    of = names.environment
    found = _ENVIRONMENT | {"ENVIRONMENT": of.name, "PROJECT_ID": of.project_id, "THREADS": str(service.concurrency)}
    if service.database != "none" and of.store_url:
        found["STORE_URL"] = of.store_url
    if service.objects != "none":
        found["OBJECTS_URL"] = of.objects_url
    if service.models:
        found["LOG_PREDICTIONS"] = f"{of.log_predictions:g}"
        found |= {
            key: value for key, value in (("MODELS_DIR", of.models_dir), ("DEFAULT_MODEL", of.default_model)) if value
        }
    if service.function == "web" and of.web_access == "public":
        found["READ_ONLY"] = "1"
    return found | {f"{called.upper()}_URL": names.url(called.replace("_", "-")) for called in service.calls}


def present_settings(there: Resource) -> Settings:
    """Return the settings of a service as Cloud Run has it."""
    template = there["spec"]["template"]
    notes, spec = template["metadata"].get("annotations", {}), template["spec"]
    container = spec["containers"][0]
    limits = container.get("resources", {}).get("limits", {})
    probe = container.get("startupProbe", {}).get("httpGet", {})
    service_notes = there["metadata"].get("annotations", {})
    found = {
        "memory": limits.get("memory", ""),
        "cpu": _whole(limits.get("cpu", "")),
        "concurrency": str(spec.get("containerConcurrency", "")),
        "timeout": str(spec.get("timeoutSeconds", "")),
        "min-instances": notes.get("autoscaling.knative.dev/minScale", "0"),
        "max-instances": notes.get("autoscaling.knative.dev/maxScale", ""),
        "service-account": spec.get("serviceAccountName", ""),
        "ingress": service_notes.get("run.googleapis.com/ingress", "all"),
        "invoker-iam-check": "off" if service_notes.get("run.googleapis.com/invoker-iam-disabled") == "true" else "on",
        "startup-path": probe.get("path", ""),
        "cloud-sql": notes.get("run.googleapis.com/cloudsql-instances", ""),
    }
    return found | dict(_present_variables(container))


def _present_variables(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for variable in container.get("env", ()):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            yield f"secret {variable['name']}", reference["name"]
        else:
            yield f"env {variable['name']}", variable.get("value", "")


def setting_flags(settings: Settings) -> Iterator[str]:
    """Yield the flags that set everything, so that nothing of an earlier deployment stays."""
    plain = ("memory", "cpu", "concurrency", "timeout", "min-instances", "max-instances", "service-account", "ingress")
    yield from (f"--{name}={settings[name]}" for name in plain)
    yield "--cpu-boost"
    yield "--execution-environment=gen2"
    path = f"httpGet.path={settings['startup-path']},httpGet.port=8080"
    yield f"--startup-probe={path},timeoutSeconds=5,periodSeconds={_PROBE_SECONDS},failureThreshold={_PROBE_FAILURES}"
    yield f"--set-env-vars={_joined({k[4:]: v for k, v in settings.items() if k.startswith('env ')})}"
    secrets = {k[7:]: f"{v}:latest" for k, v in settings.items() if k.startswith("secret ")}
    yield f"--set-secrets={_joined(secrets)}" if secrets else "--clear-secrets"
    database = settings["cloud-sql"]
    yield f"--set-cloudsql-instances={database}" if database else "--clear-cloudsql-instances"
    # Somebody may have opened the service to anybody with this check, past every policy.
    yield "--invoker-iam-check"


def _joined(values: Mapping[str, str]) -> str:
    """Return a mapping as gcloud reads it, with a separator that no value holds."""
    separator = next(mark for mark in (",", "|", "#", "~", "@@") if not any(mark in value for value in values.values()))
    text = separator.join(f"{name}={value}" for name, value in sorted(values.items()))
    return text if separator == "," else f"^{separator}^{text}"


def _whole(cpu: str) -> str:
    found = re.fullmatch(r"([0-9]+)000m", cpu)
    return found[1] if found else cpu
