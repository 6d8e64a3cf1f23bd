"""Summaries: whatever predictions look like, the night can read what is kept of them."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.nightly_transform.transforms.daily_summary import transform
from functions.store_result.summaries import check_summary, read_declarations, summarise
from shared.config import ROOT
from shared.records import SummaryDocument
from tests.contract.factories import a_run

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | st.text(max_size=3)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["c", "s", "v", ""]), inner, max_size=3)
    ),
    max_leaves=10,
)
rows = st.lists(st.fixed_dictionaries({"c": leaves, "s": st.lists(leaves, max_size=2), "v": leaves}), max_size=3)
columns = st.fixed_dictionaries({"c": st.lists(leaves, max_size=3), "s": st.lists(values, max_size=3)})
declarations = st.sampled_from(
    [None, {}, {"class": "c"}, {"class": "c", "scores": "s"}, {"value": "v"}, {"scores": "s"}, {"value": ""}]
)


@settings(max_examples=400, deadline=None, database=None)
@given(predictions=values | rows | columns, declared=declarations)
def test_any_predictions_make_a_summary_that_jobs_can_read(predictions, declared):
    """What store-result works out passes its own check, is JSON, and can be folded and merged."""
    summary = summarise(predictions, declared)

    read = json.loads(json.dumps(check_summary(summary, "summary"), allow_nan=False))
    interval = a_run().interval
    document = SummaryDocument(interval.start, "m", "1", read)
    (row,) = transform.merge(interval, [transform.fold(iter([document]))])
    assert row["predictions"] == summary["count"]
    json.dumps(row, allow_nan=False)


@settings(max_examples=100, deadline=None, database=None)
@given(scores=st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), max_size=4))
def test_the_top_score_is_the_largest_of_its_row(scores):
    """One score a prediction, the model's surest."""
    predictions = {"c": [str(n) for n in range(len(scores))], "s": scores}

    summary = summarise(predictions, {"class": "c", "scores": "s"})

    assert summary.get("scores") == [max(row) for row in scores]
    assert all(math.isfinite(score) for score in summary["scores"])


def test_the_bundled_models_declare_what_they_answer():
    """digits is summarised by its class and its probabilities."""
    assert read_declarations(ROOT / "model")["digits", "1"] == {"class": "digit", "scores": "probabilities"}


def test_a_folder_without_models_declares_nothing(tmp_path):
    """MODELS_DIR may be empty or not there."""
    assert read_declarations(tmp_path) == read_declarations(tmp_path / "none") == {}
