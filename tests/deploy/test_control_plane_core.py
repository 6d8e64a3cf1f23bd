"""What an environment stands on, rehearsed: gcloud works against it, and it refuses what Google would."""

import base64
import itertools
import json
import os
import ssl
import subprocess

import httpx
import pytest

from deployment.rehearsal.billing import billing_api
from deployment.rehearsal.cloudresourcemanager import cloudresourcemanager_api
from deployment.rehearsal.control_plane import TOKEN, serving
from deployment.rehearsal.firebaserules import firebaserules_api
from deployment.rehearsal.firestore import firestore_api
from deployment.rehearsal.iam import iam_api
from deployment.rehearsal.iamcredentials import iamcredentials_api
from deployment.rehearsal.id_tokens_issued import check
from deployment.rehearsal.pubsub import pubsub_api
from deployment.rehearsal.pubsub_subscriptions import dead_letter_problems
from deployment.rehearsal.secretmanager import secretmanager_api
from deployment.rehearsal.serviceusage import serviceusage_api
from deployment.rehearsal.storage import storage_api
from deployment.rehearsal.storage_objects import object_bytes
from deployment.rehearsal.world import World

pytestmark = pytest.mark.xdist_group("gcloud")

_APIS = (
    *(serviceusage_api, cloudresourcemanager_api, billing_api, iam_api, iamcredentials_api, pubsub_api, storage_api),
    *(secretmanager_api, firestore_api, firebaserules_api),
)
_SERVICES = [
    f"{name}.googleapis.com"
    for name in ("iam", "iamcredentials", "pubsub", "storage", "secretmanager", "firestore", "firebaserules")
]
_AGENT = "serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"
_RULES = "service cloud.firestore { match /databases/{d}/documents { match /{x=**} { allow read: if false; } } }"


class _Cloud:
    """A rehearsed cloud, reached by gcloud and by plain HTTP.

    Attributes:
        world: What it holds.
        http: A client with the deployer's token.
        environment: Of gcloud.
    """

    def __init__(self, world, http, environment):
        self.world, self.http, self.environment = world, http, environment

    def call(self, method, url, body=None, **options):
        """Return the status and the JSON of a call that has to be known to the rehearsal."""
        answer = self.http.request(method, f"https://{url}", json=body, **options)
        assert answer.status_code < 500, answer.text
        return answer.status_code, answer.json() if answer.content else None

    def make(self, method, url, body=None, **options):
        """Make a call that has to succeed, and return its JSON."""
        status, answer = self.call(method, url, body, **options)
        assert status < 300, answer
        return answer

    def project(self, name, *services):
        """Make a project as the console makes it, and enable APIs in it."""
        number = str(1000 + len(self.world.resources))
        project = {"projectId": name, "projectNumber": number, "name": name, "lifecycleState": "ACTIVE"}
        self.world.resources[f"//cloudresourcemanager.googleapis.com/projects/{name}"] = project
        if services:
            url = f"serviceusage.googleapis.com/v1/projects/{name}/services:batchEnable"
            self.make("POST", url, {"serviceIds": list(services)})
        return name

    def account(self, project, name):
        """Make a service account and return its address."""
        url = f"iam.googleapis.com/v1/projects/{project}/serviceAccounts"
        return self.make("POST", url, {"accountId": name})["email"]

    def grant(self, url, role, member, project):
        """Set a policy of one binding, and return the status and the answer."""
        body = {"policy": {"bindings": [{"role": role, "members": [member.format(number=self.number(project))]}]}}
        return self.call("POST", f"{url}:setIamPolicy", body)

    def number(self, project):
        return self.world.project_number(project)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """Serve the APIs of this module on loopback."""
    folder = tmp_path_factory.mktemp("cloud")
    world = World(folder)
    (folder / "token").write_text(TOKEN)
    with serving(world, [api(world) for api in _APIS], folder) as (proxy, authority):
        context = ssl.create_default_context(cafile=authority.ca_path)
        environment = {
            "HOME": str(folder),
            "CLOUDSDK_CONFIG": str(folder / "settings"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
            "CLOUDSDK_CORE_ACCOUNT": "deployer@example.com",
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(authority.ca_path),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "HTTPS_PROXY": proxy.url,
        }
        token = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(proxy=proxy.url, verify=context, headers=token, trust_env=False) as http:
            yield _Cloud(world, http, environment)


@pytest.fixture(scope="module")
def numbers():
    """Return what makes names of projects differ."""
    return itertools.count(1)


@pytest.fixture
def project(cloud, numbers):
    """Return a project of the test's own, every API of this module enabled."""
    return cloud.project(f"example-{next(numbers)}", *_SERVICES)


@pytest.fixture
def gcloud(cloud, gcloud_folder, project, tmp_path):
    """Return a caller of gcloud in the test's project: its exit code and output, read as JSON where that was asked."""
    path = f"{gcloud_folder}{os.pathsep}{os.environ['PATH']}"

    def run(line, *more, data=None, expect=0):
        command = ["gcloud", *line.split(), *more, f"--project={project}", "--quiet"]
        ended = subprocess.run(
            command, input=data, env=cloud.environment | {"PATH": path}, cwd=tmp_path, capture_output=True, timeout=60
        )
        assert ended.returncode == expect, ended.stderr.decode()
        if expect:
            return ended.stderr.decode()
        return json.loads(ended.stdout) if "--format=json" in command else ended.stdout.decode()

    return run


def test_apis_are_enabled_once_and_listed(cloud, gcloud, project):
    """Enabling what is enabled changes nothing."""
    gcloud("services enable run.googleapis.com cloudbuild.googleapis.com")
    before = dict(cloud.world.resources)

    gcloud("services enable run.googleapis.com")

    listed = [service["config"]["name"] for service in gcloud("services list --enabled --format=json")]
    assert listed == sorted([*_SERVICES, "run.googleapis.com", "cloudbuild.googleapis.com"])
    assert cloud.world.resources == before
    assert cloud.world.agent_exists(f"service-{cloud.number(project)}@serverless-robot-prod.iam.gserviceaccount.com")


def test_a_service_agent_is_made_on_demand(cloud, gcloud, project):
    """Pub/Sub's agent is not there until it is asked for, and a policy cannot name it before."""
    agent = f"service-{cloud.number(project)}@gcp-sa-pubsub.iam.gserviceaccount.com"
    url = f"cloudresourcemanager.googleapis.com/v1/projects/{project}"
    assert cloud.grant(url, "roles/pubsub.publisher", _AGENT, project)[0] == 400

    gcloud("beta services identity create --service=pubsub.googleapis.com")

    assert cloud.world.agent_exists(agent)
    assert cloud.grant(url, "roles/pubsub.publisher", _AGENT, project)[0] == 200


def test_service_accounts_are_made_listed_granted_and_deleted(cloud, gcloud, project):
    """A second account of the same name is refused; a deleted one leaves its mark in policies, and no role."""
    gcloud("iam service-accounts create nightshift-predict --display-name=predict")
    refusal = gcloud("iam service-accounts create nightshift-predict", expect=1)
    (account,) = gcloud("iam service-accounts list --format=json")
    member = f"serviceAccount:{account['email']}"
    binding = f"--member={member} --role=roles/datastore.user --condition=None"
    gcloud(f"projects add-iam-policy-binding {project} {binding}")
    name = f"//cloudresourcemanager.googleapis.com/projects/{project}"
    assert cloud.world.has_role(name, "roles/datastore.user", member)

    gcloud(f"iam service-accounts delete {account['email']}")

    assert "already exists" in refusal
    cloud.account(project, "nightshift-predict")
    assert not cloud.world.has_role(name, "roles/datastore.user", member)
    (left,) = cloud.world.policy(name)["bindings"]
    assert left["members"] == [f"deleted:{member}?uid={account['uniqueId']}"]


def test_bindings_of_a_project_come_and_go(cloud, gcloud, project):
    """Adding twice is as good as once; removing leaves nothing."""
    member = f"serviceAccount:{cloud.account(project, 'nightshift-web')}"
    binding = f"{project} --member={member} --role=roles/datastore.viewer"
    gcloud(f"projects add-iam-policy-binding {binding} --condition=None")
    once = gcloud(f"projects get-iam-policy {project} --format=json")
    assert gcloud(f"projects add-iam-policy-binding {binding} --condition=None --format=json") == once

    gcloud(f"projects remove-iam-policy-binding {binding}")

    assert cloud.world.policy(f"//cloudresourcemanager.googleapis.com/projects/{project}")["bindings"] == []


def test_a_push_subscription_with_dead_letters_is_made_changed_and_deleted(cloud, gcloud, project):
    """An update changes what its flags name; both grants of the agent are seen."""
    pubsub = f"pubsub.googleapis.com/v1/projects/{project}"
    for topic in ("predictions", "predictions-dead-letters"):
        cloud.make("PUT", f"{pubsub}/topics/{topic}", {})
    email = cloud.account(project, "nightshift-push")
    usage = f"serviceusage.googleapis.com/v1beta1/projects/{project}/services"
    cloud.make("POST", f"{usage}/pubsub.googleapis.com:generateServiceIdentity")
    agent = f"--member={_AGENT.format(number=cloud.number(project))}"
    gcloud(f"pubsub topics add-iam-policy-binding predictions-dead-letters --role=roles/pubsub.publisher {agent}")

    gcloud(
        "pubsub subscriptions create store-result --topic=predictions --push-endpoint=https://store.a.run.app/ "
        f"--push-auth-service-account={email} --push-auth-token-audience=https://store.a.run.app --ack-deadline=600 "
        "--min-retry-delay=10s --max-retry-delay=600s --dead-letter-topic=predictions-dead-letters "
        "--max-delivery-attempts=20 --expiration-period=never"
    )
    (problem,) = dead_letter_problems(cloud.world, project)
    gcloud(f"pubsub subscriptions add-iam-policy-binding store-result --role=roles/pubsub.subscriber {agent}")
    gcloud("pubsub subscriptions update store-result --ack-deadline=300")

    (kept,) = gcloud("pubsub subscriptions list --format=json")
    assert "lacks roles/pubsub.subscriber" in problem
    assert dead_letter_problems(cloud.world, project) == []
    assert kept == {
        "name": f"projects/{project}/subscriptions/store-result",
        "topic": f"projects/{project}/topics/predictions",
        "ackDeadlineSeconds": 300,
        "messageRetentionDuration": "604800s",
        "expirationPolicy": {},
        "retryPolicy": {"minimumBackoff": "10s", "maximumBackoff": "600s"},
        "deadLetterPolicy": {
            "deadLetterTopic": f"projects/{project}/topics/predictions-dead-letters",
            "maxDeliveryAttempts": 20,
        },
        "pushConfig": {
            "pushEndpoint": "https://store.a.run.app/",
            "oidcToken": {"serviceAccountEmail": email, "audience": "https://store.a.run.app"},
        },
        "state": "ACTIVE",
    }
    gcloud("pubsub subscriptions delete store-result")
    assert cloud.make("GET", f"{pubsub}/subscriptions") == {}


def test_a_bucket_takes_a_model_once_and_goes_with_it(cloud, gcloud, project, tmp_path):
    """The second rsync uploads nothing; rm --recursive takes the bucket along."""
    bucket = f"{project}-models"
    content = bytes(range(256)) + b"\r\n--end\r\n"
    (tmp_path / "lifecycle.json").write_text('{"rule": [{"action": {"type": "Delete"}, "condition": {"age": 30}}]}')
    (tmp_path / "iris" / "1").mkdir(parents=True)
    (tmp_path / "iris" / "1" / "model.bin").write_bytes(content)
    gcloud(
        f"storage buckets create gs://{bucket} --location=europe-west1 --uniform-bucket-level-access "
        "--public-access-prevention"
    )
    gcloud(f"storage buckets update gs://{bucket} --lifecycle-file=lifecycle.json")
    gcloud(f"storage rsync iris gs://{bucket}/iris --recursive")
    uploaded = cloud.make("GET", f"storage.googleapis.com/storage/v1/b/{bucket}/o")["items"]

    gcloud(f"storage rsync iris gs://{bucket}/iris --recursive")

    assert cloud.make("GET", f"storage.googleapis.com/storage/v1/b/{bucket}/o")["items"] == uploaded
    assert object_bytes(cloud.world, bucket, "iris/1/model.bin") == content
    assert gcloud(f"storage ls gs://{bucket}/iris/") == f"gs://{bucket}/iris/1/\n"
    (listed,) = gcloud("storage buckets list --format=json")
    assert listed["lifecycle_config"]["rule"][0]["condition"] == {"age": 30}
    assert (listed["uniform_bucket_level_access"], listed["public_access_prevention"]) == (True, "enforced")
    gcloud(f"storage rm --recursive gs://{bucket}")
    assert cloud.call("GET", f"storage.googleapis.com/storage/v1/b/{bucket}")[0] == 404


def test_a_secret_is_kept_whole_and_nowhere_else(cloud, gcloud):
    """What it holds comes back byte for byte, and stands neither in the log of calls nor in the state."""
    secret = b"\xfb\xff\xbf-page-token-key"

    gcloud("secrets create page-token-key --replication-policy=automatic --data-file=-", data=secret)

    name = gcloud("secrets list --format=json")[0]["name"]
    payload = cloud.make("GET", f"secretmanager.googleapis.com/v1/{name}/versions/latest:access")["payload"]
    assert base64.b64decode(payload["data"]) == secret
    for file in ("calls.jsonl", "state.json"):
        text = (cloud.world.folder / file).read_text("utf-8")
        assert payload["data"] not in text
        assert base64.urlsafe_b64encode(secret).decode() not in text


def test_firestore_is_made_indexed_and_protected(cloud, gcloud, project):
    """Indexes are listed as Firestore completes them; fields that were changed are listed, others not."""
    database, group = "--database=(default)", "--collection-group=results"
    gcloud(f"firestore databases create {database} --location=eur3 --type=firestore-native --delete-protection")
    gcloud(
        f"firestore indexes composite create {database} {group} --query-scope=collection "
        "--field-config=field-path=model,order=ascending --field-config=field-path=created,order=descending --async"
    )
    gcloud(f"firestore indexes fields update * {database} {group} --disable-indexes --async")
    gcloud(f"firestore fields ttls update expires_at {database} {group} --enable-ttl --async")

    (index,) = gcloud(f"firestore indexes composite list {database} --format=json")
    fields = gcloud(f"firestore indexes fields list {database} --format=json")

    path = f"projects/{project}/databases/(default)/collectionGroups"
    assert [field["fieldPath"] for field in index["fields"]] == ["model", "created", "__name__"]
    assert [field["name"] for field in fields] == [f"{path}/__default__/fields/*", f"{path}/results/fields/*"]
    assert "indexes" not in fields[1]["indexConfig"]
    ttl = cloud.make("GET", f"firestore.googleapis.com/v1/{path}/results/fields/expires_at")
    assert ttl["ttlConfig"] == {"state": "ACTIVE"}
    gcloud(f"firestore indexes composite delete {index['name'].rpartition('/')[2]} {database}")
    assert cloud.make("GET", f"firestore.googleapis.com/v1/{path}/-/indexes") == {}
    assert "delete protection" in gcloud(f"firestore databases delete {database}", expect=1)


@pytest.mark.parametrize(
    "url",
    [
        "iam.googleapis.com/v1/projects/{}/serviceAccounts",
        "pubsub.googleapis.com/v1/projects/{}/topics",
        "storage.googleapis.com/storage/v1/b?project={}",
        "secretmanager.googleapis.com/v1/projects/{}/secrets",
        "firestore.googleapis.com/v1/projects/{}/databases",
        "firebaserules.googleapis.com/v1/projects/{}/releases",
    ],
)
def test_an_api_that_is_not_enabled_is_refused(cloud, numbers, url):
    """A new project answers SERVICE_DISABLED."""
    project = cloud.project(f"bare-{next(numbers)}")

    status, answer = cloud.call("GET", url.format(project), headers={"X-Goog-User-Project": project})

    assert (status, answer["error"]["details"][0]["reason"]) == (403, "SERVICE_DISABLED")


def test_the_api_of_an_account_is_that_of_its_project(cloud, project):
    """A dash for the project does not lead round it: the account's own has to have enabled the API."""
    email = cloud.account(project, "nightshift-smoke")
    usage = f"serviceusage.googleapis.com/v1/projects/{project}/services"
    for service in ("iam", "iamcredentials"):
        cloud.make("POST", f"{usage}/{service}.googleapis.com:disable", {})

    for url in ("iam.googleapis.com/v1/{}:getIamPolicy", "iamcredentials.googleapis.com/v1/{}:generateIdToken"):
        status, answer = cloud.call("POST", url.format(f"projects/-/serviceAccounts/{email}"), {"audience": "a"})
        assert (status, answer["error"]["details"][0]["reason"]) == (403, "SERVICE_DISABLED")


def test_what_is_not_rehearsed_is_501(cloud, project):
    """Neither an unknown method nor an unknown host is taken for something that works."""
    for url in (f"pubsub.googleapis.com/v1/projects/{project}/snapshots", "compute.googleapis.com/compute/v1/projects"):
        assert cloud.http.get(f"https://{url}").status_code == 501


@pytest.mark.parametrize("names", [["rn.googleapis.com"], ["run.googleapis.com"] * 21, []])
def test_what_cannot_be_enabled_is_refused(cloud, project, names):
    """An unknown API, more than 20 at once, and none."""
    url = f"serviceusage.googleapis.com/v1/projects/{project}/services:batchEnable"

    assert cloud.call("POST", url, {"serviceIds": names})[0] in (400, 403)


def test_a_project_without_billing_enables_nothing(cloud, numbers):
    """The billing account comes first."""
    project = cloud.project(f"unpaid-{next(numbers)}")
    billing = {"name": f"projects/{project}/billingInfo", "projectId": project, "billingEnabled": False}
    cloud.world.resources[f"//cloudbilling.googleapis.com/{billing['name']}"] = billing
    url = f"serviceusage.googleapis.com/v1/projects/{project}/services:batchEnable"

    assert cloud.call("POST", url, {"serviceIds": ["run.googleapis.com"]})[0] == 400
    assert cloud.make("GET", f"cloudbilling.googleapis.com/v1/projects/{project}/billingInfo") == billing


@pytest.mark.parametrize(
    ("role", "member"),
    [
        ("roles/pubsub.publishers", "user:a@example.com"),
        ("roles/storage.objectViewer", "user:a@example.com"),
        ("roles/pubsub.publisher", "a@example.com"),
        ("roles/pubsub.publisher", "serviceAccount:nightshift-nobody@example-1.iam.gserviceaccount.com"),
        ("roles/pubsub.publisher", _AGENT),
    ],
)
def test_a_policy_names_roles_and_members_that_exist(cloud, project, role, member):
    """A misspelt role, one of another API, a bare address, an account and an agent that are not there."""
    url = f"pubsub.googleapis.com/v1/projects/{project}/topics/nightly"
    cloud.make("PUT", url, {})

    status, _ = cloud.grant(url, role, member, project)

    assert status == 400
    assert cloud.make("GET", f"{url}:getIamPolicy")["bindings"] == []


def test_a_policy_that_somebody_else_changed_is_read_again_first(cloud, project):
    """An old etag is refused, and nothing is lost."""
    url = f"cloudresourcemanager.googleapis.com/v1/projects/{project}"
    old = cloud.make("POST", f"{url}:getIamPolicy")
    assert cloud.grant(url, "roles/viewer", "user:a@example.com", project)[0] == 200

    assert cloud.call("POST", f"{url}:setIamPolicy", {"policy": old})[0] == 409
    assert len(cloud.make("POST", f"{url}:getIamPolicy")["bindings"]) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"topic": "projects/{project}/topics/nobody"}, 404),
        ({"ackDeadlineSeconds": 601}, 400),
        ({"retryPolicy": {"minimumBackoff": "20s", "maximumBackoff": "10s"}}, 400),
        ({"expirationPolicy": {"ttl": "60s"}}, 400),
        ({"deadline": 1}, 400),
        ({"pushConfig": {"pushEndpoint": "http://store.a.run.app"}}, 400),
        ({"pushConfig": {"pushEndpoint": "https://s.app", "oidcToken": {"serviceAccountEmail": "a@b.c"}}}, 400),
        ({"deadLetterPolicy": {"deadLetterTopic": "projects/{project}/topics/nobody"}}, 404),
        ({"deadLetterPolicy": {"deadLetterTopic": "projects/{project}/topics/letters", "maxDeliveryAttempts": 4}}, 400),
        ({"deadLetterPolicy": {"deadLetterTopic": "projects/{project}/topics/letters"}}, 400),
    ],
)
def test_a_subscription_needs_what_it_names(cloud, project, change, status):
    """Its topics, its account, numbers in range, and the agent's right to publish its dead letters."""
    pubsub = f"pubsub.googleapis.com/v1/projects/{project}"
    for topic in ("nightly", "letters"):
        cloud.make("PUT", f"{pubsub}/topics/{topic}", {})
    body = {"topic": f"projects/{project}/topics/nightly"} | json.loads(
        json.dumps(change).replace("{project}", project)
    )

    answered, answer = cloud.call("PUT", f"{pubsub}/subscriptions/nightly-transform", body)

    assert answered == status, answer
    assert bool(cloud.make("GET", f"{pubsub}/subscriptions")) == (status == 200)


def test_an_identity_token_is_for_those_who_may_act_as_the_account(cloud, project):
    """It is a JWT, and is good for its own audience alone."""
    email = cloud.account(project, "nightshift-smoke")
    url = f"iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateIdToken"
    body = {"audience": "https://predict.a.run.app", "includeEmail": True}
    refused, _ = cloud.call("POST", url, body)
    account = f"iam.googleapis.com/v1/projects/{project}/serviceAccounts/{email}"
    cloud.grant(account, "roles/iam.serviceAccountTokenCreator", "user:deployer@example.com", project)

    token = cloud.make("POST", url, body)["token"]

    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert refused == 403
    assert (claims["aud"], claims["email"], claims["exp"] - claims["iat"]) == (body["audience"], email, 3600)
    assert check(cloud.world, token, body["audience"]) == email
    assert check(cloud.world, token, "https://store.a.run.app") is None
    assert check(cloud.world, token + "x", body["audience"]) is None
    assert token not in (cloud.world.folder / "state.json").read_text("utf-8")


def test_a_bucket_takes_uploads_of_every_kind(cloud, project):
    """At once, with metadata, or in two parts: the same object, its checksums true."""
    bucket, data = f"{project}-objects", b"a\r\n\r\nb" * 1000
    cloud.make("POST", f"storage.googleapis.com/storage/v1/b?project={project}", {"name": bucket})
    upload = f"https://storage.googleapis.com/upload/storage/v1/b/{bucket}/o"
    about = json.dumps({"name": "parted"}).encode()
    parts = b"--x\r\nContent-Type: application/json\r\n\r\n%b\r\n--x\r\nContent-Type: text/plain\r\n\r\n%b\r\n--x--\r\n"
    related = {"Content-Type": "multipart/related; boundary=x"}

    cloud.http.post(f"{upload}?uploadType=media&name=simple", content=data)
    cloud.http.post(f"{upload}?uploadType=multipart", content=parts % (about, data), headers=related)
    place = cloud.http.post(f"{upload}?uploadType=resumable&name=resumed").headers["Location"]
    first = cloud.http.put(place, content=data[:512], headers={"Content-Range": "bytes 0-511/*"})
    cloud.http.put(place, content=data[512:], headers={"Content-Range": f"bytes 512-{len(data) - 1}/{len(data)}"})

    assert (first.status_code, first.headers["Range"]) == (308, "bytes=0-511")
    items = cloud.make("GET", f"storage.googleapis.com/storage/v1/b/{bucket}/o")["items"]
    assert {item["name"]: object_bytes(cloud.world, bucket, item["name"]) for item in items} == dict.fromkeys(
        ("parted", "resumed", "simple"), data
    )
    assert len({(item["md5Hash"], item["crc32c"], item["size"]) for item in items}) == 1
    again = cloud.http.post(f"{upload}?uploadType=media&name=simple&ifGenerationMatch=0", content=b"other")
    assert again.status_code == 412
    assert cloud.http.get(f"{upload.replace('/upload', '')}/simple?alt=media").content == data
    assert cloud.call("DELETE", f"storage.googleapis.com/storage/v1/b/{bucket}")[0] == 409


@pytest.mark.parametrize("body", [{"name": "Big_Bucket"}, {"name": "x", "location": "EU"}, {"name": "abc", "size": 1}])
def test_a_bucket_that_google_refuses_is_refused(cloud, project, body):
    """Its name, and fields that it does not have."""
    assert cloud.call("POST", f"storage.googleapis.com/storage/v1/b?project={project}", body)[0] == 400


def test_the_name_of_a_bucket_is_taken_for_everybody(cloud, project, numbers):
    """Another project's bucket is in the way."""
    other = cloud.project(f"example-{next(numbers)}", *_SERVICES)
    url = "storage.googleapis.com/storage/v1/b?project="
    cloud.make("POST", url + project, {"name": f"{project}-taken"})

    assert cloud.call("POST", url + other, {"name": f"{project}-taken"})[0] == 409


def test_a_bucket_closed_to_the_public_stays_closed(cloud, project):
    """Public access prevention refuses allUsers."""
    access = {"iamConfiguration": {"publicAccessPrevention": "enforced"}}
    url = "storage.googleapis.com/storage/v1/b"
    cloud.make("POST", f"{url}?project={project}", {"name": f"{project}-closed", **access})
    policy = {"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}

    assert cloud.call("PUT", f"{url}/{project}-closed/iam", policy)[0] == 412


def test_a_bucket_keeps_what_a_change_does_not_name(cloud, project):
    """Null takes a field away; what Google alone sets may be in the body, and stays as it is."""
    url = "storage.googleapis.com/storage/v1/b"
    made = cloud.make("POST", f"{url}?project={project}", {"name": f"{project}-kept", "labels": {"a": "1", "b": "2"}})
    change = {"labels": {"a": None, "c": "3"}, "lifecycle": {"rule": []}, "timeCreated": "2020-01-01T00:00:00Z"}
    cloud.make("PATCH", f"{url}/{project}-kept", change)

    changed = cloud.make("PATCH", f"{url}/{project}-kept", {"lifecycle": None})

    varying = ("labels", "metageneration", "etag", "updated")
    assert (changed["labels"], changed["metageneration"]) == ({"b": "2", "c": "3"}, "3")
    assert {k: v for k, v in changed.items() if k not in varying} == {k: v for k, v in made.items() if k not in varying}


def test_a_version_of_a_secret_says_that_its_checksum_was_seen(cloud, project):
    """gcloud takes a version without that mark for a damaged one; a checksum that is not the payload's is refused."""
    url = f"secretmanager.googleapis.com/v1/projects/{project}/secrets"
    cloud.make("POST", f"{url}?secretId=key", {"replication": {"automatic": {}}})
    assert cloud.call("GET", f"{url}/key/versions/latest:access")[0] == 404
    payload = {"data": base64.b64encode(b"123456789").decode(), "dataCrc32c": str(0xE3069283)}

    assert cloud.make("POST", f"{url}/key:addVersion", {"payload": payload})["clientSpecifiedPayloadChecksum"] is True
    assert cloud.call("POST", f"{url}/key:addVersion", {"payload": {**payload, "dataCrc32c": "1"}})[0] == 400
    cloud.make("POST", f"{url}/key/versions/1:destroy", {})
    assert cloud.call("GET", f"{url}/key/versions/1:access")[0] == 400


def test_firestore_refuses_what_it_cannot_index(cloud, project):
    """No database, one field alone, the same index twice, a second time to live, a time to live of every field."""
    parent = f"firestore.googleapis.com/v1/projects/{project}/databases"
    group = f"{parent}/(default)/collectionGroups/results"
    pair = {"fields": [{"fieldPath": name, "order": "ASCENDING"} for name in ("model", "created")]}
    assert cloud.call("POST", f"{group}/indexes", pair)[0] == 404
    cloud.make("POST", f"{parent}?databaseId=(default)", {"type": "FIRESTORE_NATIVE", "locationId": "eur3"})
    cloud.make("POST", f"{group}/indexes", pair)
    cloud.make("PATCH", f"{group}/fields/expires_at?updateMask=ttlConfig", {"ttlConfig": {}})

    assert cloud.call("POST", f"{group}/indexes", {"fields": pair["fields"][:1]})[0] == 400
    assert cloud.call("POST", f"{group}/indexes", {**pair, "queryScope": "COLLECTION"})[0] == 409
    assert cloud.call("PATCH", f"{group}/fields/gone_at?updateMask=ttlConfig", {"ttlConfig": {}})[0] == 400
    assert cloud.call("PATCH", f"{group}/fields/*?updateMask=ttlConfig", {"ttlConfig": {}})[0] == 400
    assert cloud.call("GET", f"{group}/fields")[0] == 400


def test_a_field_takes_its_indexes_from_the_nearest_setting_above(cloud, project):
    """From `*` of its group where that is set, and from the database's own again once that is cleared."""
    parent = f"firestore.googleapis.com/v1/projects/{project}/databases"
    group = f"{parent}/(default)/collectionGroups/results/fields"
    cloud.make("POST", f"{parent}?databaseId=(default)", {"type": "FIRESTORE_NATIVE", "locationId": "eur3"})
    mask = "?updateMask=indexConfig"

    def indexed():
        config = cloud.make("GET", f"{group}/note")["indexConfig"]
        return len(config.get("indexes", [])), config["ancestorField"].split("/")[-3]

    counts = [indexed()]
    cloud.make("PATCH", f"{group}/*{mask}", {"indexConfig": {"indexes": []}})
    counts.append(indexed())
    cloud.make("PATCH", f"{group}/*{mask}", {})
    counts.append(indexed())

    assert counts == [(3, "__default__"), (0, "results"), (3, "__default__")]


def test_rules_are_released_by_whoever_says_who_pays(cloud, project):
    """A ruleset, then a release of it; each in its turn, and never for a project that is not named."""
    url = f"firebaserules.googleapis.com/v1/projects/{project}"
    header = {"headers": {"X-Goog-User-Project": project}}
    source = {"source": {"files": [{"name": "firestore.rules", "content": _RULES}]}}
    name = f"projects/{project}/releases/cloud.firestore"
    assert cloud.call("POST", f"{url}/rulesets", source)[0] == 403
    broken = {"source": {"files": [{"name": "firestore.rules", "content": _RULES[:-1]}]}}
    assert cloud.call("POST", f"{url}/rulesets", broken, **header)[0] == 400
    first, second = (cloud.make("POST", f"{url}/rulesets", source, **header)["name"] for _ in range(2))
    change = {"release": {"name": name, "rulesetName": second}}

    assert cloud.call("PATCH", f"{url}/releases/cloud.firestore", change, **header)[0] == 404
    nobody = {"name": name, "rulesetName": f"{first}x"}
    assert cloud.call("POST", f"{url}/releases", nobody, **header)[0] == 404
    cloud.make("POST", f"{url}/releases", {"name": name, "rulesetName": first}, **header)
    assert cloud.call("POST", f"{url}/releases", {"name": name, "rulesetName": first}, **header)[0] == 409
    cloud.make("PATCH", f"{url}/releases/cloud.firestore", change, **header)
    assert cloud.make("GET", f"{url}/releases/cloud.firestore", **header)["rulesetName"] == second
    assert cloud.make("GET", f"{url}/rulesets/{second.split('/')[-1]}", **header)["source"] == source["source"]


def test_what_was_made_is_there_after_a_restart(cloud, project):
    """The state is written down before a change is answered."""
    cloud.account(project, "nightshift-store-result")

    again = World(cloud.world.folder)

    assert again.resources == cloud.world.resources
    assert again.policies == cloud.world.policies
