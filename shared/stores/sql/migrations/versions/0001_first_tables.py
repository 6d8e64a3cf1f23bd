"""Results with their labels, runs, and the summaries that runs wrote."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    _make_results()
    _make_labels()
    _make_runs()
    _make_summaries()


def _words(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _make_results() -> None:
    op.create_table(
        "results",
        sa.Column("id", _words(128), primary_key=True),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("model", _words(256), nullable=False),
        sa.Column("version", _words(64), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger),
        sa.Column("payload_hash", _words(64), nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("request_id", _words(264)),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("instances", sa.Text, nullable=False),
        sa.Column("predictions", sa.Text, nullable=False),
    )
    op.create_index("results_by_time", "results", ["created_at_us", "id"])
    op.create_index("results_by_model", "results", ["model", "created_at_us", "id"])
    op.create_index("results_by_version", "results", ["model", "version", "created_at_us", "id"])


def _make_labels() -> None:
    op.create_table(
        "result_labels",
        sa.Column("result_id", _words(128), sa.ForeignKey("results.id"), primary_key=True),
        sa.Column("pair", _words(512), primary_key=True),
        sa.Column("model", _words(256), nullable=False),
        sa.Column("version", _words(64), nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
    )
    ends = ["created_at_us", "result_id"]
    op.create_index("labels_by_time", "result_labels", ["pair", *ends])
    op.create_index("labels_by_model", "result_labels", ["pair", "model", *ends])
    op.create_index("labels_by_version", "result_labels", ["pair", "model", "version", *ends])


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("job", _words(64), primary_key=True),
        sa.Column("key", _words(64), primary_key=True),
        sa.Column("interval_start_us", sa.BigInteger, nullable=False),
        sa.Column("interval_end_us", sa.BigInteger, nullable=False),
        sa.Column("time_zone", _words(64), nullable=False),
        sa.Column("trigger", _words(16), nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("state", _words(16), nullable=False),
        sa.Column("provisional", sa.Boolean, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_expires_at_us", sa.BigInteger),
        sa.Column("generation", sa.Integer),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("started_at_us", sa.BigInteger),
        sa.Column("ended_at_us", sa.BigInteger),
    )
    op.create_index("runs_by_key", "runs", [sa.text('"key" DESC'), "job"])


def _make_summaries() -> None:
    op.create_table(
        "summaries",
        sa.Column("job", _words(64), primary_key=True),
        sa.Column("key", _words(64), primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("provisional", sa.Boolean, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.Text, nullable=False),
    )
