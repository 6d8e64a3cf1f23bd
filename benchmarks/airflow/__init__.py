"""Apache Airflow, installed in an environment of its own and asked to run a task that does nothing."""
