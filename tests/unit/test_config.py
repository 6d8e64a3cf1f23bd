"""The environment, checked whole, and the file that documents it."""

import os
import re
from pathlib import Path

import pytest

from shared.config import ROOT, Settings, child_environment, read_settings
from shared.errors import ConfigurationError


class Recording(dict):
    """An environment that remembers which variables were asked for."""

    def __init__(self, values=()):
        super().__init__(values)
        self.asked = set()

    def get(self, name, default=None):
        """Look a variable up."""
        self.asked.add(name)
        return super().get(name, default)


def problems(environ):
    """Return what is wrong with an environment."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(environ)
    return caught.value.problems


def test_an_empty_environment_is_a_laptop():
    """Nothing has to be set to begin."""
    settings = Settings.from_env({})

    assert settings == Settings(
        models_dir=ROOT / "model",
        default_model=None,
        store_url=f"sqlite:///{ROOT}/.local/nightshift.db",
        objects_url=f"file://{ROOT}/.local/objects",
        state_dir=ROOT / ".local",
        threads=4 * os.cpu_count(),
        max_body_bytes=None,
        urls={
            "predict": "http://127.0.0.1:8081",
            "store_result": "http://127.0.0.1:8082",
            "list_results": "http://127.0.0.1:8083",
            "nightly_transform": "http://127.0.0.1:8084",
        },
        page_token_key=None,
        project_id=None,
        region="europe-west1",
        scheduler_emulator_host=None,
        nightly_topic="nightly",
        predictions_topic="predictions",
        model_timeout_seconds=60,
        log_predictions=0.0,
        environment="local",
        read_only=False,
        in_cloud=False,
        code_version="local",
    )


def test_every_variable_is_taken():
    """Each under its own name."""
    settings = Settings.from_env(
        {
            "MODELS_DIR": "/models",
            "READ_ONLY": "1",
            "DEFAULT_MODEL": "digits",
            "STORE_URL": "sqlite:////data/x.db",
            "STATE_DIR": "/state",
            "THREADS": "3",
            "MAX_BODY_BYTES": "1000",
            "PREDICT_URL": "https://predict.example/",
            "PAGE_TOKEN_KEY": "0123456789abcdef",
            "PROJECT_ID": "observatory",
            "OBJECTS_URL": "gs://payloads/here",
            "LOG_PREDICTIONS": "0.25",
            "PREDICTIONS_TOPIC": "answers",
            "NIGHTLY_TOPIC": "jobs",
            "K_REVISION": "predict-00007",
            "ENVIRONMENT": "staging",
            "MODEL_TIMEOUT_SECONDS": "3600",
        }
    )

    assert (settings.models_dir, settings.state_dir) == (Path("/models"), Path("/state"))
    assert (settings.default_model, settings.store_url) == ("digits", "sqlite:////data/x.db")
    assert (settings.threads, settings.max_body_bytes) == (3, 1000)
    assert settings.urls["predict"] == "https://predict.example"
    assert settings.page_token_key == b"0123456789abcdef"
    assert (settings.project_id, settings.environment) == ("observatory", "staging")
    assert settings.objects_url == "gs://payloads/here"
    assert settings.model_timeout_seconds == 3600
    assert (settings.log_predictions, settings.predictions_topic) == (0.25, "answers")
    assert (settings.nightly_topic, settings.code_version) == ("jobs", "predict-00007")


def test_all_problems_are_reported_at_once():
    """One start is enough to learn everything that is wrong."""
    found = problems(
        {
            "THREADS": "0",
            "MAX_BODY_BYTES": "-1",
            "STORE_URL": "mysql://x",
            "PREDICT_URL": "localhost:8081",
            "PAGE_TOKEN_KEY": "short",
        }
    )

    assert sorted(problem.partition(":")[0] for problem in found) == [
        *("MAX_BODY_BYTES", "PAGE_TOKEN_KEY", "PREDICT_URL", "STORE_URL", "THREADS")
    ]
    assert "short" not in str(found)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "²", "1e3", "9" * 13, "0x10", " 4"])
@pytest.mark.parametrize("name", ["THREADS", "MAX_BODY_BYTES"])
def test_a_number_is_a_whole_number_above_0(name, text):
    """And the problem names what came."""
    assert problems({name: text}) == [f"{name}: expected a whole number above 0, got {text!r}"]


@pytest.mark.parametrize("text", ["0", "3601", "1.5", "-1"])
def test_a_model_s_time_is_at_most_an_hour(text):
    """No platform waits for longer."""
    assert problems({"MODEL_TIMEOUT_SECONDS": text}) == [
        f"MODEL_TIMEOUT_SECONDS: expected a whole number from 1 to 3600, got {text!r}"
    ]


@pytest.mark.parametrize("url", ["ftp://x", "http://", "https:// ", "http://a b", "//x", "x"])
def test_a_url_is_http(url):
    """The functions speak nothing else."""
    assert problems({"LIST_RESULTS_URL": url}) == [
        f"LIST_RESULTS_URL: expected http:// or https://, got {url!r}",
    ]


@pytest.mark.parametrize(
    "url",
    ["sqlite:///x.db", "postgresql+psycopg://u:p@h/db", "firestore://project-1/(default)", "firestore://p/d?shards=4"],
)
def test_a_store_is_one_of_three_databases(url):
    """The URL goes to the store as it is."""
    assert Settings.from_env({"STORE_URL": url}).store_url == url


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/db", "postgresql://u:secret@h/db", "firestore://p", "sqlite://", "x"]
)
def test_any_other_store_is_refused_without_its_password(url):
    """A URL may hold a secret, and problems are printed."""
    (problem,) = problems({"STORE_URL": url})

    assert problem.startswith("STORE_URL: expected sqlite:///path, postgresql+psycopg://")
    assert "secret" not in problem


@pytest.mark.parametrize("url", ["s3://x", "gs://A", "file://x", "/tmp/x", "gs://"])
def test_payloads_go_to_a_folder_or_a_bucket(url):
    """Nothing else keeps them."""
    assert problems({"OBJECTS_URL": url}) == [f"OBJECTS_URL: expected file:///path or gs://bucket/prefix, got {url!r}"]


@pytest.mark.parametrize("text", ["-1", "1.1", "2", "half", "1e-3", "50%", "0.", "nan"])
def test_a_share_is_from_0_to_1(text):
    """Neither a percentage nor a word."""
    assert problems({"LOG_PREDICTIONS": text}) == [f"LOG_PREDICTIONS: expected a share from 0 to 1, got {text!r}"]


def test_the_cloud_takes_no_folder_for_payloads():
    """It would be lost with the instance, and there is no default."""
    (problem,) = problems({"K_SERVICE": "store-result", "OBJECTS_URL": "file:///x"})

    assert problem.startswith("OBJECTS_URL: a folder is lost")
    assert Settings.from_env({"K_SERVICE": "store-result"}).objects_url == ""


def test_the_cloud_takes_no_sqlite():
    """It would be lost with the instance."""
    (problem,) = problems({"K_SERVICE": "store-result", "STORE_URL": "sqlite:///x.db"})

    assert problem.startswith("STORE_URL: SQLite is lost")


def test_the_cloud_has_no_default_store():
    """Functions that need one refuse to start; predict needs none."""
    settings = Settings.from_env({"K_SERVICE": "predict"})

    assert (settings.in_cloud, settings.store_url) == (True, "")


def test_relative_folders_are_made_absolute():
    """A function serves from any working directory."""
    settings = Settings.from_env({"STATE_DIR": "somewhere", "MODELS_DIR": "else"})

    assert settings.state_dir == Path.cwd() / "somewhere"
    assert settings.models_dir == Path.cwd() / "else"


@pytest.mark.parametrize("host", ["example.com:9000", "127.0.0.1", "127.0.0.1:x", "http://127.0.0.1:9000"])
def test_a_cloud_scheduler_instead_of_googles_is_on_this_machine(host):
    """What is said to it is neither encrypted nor signed."""
    (problem,) = problems({"CLOUD_SCHEDULER_EMULATOR_HOST": host})

    assert "expected a port of this machine" in problem
    assert Settings.from_env({"CLOUD_SCHEDULER_EMULATOR_HOST": "127.0.0.1:9"}).scheduler_emulator_host == "127.0.0.1:9"


@pytest.mark.parametrize("region", ["Europe", "europe-west1-b", "x"])
def test_a_region_that_is_none_is_refused(region):
    """A zone is none either."""
    assert problems({"REGION": region}) == [f"REGION: expected a region such as europe-west1, got {region!r}"]


@pytest.mark.parametrize("url", ["gs://models", "gs://my-models.example/team/digits", "gs://models/"])
def test_models_may_lie_in_a_bucket(url):
    """The URL stays as it is: a path would lose a slash."""
    assert Settings.from_env({"MODELS_DIR": url}).models_dir == url


@pytest.mark.parametrize("url", ["s3://models", "gs://", "gs://A", "gs://x", "file:///models", "gs:///models"])
def test_any_other_place_for_models_is_refused(url):
    """Before a function starts, and not when it is first asked."""
    assert problems({"MODELS_DIR": url}) == [f"MODELS_DIR: expected a folder or gs://bucket/prefix, got {url!r}"]


def test_an_empty_variable_is_one_that_is_not_set():
    """As deployment tools write it."""
    names = {"MODELS_DIR", "DEFAULT_MODEL", "STORE_URL", "STATE_DIR", "THREADS", "PREDICT_URL", "PROJECT_ID"}

    assert Settings.from_env(dict.fromkeys(names, "")) == Settings.from_env({})


def test_settings_come_from_this_process(monkeypatch):
    """read_settings is the one place that looks."""
    monkeypatch.setenv("ENVIRONMENT", "here")

    assert read_settings().environment == "here"


def test_a_child_inherits_everything_but_pythonpath(monkeypatch):
    """Functions must find their own code without help."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PROJECT_ID", "old")

    child = child_environment({"PROJECT_ID": "new", "THREADS": "2"})

    assert "PYTHONPATH" not in child
    assert (child["PROJECT_ID"], child["THREADS"], child["PATH"]) == ("new", "2", os.environ["PATH"])


def test_the_example_names_every_variable_and_no_other():
    """.env.example has each commented out, with a sentence above."""
    environ = Recording()
    Settings.from_env(environ)

    text = (ROOT / ".env.example").read_text("utf-8")

    named = re.findall(r"^# ([A-Z_]+)=", text, re.MULTILINE)
    assert sorted(named) == sorted(environ.asked)
    assert all(line.startswith("# ") for line in text.splitlines() if line)
    for block in text.strip().split("\n\n"):
        assert re.match(r"# \S.*\.$", block.splitlines()[0]), f"expected a sentence first: {block}"
