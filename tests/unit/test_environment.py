"""Everything wrong with an environment's file is told at once, each with its line, and no secret with it."""

import re
from dataclasses import FrozenInstanceError

import pytest

from deployment.configuration import read_configuration
from deployment.env_values import CHECKS, FUNCTIONS
from deployment.environment import environment_names, read_environment
from deployment.regions import FIRESTORE_LOCATIONS, REGIONS
from shared.config import ROOT, Settings
from shared.errors import ConfigurationError

GOOD = """# A comment
PROJECT_ID=acme-staging
REGION=europe-west1
FIRESTORE_LOCATION=eur3
STORE_URL=
OBJECTS_URL=
MODELS_DIR=
DEFAULT_MODEL=
LOG_PREDICTIONS=
WEB_ACCESS=
INVOKERS_PREDICT=
INVOKERS_STORE_RESULT=
INVOKERS_WEB=
MIN_INSTANCES_PREDICT=
MAX_INSTANCES_PREDICT=
MEMORY_PREDICT=
ALERT_EMAIL=
CLOUD_SQL_INSTANCE=
PROMOTE_FROM=
PROTECTED=
PYTHON_RUNTIME=
"""
LINES = {line.partition("=")[0]: number for number, line in enumerate(GOOD.splitlines(), start=1)}
# Assembled, so that no scanner takes them for real ones.
HEX = "0123456789abcdef" * 4
BASE64 = "QmFzZTY0" + "aB3dE5fG7hI9" * 4 + "=="
GOOGLE_KEY = "AI" + "za" + "SyA1234567890abcdefghijklmnopqrstu"
ACCESS_TOKEN = "ya" + "29.a0AfH6SMBx1234567890"


@pytest.fixture
def folder(tmp_path):
    """An empty folder of environments."""
    made = tmp_path / "environments"
    made.mkdir()
    return made


def write(folder, name, text=GOOD, **values):
    """Write a file with some values changed."""
    for key, value in values.items():
        text = re.sub(rf"(?m)^{key}=.*$", lambda _, line=f"{key}={value}": line, text)
    (folder / f"{name}.env").write_text(text, "utf-8")


def problems(folder, name="staging"):
    """Return what is wrong with an environment."""
    with pytest.raises(ConfigurationError) as raised:
        read_environment(name, folder)
    return raised.value.problems


def test_every_value_is_read(folder):
    """As it stands in the file, and by function where functions differ."""
    write(
        folder,
        "staging",
        REGION="'us-central1'",
        FIRESTORE_LOCATION='"nam5"  # near it',
        STORE_URL="secret:database-url",
        OBJECTS_URL="gs://acme-objects/nightshift",
        MODELS_DIR="gs://acme-models/serving",
        DEFAULT_MODEL="digits # the first one",
        LOG_PREDICTIONS="0.25",
        WEB_ACCESS="public",
        INVOKERS_PREDICT='"user:ana@example.com, allUsers"',
        INVOKERS_STORE_RESULT="group:team@example.com,domain:example.com",
        INVOKERS_WEB="allAuthenticatedUsers",
        MIN_INSTANCES_PREDICT="1",
        MAX_INSTANCES_PREDICT="50",
        MEMORY_PREDICT="2Gi",
        ALERT_EMAIL="night@example.com",
        CLOUD_SQL_INSTANCE="acme-staging:us-central1:results",
        PROTECTED="1",
        PYTHON_RUNTIME="python313",
    )

    found = read_environment("staging", folder)

    assert (found.name, found.project_id, found.region, found.firestore_location) == (
        *("staging", "acme-staging", "us-central1", "nam5"),
    )
    assert (found.store_url, found.store_secret) == ("", "database-url")
    assert (found.objects_url, found.models_dir) == ("gs://acme-objects/nightshift", "gs://acme-models/serving")
    assert (found.default_model, found.log_predictions, found.web_access) == ("digits", 0.25, "public")
    assert found.invokers == {
        "predict": ("user:ana@example.com", "allUsers"),
        "store_result": ("group:team@example.com", "domain:example.com"),
        "list_results": (),
        "nightly_transform": (),
        "web": ("allAuthenticatedUsers",),
    }
    assert (found.min_instances, found.max_instances, found.memory) == (
        *({"predict": 1}, {"predict": 50}, {"predict": "2Gi"}),
    )
    assert (found.alert_email, found.cloud_sql_instance) == ("night@example.com", "acme-staging:us-central1:results")
    assert (found.promote_from, found.protected, found.python_runtime) == ("", True, "python313")
    with pytest.raises(FrozenInstanceError):
        found.region = "elsewhere"


def test_empty_values_stand_for_the_defaults(folder):
    """The store and the bucket are the project's own."""
    write(folder, "staging")

    found = read_environment("staging", folder)

    assert (found.store_url, found.store_secret) == ("firestore://acme-staging/(default)", None)
    assert found.objects_url == "gs://acme-staging-nightshift-objects"
    assert (found.models_dir, found.default_model, found.log_predictions) == ("", "", 0.0)
    assert (found.web_access, found.protected, found.python_runtime) == ("private", False, "python312")
    assert found.min_instances == found.max_instances == found.memory == {}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "PROJECT_ID",
            "",
            "expected the id of a Google Cloud project: 6 to 30 lower-case letters, digits and hyphens, got n",
        ),
        ("PROJECT_ID", "Acme-Staging", "expected the id of a Google Cloud project"),
        ("PROJECT_ID", "acme1", "expected the id of a Google Cloud project"),
        ("PROJECT_ID", "a" * 31, "expected the id of a Google Cloud project"),
        ("PROJECT_ID", "1acme-staging", "expected the id of a Google Cloud project"),
        ("PROJECT_ID", "acme-staging-", "expected the id of a Google Cloud project"),
        ("PROJECT_ID", "acme_staging", "expected the id of a Google Cloud project"),
        ("PROJECT_ID", "123456789012", "expected the id of a Google Cloud project"),
        ("REGION", "", "expected a region with Cloud Run and Cloud Scheduler, got nothing"),
        ("REGION", "europe-west99", "expected a region with Cloud Run and Cloud Scheduler, got 'europe-west99'"),
        ("REGION", "EUROPE-WEST1", "expected a region"),
        ("REGION", "europe-west1-b", "expected a region"),
        ("FIRESTORE_LOCATION", "", "expected a location of Firestore, such as eur3, nam5 or a region, got nothing"),
        ("FIRESTORE_LOCATION", "eur4", "expected a location of Firestore, such as eur3, nam5 or a region, got 'eur4'"),
        ("STORE_URL", "sqlite:///results.db", "expected nothing, firestore://PROJECT/(default), or secret:NAME"),
        (
            "STORE_URL",
            "postgresql+psycopg://db/results",
            "expected nothing, firestore://PROJECT/(default), or secret:NAME",
        ),
        ("STORE_URL", "firestore://acme-staging", "expected nothing, firestore://PROJECT/(default)"),
        ("STORE_URL", "firestore://acme-staging/A", "expected nothing, firestore://PROJECT/(default)"),
        (
            "STORE_URL",
            "firestore://acme-prod/(default)",
            "expected a database of this environment's project, acme-staging",
        ),
        ("STORE_URL", "secret:", "expected nothing, firestore://PROJECT/(default), or secret:NAME"),
        ("STORE_URL", "secret:data.base", "expected nothing, firestore://PROJECT/(default), or secret:NAME"),
        ("OBJECTS_URL", "s3://acme", "expected gs://bucket or gs://bucket/prefix, or nothing, got 's3://acme'"),
        ("OBJECTS_URL", "gs://Acme", "expected gs://bucket"),
        ("OBJECTS_URL", "gs://ab", "expected gs://bucket"),
        ("OBJECTS_URL", "gs://goog-objects", "expected gs://bucket"),
        ("OBJECTS_URL", "file:///tmp", "expected gs://bucket"),
        ("MODELS_DIR", "model/", "expected gs://bucket or gs://bucket/prefix, or nothing, got 'model/'"),
        ("MODELS_DIR", "gs://acme models", "expected quotes around a value with spaces"),
        ("DEFAULT_MODEL", "digits/1", "expected the name of a model, or nothing, got 'digits/1'"),
        ("LOG_PREDICTIONS", "2", "expected a share from 0 to 1 with at most four places, such as 0.05, got '2'"),
        ("LOG_PREDICTIONS", "-1", "expected a share from 0 to 1"),
        ("LOG_PREDICTIONS", "50%", "expected a share from 0 to 1"),
        ("LOG_PREDICTIONS", "1e-3", "expected a share from 0 to 1"),
        ("LOG_PREDICTIONS", "0.00001", "expected a share from 0 to 1"),
        ("WEB_ACCESS", "open", "expected private, iap or public, got 'open'"),
        ("INVOKERS_PREDICT", "ana@example.com", "expected user:, group: or serviceAccount: with an address"),
        ("INVOKERS_PREDICT", "user:ana", "expected user:, group: or serviceAccount: with an address"),
        ("INVOKERS_PREDICT", "user:ana@example.com,", "expected user:, group: or serviceAccount: with an address"),
        ("INVOKERS_PREDICT", "domain:example", "expected user:, group: or serviceAccount: with an address"),
        ("INVOKERS_PREDICT", "everyone", "expected user:, group: or serviceAccount: with an address"),
        ("INVOKERS_PREDICT", "allUsers,allUsers", "expected each caller once"),
        ("INVOKERS_STORE_RESULT", "allUsers", "expected no allUsers: only predict and web may be public"),
        (
            "INVOKERS_STORE_RESULT",
            "allAuthenticatedUsers",
            "expected no allAuthenticatedUsers: only predict and web may be",
        ),
        ("INVOKERS_WEB", "allUsers", "expected WEB_ACCESS=public with allUsers"),
        ("MIN_INSTANCES_PREDICT", "1001", "expected a whole number from 0 to 1000, or nothing, got '1001'"),
        ("MIN_INSTANCES_PREDICT", "-1", "expected a whole number from 0 to 1000"),
        ("MAX_INSTANCES_PREDICT", "0", "expected a whole number from 1 to 1000, or nothing, got '0'"),
        ("MAX_INSTANCES_PREDICT", "1.5", "expected a whole number from 1 to 1000"),
        ("MEMORY_PREDICT", "2G", "expected memory such as 512Mi or 2Gi, from 512Mi to 32Gi, got '2G'"),
        ("MEMORY_PREDICT", "2GB", "expected memory such as 512Mi or 2Gi"),
        ("MEMORY_PREDICT", "2gi", "expected memory such as 512Mi or 2Gi"),
        ("MEMORY_PREDICT", "2048", "expected memory such as 512Mi or 2Gi"),
        ("MEMORY_PREDICT", "1.5Gi", "expected memory such as 512Mi or 2Gi"),
        ("MEMORY_PREDICT", "256Mi", "expected memory such as 512Mi or 2Gi"),
        ("MEMORY_PREDICT", "33Gi", "expected memory such as 512Mi or 2Gi"),
        ("ALERT_EMAIL", "nobody", "expected an e-mail address, or nothing, got 'nobody'"),
        ("CLOUD_SQL_INSTANCE", "results", "expected project:region:instance, or nothing, got 'results'"),
        ("CLOUD_SQL_INSTANCE", "acme-staging:europe-west1:x", "expected nothing, since STORE_URL is no secret:NAME"),
        ("PROMOTE_FROM", "nowhere", "expected another environment: "),
        ("PROMOTE_FROM", "staging", "expected another environment: "),
        ("PROMOTE_FROM", "../dev", "expected another environment: one, and there is none, got '../dev'"),
        ("PROTECTED", "yes", "expected 0 or 1, got 'yes'"),
        (
            "PYTHON_RUNTIME",
            "python314",
            "expected python311, python312 or python313 (TensorFlow has no wheel for 3.14), got",
        ),
        ("PYTHON_RUNTIME", "3.12", "expected python311, python312 or python313"),
        ("REGION", " europe-west1", "expected no space after the ="),
        ("REGION", "europe-west1 europe-west4", "expected quotes around a value with spaces"),
        ("REGION", '"europe-west1', 'expected a closing "'),
        ("REGION", "'europe-west1", "expected a closing '"),
        ("REGION", '"europe-west1" "b"', 'expected nothing after the closing " but a # comment'),
        ("REGION", "europe-'west1'", "expected quotes around all of the value or none"),
        ("REGION", "$REGION", "expected the value itself: nothing is expanded"),
        ("REGION", '"$(gcloud config get run/region)"', "expected the value itself: nothing is expanded"),
        ("REGION", "`cat region`", "expected quotes around a value with spaces"),
        ("REGION", "`region`", "expected the value itself: nothing is expanded"),
        ("REGION", "europe\x00west1", "expected no control characters"),
    ],
)
def test_each_kind_of_wrong_value_is_named_with_its_line(folder, key, value, words):
    """The message says where, what was expected and what stood there."""
    write(folder, "staging", **{key: value})

    (problem,) = problems(folder)

    assert problem.startswith(f"environments/staging.env:{LINES[key]}: {key}: {words}"), problem


@pytest.mark.parametrize(
    ("line", "number", "words"),
    [
        ("PROJECT", 22, "expected KEY=VALUE or a # comment"),
        ("export REGIONS=x", 22, "expected KEY=VALUE, the key in capitals"),
        ("REGION =x", 22, "expected KEY=VALUE, the key in capitals"),
        ("region=x", 22, "expected KEY=VALUE, the key in capitals"),
        ("=x", 22, "expected KEY=VALUE, the key in capitals"),
        ("REGION=us-central1", 22, "REGION: expected once, it is there already on line 3"),
        ("REGON=us-central1", 22, "REGON: unknown key: did you mean REGION?"),
        ("INVOKERS_PREDICTS=", 22, "INVOKERS_PREDICTS: unknown key: did you mean INVOKERS_PREDICT?"),
        ("XYZ=1", 22, "XYZ: unknown key"),
    ],
)
def test_a_half_written_line_is_named(folder, line, number, words):
    """With its number, and without the line: it may be half a secret."""
    write(folder, "staging", f"{GOOD}{line}\n")

    (problem,) = problems(folder)

    assert problem.startswith(f"environments/staging.env:{number}: {words}")
    assert "PROJECT " not in problem


@pytest.mark.parametrize("key", ["PROJECT_ID", "REGION", "FIRESTORE_LOCATION"])
def test_a_missing_key_is_named(folder, key):
    """These have no default."""
    write(folder, "staging", re.sub(rf"(?m)^{key}=.*\n", "", GOOD))

    assert problems(folder) == [f"environments/staging.env: {key}: expected, not there"]


SECRETS = [
    (f"PAGE_TOKEN_KEY={HEX}", "PAGE_TOKEN_KEY: a secret by its name", HEX),
    ("API_TOKEN=abc-hush", "API_TOKEN: a secret by its name", "abc-hush"),
    ("DB_PASSWORD=hush-hush", "DB_PASSWORD: a secret by its name", "hush"),
    ("PASSWORD=hush-hush", "PASSWORD: a secret by its name", "hush"),
    ("CLIENT_SECRET='hush hush'", "CLIENT_SECRET: a secret by its name", "hush"),
    ("STORE_URL=postgresql+psycopg://app:hush@10.0.0.3/results", "STORE_URL: a URL with a password", "hush"),
    ("OBJECTS_URL=https://:hush@example.com", "OBJECTS_URL: a URL with a password", "hush"),
    ("# STORE_URL=postgresql://app:hush@10.0.0.3/results", "a URL with a password", "hush"),
    (f"DEFAULT_MODEL={GOOGLE_KEY}", "DEFAULT_MODEL: a Google API key", GOOGLE_KEY),
    (f"# it was {GOOGLE_KEY} once", "a Google API key", GOOGLE_KEY),
    (f"DEFAULT_MODEL={ACCESS_TOKEN}", "DEFAULT_MODEL: a Google access token", ACCESS_TOKEN),
    ("DEFAULT_MODEL=GOCSPX-abcdefghijklmn", "DEFAULT_MODEL: an OAuth client secret", "abcdefgh"),
    ("DEFAULT_MODEL=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "DEFAULT_MODEL: a signed token", "eyJ"),
    ('XYZ={"private_key": "hush"}', "XYZ: the key of a service account", "hush"),
    (f"DEFAULT_MODEL={HEX}", "DEFAULT_MODEL: a secret by its looks", HEX),
    (f"DEFAULT_MODEL={BASE64}", "DEFAULT_MODEL: a secret by its looks", BASE64),
    (f"DEFAULT_MODEL='{BASE64.replace('f', '/')}'", "DEFAULT_MODEL: a secret by its looks", "QmFzZTY0"),
    (f"ALERT_EMAIL={BASE64.strip('=')}@example.com", "ALERT_EMAIL: a secret by its looks", BASE64.strip("=")),
    ("-----BEGIN PRIVATE KEY-----\nMIIEhushQ==\nabc\n-----END PRIVATE KEY-----", "a PEM block", "hush"),
    ("DEFAULT_MODEL='-----BEGIN RSA PRIVATE KEY-----", "DEFAULT_MODEL: a PEM block", "RSA"),
]


@pytest.mark.parametrize(("line", "words", "hidden"), SECRETS, ids=range(len(SECRETS)))
def test_a_secret_is_refused_and_never_shown(folder, line, words, hidden):
    """The file is in the repository: what is in there is known to everyone who has it."""
    key = line.partition("=")[0]
    write(folder, "staging", re.sub(rf"(?m)^{re.escape(key)}=.*\n", "", GOOD) + f"{line}\n")

    (problem,) = problems(folder)

    number = 22 if key not in LINES else 21
    assert problem.startswith(f"environments/staging.env:{number}: {words}")
    assert "Secret Manager" in problem
    assert hidden not in problem


@pytest.mark.parametrize(
    "value", ["gs://acme-models/0123456789abcdef0123456789abcdef01234567", "gs://acme-models/Digits1"]
)
def test_the_commit_in_a_models_folder_is_no_secret(folder, value):
    """A good name for a folder of models."""
    write(folder, "staging", MODELS_DIR=value)

    assert read_environment("staging", folder).models_dir == value


def test_long_names_are_no_secrets(folder):
    """A service account's address is longer than most keys, and a model may be named in whole words."""
    member = "serviceAccount:nightly-score-customers-v2@acme-customers-staging.iam.gserviceaccount.com"
    model = "customers-who-may-leave-within-a-month-2"
    write(folder, "staging", INVOKERS_PREDICT=member, DEFAULT_MODEL=model)

    found = read_environment("staging", folder)

    assert (found.invokers["predict"], found.default_model) == ((member,), model)


def test_a_wrong_store_shows_its_scheme_alone(folder):
    """A password may stand anywhere in what was meant to be a database's URL."""
    write(folder, "staging", STORE_URL="postgresql+psycopg://db/results?user=app&pass=hush")

    (problem,) = problems(folder)

    assert problem.endswith(", got postgresql+psycopg:...")


def test_everything_wrong_is_told_at_once_from_the_first_line_to_the_last(folder):
    """One read lists all of it, in the order of the file."""
    write(folder, "staging", GOOD + "nonsense\nREGON=x\n", PROJECT_ID="", WEB_ACCESS="open", PROTECTED="'1")

    found = [problem.split(": expected")[0].split(", got")[0] for problem in problems(folder)]

    assert found == [
        "environments/staging.env:2: PROJECT_ID",
        "environments/staging.env:10: WEB_ACCESS",
        "environments/staging.env:20: PROTECTED",
        "environments/staging.env:22",
        "environments/staging.env:23: REGON: unknown key: did you mean REGION?",
    ]


def test_an_environment_that_is_not_there_is_named_with_those_that_are(folder):
    """No name reaches out of the folder."""
    for name in ("dev", "staging", "prod"):
        write(folder, name, PROJECT_ID=f"acme-{name}")

    for name in ("stagin", "../environments/staging", "staging.env", ""):
        assert problems(folder, name) == [f"expected an environment: dev, prod, staging, got {name!r}"]


def test_a_folder_without_environments_says_so(folder):
    """Also one that is not there."""
    for place in (folder, folder / "nowhere"):
        assert problems(place) == [f"expected an environment: those in {place.name}/, which has none, got 'staging'"]


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff\xfeP", "expected UTF-8, byte 0 is none"), (None, "cannot be read: Is a directory")]
)
def test_a_file_that_is_no_text_is_named(folder, content, words):
    """And nothing else is said of it but what is not there."""
    path = folder / "staging.env"
    path.mkdir() if content is None else path.write_bytes(content)

    assert problems(folder)[0] == f"environments/staging.env: {words}"


def test_files_with_the_line_ends_of_windows_are_read(folder):
    """They mean the same; so do empty lines, spaces before a comment, and a last line without an end."""
    text = f"\n  # more\n\t\n{GOOD}"
    (folder / "staging.env").write_bytes(text.rstrip("\n").replace("\n", "\r\n").encode())

    assert read_environment("staging", folder).region == "europe-west1"


def test_least_instances_above_the_most_are_refused(folder):
    """Cloud Run refuses that only at the very end."""
    write(folder, "staging", MIN_INSTANCES_PREDICT="3", MAX_INSTANCES_PREDICT="2")

    (problem,) = problems(folder)

    line = LINES["MIN_INSTANCES_PREDICT"]
    assert problem == (
        f"environments/staging.env:{line}: MIN_INSTANCES_PREDICT: expected at most MAX_INSTANCES_PREDICT, 2, got 3"
    )


@pytest.mark.parametrize(("key", "value"), [("PROJECT_ID", "acme-staging"), ("OBJECTS_URL", "gs://acme-objects")])
def test_two_environments_never_share_a_project_or_a_bucket(folder, key, value):
    """What is tried in one would be done to the other."""
    write(folder, "staging", **{key: value})
    write(folder, "prod", **{"PROJECT_ID": "acme-prod", key: value})

    (problem,) = problems(folder)

    line = LINES[key]
    assert problem == (
        f"environments/staging.env:{line}: {key}: expected another than environments/prod.env has on line {line}"
    )


def test_two_environments_may_both_be_without_a_project_yet(folder):
    """Nobody fills in all three at once."""
    write(folder, "staging")
    for name in ("dev", "prod"):
        write(folder, name, PROJECT_ID="")

    assert read_environment("staging", folder).project_id == "acme-staging"


def test_all_environments_have_the_same_keys(folder):
    """What one leaves out was forgotten."""
    write(folder, "staging", GOOD.replace("ALERT_EMAIL=\n", ""))
    write(folder, "prod", PROJECT_ID="acme-prod")

    assert problems(folder) == [
        "environments/staging.env: ALERT_EMAIL: expected, since environments/prod.env has it (it may be empty)"
    ]


def test_images_are_promoted_from_where_they_are_built(folder):
    """Not through a third environment, nor in a circle."""
    write(folder, "dev", PROJECT_ID="acme-dev", PROMOTE_FROM="staging")
    write(folder, "staging", PROMOTE_FROM="dev")
    write(folder, "prod", PROJECT_ID="acme-prod", PROMOTE_FROM="staging")

    line = LINES["PROMOTE_FROM"]
    expected = "expected an environment that builds its own images;"
    assert problems(folder, "prod") == [
        f"environments/prod.env:{line}: PROMOTE_FROM: {expected} staging has them from dev"
    ]
    assert problems(folder, "dev") == [
        f"environments/dev.env:{line}: PROMOTE_FROM: {expected} staging has them from dev"
    ]


def test_files_of_other_names_are_no_environments(folder):
    """Labels and buckets are named after them."""
    for name in ("dev", "Prod", "prod.local", "9", ""):
        write(folder, name)

    assert environment_names(folder) == ["dev"]


@pytest.mark.parametrize("share", ["0", "1", "1.0", ".5", "0.0001", "0.9999"])
def test_a_share_that_is_taken_is_one_the_function_takes(folder, share):
    """It is handed on as Python writes it."""
    write(folder, "staging", LOG_PREDICTIONS=share)

    found = read_environment("staging", folder).log_predictions

    assert Settings.from_env({"LOG_PREDICTIONS": str(found)}).log_predictions == float(share)


def test_regions_look_like_regions():
    """A slip in the list would refuse what Google has, or let through what it has not."""
    assert all(re.fullmatch(r"[a-z]+-[a-z]+[0-9]{1,2}", region) for region in REGIONS)
    assert len(set(REGIONS)) == len(REGIONS)
    assert len(set(FIRESTORE_LOCATIONS)) == len(FIRESTORE_LOCATIONS)
    assert set(REGIONS) <= set(FIRESTORE_LOCATIONS)


def test_every_function_of_the_repository_has_its_keys():
    """And the page, which comes later."""
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/main.py")}

    assert folders <= set(FUNCTIONS)


def filled_in(tmp_path):
    """Return a copy of what the repository ships, with projects filled in."""
    for name in ("dev", "staging", "prod"):
        text = (ROOT / "environments" / f"{name}.env").read_text()
        assert "\nPROJECT_ID=\n" in text
        (tmp_path / "environments").mkdir(exist_ok=True)
        write(tmp_path / "environments", name, text, PROJECT_ID=f"acme-{name}")
    for path in [*(ROOT / "functions").glob("*/main.py"), *(ROOT / "functions").glob("*/service.yaml")]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            "" if path.suffix == ".py" else re.sub("(?m)^ +- (model|scheduler).*\n", "", path.read_text())
        )
        target.write_text(target.read_text().replace("include:\n", "include: []\n"))
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "jobs.yaml").write_text((ROOT / "scheduler" / "jobs.yaml").read_text())
    return tmp_path


def test_the_files_that_are_shipped_are_right_but_for_the_project(tmp_path):
    """Every key there is, three environments that differ in a few values."""
    root = filled_in(tmp_path)

    dev, staging, prod = (read_configuration(name, root).environment for name in ("dev", "staging", "prod"))

    assert (prod.promote_from, prod.protected) == ("staging", True)
    assert (dev.promote_from, dev.protected, staging.promote_from, staging.protected) == ("", False, "", False)
    for name in ("dev", "staging", "prod"):
        text = (ROOT / "environments" / f"{name}.env").read_text()
        assert re.findall(r"(?m)^([A-Z_]+)=", text) == re.findall(
            r"(?m)^([A-Z_]+)=", (ROOT / "environments/dev.env").read_text()
        )
        assert set(re.findall(r"(?m)^([A-Z_]+)=", text)) == set(CHECKS)


def test_what_is_shipped_asks_for_a_project_and_nothing_else():
    """The one thing that nobody can choose for others."""
    with pytest.raises(ConfigurationError) as raised:
        read_configuration("dev", ROOT)

    (problem,) = raised.value.problems
    assert ": PROJECT_ID: expected the id of a Google Cloud project" in problem


def test_the_whole_configuration_is_read(tmp_path):
    """The environment, the functions and the jobs."""
    found = read_configuration("staging", filled_in(tmp_path))

    assert found.environment.name == "staging"
    assert [service.function for service in found.services] == sorted(
        set(FUNCTIONS) & {s.function for s in found.services}
    )
    assert "nightly" in found.jobs


def test_everything_wrong_in_any_file_is_told_before_anything_runs(tmp_path):
    """The environment, those beside it, the functions and the jobs at once."""
    root = filled_in(tmp_path)
    for path, old, new in (
        ("environments/dev.env", "REGION=europe-west1", "REGION=mars-west1"),
        ("environments/prod.env", "PROTECTED=1", "PROTECTED=yes"),
        ("environments/prod.env", "ALERT_EMAIL=\n", ""),
        ("environments/staging.env", "PROJECT_ID=acme-staging", "PROJECT_ID="),
        ("functions/predict/service.yaml", "memory: 1Gi", "memory: 1GB"),
        ("scheduler/jobs.yaml", "10 2 * * *", "ten past two"),
        ("scheduler/jobs.yaml", "Etc/UTC", "Mars/Olympus"),
    ):
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new, 1))

    with pytest.raises(ConfigurationError) as raised:
        read_configuration("dev", root)

    found = "\n".join(raised.value.problems)
    for words in (
        *("dev.env:7: REGION: ", "prod.env: ALERT_EMAIL: ", "PROTECTED: expected 0 or 1", "predict/service.yaml:"),
        *(
            "memory: expected memory",
            "jobs.yaml line ",
            "schedule: expected a cron",
            "time_zone: expected an IANA name",
        ),
    ):
        assert words in found
    assert "staging" not in found


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("MEMORY_PREDICT", "8Gi", "MEMORY_PREDICT: expected 512Mi to 4Gi with 1 vCPU, got 8Gi"),
        ("MIN_INSTANCES_PREDICT", "21", "MIN_INSTANCES_PREDICT: expected at most 20, as service.yaml says, got 21"),
    ],
)
def test_values_that_do_not_go_with_the_functions_are_told(tmp_path, key, value, words):
    """Cloud Run would refuse them after everything else has been made."""
    root = filled_in(tmp_path)
    path = root / "environments" / "staging.env"
    write(path.parent, "staging", path.read_text(), **{key: value})

    with pytest.raises(ConfigurationError, match=re.escape(words)):
        read_configuration("staging", root)
