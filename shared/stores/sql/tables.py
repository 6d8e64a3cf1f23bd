"""The tables. Times are whole microseconds since 1970 in UTC: they sort and compare alike in every database."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text, text

metadata = MetaData()


def words(length: int) -> String:
    """Return the type of short text that is compared and sorted by its bytes in UTF-8, in every database."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


# Payloads stand last: SQLite reads a row's columns in order, and a job that wants `summary` must not walk past them.
results = Table(
    "results",
    metadata,
    Column("id", words(128), primary_key=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("model", words(256), nullable=False),
    Column("version", words(64), nullable=False),
    Column("expires_at_us", BigInteger),
    Column("payload_hash", words(64), nullable=False),
    Column("summary", Text, nullable=False),
    Column("request_id", words(264)),  # a batch appends ":" and an index to a key of 255
    Column("labels", Text, nullable=False),
    Column("payload_object", Text),  # JSON of a PayloadObject; instances and predictions are then empty
    Column("instances", Text, nullable=False),
    Column("predictions", Text, nullable=False),
    Index("results_by_time", "created_at_us", "id"),
    Index("results_by_model", "model", "created_at_us", "id"),
    Index("results_by_version", "model", "version", "created_at_us", "id"),
)

# One row a label, with what a query may ask beside it, so that every offered combination is one index range.
result_labels = Table(
    "result_labels",
    metadata,
    Column("result_id", ForeignKey("results.id"), primary_key=True),
    Column("pair", words(512), primary_key=True),
    Column("model", words(256), nullable=False),
    Column("version", words(64), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Index("labels_by_time", "pair", "created_at_us", "result_id"),
    Index("labels_by_model", "pair", "model", "created_at_us", "result_id"),
    Index("labels_by_version", "pair", "model", "version", "created_at_us", "result_id"),
)

runs = Table(
    "runs",
    metadata,
    Column("job", words(64), primary_key=True),
    Column("key", words(64), primary_key=True),
    Column("interval_start_us", BigInteger, nullable=False),
    Column("interval_end_us", BigInteger, nullable=False),
    Column("time_zone", words(64), nullable=False),
    Column("trigger", words(16), nullable=False),
    Column("params", Text, nullable=False),
    Column("state", words(16), nullable=False),
    Column("provisional", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_expires_at_us", BigInteger),
    Column("generation", Integer),
    Column("output", Text, nullable=False),
    Column("error", Text),
    Column("created_at_us", BigInteger, nullable=False),
    Column("started_at_us", BigInteger),
    Column("ended_at_us", BigInteger),
    Column("not_before_us", BigInteger),
    Column("max_active", Integer),
    Column("plan", Integer),
    Column("parts", Integer, nullable=False, server_default="0"),
    Column("deadline_at_us", BigInteger),
    Column("deadline_missed_at_us", BigInteger),
    Column("code_version", Text, nullable=False, server_default=text("''")),
    Column("attempts", Text, nullable=False, server_default="[]"),  # JSON of the newest
    Index("runs_by_state", "job", "state", "key"),
)
# Newest first and then by job, as runs are listed: an index in one direction would leave them to be sorted.
Index("runs_by_key", runs.c.key.desc(), runs.c.job)

# A rerun writes beside what is visible; `runs.generation` points at the visible one.
summaries = Table(
    "summaries",
    metadata,
    Column("job", words(64), primary_key=True),
    Column("key", words(64), primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("provisional", Boolean, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("rows", Text, nullable=False),
)

# One row a job: locked before any of its runs is, so that two claims count those under way one after the other.
job_states = Table(
    "job_states",
    metadata,
    Column("job", words(64), primary_key=True),
    Column("first_seen_at_us", BigInteger),
    Column("paused_at_us", BigInteger),
    Column("active", Text, nullable=False),  # JSON of lease ends by key
)

# A part counts while `runs.plan` is its plan; those of an earlier one are removed with the next.
parts = Table(
    "parts",
    metadata,
    Column("job", words(64), primary_key=True),
    Column("key", words(64), primary_key=True),
    Column("plan", Integer, primary_key=True),
    Column("part_index", Integer, primary_key=True),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("shard", Integer),
    Column("attempt", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("documents", BigInteger, nullable=False),
    Column("error", Text),
    Column("partial", Text),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", words(256), primary_key=True),
    Column("received_at_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("body_sha256", words(64), nullable=False),
    Column("body_bytes", BigInteger, nullable=False),
)
Index("dead_letters_by_time", dead_letters.c.received_at_us.desc(), dead_letters.c.id)
