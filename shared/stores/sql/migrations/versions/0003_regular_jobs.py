"""Runs that wait, are retried and worked on in parts; what is known of their jobs; messages nobody understands."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Extend runs, and make what stands beside them."""
    for column in (
        sa.Column("not_before_us", sa.BigInteger),
        sa.Column("max_active", sa.Integer),
        sa.Column("plan", sa.Integer),
        sa.Column("parts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("deadline_at_us", sa.BigInteger),
        sa.Column("deadline_missed_at_us", sa.BigInteger),
        sa.Column("code_version", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("attempts", sa.Text, nullable=False, server_default="[]"),
    ):
        op.add_column("runs", column)
    op.create_index("runs_by_state", "runs", ["job", "state", "key"])
    _make_job_states()
    _make_parts()
    _make_dead_letters()


def _words(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _make_job_states() -> None:
    table = op.create_table(
        "job_states",
        sa.Column("job", _words(64), primary_key=True),
        sa.Column("first_seen_at_us", sa.BigInteger),
        sa.Column("paused_at_us", sa.BigInteger),
        sa.Column("active", sa.Text, nullable=False),
    )
    if rows := _jobs_there_are():
        op.bulk_insert(table, rows)


def _jobs_there_are() -> list[dict[str, Any]]:
    """Return each job as it would be known: since its first run was asked for, with those that are under way."""
    names = ("job", "key", "state", "created_at_us", "lease_expires_at_us")
    runs: Sequence[Any] = op.get_bind().execute(sa.select(*map(sa.column, names)).select_from(sa.table("runs"))).all()
    return [
        {
            "job": job,
            "first_seen_at_us": min(run.created_at_us for run in runs if run.job == job),
            "paused_at_us": None,
            "active": json.dumps(
                {
                    run.key: run.lease_expires_at_us
                    for run in runs
                    if run.job == job and run.state == "running" and run.lease_expires_at_us is not None
                }
            ),
        }
        for job in sorted({run.job for run in runs})
    ]


def _make_parts() -> None:
    op.create_table(
        "parts",
        sa.Column("job", _words(64), primary_key=True),
        sa.Column("key", _words(64), primary_key=True),
        sa.Column("plan", sa.Integer, primary_key=True),
        sa.Column("part_index", sa.Integer, primary_key=True),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("shard", sa.Integer),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("documents", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("partial", sa.Text),
    )


def _make_dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", _words(256), primary_key=True),
        sa.Column("received_at_us", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("body_sha256", _words(64), nullable=False),
        sa.Column("body_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("dead_letters_by_time", "dead_letters", [sa.text("received_at_us DESC"), "id"])
