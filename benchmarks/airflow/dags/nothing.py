"""One task that does nothing: on request, and every minute."""

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator  # type: ignore[import-not-found]
from airflow.sdk import DAG  # type: ignore[import-not-found]


def nothing() -> None:
    """Do nothing."""


def _dag(name: str, schedule: str | None) -> Any:
    options = {"start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "is_paused_upon_creation": False}
    with DAG(name, schedule=schedule, **options) as dag:
        PythonOperator(task_id="nothing", python_callable=nothing)
    return dag


on_request = _dag("on_request", None)
every_minute = _dag("every_minute", "* * * * *")
