"""Cloud Run, rehearsed: what is deployed really runs, traffic is shared, and what Google refuses is refused."""

import copy
import io
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager

import grpc
import httpx
import pytest
from google.api_core.exceptions import NotFound, PermissionDenied
from google.cloud.scheduler_v1 import CloudSchedulerClient, Job, PubsubTarget
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcTransport

from deployment.rehearsal.cloud_scheduler import cloud_scheduler_emulator
from deployment.rehearsal.control_plane import TOKEN
from deployment.rehearsal.running import add_project, running_rehearsal
from deployment.rehearsal.world import World, locked
from functions._staging.stage import stage
from shared.config import ROOT

pytestmark = pytest.mark.xdist_group("gcloud")

_STAGING, _PROD, _REGION = "ns-staging", "ns-prod", "europe-west1"
_APIS = ("run", "cloudbuild", "artifactregistry", "storage", "secretmanager", "iam", "iamcredentials", "pubsub")
_KNATIVE = f"https://{_REGION}-run.googleapis.com/apis/serving.knative.dev/v1/namespaces"
_RUN = "https://run.googleapis.com/v1/projects"
_REGISTRY = f"{_REGION}-docker.pkg.dev"
# A function that says what it was started with; it needs nothing but what a real one declares.
_HELLO = """
import os

import functions_framework


@functions_framework.http
def hello(request):
    if request.path == "/health":
        return ("ok", 503 if os.environ.get("UNWELL") else 200)
    said = {name: os.environ.get(name) for name in ("K_SERVICE", "K_REVISION", "GREETING", "SECRET", "HTTPS_PROXY")}
    said |= {"leaked": os.environ.get("PYTEST_CURRENT_TEST"), "query": request.query_string.decode()}
    return said | {"body": request.get_data(as_text=True), "token": request.headers.get("Authorization")}
"""
_PUBLISHER = """
import functions_framework
from google.api_core.exceptions import NotFound
from google.pubsub_v1 import PublisherClient, PubsubMessage


@functions_framework.http
def hello(request):
    if request.path == "/health":
        return "ok"
    try:
        message = PubsubMessage(data=b"said", attributes={"model": "digits"})
        return {"ids": list(PublisherClient().publish(topic=request.path[1:], messages=[message]).message_ids)}
    except NotFound as error:
        return (str(error), 404)
"""
_PROBE = {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 12}


class _Cloud:
    """A rehearsed cloud reached by plain HTTP, with the deployer's token."""

    def __init__(self, rehearsal, http):
        self.rehearsal, self.world, self.http = rehearsal, rehearsal.world, http

    def call(self, method, url, body=None, **options):
        """Return the status and the JSON of a call that has to be known to the rehearsal."""
        answer = self.http.request(method, url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}, **options)
        assert answer.status_code < 500, answer.text
        return answer.status_code, answer.json() if answer.content else None

    def make(self, method, url, body=None, **options):
        """Make a call that has to succeed, and return its JSON."""
        status, answer = self.call(method, url, body, **options)
        assert status < 300, answer
        return answer

    def account(self, project, name):
        """Make a service account where there is none, and return its address."""
        self.call("POST", f"https://iam.googleapis.com/v1/projects/{project}/serviceAccounts", {"accountId": name})
        return f"{name}@{project}.iam.gserviceaccount.com"

    def grant(self, url, role, member):
        """Set a policy of one binding."""
        self.make("POST", f"{url}:setIamPolicy", {"policy": {"bindings": [{"role": role, "members": [member]}]}})

    def build(self, source, image="hello", project=_STAGING, account=None, **changes):
        """Upload an archive, build it, and return the finished operation, or the refusal."""
        bucket = f"{project}-sources"
        self.call("POST", f"https://storage.googleapis.com/storage/v1/b?project={project}", {"name": bucket})
        data = source if isinstance(source, bytes) else _zipped(source)
        where = {"uploadType": "media", "name": "source.zip"}
        url = f"https://storage.googleapis.com/upload/storage/v1/b/{bucket}/o"
        uploaded = self.http.post(url, params=where, content=data, headers={"Authorization": f"Bearer {TOKEN}"})
        assert uploaded.status_code == 200, uploaded.text
        account = account or f"nightshift-build@{project}.iam.gserviceaccount.com"
        body = {
            "storageSource": {"bucket": bucket, "object": "source.zip"},
            "imageUri": f"{_REGISTRY}/{project}/nightshift/{image}",
            "buildpackBuild": {"baseImage": "python312", "functionTarget": "hello"},
            "serviceAccount": f"projects/{project}/serviceAccounts/{account}",
            **changes,
        }
        url = f"https://run.googleapis.com/v2/projects/{project}/locations/{_REGION}/builds:submit"
        status, answer = self.call("POST", url, body)
        if status != 200:
            return answer
        operation = answer["buildOperation"]
        assert not operation["done"]
        while not operation["done"]:
            operation = self.make("GET", f"https://cloudbuild.googleapis.com/v1/{operation['name']}")
        return operation

    def deploy(self, service, project=_STAGING):
        """Create a service or replace it, wait until it has settled, and return it, or the refusal."""
        name = service["metadata"]["name"]
        one = f"{_KNATIVE}/{project}/services/{name}"
        there = self.call("GET", one)[0] == 200
        status, answer = self.call("PUT" if there else "POST", one if there else one.rpartition("/")[0], service)
        while status == 200 and answer["status"]["conditions"][0]["status"] == "Unknown":
            answer = self.make("GET", one)
        return answer

    def get(self, service, project=_STAGING):
        """Return a service as it is, fit to be put again."""
        return self.make("GET", f"{_KNATIVE}/{project}/services/{service}")

    def ask(self, url, token=None, **options):
        """Return the answer of a deployed function."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.request(options.pop("method", "GET"), url, headers=headers, timeout=60, **options)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """Serve two projects that have everything which a service needs."""
    with _clouds(tmp_path_factory.mktemp("cloud")) as cloud:
        for project in (_STAGING, _PROD):
            _prepare(cloud, project)
        cloud.digest = _digest(cloud.build(_source()))
        yield cloud


@pytest.fixture(scope="module")
def invoker(cloud):
    """Return a function from a URL to an ID token of the account that may call every service here."""
    account = cloud.account(_STAGING, "nightshift-smoke")
    own = f"https://iam.googleapis.com/v1/projects/{_STAGING}/serviceAccounts/{account}"
    cloud.grant(own, "roles/iam.serviceAccountTokenCreator", "user:deployer@example.com")
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateIdToken"
    return lambda audience: cloud.make("POST", url, {"audience": audience, "includeEmail": True})["token"]


def test_a_function_deployed_by_gcloud_answers_and_a_second_revision_waits_under_its_tag(
    cloud, invoker, gcloud_folder, tmp_path
):
    """`run deploy --source` builds, starts and routes; --no-traffic --tag leaves the traffic where it was."""
    source = stage("list_results", tmp_path / "list_results")
    account = cloud.account(_STAGING, "nightshift-list-results")
    _secret(cloud, "page-token-key", account)
    flags = _flags("list-results", source, account)
    gcloud = _gcloud(cloud, gcloud_folder)

    gcloud(*flags)
    gcloud(*flags, "--no-traffic", "--tag=c-abc")

    (service,) = json.loads(gcloud("run", "services", "list", f"--region={_REGION}", "--format=json"))
    first, second = [target["revisionName"] for target in service["status"]["traffic"]]
    assert [target.get("percent", 0) for target in service["status"]["traffic"]] == [100, 0]
    url, tagged = service["status"]["url"], service["status"]["traffic"][1]["url"]
    assert cloud.ask(f"{url}/health").status_code == 403
    _invoke(cloud, "list-results", "nightshift-smoke")
    for where in (url, tagged):
        assert cloud.ask(f"{where}/health", invoker(url)).json()["status"] == "ok"
    split = f"--to-revisions={second}=10,{first}=90"
    gcloud("run", "services", "update-traffic", "list-results", split, f"--region={_REGION}")
    gcloud("run", "services", "update-traffic", "list-results", "--remove-tags=c-abc", f"--region={_REGION}")
    shares = {t["revisionName"]: t["percent"] for t in cloud.get("list-results")["status"]["traffic"]}
    assert shares == {first: 90, second: 10}
    image = f"{_REGISTRY}/{_STAGING}/nightshift/list-results"
    described = json.loads(gcloud("artifacts", "docker", "images", "describe", image, "--format=json"))
    revisions = gcloud(
        "run",
        "revisions",
        "list",
        "--service=list-results",
        f"--region={_REGION}",
        "--format=value(status.imageDigest)",
    )
    assert revisions.split() == 2 * [described["image_summary"]["fully_qualified_digest"]]
    gcloud("run", "services", "delete", "list-results", f"--region={_REGION}", "--quiet")
    assert cloud.call("GET", f"{_KNATIVE}/{_STAGING}/services/list-results")[0] == 404
    assert cloud.ask(f"{url}/health").status_code == 404


def test_a_revision_that_does_not_start_makes_gcloud_fail_and_leaves_the_traffic(cloud, gcloud_folder):
    """The old revision goes on; the new one says why it is not ready."""
    before = cloud.deploy(_service(cloud, "unwell"))
    probe = ",".join(
        ("httpGet.path=/health", "httpGet.port=8080", "timeoutSeconds=1", "periodSeconds=1", "failureThreshold=1")
    )
    gcloud = _gcloud(cloud, gcloud_folder)

    said = gcloud(
        *("run", "services", "update", "unwell", "--update-env-vars=UNWELL=1", f"--startup-probe={probe}"),
        f"--region={_REGION}",
        fails=True,
    )

    assert "is not ready and cannot serve traffic" in said
    after = cloud.get("unwell")["status"]
    assert after["traffic"] == before["status"]["traffic"]
    assert after["latestReadyRevisionName"] == before["status"]["latestReadyRevisionName"]
    assert after["latestCreatedRevisionName"] != after["latestReadyRevisionName"]


def test_a_tag_left_on_a_revision_that_failed_keeps_the_service_from_being_ready(cloud):
    """As Cloud Run has it: traffic stays where it was until no target names what cannot serve."""
    service = cloud.deploy(_service(cloud, "tagged"))
    first = service["status"]["latestReadyRevisionName"]
    template = service["spec"]["template"]
    template["metadata"]["name"] = "tagged-bad"
    template["spec"]["containers"][0]["env"] = [{"name": "UNWELL", "value": "1"}]
    template["spec"]["containers"][0]["startupProbe"] |= {
        "failureThreshold": 1,
        "periodSeconds": 1,
        "timeoutSeconds": 1,
    }
    kept = {"revisionName": first, "percent": 100}
    service["spec"]["traffic"] = [kept, {"revisionName": "tagged-bad", "tag": "candidate"}]

    failed = cloud.deploy(service)
    failed["spec"]["template"]["metadata"]["name"] = "tagged-good"
    failed["spec"]["template"]["spec"]["containers"][0]["env"] = []
    still = cloud.deploy(copy.deepcopy(failed))
    still["spec"]["traffic"] = [kept, {"revisionName": "tagged-good", "tag": "candidate"}]
    moved = cloud.deploy(copy.deepcopy(still))

    assert [one["status"]["conditions"][0]["status"] for one in (failed, still, moved)] == ["False", "False", "True"]
    assert "'tagged-bad' is not ready" in still["status"]["conditions"][0]["message"]
    assert failed["status"]["traffic"] == still["status"]["traffic"] == service["status"]["traffic"]
    assert [target["revisionName"] for target in moved["status"]["traffic"]] == [first, "tagged-good"]


def test_a_revision_runs_with_its_variables_and_secrets_and_nothing_of_the_developers(cloud, invoker):
    """Its own, Cloud Run's and those that lead into the rehearsed cloud; the request arrives as it was sent."""
    account = f"nightshift-hello@{_STAGING}.iam.gserviceaccount.com"
    _secret(cloud, "hello-key", account)
    secret = {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "hello-key", "key": "latest"}}}
    service = cloud.deploy(_service(cloud, "hello-env", env=[{"name": "GREETING", "value": "hi"}, secret]))
    _invoke(cloud, "hello-env", "nightshift-smoke")
    url = service["status"]["url"]

    said = cloud.ask(f"{url}/a?b=1&b=2", invoker(url), method="POST", content=b"sent").json()

    assert (said["K_SERVICE"], said["GREETING"], said["SECRET"]) == ("hello-env", "hi", "0123456789abcdef")
    assert said["K_REVISION"] == service["status"]["latestReadyRevisionName"]
    assert said["HTTPS_PROXY"] == cloud.rehearsal.proxy.url
    assert said["leaked"] is None
    assert (said["query"], said["body"]) == ("b=1&b=2", "sent")
    assert said["token"].endswith(".SIGNATURE_REMOVED_BY_GOOGLE")


def test_traffic_is_shared_as_its_percents_say(cloud, invoker):
    """Of a hundred requests in a row, each revision gets its percent; both URLs of a service are audiences."""
    service = cloud.deploy(_service(cloud, "shared"))
    first = service["status"]["latestReadyRevisionName"]
    service["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "GREETING", "value": "two"}]
    service["spec"]["traffic"] = [{"revisionName": first, "percent": 90}, {"latestRevision": True, "percent": 10}]
    service = cloud.deploy(service)
    _invoke(cloud, "shared", "nightshift-smoke")
    numbered, url = json.loads(service["metadata"]["annotations"]["run.googleapis.com/urls"])
    tokens = [invoker(numbered), invoker(url)]

    answers = [cloud.ask(numbered, tokens[count % 2]).json()["K_REVISION"] for count in range(100)]

    assert answers.count(first) == 90
    assert answers.count(service["status"]["latestReadyRevisionName"]) == 10


@pytest.mark.parametrize(
    ("audience", "account", "status"),
    [
        ("https://somewhere-else.a.run.app", "nightshift-smoke", 401),
        (None, "nightshift-hello", 403),
        (None, "nightshift-smoke", 200),
    ],
)
def test_the_front_door_lets_in_who_has_the_role_with_a_token_for_this_service(cloud, audience, account, status):
    """A token for another audience is none; a good one of an account without roles/run.invoker does not help."""
    url = cloud.deploy(_service(cloud, "guarded"))["status"]["url"]
    _invoke(cloud, "guarded", "nightshift-smoke")
    email = cloud.account(_STAGING, account)
    own = f"https://iam.googleapis.com/v1/projects/{_STAGING}/serviceAccounts/{email}"
    cloud.grant(own, "roles/iam.serviceAccountTokenCreator", "user:deployer@example.com")
    issue = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateIdToken"
    token = cloud.make("POST", issue, {"audience": audience or url})["token"]

    assert cloud.ask(url, token).status_code == status


def test_a_service_open_to_all_asks_for_no_token(cloud):
    """allUsers with roles/run.invoker; the path that Cloud Run keeps for itself does not arrive."""
    url = cloud.deploy(_service(cloud, "open"))["status"]["url"]
    cloud.grant(f"{_RUN}/{_STAGING}/locations/{_REGION}/services/open", "roles/run.invoker", "allUsers")

    assert cloud.ask(url).status_code == 200
    assert cloud.ask(f"{url}/healthz").status_code == 404


@pytest.fixture
def signed_in(cloud):
    """Return the URL of a service that has Google's sign-in in front, and a maker of tokens that its account signs."""
    services = f"https://serviceusage.googleapis.com/v1beta1/projects/{_STAGING}/services/iap.googleapis.com"
    cloud.make("POST", f"{services.replace('v1beta1', 'v1')}:enable", {})
    agent = cloud.make("POST", f"{services}:generateServiceIdentity", {})["response"]["email"]
    url = cloud.deploy(_behind_sign_in(cloud, "signed-in"))["status"]["url"]
    cloud.grant(f"{_RUN}/{_STAGING}/locations/{_REGION}/services/signed-in", "roles/run.invoker", _account(agent))
    email = cloud.account(_STAGING, "nightshift-smoke")
    own = f"https://iam.googleapis.com/v1/projects/{_STAGING}/serviceAccounts/{email}"
    cloud.grant(own, "roles/iam.serviceAccountTokenCreator", "user:deployer@example.com")

    def sign(audience, **claims):
        began = int(time.time())
        claims = {"iss": email, "sub": email, "aud": audience, "iat": began, "exp": began + 3600, **claims}
        signing = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:signJwt"
        return cloud.make("POST", signing, {"payload": json.dumps(claims)})["signedJwt"]

    return url, sign


def test_the_sign_in_lets_through_whom_its_policy_names_by_what_they_signed(cloud, signed_in, invoker):
    """For the very URL or all below it; an ID token for Cloud Run is none, nor is one that goes on for two hours."""
    url, sign = signed_in
    stranger, unnamed = cloud.ask(url), cloud.ask(url, sign(f"{url}/*"))
    _let_through(cloud, "signed-in", _account(cloud.account(_STAGING, "nightshift-smoke")))
    began = int(time.time())
    refused = [
        invoker(url),
        sign("https://elsewhere.run.app/*"),
        sign(f"{url}/other"),
        sign(f"{url}/*", sub="somebody"),
    ]
    refused.append(sign(f"{url}/*", exp=began + 7200))

    assert stranger.status_code == 302
    assert stranger.headers["location"].startswith("https://accounts.google.com/")
    assert unnamed.status_code == 403
    assert [cloud.ask(f"{url}/", token).status_code for token in refused] == [401] * len(refused)
    for token in (sign(f"{url}/*"), sign(f"{url}/")):
        assert cloud.ask(f"{url}/", token).json()["K_SERVICE"] == "signed-in"
    cloud.grant(
        f"{_RUN}/{_STAGING}/locations/{_REGION}/services/signed-in", "roles/run.invoker", "user:ana@example.com"
    )
    assert cloud.ask(f"{url}/", sign(f"{url}/*")).status_code == 403


def test_what_is_signed_in_a_service_accounts_name_is_no_token_for_cloud_run(cloud, signed_in):
    """Only Google's own ID tokens are; and nobody but those who may act as the account can have it sign."""
    _, sign = signed_in
    url = cloud.deploy(_service(cloud, "guarded"))["status"]["url"]
    _invoke(cloud, "guarded", "nightshift-smoke")
    other = cloud.account(_STAGING, "nightshift-hello")
    signing = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{other}:signJwt"
    own = f"https://iam.googleapis.com/v1/projects/{_STAGING}/serviceAccounts/{other}"
    cloud.grant(own, "roles/iam.serviceAccountOpenIdTokenCreator", "user:deployer@example.com")

    assert cloud.ask(url, sign(url)).status_code == 401
    assert cloud.call("POST", signing, {"payload": json.dumps({"exp": int(time.time()) + 60})})[0] == 403


def test_the_sign_in_needs_its_api_its_stage_its_agent_and_its_service(cloud, signed_in):
    """Each is refused where it is missing; a resource that is no Cloud Run service is not rehearsed."""
    early = _behind_sign_in(cloud, "early", _PROD)
    stable = _behind_sign_in(cloud, "stable")
    del stable["metadata"]["annotations"]["run.googleapis.com/launch-stage"]
    policies = f"https://iap.googleapis.com/v1/projects/{cloud.world.project_number(_STAGING)}/iap_web"
    body = {"policy": {"bindings": [{"role": "roles/run.invoker", "members": ["user:ana@example.com"]}]}}
    place = f"{policies}/cloud_run-{_REGION}/services"
    prod = f"https://iap.googleapis.com/v1/projects/{_PROD}/iap_web/cloud_run-{_REGION}/services/signed-in"
    whole = f"https://cloudresourcemanager.googleapis.com/v1/projects/{_PROD}"
    agent = _account(f"service-{cloud.world.project_number(_PROD)}@gcp-sa-iap.iam.gserviceaccount.com")
    named = {"policy": {"bindings": [{"role": "roles/run.invoker", "members": [agent]}]}}

    assert cloud.call("POST", f"{_KNATIVE}/{_PROD}/services", early)[0] == 403
    assert cloud.call("POST", f"{_KNATIVE}/{_STAGING}/services", stable)[0] == 400
    assert cloud.call("POST", f"{prod}:getIamPolicy", {})[0] == 403
    assert cloud.call("POST", f"{place}/nobody:getIamPolicy", {})[0] == 404
    assert cloud.call("POST", f"{place}/signed-in:setIamPolicy", body)[0] == 400
    assert cloud.call("POST", f"{policies}/compute/services/signed-in:getIamPolicy", {})[0] == 404
    assert cloud.call("POST", f"{whole}:setIamPolicy", named)[0] == 400


def test_conditions_are_shown_to_those_who_ask_for_them(cloud):
    """Others see a role of an odd name."""
    cloud.deploy(_service(cloud, "conditional"))
    url = f"{_RUN}/{_STAGING}/locations/{_REGION}/services/conditional"
    binding = {
        "role": "roles/run.invoker",
        "members": ["allUsers"],
        "condition": {"title": "Now", "expression": "true"},
    }
    cloud.make("POST", f"{url}:setIamPolicy", {"policy": {"version": 3, "bindings": [binding]}})

    (odd,) = cloud.make("GET", f"{url}:getIamPolicy")["bindings"]
    whole = cloud.make("GET", f"{url}:getIamPolicy", params={"options.requestedPolicyVersion": 3})["bindings"]

    assert odd["role"].startswith("roles/run.invoker_withcond_")
    assert "condition" not in odd
    assert whole == [binding]


def _limits(**limits):
    return lambda spec: spec["containers"][0].update(resources={"limits": limits})


def _environment(*names):
    return lambda spec: spec["containers"][0].update(env=[{"name": name, "value": "1"} for name in names])


def _label(key, value):
    return lambda service: service["metadata"].update(labels={key: value})


def _traffic(*targets):
    return lambda service: service["spec"].update(traffic=list(targets))


_LATEST = {"latestRevision": True, "percent": 100}
_SPECS = {
    "more memory than a cpu has": _limits(memory="5Gi", cpu="1"),
    "more than 1Gi with less than a cpu": _limits(memory="2Gi", cpu="500m"),
    "memory without a unit that is known": _limits(memory="512MB", cpu="1"),
    "no such number of cpus": _limits(memory="512Mi", cpu="3"),
    "several requests with less than a cpu": _limits(memory="256Mi", cpu="500m"),
    "a timeout above an hour": lambda spec: spec.update(timeoutSeconds=3601),
    "a concurrency above a thousand": lambda spec: spec.update(containerConcurrency=1001),
    "a variable that Cloud Run sets": _environment("PORT"),
    "a variable twice": _environment("ONE", "ONE"),
    "a field that is not known": lambda spec: spec.update(servicAccountName="x"),
    "no image": lambda spec: spec["containers"][0].pop("image"),
    "a probe that takes too long": lambda spec: spec["containers"][0]["startupProbe"].update(failureThreshold=99),
    "an account that is not there": lambda spec: spec.update(
        serviceAccountName=f"no@{_STAGING}.iam.gserviceaccount.com"
    ),
}
_WHOLES = {
    "a label in capitals": _label("app", "Nightshift"),
    "a label's key with a dot": _label("app.kubernetes.io", "x"),
    "percents that are not 100": _traffic({"latestRevision": True, "percent": 90}),
    "a tag in capitals": _traffic({**_LATEST, "tag": "Candidate"}),
    "a tag too long for a host name": _traffic({**_LATEST, "tag": "a" * 41}),
    "a tag twice": _traffic({**_LATEST, "tag": "a"}, {"latestRevision": True, "tag": "a"}),
    "a revision that is not there": _traffic({"revisionName": "refused-00009-abc", "percent": 100}),
    "a name in capitals": lambda service: service["metadata"].update(name="Refused"),
    "another region's host": None,
}


@pytest.mark.parametrize("change", _SPECS)
def test_what_cloud_run_rejects_of_a_revision_is_refused_and_nothing_is_made(cloud, change):
    """As the API refuses it on receiving it, in a dry run too."""
    service = _service(cloud, "refused")
    _SPECS[change](service["spec"]["template"]["spec"])

    for query in ("", "?dryRun=all"):
        status, _ = cloud.call("POST", f"{_KNATIVE}/{_STAGING}/services{query}", service)
        assert status in (400, 403)
    assert cloud.call("GET", f"{_KNATIVE}/{_STAGING}/services/refused")[0] == 404


@pytest.mark.parametrize("change", _WHOLES)
def test_what_cloud_run_rejects_of_a_service_is_refused_and_nothing_is_made(cloud, change):
    """Names, labels, tags and splits."""
    service, knative = _service(cloud, "refused"), _KNATIVE
    if change == "another region's host":
        knative = _KNATIVE.replace(f"{_REGION}-run", "run")
    else:
        _WHOLES[change](service)

    status, _ = cloud.call("POST", f"{knative}/{_STAGING}/services", service)

    assert status in (400, 404)
    assert cloud.call("GET", f"{_KNATIVE}/{_STAGING}/services/refused")[0] == 404


def test_a_dry_run_makes_nothing(cloud):
    """What is good is said to be good, and that is all."""
    status, _ = cloud.call("POST", f"{_KNATIVE}/{_STAGING}/services?dryRun=all", _service(cloud, "dry"))

    assert status == 200
    assert cloud.call("GET", f"{_KNATIVE}/{_STAGING}/services/dry")[0] == 404


@pytest.mark.parametrize(
    ("name", "env", "image", "said"),
    [
        ("unread", "secret-unread", None, "Permission denied on secret"),
        ("unmade", "secret-unmade", None, "was not found"),
        ("unbuilt", None, "hello@sha256:" + 64 * "0", "not found"),
    ],
)
def test_what_a_revision_lacks_is_said_by_its_conditions(cloud, name, env, image, said):
    """A secret that is missing or not granted, an image that nobody built: the service is made, and not ready."""
    if name == "unread":
        _secret(cloud, "secret-unread", cloud.account(_STAGING, "nightshift-smoke"))
    variables = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": env, "key": "latest"}}}] if env else []
    service = _service(cloud, name, env=variables)
    if image:
        service["spec"]["template"]["spec"]["containers"][0]["image"] = f"{_REGISTRY}/{_STAGING}/nightshift/{image}"

    ready = cloud.deploy(service)["status"]["conditions"][0]

    assert ready["status"] == "False"
    assert said in ready["message"]


def test_an_image_of_another_project_needs_this_projects_agent_as_a_reader(cloud):
    """What was built in staging runs in production, bit for bit, once production's Cloud Run may read it."""
    service = _service(cloud, "promoted", project=_PROD)
    agent = f"service-{cloud.world.project_number(_PROD)}@serverless-robot-prod.iam.gserviceaccount.com"

    refused = cloud.deploy(copy.deepcopy(service), _PROD)["status"]["conditions"][0]
    url = f"https://artifactregistry.googleapis.com/v1/projects/{_STAGING}/locations/{_REGION}/repositories/nightshift"
    cloud.grant(url, "roles/artifactregistry.reader", f"serviceAccount:{agent}")
    service["spec"]["template"]["metadata"] = {"labels": {"attempt": "second"}}
    taken = cloud.deploy(service, _PROD)["status"]["conditions"][0]

    assert refused["status"] == "False"
    assert agent in refused["message"]
    assert taken["status"] == "True"


def test_an_image_is_named_by_what_is_in_it(cloud):
    """The same archive is the same digest; a changed byte is another."""
    changed = _source() | {"main.py": _HELLO + "\n"}

    assert _digest(cloud.build(_source())) == cloud.digest
    assert _digest(cloud.build(changed)) != cloud.digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"main.py": None}, "main.py"),
        ({"requirements.txt": None}, "requirements.txt"),
        ({"shared/broken.py": "def broken(:\n"}, "compileall"),
        ({"requirements.txt": "no such line"}, "requirements"),
    ],
)
def test_an_archive_that_the_buildpack_refuses_fails_the_build(cloud, change, said):
    """Any file that does not compile, not main.py alone."""
    source = {name: text for name, text in {**_source(), **change}.items() if text is not None}

    operation = cloud.build(source)

    assert said in operation["error"]["message"]
    assert operation["metadata"]["build"]["status"] == "FAILURE"


def test_a_build_needs_its_account_its_role_and_its_repository(cloud):
    """roles/run.builder on the project; a repository is not made on the way."""
    outsider = cloud.account(_STAGING, "nightshift-outsider")
    elsewhere = f"{_REGISTRY}/{_STAGING}/elsewhere/hello"

    unknown = cloud.build(_source(), account=f"no@{_STAGING}.iam.gserviceaccount.com")
    lacking = cloud.build(_source(), account=outsider)
    homeless = cloud.build(_source(), imageUri=elsewhere)

    assert unknown["error"]["code"] == 403
    assert "roles/run.builder" in lacking["error"]["message"]
    assert "repositories/elsewhere" in homeless["error"]["message"]


def test_a_service_that_somebody_else_changed_is_not_overwritten(cloud):
    """A stale resourceVersion is a conflict; a change of traffic alone makes no revision."""
    stale = cloud.deploy(_service(cloud, "raced"))
    current = cloud.get("raced")
    current["spec"]["traffic"] = [{"revisionName": current["status"]["latestReadyRevisionName"], "percent": 100}]

    changed = cloud.deploy(current)
    status, _ = cloud.call("PUT", f"{_KNATIVE}/{_STAGING}/services/raced", stale)

    assert status == 409
    assert changed["status"]["latestCreatedRevisionName"] == stale["status"]["latestCreatedRevisionName"]
    assert changed["metadata"]["generation"] == stale["metadata"]["generation"] + 1


def test_a_function_reaches_a_bucket_only_with_the_role_for_it(cloud):
    """Its token is its service account's; the deployer's rights are not lent to it."""
    account = cloud.account(_STAGING, "nightshift-reader")
    cloud.call("POST", f"https://storage.googleapis.com/storage/v1/b?project={_STAGING}", {"name": "ns-read"})
    headers = {"Authorization": f"Bearer rehearsal-account.{account}"}
    bucket = "https://storage.googleapis.com/storage/v1/b/ns-read"

    before = cloud.http.get(f"{bucket}/o", headers=headers).status_code
    reader = {"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{account}"]}
    cloud.make("PUT", f"{bucket}/iam", {"bindings": [reader]})
    after = cloud.http.get(f"{bucket}/o", headers=headers).status_code
    elsewhere = cloud.http.get(f"{_KNATIVE}/{_STAGING}/services", headers=headers).status_code

    assert (before, after, elsewhere) == (403, 200, 403)


def test_what_a_function_publishes_is_pushed_with_the_identity_of_the_subscription(cloud):
    """To a topic that its account may publish to; the push passes the front door with a token for its audience."""
    pubsub, topic = "https://pubsub.googleapis.com/v1", f"projects/{_STAGING}/topics/predictions"
    account, pusher = (cloud.account(_STAGING, f"nightshift-{name}") for name in ("hello", "push"))
    for name in ("predictions", "private"):
        cloud.make("PUT", f"{pubsub}/projects/{_STAGING}/topics/{name}", {})
    cloud.grant(f"{pubsub}/{topic}", "roles/pubsub.publisher", f"serviceAccount:{account}")
    digest = _digest(cloud.build(_source("predict") | {"main.py": _PUBLISHER}, image="publisher"))
    publisher = _service(cloud, "publisher")
    image = f"{_REGISTRY}/{_STAGING}/nightshift/publisher@{digest}"
    publisher["spec"]["template"]["spec"]["containers"][0]["image"] = image
    url = cloud.deploy(publisher)["status"]["url"]
    cloud.grant(f"{_RUN}/{_STAGING}/locations/{_REGION}/services/publisher", "roles/run.invoker", "allUsers")
    listener = cloud.deploy(_service(cloud, "listener"))["status"]["url"]
    _invoke(cloud, "listener", "nightshift-push")
    push = {"pushEndpoint": f"{listener}/", "oidcToken": {"serviceAccountEmail": pusher, "audience": listener}}
    subscription = f"projects/{_STAGING}/subscriptions/listener"
    cloud.make("PUT", f"{pubsub}/{subscription}", {"topic": topic, "pushConfig": push})

    (number,) = cloud.ask(f"{url}/{topic}").json()["ids"]
    refused = cloud.ask(f"{url}/projects/{_STAGING}/topics/private")

    deliveries = cloud.world.folder / "deliveries.jsonl"
    while not (deliveries.exists() and deliveries.read_text().endswith("\n")):
        cloud.get("listener")
    (delivery,) = [json.loads(line) for line in deliveries.read_text().splitlines()]
    assert delivery == {"subscription": subscription, "message": number, "attempt": 1, "status": 200}
    assert refused.status_code == 404


def test_alert_policies_need_their_channels_and_whole_minutes(cloud):
    """A channel without its address, a policy for a channel that is not there, half a minute: refused."""
    monitoring = f"https://monitoring.googleapis.com/v3/projects/{_STAGING}"
    channel = {"type": "email", "displayName": "ops", "labels": {"email_address": "ops@example.com"}}
    name = cloud.make("POST", f"{monitoring}/notificationChannels", channel)["name"]
    threshold = {
        "filter": 'metric.type="run.googleapis.com/request_count" resource.type="cloud_run_revision"',
        "comparison": "COMPARISON_GT",
        "duration": "300s",
    }
    policy = {"displayName": "errors", "combiner": "OR", "notificationChannels": [name]}
    policy["conditions"] = [{"displayName": "errors", "conditionThreshold": threshold}]
    half = copy.deepcopy(policy)
    half["conditions"][0]["conditionThreshold"]["duration"] = "30s"

    assert cloud.call("POST", f"{monitoring}/notificationChannels", {**channel, "labels": {}})[0] == 400
    assert cloud.call("POST", f"{monitoring}/alertPolicies", {**policy, "notificationChannels": [f"{name}0"]})[0] == 404
    assert cloud.call("POST", f"{monitoring}/alertPolicies", half)[0] == 400
    made = cloud.make("POST", f"{monitoring}/alertPolicies", policy)
    assert cloud.call("DELETE", f"https://monitoring.googleapis.com/v3/{name}")[0] == 400
    cloud.make("DELETE", f"https://monitoring.googleapis.com/v3/{made['name']}")
    cloud.make("DELETE", f"https://monitoring.googleapis.com/v3/{name}")


def test_a_rehearsal_runs_a_command_and_a_second_one_finds_what_the_first_made(tmp_path):
    """The command's exit code is the rehearsal's; its environment leads nowhere but there."""
    code = "import os, sys; sys.exit(7 if os.environ['HTTPS_PROXY'].startswith('http://127.0.0.1') else 1)"

    with _rehearsal_of(tmp_path, code, "--project", _STAGING) as first:
        assert first.wait(60) == 7
    kept = json.loads((tmp_path / "rehearsed" / "state.json").read_text())
    with _rehearsal_of(tmp_path, "print('here')") as second:
        assert second.wait(60) == 0

    assert f"//cloudresourcemanager.googleapis.com/projects/{_STAGING}" in kept["resources"]
    assert json.loads((tmp_path / "rehearsed" / "state.json").read_text()) == kept


def test_what_was_deployed_in_an_earlier_rehearsal_answers_in_the_next(tmp_path):
    """Its process is started again on the first request; what was being started goes on to be ready."""
    with _clouds(tmp_path) as cloud:
        _prepare(cloud, _STAGING)
        cloud.digest = _digest(cloud.build(_source()))
        url = cloud.deploy(_service(cloud, "kept"))["status"]["url"]
        cloud.grant(f"{_RUN}/{_STAGING}/locations/{_REGION}/services/kept", "roles/run.invoker", "allUsers")
        assert cloud.ask(url).status_code == 200
        cloud.deploy(_service(cloud, "begun"))
    with locked(World(tmp_path)) as world:  # as it is where the first one ends in the midst of it
        for resource in world.resources.values():
            if "begun" in str(resource.get("metadata")):
                resource["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]

    with _clouds(tmp_path) as cloud:
        assert cloud.ask(url).json()["K_SERVICE"] == "kept"
        service = cloud.get("begun")
        while service["status"]["conditions"][0]["status"] == "Unknown":
            service = cloud.get("begun")
        assert service["status"]["conditions"][0]["status"] == "True"


def test_cloud_scheduler_keeps_its_jobs_and_refuses_one_without_its_topic(tmp_path):
    """A topic that is not there, an API that is not enabled; a later rehearsal finds the jobs."""
    world = World(tmp_path)
    add_project(world, _STAGING)
    parent = f"projects/{_STAGING}/locations/{_REGION}"
    job = Job(name=f"{parent}/jobs/nightly", schedule="0 2 * * *", time_zone="Etc/UTC")
    job.pubsub_target = PubsubTarget(topic_name=f"projects/{_STAGING}/topics/nightly", data=b"{}")

    with cloud_scheduler_emulator(world) as emulator, _scheduler(emulator) as client:
        with pytest.raises(PermissionDenied):
            client.create_job(parent=parent, job=job)
        world.resources[
            f"//serviceusage.googleapis.com/projects/{_STAGING}/services/cloudscheduler.googleapis.com"
        ] = {}
        with pytest.raises(NotFound, match="topics/nightly"):
            client.create_job(parent=parent, job=job)
        world.resources[f"//pubsub.googleapis.com/projects/{_STAGING}/topics/nightly"] = {}
        client.create_job(parent=parent, job=job)
        client.pause_job(name=job.name)

    with cloud_scheduler_emulator(World(tmp_path)) as emulator, _scheduler(emulator) as client:
        (kept,) = client.list_jobs(parent=parent)
        assert kept.state == Job.State.PAUSED
        assert kept.pubsub_target == job.pubsub_target
        client.delete_job(name=job.name)

    assert not [name for name in World(tmp_path).resources if "/jobs/" in name]


def test_control_c_ends_the_command_and_then_the_rehearsal(tmp_path):
    """The whole group gets the signal, as from a terminal; the exit code is the command's."""
    code = "import signal, sys; signal.signal(2, lambda *_: sys.exit(9)); print('up', flush=True); signal.pause()"

    with _rehearsal_of(tmp_path, code) as process:
        assert process.stdout.readline() == b"up\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 9


@contextmanager
def _clouds(folder):
    with running_rehearsal(folder, [_STAGING, _PROD]) as rehearsal:
        context = ssl.create_default_context(cafile=rehearsal.authority.ca_path)
        with httpx.Client(proxy=rehearsal.proxy.url, verify=context, trust_env=False) as http:
            yield _Cloud(rehearsal, http)


@contextmanager
def _scheduler(emulator):
    with grpc.insecure_channel(emulator.host) as channel:
        yield CloudSchedulerClient(transport=CloudSchedulerGrpcTransport(channel=channel))


def _rehearsal_of(folder, code, *options):
    command = [sys.executable, "-m", "deployment.rehearsal", str(folder / "rehearsed"), *options, "--command", "--"]
    return subprocess.Popen(
        [*command, sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )


def _prepare(cloud, project):
    services = {"serviceIds": [f"{name}.googleapis.com" for name in _APIS]}
    cloud.make("POST", f"https://serviceusage.googleapis.com/v1/projects/{project}/services:batchEnable", services)
    builder = cloud.account(project, "nightshift-build")
    cloud.account(project, "nightshift-hello")
    whole = f"https://cloudresourcemanager.googleapis.com/v1/projects/{project}"
    cloud.grant(whole, "roles/run.builder", f"serviceAccount:{builder}")
    url = f"https://artifactregistry.googleapis.com/v1/projects/{project}/locations/{_REGION}/repositories"
    cloud.make("POST", url, {"format": "DOCKER"}, params={"repositoryId": "nightshift"})


def _secret(cloud, name, account):
    url = f"https://secretmanager.googleapis.com/v1/projects/{_STAGING}/secrets"
    cloud.make("POST", url, {"replication": {"automatic": {}}}, params={"secretId": name})
    cloud.make("POST", f"{url}/{name}:addVersion", {"payload": {"data": "MDEyMzQ1Njc4OWFiY2RlZg=="}})
    cloud.grant(f"{url}/{name}", "roles/secretmanager.secretAccessor", f"serviceAccount:{account}")


def _invoke(cloud, service, account):
    member = f"serviceAccount:{cloud.account(_STAGING, account)}"
    cloud.grant(f"{_RUN}/{_STAGING}/locations/{_REGION}/services/{service}", "roles/run.invoker", member)


def _account(email):
    return f"serviceAccount:{email}"


def _let_through(cloud, service, member):
    place = f"projects/{cloud.world.project_number(_STAGING)}/iap_web/cloud_run-{_REGION}/services/{service}"
    cloud.grant(f"https://iap.googleapis.com/v1/{place}", "roles/iap.httpsResourceAccessor", member)


def _behind_sign_in(cloud, name, project=_STAGING):
    service = _service(cloud, name, project)
    notes = {"run.googleapis.com/iap-enabled": "true", "run.googleapis.com/launch-stage": "BETA"}
    service["metadata"]["annotations"] = notes
    return service


def _source(declared_by="list_results"):
    """Return the tiny function; its requirements are a real one's, so that its environment is there already."""
    requirements = (ROOT / "functions" / declared_by / "requirements.txt").read_text("utf-8")
    return {"main.py": _HELLO, "requirements.txt": requirements}


def _zipped(source):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in source.items():
            file.writestr(name, text)
    return buffer.getvalue()


def _digest(operation):
    assert "response" in operation, operation
    return operation["response"]["results"]["images"][0]["digest"]


def _service(cloud, name, project=_STAGING, env=()):
    container = {
        "image": f"{_REGISTRY}/{_STAGING}/nightshift/hello@{cloud.digest}",
        "env": list(env),
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
        "startupProbe": dict(_PROBE),
    }
    account = f"nightshift-hello@{project}.iam.gserviceaccount.com"
    spec = {"containers": [container], "serviceAccountName": account, "containerConcurrency": 4}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": project},
        "spec": {"template": {"metadata": {"labels": {"app": "nightshift"}}, "spec": spec}},
    }


def _flags(name, source, account):
    builder = f"nightshift-build@{_STAGING}.iam.gserviceaccount.com"
    environment = f"STORE_URL=firestore://{_STAGING}/(default),OBJECTS_URL=gs://{_STAGING}-objects,THREADS=4"
    return (
        *("run", "deploy", name, f"--source={source}", f"--function={source.name}", "--base-image=python312"),
        *(f"--image={_REGISTRY}/{_STAGING}/nightshift/{name}", f"--region={_REGION}", "--no-allow-unauthenticated"),
        *(f"--service-account={account}", "--memory=512Mi", "--cpu=1", "--concurrency=4", "--timeout=60"),
        f"--build-service-account=projects/{_STAGING}/serviceAccounts/{builder}",
        *("--min-instances=0", "--max-instances=5", "--cpu-boost", "--execution-environment=gen2", "--ingress=all"),
        *(
            f"--set-env-vars={environment}",
            "--set-secrets=PAGE_TOKEN_KEY=page-token-key:latest",
            "--labels=app=nightshift",
        ),
        "--startup-probe=httpGet.path=/health,httpGet.port=8080,timeoutSeconds=5,periodSeconds=5,failureThreshold=24",
        "--quiet",
    )


def _gcloud(cloud, folder):
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    environment = {**kept, **cloud.rehearsal.environment, "PATH": f"{folder}:{os.environ['PATH']}"}

    def run(*arguments, fails=False):
        command = ["gcloud", *arguments, f"--project={_STAGING}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run
