"""The environment, read once and checked whole. No other module reads `os.environ`."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigurationError

# The folder that holds shared/: the repository in a checkout, the function itself in a staged build.
ROOT = Path(__file__).resolve().parent.parent
BUNDLED_MODELS = ROOT / "model"
LOCAL_PORT_BASE = 8080
# Port of each function above the base.
PORT_OFFSETS = {"web": 0, "predict": 1, "store_result": 2, "list_results": 3, "nightly_transform": 4}
_MOST = 10**12 - 1
_BUCKET_URL = r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?"
_STORE_URL = r"sqlite:///.|postgresql\+psycopg://.|firestore://[a-z][a-z0-9-]*/."


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the environment decides; `.env.example` lists the same variables and a test keeps it so.

    Attributes:
        models_dir: MODELS_DIR. Models in TensorFlow Serving's layout `<name>/<version>/`: a folder, or
            `gs://bucket/prefix` as text.
        default_model: DEFAULT_MODEL. The model `POST /` serves; None: the only one there is.
        store_url: STORE_URL. `sqlite:///path`, `postgresql+psycopg://...` or `firestore://PROJECT/DATABASE`.
        objects_url: OBJECTS_URL. Where payloads go that are too large for a row: `file:///path` or
            `gs://bucket/prefix`; empty: nowhere.
        state_dir: STATE_DIR. Everything a local run writes.
        threads: THREADS. Requests a function works on at once; functions-framework reads it too.
        max_body_bytes: MAX_BODY_BYTES. Overrides the function's own request limit.
        urls: PREDICT_URL, STORE_RESULT_URL, LIST_RESULTS_URL, NIGHTLY_TRANSFORM_URL. Where the functions are.
        page_token_key: PAGE_TOKEN_KEY. Signs page tokens; made in state_dir locally.
        project_id: PROJECT_ID. Names traces in the logs, and holds the topics.
        region: REGION. Where Cloud Scheduler has the jobs.
        scheduler_emulator_host: CLOUD_SCHEDULER_EMULATOR_HOST. A Cloud Scheduler on this machine, as `host:port`, that
            is asked instead, without credentials.
        nightly_topic: NIGHTLY_TOPIC. Where the jobs' messages are handed to.
        predictions_topic: PREDICTIONS_TOPIC. Where answered requests are handed to.
        model_timeout_seconds: MODEL_TIMEOUT_SECONDS. How long predict waits for a model, 1 to 3600.
        log_predictions: LOG_PREDICTIONS. The share of answered requests that are, 0 to 1.
        environment: ENVIRONMENT. Named on the page and in the logs.
        read_only: READ_ONLY. The page shows and predicts, and changes nothing.
        in_cloud: K_SERVICE is set, as Cloud Run sets it.
        code_version: K_REVISION, as Cloud Run sets it: which deployment made a run.
    """

    models_dir: Path | str
    default_model: str | None
    store_url: str
    objects_url: str
    state_dir: Path
    threads: int
    max_body_bytes: int | None
    urls: Mapping[str, str]
    page_token_key: bytes | None
    project_id: str | None
    region: str
    scheduler_emulator_host: str | None
    nightly_topic: str
    predictions_topic: str
    model_timeout_seconds: int
    log_predictions: float
    environment: str
    read_only: bool
    in_cloud: bool
    code_version: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings from a mapping such as `os.environ`.

        Raises:
            ConfigurationError: Lists every variable that is wrong, with what it was and what is expected.
        """
        problems: list[str] = []
        in_cloud = bool(environ.get("K_SERVICE"))
        state_dir = Path(environ.get("STATE_DIR") or ROOT / ".local").absolute()
        key = environ.get("PAGE_TOKEN_KEY")
        if key is not None and len(key) < 16:
            problems.append("PAGE_TOKEN_KEY: expected at least 16 characters")
        settings = cls(
            models_dir=_models_dir(environ, problems),
            default_model=environ.get("DEFAULT_MODEL") or None,
            store_url=_store_url(environ, state_dir, in_cloud, problems),
            objects_url=_objects_url(environ, state_dir, in_cloud, problems),
            state_dir=state_dir,
            threads=_integer(environ, "THREADS", 4 * (os.cpu_count() or 1), problems),
            max_body_bytes=_integer(environ, "MAX_BODY_BYTES", 0, problems) or None,
            urls=_urls(environ, problems),
            page_token_key=key.encode() if key else None,
            project_id=environ.get("PROJECT_ID") or None,
            region=_region(environ, problems),
            scheduler_emulator_host=_local_host(environ, "CLOUD_SCHEDULER_EMULATOR_HOST", problems),
            nightly_topic=environ.get("NIGHTLY_TOPIC") or "nightly",
            predictions_topic=environ.get("PREDICTIONS_TOPIC") or "predictions",
            model_timeout_seconds=_integer(environ, "MODEL_TIMEOUT_SECONDS", 60, problems, most=3600),
            log_predictions=_share(environ, "LOG_PREDICTIONS", problems),
            environment=environ.get("ENVIRONMENT") or "local",
            read_only=_flag(environ, "READ_ONLY", problems),
            in_cloud=in_cloud,
            code_version=environ.get("K_REVISION") or "local",
        )
        if problems:
            raise ConfigurationError(problems)
        return settings


def read_settings() -> Settings:
    """Read the settings of this process."""
    return Settings.from_env(os.environ)


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with changes, for a process to be started; PYTHONPATH stays out."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | dict(changes)


def function_urls(base_url: str) -> dict[str, str]:
    """Return where each function of a local stack answers, from the URL of its base port.

    Raises:
        ConfigurationError: The URL has no host and port.
    """
    found = re.fullmatch(r"(https?://[^/\s:]+):([0-9]{1,5})/?", base_url)
    if not found:
        raise ConfigurationError([f"expected a URL such as http://127.0.0.1:8080, got {base_url!r}"])
    return {name: f"{found[1]}:{int(found[2]) + step}" for name, step in PORT_OFFSETS.items()}


def _integer(environ: Mapping[str, str], name: str, default: int, problems: list[str], most: int = _MOST) -> int:
    text = environ.get(name)
    if not text:
        return default
    if re.fullmatch(r"[0-9]{1,12}", text) and 0 < int(text) <= most:
        return int(text)
    expected = "above 0" if most == _MOST else f"from 1 to {most}"
    problems.append(f"{name}: expected a whole number {expected}, got {text!r}")
    return default


def _flag(environ: Mapping[str, str], name: str, problems: list[str]) -> bool:
    text = environ.get(name) or "0"
    if text not in ("0", "1"):
        problems.append(f"{name}: expected 0 or 1, got {text!r}")
    return text == "1"


def _models_dir(environ: Mapping[str, str], problems: list[str]) -> Path | str:
    text = environ.get("MODELS_DIR") or str(BUNDLED_MODELS)
    if "://" not in text:
        return Path(text).absolute()
    if not re.fullmatch(_BUCKET_URL, text):
        problems.append(f"MODELS_DIR: expected a folder or gs://bucket/prefix, got {text!r}")
    return text


def _store_url(environ: Mapping[str, str], state_dir: Path, in_cloud: bool, problems: list[str]) -> str:
    url = environ.get("STORE_URL") or ("" if in_cloud else f"sqlite:///{state_dir}/nightshift.db")
    if in_cloud and url.startswith("sqlite:"):
        problems.append("STORE_URL: SQLite is lost with the instance in the cloud; name a database")
    elif url and not re.match(_STORE_URL, url):
        # What came is not shown: it may hold a password.
        problems.append("STORE_URL: expected sqlite:///path, postgresql+psycopg://... or firestore://PROJECT/DATABASE")
    return url


def _objects_url(environ: Mapping[str, str], state_dir: Path, in_cloud: bool, problems: list[str]) -> str:
    url = environ.get("OBJECTS_URL") or ("" if in_cloud else f"file://{state_dir}/objects")
    if in_cloud and url.startswith("file:"):
        problems.append("OBJECTS_URL: a folder is lost with the instance in the cloud; name a bucket")
    elif url and not re.fullmatch(rf"file:///.+|{_BUCKET_URL}", url):
        problems.append(f"OBJECTS_URL: expected file:///path or gs://bucket/prefix, got {url!r}")
    return url


def _share(environ: Mapping[str, str], name: str, problems: list[str]) -> float:
    text = environ.get(name) or "0"
    if re.fullmatch(r"0|1|1\.0+|0?\.[0-9]{1,12}", text):
        return float(text)
    problems.append(f"{name}: expected a share from 0 to 1, got {text!r}")
    return 0.0


def _region(environ: Mapping[str, str], problems: list[str]) -> str:
    text = environ.get("REGION") or "europe-west1"
    if not re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", text):
        problems.append(f"REGION: expected a region such as europe-west1, got {text!r}")
    return text


def _local_host(environ: Mapping[str, str], name: str, problems: list[str]) -> str | None:
    text = environ.get(name) or None
    # Calls to it are neither encrypted nor signed.
    if text and not re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5}", text):
        problems.append(f"{name}: expected a port of this machine such as 127.0.0.1:9000, got {text!r}")
    return text


def _urls(environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    urls = {}
    for function, offset in PORT_OFFSETS.items():
        if function == "web":  # nobody asks it but people
            continue
        name = f"{function.upper()}_URL"
        url = environ.get(name) or f"http://127.0.0.1:{LOCAL_PORT_BASE + offset}"
        if not re.fullmatch(r"https?://[^/\s]\S*", url):
            problems.append(f"{name}: expected http:// or https://, got {url!r}")
        urls[function] = url.rstrip("/")
    return urls
