"""Who may read and write past the functions: Firestore's rules, from firestore.rules."""

from collections.abc import Iterator

from deployment.changes import Action, Change, change, create
from deployment.names import Names
from deployment.present import Present
from deployment.rest import RestError

_RULES = "https://firebaserules.googleapis.com/v1/projects"


def rule_changes(names: Names, present: Present, wanted: str) -> Iterator[Change]:
    """Yield what puts the rules of a file in force; gcloud has no command for it."""
    there = _present_rules(names, present)
    if there == wanted:
        return
    release = f"{_RULES}/{names.project}/releases/cloud.firestore"

    def publish() -> None:
        source = {"source": {"files": [{"name": "firestore.rules", "content": wanted}]}}
        made = present.rest.send("POST", f"{_RULES}/{names.project}/rulesets", source)
        body = {"name": f"projects/{names.project}/releases/cloud.firestore", "rulesetName": made["name"]}
        try:
            present.rest.send("PATCH", release, {"release": body})
        except RestError as error:
            if error.status_code != 404:
                raise
            present.rest.send("POST", f"{_RULES}/{names.project}/releases", body)

    step = Action(f"POST {_RULES}/{names.project}/rulesets, and release it as cloud.firestore", publish)
    if there is None:
        yield create("Firestore rules", "firestore.rules", step)
    else:
        yield change("Firestore rules", "other rules", "firestore.rules", step)


def _present_rules(names: Names, present: Present) -> str | None:
    """Return the text of the rules that are in force, or None."""
    if "firebaserules.googleapis.com" not in present.enabled:
        return None
    try:
        release = present.rest.get(f"{_RULES}/{names.project}/releases/cloud.firestore")
        ruleset = present.rest.get(f"https://firebaserules.googleapis.com/v1/{release['rulesetName']}")
    except RestError as error:
        if error.status_code == 404:
            return None
        raise
    return "".join(file["content"] for file in ruleset["source"]["files"])
