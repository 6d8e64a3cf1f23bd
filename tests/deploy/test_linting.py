"""The linter of command lines passes what gcloud would take and names what it would not."""

import pytest

from tests.deploy.linting import lint

_GOOD = (
    "gcloud services enable run.googleapis.com pubsub.googleapis.com --project=example-staging --quiet",
    "gcloud pubsub topics create orders --project=example-staging --quiet",
    "gcloud pubsub subscriptions create orders-push --topic=orders --push-endpoint=https://orders.example/ "
    "--ack-deadline=600 --min-retry-delay=10s --max-retry-delay=600s --project=example-staging",
    "gcloud storage buckets create gs://example-objects --location=europe-west1 --uniform-bucket-level-access "
    "--public-access-prevention --project=example-staging",
    "gcloud secrets create signing-key --replication-policy=automatic --data-file=- --project=example-staging",
    "gcloud run services update-traffic orders --to-revisions=orders-2=10,orders-1=90 --region=europe-west1 "
    "--project=example-staging",
    "gcloud run deploy orders --image=europe-docker.pkg.dev/example-staging/apps/orders@sha256:0 --no-traffic "
    "--tag=next --memory=512Mi --no-allow-unauthenticated --region=europe-west1 --project=example-staging",
    "gcloud projects add-iam-policy-binding example-staging --condition=None --role=roles/datastore.user "
    "--member=serviceAccount:orders@example-staging.iam.gserviceaccount.com",
    "gcloud firestore databases create '--database=(default)' --location=eur3 --type=firestore-native "
    "--project=example-staging",
    "gcloud iam service-accounts create orders --display-name='Orders: the #1 service' --project=example-staging",
    "gcloud alpha monitoring policies create --policy-from-file=not-there.json --project=example-staging",
)

_BAD = {
    "unknown flag": ("gcloud pubsub topics create orders --colour=red", "--colour=red"),
    "unknown command": ("gcloud pubsub topics crate orders", "Invalid choice: 'crate'"),
    "unknown group": ("gcloud pubsubs topics create orders", "Invalid choice: 'pubsubs'"),
    "a group alone": ("gcloud pubsub topics", "Command name argument expected"),
    "no name": ("gcloud pubsub topics create", "TOPIC"),
    "a flag that is required": ("gcloud pubsub subscriptions create orders-push", "--topic"),
    "a word that is no choice": ("gcloud firestore databases create --location=eur3 --type=everything", "everything"),
    "two flags that exclude each other": (
        "gcloud run services update-traffic orders --to-latest --to-revisions=orders-1=100 --region=europe-west1",
        "--to-latest",
    ),
    "a word too many": ("gcloud secrets delete key other", "other"),
    "a value apart from its flag": (
        "gcloud pubsub topics create orders --message-retention-duration 1d",
        "expected one argument",
    ),
}


def test_good_lines_have_no_problem(gcloud_folder):
    """Lines that gcloud takes pass, with files that are not there, quotes, and characters the linter trips over."""
    assert lint(_GOOD, gcloud_folder / "gcloud") == []


@pytest.fixture(scope="module")
def problems(launcher):
    """Lint every bad line between good ones, in one run of the SDK's own gcloud."""
    lines = [line for bad, _ in _BAD.values() for line in (_GOOD[1], bad)]
    return lint(lines, launcher)


@pytest.mark.parametrize("kind", _BAD)
def test_a_bad_line_is_named_with_what_is_wrong(problems, kind):
    """The message says which word it is about."""
    line, word = _BAD[kind]
    (problem,) = (problem for problem in problems if problem.line == line)
    assert word in problem.message


def test_only_the_bad_lines_are_named_each_once_and_in_order(problems):
    """A good line between bad ones is not taken for one of them."""
    assert [problem.line for problem in problems] == [line for line, _ in _BAD.values()]


def test_a_positional_after_a_flag_without_a_value_is_not_its_value(gcloud_folder):
    """gcloud takes it; the linter alone would not."""
    line = "gcloud storage buckets create --uniform-bucket-level-access gs://example-objects --project=example-staging"
    assert lint([line], gcloud_folder / "gcloud") == []


def test_a_quoted_flag_after_a_flag_without_a_value_is_not_its_value(gcloud_folder):
    """As (default) is, the name of the one database with a free share."""
    line = (
        "gcloud firestore fields ttls update at --collection-group=results --enable-ttl '--database=(default)' --async"
    )
    assert lint([f"{line} --project=example-staging"], gcloud_folder / "gcloud") == []


def test_lines_that_read_the_same_to_the_linter_are_both_named(gcloud_folder):
    """Neither is lost."""
    lines = ["gcloud pubsub topics crate orders --quiet", "gcloud pubsub topics crate --quiet orders"]
    assert [problem.line for problem in lint(lines, gcloud_folder / "gcloud")] == lines


def test_a_line_of_another_program_is_refused(gcloud_folder):
    """It would be read as one of gcloud's with its first word left out."""
    with pytest.raises(AssertionError, match="starts with gcloud"):
        lint(["gsutil pubsub topics list"], gcloud_folder / "gcloud")
