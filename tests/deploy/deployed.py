"""What a created environment is to be, said once more without a line of deployment/: from the issue and the files."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.rehearsing import STAGING, Run

_RUN, _PUBSUB, _STORAGE = "//run.googleapis.com", "//pubsub.googleapis.com", "//storage.googleapis.com"
_INVOKER = "roles/run.invoker"
_APIS = (
    *("artifactregistry", "cloudbuild", "cloudscheduler", "firebaserules", "firestore", "iam", "iamcredentials"),
    *("logging", "monitoring", "pubsub", "run", "secretmanager", "storage"),
)
# Who calls a function besides its people and the smoke tests.
_CALLERS = {
    "store-result": {"push", "web"},
    "list-results": {"web"},
    "nightly-transform": {"push", "web"},
    "predict": {"nightly-transform", "web"},
}
_PUSHED = {"store-result": "predictions", "nightly-transform": "nightly"}
_PUBLISHERS = {"predictions": {"predict"}, "nightly": {"nightly-transform"}}
_DATABASE = {"read": "roles/datastore.viewer", "write": "roles/datastore.user"}
_OBJECTS = {"read": "roles/storage.objectViewer", "write": "roles/storage.objectUser"}
SERVICES = ("list-results", "nightly-transform", "predict", "store-result", "web")


class Deployed:
    """An environment as it is in a rehearsed cloud.

    Args:
        state: Of the cloud.
        repository: What was deployed.
        invokers: Who else may call, by service.
        project: Its project.
        access: To the page: private, iap or public.
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        repository: Path,
        invokers: Mapping[str, Iterable[str]] | None = None,
        project: str = STAGING,
        access: str = "private",
    ) -> None:
        self._resources, self._policies = state["resources"], state["policies"]
        self._root, self._project, self._invokers = repository, project, invokers or {}
        self._access = access
        number = self._resources[f"//cloudresourcemanager.googleapis.com/projects/{project}"]["projectNumber"]
        self._number = number
        self._agent = f"serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"
        self._sign_in = f"serviceAccount:service-{number}@gcp-sa-iap.iam.gserviceaccount.com"
        self._region = f"projects/{project}/locations/europe-west1"
        self._configured = {
            path.parent.name.replace("_", "-"): yaml.safe_load(path.read_text("utf-8"))
            for path in sorted((repository / "functions").glob("*/service.yaml"))
        }
        assert sorted(self._configured) == sorted(SERVICES)

    def check(self) -> None:
        """Check all of it."""
        self.check_project()
        for service in self._configured:
            self.check_service(service)
        self.check_messages()
        self.check_data()
        self.check_schedules()

    def check_project(self) -> None:
        """The APIs are enabled, each purpose has an account, and the project grants each no more than is due."""
        enabled = self._names(f"//serviceusage.googleapis.com/projects/{self._project}/services/")
        assert {f"{name}.googleapis.com" for name in _APIS} <= enabled, sorted(enabled)
        accounts = self._names(f"//iam.googleapis.com/projects/{self._project}/serviceAccounts/")
        wanted = {self._email(role) for role in (*SERVICES, "build", "push", "smoke")}
        assert wanted == accounts, sorted(wanted ^ accounts)
        granted = {
            (_DATABASE[of["database"]], self._member(name))
            for name, of in self._configured.items()
            if of.get("database", "none") != "none"
        }
        granted.add(("roles/run.builder", self._member("build")))
        self._grants(f"//cloudresourcemanager.googleapis.com/projects/{self._project}", granted)
        smoke = f"//iam.googleapis.com/projects/{self._project}/serviceAccounts/{self._email('smoke')}"
        self._grants(smoke, {("roles/iam.serviceAccountTokenCreator", "user:deployer@example.com")})

    def check_service(self, name: str) -> None:
        """A function is private, runs as itself with what service.yaml says, and all traffic goes to what was tried."""
        there, of = self._resources[f"{_RUN}/{self._region}/services/{name}"], self._configured[name]
        people = set(self._invokers.get(name, ()))
        callers = {self._member(role) for role in ("smoke", *_CALLERS.get(name, ()))} | people
        if name == "web":
            self._check_sign_in(there, people)
            callers = {"iap": {self._sign_in}, "private": callers, "public": {*callers, "allUsers"}}[self._access]
        self._grants(f"{_RUN}/{self._region}/services/{name}", {(_INVOKER, member) for member in callers})
        labels = there["spec"]["template"]["metadata"]["labels"]
        assert {"managed-by": "nightshift", "environment": "staging"}.items() <= labels.items(), labels
        assert re.fullmatch("[0-9a-f]{20}", labels.get("nightshift-source", "")), labels
        notes, spec = there["spec"]["template"]["metadata"]["annotations"], there["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert spec["serviceAccountName"] == self._email(name)
        assert spec["containerConcurrency"] == of["concurrency"]
        assert spec["timeoutSeconds"] == of["timeout_seconds"]
        assert notes["autoscaling.knative.dev/maxScale"] == str(of["max_instances"])
        assert notes["run.googleapis.com/execution-environment"] == "gen2"
        assert container["resources"]["limits"] == {"cpu": str(of["cpu"]), "memory": of["memory"]}
        assert container["startupProbe"]["httpGet"] == {"path": of["startup_path"], "port": 8080}
        assert "@sha256:" in container["image"], container["image"]
        self._check_variables(name, container)
        self._check_traffic(there["status"])

    def _check_sign_in(self, there: Mapping[str, Any], people: set[str]) -> None:
        """Google's sign-in stands in front of the page where it is to, for its people and the smoke tests."""
        on = there["metadata"]["annotations"].get("run.googleapis.com/iap-enabled") == "true"
        assert on == (self._access == "iap")
        name = f"//iap.googleapis.com/projects/{self._project}/iap_web/cloud_run-europe-west1/services/web"
        let_in = {*people, self._member("smoke")} if on else set()
        self._grants(name, {("roles/iap.httpsResourceAccessor", member) for member in let_in})

    def _check_variables(self, name: str, container: Mapping[str, Any]) -> None:
        of, found = self._configured[name], {each["name"]: each for each in container["env"]}
        plain = {key: each["value"] for key, each in found.items() if "value" in each}
        secret = {key: each["valueFrom"]["secretKeyRef"]["name"] for key, each in found.items() if "valueFrom" in each}
        wanted = {"ENVIRONMENT": "staging", "PROJECT_ID": self._project, "THREADS": str(of["concurrency"])}
        wanted |= {"TF_CPP_MIN_LOG_LEVEL": "2", "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true"}
        if of.get("database", "none") != "none":
            wanted["STORE_URL"] = f"firestore://{self._project}/(default)"
        if of.get("objects", "none") != "none":
            wanted["OBJECTS_URL"] = f"gs://{self._project}-nightshift-objects"
        if of.get("models"):
            wanted["LOG_PREDICTIONS"] = "1"
        if name == "web" and self._access == "public":
            wanted["READ_ONLY"] = "1"
        for called in of.get("calls", ()):
            wanted[f"{called.upper()}_URL"] = self._url(called.replace("_", "-"))
        assert plain == wanted
        assert secret == {variable: variable.lower().replace("_", "-") for variable in of.get("secrets", ())}

    def _check_traffic(self, status: Mapping[str, Any]) -> None:
        newest = status["latestReadyRevisionName"]
        assert newest == status["latestCreatedRevisionName"]
        percents = {target["revisionName"]: target["percent"] for target in status["traffic"] if target.get("percent")}
        assert percents == {newest: 100}
        tags = {target["tag"]: target["revisionName"] for target in status["traffic"] if target.get("tag")}
        assert tags["live"] == newest

    def check_messages(self) -> None:
        """Each topic has its publishers; its push is signed and patient, and what it gives up is kept."""
        place = f"{_PUBSUB}/projects/{self._project}"
        topics, pulled = set(_PUBLISHERS), {f"{topic}-dead-letters" for topic in _PUBLISHERS}
        assert self._names(f"{place}/topics/") == topics | pulled
        assert self._names(f"{place}/subscriptions/") == set(_PUSHED) | pulled
        for topic, publishers in _PUBLISHERS.items():
            self._grants(f"{place}/topics/{topic}", {("roles/pubsub.publisher", self._member(p)) for p in publishers})
        for dead in pulled:
            self._grants(f"{place}/topics/{dead}", {("roles/pubsub.publisher", self._agent)})
            held = self._resources[f"{place}/subscriptions/{dead}"]
            assert held["topic"] == f"projects/{self._project}/topics/{dead}"
            assert not held.get("pushConfig")
            assert not held["expirationPolicy"].get("ttl")
            assert held["messageRetentionDuration"] == "2678400s"
        for name, topic in _PUSHED.items():
            self._check_push(self._resources[f"{place}/subscriptions/{name}"], name, topic)
            self._grants(f"{place}/subscriptions/{name}", {("roles/pubsub.subscriber", self._agent)})

    def _check_push(self, there: Mapping[str, Any], name: str, topic: str) -> None:
        token = {"audience": self._url(name), "serviceAccountEmail": self._email("push")}
        assert there["topic"] == f"projects/{self._project}/topics/{topic}"
        assert there["pushConfig"] == {"pushEndpoint": f"{self._url(name)}/", "oidcToken": token}
        assert there["ackDeadlineSeconds"] == 600
        assert there["retryPolicy"] == {"minimumBackoff": "10s", "maximumBackoff": "600s"}
        letters = f"projects/{self._project}/topics/{topic}-dead-letters"
        assert there["deadLetterPolicy"] == {"deadLetterTopic": letters, "maxDeliveryAttempts": 20}
        assert not there["expirationPolicy"].get("ttl")

    def check_data(self) -> None:
        """The bucket is closed to the public, the database is as its files say, and one secret has its readers."""
        bucket = f"{_STORAGE}/buckets/{self._project}-nightshift-objects"
        guarded = self._resources[bucket]["iamConfiguration"]
        assert guarded["publicAccessPrevention"] == "enforced"
        assert guarded["uniformBucketLevelAccess"]["enabled"]
        users = {
            (_OBJECTS[of["objects"]], self._member(name))
            for name, of in self._configured.items()
            if of.get("objects", "none") != "none"
        }
        self._grants(bucket, users, besides=("roles/storage.legacyBucketOwner", "roles/storage.legacyBucketReader"))
        self._check_firestore()
        secrets = f"//secretmanager.googleapis.com/projects/{self._project}/secrets/"
        assert self._names(secrets) == {"page-token-key"}
        assert self._names(f"{secrets}page-token-key/versions/") == {"1"}
        readers = {self._member(name) for name, of in self._configured.items() if of.get("secrets")}
        self._grants(f"{secrets}page-token-key", {("roles/secretmanager.secretAccessor", each) for each in readers})
        assert f"//artifactregistry.googleapis.com/{self._region}/repositories/nightshift" in self._resources

    def _check_firestore(self) -> None:
        base = f"//firestore.googleapis.com/projects/{self._project}/databases/(default)"
        database = self._resources[base]
        assert (database["locationId"], database["type"]) == ("eur3", "FIRESTORE_NATIVE")
        wanted = json.loads((self._root / "firestore.indexes.json").read_text("utf-8"))
        groups = f"{base}/collectionGroups/"
        found = {
            _index(name.removeprefix(groups).partition("/")[0], each)
            for name, each in self._resources.items()
            if name.startswith(groups) and "/indexes/" in name
        }
        assert found == {_index(each["collectionGroup"], each) for each in wanted["indexes"]}
        for each in wanted["fieldOverrides"]:
            field = self._resources[f"{groups}{each['collectionGroup']}/fields/{each['fieldPath']}"]
            assert field["indexConfig"]["indexes"] == [], each
            assert bool(field.get("ttlConfig")) == bool(each.get("ttl")), each
        rules = f"//firebaserules.googleapis.com/projects/{self._project}"
        ruleset = self._resources[f"{rules}/releases/cloud.firestore"]["rulesetName"]
        (file,) = self._resources[f"//firebaserules.googleapis.com/{ruleset}"]["source"]["files"]
        assert file["content"] == (self._root / "firestore.rules").read_text("utf-8")

    def check_schedules(self) -> None:
        """Cloud Scheduler has every job of jobs.yaml, at its time, told on the topic that is pushed."""
        jobs = yaml.safe_load((self._root / "scheduler" / "jobs.yaml").read_text("utf-8"))["jobs"]
        place = f"//cloudscheduler.googleapis.com/{self._region}/jobs/nightshift-"
        assert self._names(place) == set(jobs)
        for name, job in jobs.items():
            there = self._resources[f"{place}{name}"]
            assert (there["schedule"], there["timeZone"]) == (job["schedule"], job["time_zone"])
            assert there["pubsubTarget"]["topicName"] == f"projects/{self._project}/topics/nightly"
            assert json.loads(base64.b64decode(there["pubsubTarget"]["data"]))["job"] == name

    def _grants(self, name: str, wanted: set[tuple[str, str]], besides: Iterable[str] = ()) -> None:
        bindings = self._policies.get(name, {}).get("bindings", [])
        found = {(each["role"], member) for each in bindings for member in each["members"]}
        found = {(role, member) for role, member in found if role not in besides}
        assert found == wanted, f"{name}: {sorted(found ^ wanted)}"

    def _names(self, prefix: str) -> set[str]:
        found = (name[len(prefix) :] for name in self._resources if name.startswith(prefix))
        return {name for name in found if "/" not in name}

    def _email(self, role: str) -> str:
        return f"nightshift-{role}@{self._project}.iam.gserviceaccount.com"

    def _member(self, role: str) -> str:
        return f"serviceAccount:{self._email(role)}"

    def _url(self, service: str) -> str:
        return f"https://{service}-{self._number}.europe-west1.run.app"


def check_calls(calls: Iterable[Mapping[str, Any]]) -> None:
    """No call was one that the rehearsal does not know, or failed at, or that came without a token."""
    wrong = [call for call in calls if call["status"] in (500, 501) or (call["status"] == 401)]
    assert not wrong, wrong[:3]


# What differs between two runs that made the same: times, numbers, names that are made up.
_PASSING = re.compile(
    r".*(Time|Timestamp|time)$|updated$|timeCreated|uid|uniqueId|etag|oauth2ClientId|generation|observedGeneration"
    r"|resourceVersion|rulesetName|metageneration|.*(nonce|configurationGeneration|build-id|build-name|build-source-location)"
)
_PASSING_NAME = re.compile(
    r".*(/operations/|//idtokens/|//signedtokens/|run-sources-|/versions/|/revisions/|/rulesets/|/tags/).*"
)
_REVISION = re.compile(r"-[0-9]{5}-[a-z]{3}\b")


def essence(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a cloud's state is there for good: the same after one run as after ten that were cut off."""
    made = {name: each for name, each in state["resources"].items() if not _PASSING_NAME.fullmatch(name)}
    policies = {name: _sorted_policy(each) for name, each in state["policies"].items() if "run-sources-" not in name}
    return {"resources": _lasting(made), "policies": policies}


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(each) for key, each in value.items() if not _PASSING.fullmatch(key)}
    if isinstance(value, list):
        return [_lasting(each) for each in value]
    return _REVISION.sub("-REVISION", value) if isinstance(value, str) else value


def _sorted_policy(policy: Mapping[str, Any]) -> dict[str, list[str]]:
    return {each["role"]: sorted(each["members"]) for each in policy["bindings"]}


def _index(collection: str, index: Mapping[str, Any]) -> tuple[str, ...]:
    fields = (f"{each['fieldPath']} {each.get('arrayConfig') or each.get('order')}" for each in index["fields"])
    return (collection, *(field for field in fields if not field.startswith("__name__ ")))


def check_release(run: Run, *services: str) -> None:
    """Each was deployed privately and without traffic, tried under its tag, given traffic, and tried again.

    Args:
        run: Which released them, over revisions that answered before.
        services: What was released, and nothing else.
    """
    deploys = [words for words in run.commands if words[:2] == ["run", "deploy"]]
    assert sorted(words[2] for words in deploys) == sorted(services)
    for words in deploys:
        assert "--allow-unauthenticated" not in words
        assert {"--no-traffic", "--tag=candidate"} <= set(words), words
    for service in services:
        replaced = [number for number, call in enumerate(run.calls) if _replaces(call, service)]
        assert len(replaced) == 2, (
            f"expected the deployment of {service}, then its traffic; got {len(replaced)} changes"
        )
        deployed, moved = replaced
        candidate, everybody = f"candidate---{service}-", f"{service}-"
        for status in (200, 403):
            asked = [(number, call["host"]) for number, call in enumerate(run.calls) if _asks(call, status)]
            before = [host for number, host in asked if deployed < number < moved and host.startswith(candidate)]
            after = [host for number, host in asked if number > moved and host.startswith(everybody)]
            assert before, f"expected {service} to be tried before its traffic, for {status}; got {asked}"
            assert after, f"expected {service} to be tried with its traffic, for {status}; got {asked}"


def _replaces(call: Mapping[str, Any], service: str) -> bool:
    return bool(call["method"] == "PUT" and call["path"].endswith(f"/services/{service}") and call["status"] == 200)


def _asks(call: Mapping[str, Any], status: int) -> bool:
    return bool(call["path"] == "/health" and call["status"] == status)
