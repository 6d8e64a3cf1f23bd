"""`environments/ENV.env`: one Google Cloud project each, checked whole before anything is run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError

from .env_checks import check_values
from .env_file import read_env_file
from .env_values import FUNCTIONS
from .environments_together import problems_together

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Environment:
    """What one environment decides; the functions' own needs are in their service.yaml.

    Attributes:
        name: The file's name without `.env`.
        project_id: PROJECT_ID. The Google Cloud project that is this environment and no other.
        region: REGION. Where functions, schedules, buckets and images are.
        firestore_location: FIRESTORE_LOCATION. Where the database is; it can never be moved.
        store_url: STORE_URL. `firestore://PROJECT/DATABASE`; empty where `store_secret` has it.
        store_secret: The secret in Secret Manager that holds the URL of a PostgreSQL database, or None.
        objects_url: OBJECTS_URL. `gs://bucket/prefix`, where payloads go that are too large for the store.
        models_dir: MODELS_DIR. `gs://bucket/prefix`; empty: the models that are deployed with predict.
        default_model: DEFAULT_MODEL. Which `POST /` serves; empty: the only one.
        log_predictions: LOG_PREDICTIONS. The share of answered requests that are stored, 0 to 1.
        web_access: WEB_ACCESS. private, iap or public.
        invokers: INVOKERS_<FUNCTION>. Who may call each function, by its folder's name.
        min_instances: MIN_INSTANCES_<FUNCTION>. Those that say so.
        max_instances: MAX_INSTANCES_<FUNCTION>. Those that say so; the others as service.yaml does.
        memory: MEMORY_<FUNCTION>. Those that say so, such as 2Gi; the others as service.yaml does.
        alert_email: ALERT_EMAIL. Who is written to; empty: nobody.
        cloud_sql_instance: CLOUD_SQL_INSTANCE. `project:region:instance` that functions connect to; empty: none.
        promote_from: PROMOTE_FROM. The environment whose images run here; empty: it builds its own.
        protected: PROTECTED. Changes ask for the project's id, and it is never destroyed.
        python_runtime: PYTHON_RUNTIME. Such as python312.
    """

    name: str
    project_id: str
    region: str
    firestore_location: str
    store_url: str
    store_secret: str | None
    objects_url: str
    models_dir: str
    default_model: str
    log_predictions: float
    web_access: str
    invokers: Mapping[str, tuple[str, ...]]
    min_instances: Mapping[str, int]
    max_instances: Mapping[str, int]
    memory: Mapping[str, str]
    alert_email: str
    cloud_sql_instance: str
    promote_from: str
    protected: bool
    python_runtime: str


def environment_names(folder: Path) -> list[str]:
    """Return the environments there are: the `.env` files of a folder whose names can name one."""
    return sorted(path.stem for path in folder.glob("*.env") if _NAME.fullmatch(path.stem))


def read_environment(name: str, folder: Path) -> Environment:
    """Read and check one environment, and that the files beside it agree with it.

    Args:
        name: Such as staging.
        folder: Where the `.env` files are.

    Raises:
        ConfigurationError: There is none of this name, or its file is wrong: lists everything that is.
    """
    names = environment_names(folder)
    if name not in names:
        there = ", ".join(names) or f"those in {folder.name}/, which has none"
        raise ConfigurationError([f"expected an environment: {there}, got {name!r}"])
    files = {each: read_env_file(folder / f"{each}.env") for each in names}
    values = check_values(files[name])
    for file, line, problem in problems_together(files):
        if file is files[name]:
            file.add(line, problem)
    if files[name].problems:
        raise ConfigurationError(files[name].told())
    return _environment(name, values)


def _environment(name: str, values: Mapping[str, Any]) -> Environment:
    def by_function(prefix: str) -> dict[str, Any]:
        found = {function: values[f"{prefix}_{function.upper()}"] for function in FUNCTIONS}
        return {function: value for function, value in found.items() if value is not None}

    store, project_id = values["STORE_URL"], values["PROJECT_ID"]
    secret = store.removeprefix("secret:") if store.startswith("secret:") else None
    return Environment(
        name=name,
        project_id=project_id,
        region=values["REGION"],
        firestore_location=values["FIRESTORE_LOCATION"],
        store_url="" if secret else store or f"firestore://{project_id}/(default)",
        store_secret=secret,
        objects_url=values["OBJECTS_URL"] or f"gs://{project_id}-nightshift-objects",
        models_dir=values["MODELS_DIR"],
        default_model=values["DEFAULT_MODEL"],
        log_predictions=values["LOG_PREDICTIONS"],
        web_access=values["WEB_ACCESS"],
        invokers=by_function("INVOKERS"),
        min_instances=by_function("MIN_INSTANCES"),
        max_instances=by_function("MAX_INSTANCES"),
        memory=by_function("MEMORY"),
        alert_email=values["ALERT_EMAIL"],
        cloud_sql_instance=values["CLOUD_SQL_INSTANCE"],
        promote_from=values["PROMOTE_FROM"],
        protected=values["PROTECTED"],
        python_runtime=values["PYTHON_RUNTIME"],
    )
