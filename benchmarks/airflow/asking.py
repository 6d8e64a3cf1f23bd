"""Asks Airflow's API server for runs of a task that does nothing, and for its own record of when that task began."""

import time
from contextlib import suppress
from datetime import datetime

import httpx

from benchmarks.errors import MeasurementError

ON_REQUEST, EVERY_MINUTE = "on_request", "every_minute"
RUN_SECONDS = 300.0
# A question costs its server more than ours; the times are its own and do not depend on when it is asked.
POLL_SECONDS = 0.5


class Airflow:
    """Airflow while it runs.

    Args:
        http: Asks its API server.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def trigger(self) -> float:
        """Ask for a run, and return the seconds from when Airflow queued it until its task began."""
        answer = self._http.post(f"/api/v2/dags/{ON_REQUEST}/dagRuns", json={"logical_date": None})
        answer.raise_for_status()
        asked = answer.json()
        return self._seconds_to_task(ON_REQUEST, asked["dag_run_id"], asked["queued_at"])

    def tick(self, since: datetime) -> tuple[float, datetime]:
        """Return the seconds from the first tick after some time until its task began, and when that tick was."""
        deadline = time.monotonic() + 60 + RUN_SECONDS
        query = {"order_by": "run_after", "run_after_gt": since.isoformat(), "limit": "1"}
        while time.monotonic() < deadline:
            answer = self._http.get(f"/api/v2/dags/{EVERY_MINUTE}/dagRuns", params=query)
            answer.raise_for_status()
            for found in answer.json()["dag_runs"]:
                seconds = self._seconds_to_task(EVERY_MINUTE, found["dag_run_id"], found["run_after"])
                return seconds, datetime.fromisoformat(found["run_after"])
            time.sleep(POLL_SECONDS)
        raise MeasurementError("Airflow made no run of a DAG that is due every minute")

    def is_ready(self) -> bool:
        """Tell whether it has read the DAGs and its scheduler runs."""
        with suppress(httpx.TransportError):
            health = self._http.get("/api/v2/monitor/health")
            if health.is_success and health.json()["scheduler"]["status"] == "healthy":
                token = self._http.get("/auth/token").json()["access_token"]
                self._http.headers["Authorization"] = f"Bearer {token}"
                paths = [f"/api/v2/dags/{name}" for name in (ON_REQUEST, EVERY_MINUTE)]
                return all(self._http.get(path).is_success for path in paths)
        return False

    def _seconds_to_task(self, dag: str, run_id: str, since: str) -> float:
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            answer = self._http.get(f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances")
            answer.raise_for_status()
            states = {task["state"]: task["start_date"] for task in answer.json()["task_instances"]}
            if "failed" in states:
                raise MeasurementError(f"Airflow's task failed: {dag} {run_id}")
            if "success" in states:
                return (datetime.fromisoformat(states["success"]) - datetime.fromisoformat(since)).total_seconds()
            time.sleep(POLL_SECONDS)
        raise MeasurementError(f"Airflow's task did not end within {RUN_SECONDS:.0f} s: {dag} {run_id}")
