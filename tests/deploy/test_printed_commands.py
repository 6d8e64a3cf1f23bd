"""Every line of gcloud that deploy.sh can print is one that gcloud takes, as its own linter has it."""

import re
import shlex
from dataclasses import replace

import pytest

from deployment.environment import read_environment
from deployment.names import Names
from deployment.release import traffic_command
from deployment.resources.apis import api_changes
from deployment.resources.invokers import invoker_changes
from deployment.run_settings import setting_flags, wanted_settings
from deployment.service_files import read_services
from deployment.showing import step_text
from shared.config import ROOT
from tests.deploy.linting import lint
from tests.deploy.rehearsing import STAGING

_OTHER_WAYS = ("private", "public")


class _Nothing:
    """A project in which there is nothing yet."""

    enabled = frozenset()

    def named_services(self):
        return {}

    def policy(self, url, method="GET"):
        return {}


class _OpenedByHand(_Nothing):
    """A project whose page has Google's sign-in in front, and lets everybody in for a while."""

    enabled = frozenset({"iap.googleapis.com"})

    def named_services(self):
        return {"web": {"metadata": {"annotations": {"run.googleapis.com/iap-enabled": "true"}}}}

    def policy(self, url, method="GET"):
        role = "roles/iap.httpsResourceAccessor" if "//iap." in url else "roles/run.invoker"
        members = ["user:mallory@example.com"]
        return {
            "bindings": [{"role": role, "members": members}, {"role": f"{role}_withcond_1", "members": ["allUsers"]}]
        }


class _Project:
    project = STAGING

    def whole(self, command):
        return (*command, f"--project={self.project}", "--quiet")


@pytest.fixture
def names(created):
    """Return the names in staging, with a page behind Google's sign-in."""
    environment = read_environment("staging", created[0].cloud / "environments")
    invokers = {**environment.invokers, "web": ("user:ana@example.com", "domain:example.com")}
    environment = replace(environment, web_access="iap", invokers=invokers)
    return Names(environment, tuple(read_services(ROOT)), "123456789012")


def test_every_line_that_was_printed_is_one_that_gcloud_takes(created, staging, names, gcloud_folder):
    """Of a creation, an update, alerts, a promotion, traffic and its rollback, a removal with data, and the page."""
    lines = _lines(created[1].output)
    assert len(lines) > 60
    printed = [shlex.split(line)[1:] for line in lines]
    lines += [shlex.join(["gcloud", *words]) for words in created[1].commands if words not in printed]
    staging.set("staging", MEMORY_PREDICT="2Gi", ALERT_EMAIL="oncall@example.com")
    staging.set("staging", INVOKERS_PREDICT="user:ana@example.com,allUsers")
    updated = _lines(staging.run("staging", "--plan", "--commands").expect(3).output)
    assert [line for line in updated if "--image=" in line]
    removed = _lines(staging.run("staging", "--plan", "--commands", "--destroy", "--with-data").expect(3).output)
    for word in ("firestore databases delete", "storage rm", "secrets delete", "iam service-accounts delete"):
        assert [line for line in removed if line.startswith(f"gcloud {word} ")], word
    promoted = _lines(staging.run("prod", "--plan", "--commands").expect(3).output)
    assert [line for line in promoted if "artifacts repositories add-iam-policy-binding" in line]
    problems = lint(
        [*lines, *updated, *removed, *promoted, *_of_the_page(names), *_of_traffic(names), *_of_postgresql(names)],
        gcloud_folder / "gcloud",
    )
    assert problems == []


def _of_the_page(names):
    """Return what puts the sign-in in front, puts out who is let through by hand, takes it away, and opens the page."""
    everything = {service.function for service in names.services}
    private, public = (replace(names, environment=replace(names.environment, web_access=a)) for a in _OTHER_WAYS)
    changes = [
        *api_changes(names, _Nothing()),
        *invoker_changes(names, _Nothing(), everything),
        *invoker_changes(names, _OpenedByHand(), everything),
        *invoker_changes(private, _OpenedByHand(), everything),
        *invoker_changes(public, _Nothing(), everything),
    ]
    lines = [step_text(_Project(), step) for change in changes for step in change.steps]
    for words in (
        *("beta run services update web .* --iap ", "beta run services update web .* --no-iap "),
        *("beta iap web add-iam-policy-binding ", "beta iap web remove-iam-policy-binding .*mallory"),
        *("run services remove-iam-policy-binding web .* --all ", "beta iap web remove-iam-policy-binding .* --all "),
        "run services update-traffic web .*--remove-tags=previous ",
    ):
        assert [line for line in lines if re.match(f"gcloud {words}", line)], words
    return lines


def _of_postgresql(names):
    """Return a deployment with a database of Cloud SQL, whose password is in a secret."""
    instance = f"{STAGING}:europe-west1:results"
    environment = replace(names.environment, store_url="", store_secret="results-url", cloud_sql_instance=instance)
    postgresql, service = replace(names, environment=environment), names.services[0]
    flags = setting_flags(wanted_settings(postgresql, service))
    line = step_text(_Project(), ("run", "deploy", service.service, "--image=example", *flags))
    assert f"--set-cloudsql-instances={instance}" in line
    return [line]


def _of_traffic(names):
    tags = ("--to-revisions=predict-00002-abc=10,predict-00001-abc=90", "--update-tags=live=predict-00002-abc")
    ways = (tags, ("--to-revisions=predict-00001-abc=100", "--remove-tags=live"))
    return [step_text(_Project(), traffic_command(names, "predict", *flags)) for flags in ways]


def _lines(output):
    """Return the lines of gcloud in what was printed; those that name no command, such as the count, are not."""
    return list(dict.fromkeys(line.strip() for line in output.splitlines() if re.match(r" *gcloud [a-z]", line)))
