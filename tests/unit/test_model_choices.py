"""models.yaml chooses defaults and labels, is checked when it is read, and is changed with care."""

import shutil

import pytest

from model.__main__ import main
from model.labelling import set_label
from model.registry import Registry
from shared.errors import ConfigurationError, InvalidRequestError
from tests.unit.test_model_registry import MODELS, add_version


@pytest.fixture
def models(tmp_path):
    """Three versions of digits and one of other."""
    folder = tmp_path / "models"
    shutil.copytree(MODELS / "digits" / "1", folder / "digits" / "1")
    for version in (2, 3):
        add_version(folder, "digits", version)
    add_version(folder, "other", 1)
    return folder


def choose(models, text):
    (models / "models.yaml").write_text(text)
    return Registry.scan(models)


def test_the_default_is_models_yaml_s_and_the_highest_otherwise(models):
    """What models.yaml leaves out stays as without it."""
    assert Registry.scan(models).find("digits").version == 3

    registry = choose(models, "digits: {default: 1, labels: {stable: 1, canary: 2}}")

    assert registry.find("digits").version == 1
    assert registry.find("digits", 3).version == 3
    assert registry.find("other").version == 1
    assert (registry.default_version("digits"), registry.default_version("nope")) == (1, None)
    assert (registry.labels("digits"), registry.labels("other")) == ({"stable": 1, "canary": 2}, {})


def test_a_label_finds_its_version(models):
    """And a label that there is not is refused in TensorFlow Serving's words."""
    registry = choose(models, "digits: {labels: {canary: 2}}")

    assert registry.find("digits", label="canary").version == 2
    for name, label in (("digits", "stable"), ("other", "canary"), ("nope", "canary"), ("digits", "")):
        with pytest.raises(InvalidRequestError) as raised:
            registry.find(name, label=label)
        assert raised.value.message == f"Unrecognized servable version label: {label}"


def test_a_default_that_is_broken_is_not_swapped_for_another(models):
    """Whoever pinned a version is told that it is broken, rather than served something else."""
    (models / "digits" / "1" / "model.json").write_text("{")

    found = choose(models, "digits: {default: 1}").find("digits")

    assert found.version == 1
    assert found.broken.startswith("digits/1/model.json: is not JSON")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", None),
        ("# nothing yet\n", None),
        ("digits: {", ["models.yaml, line 1: is not YAML: "]),
        ("[digits]", ["models.yaml: should map each model to its default and labels, is a list"]),
        ("letters: {default: 1}", ["models.yaml: letters: there is no such model; there are digits, other"]),
        ("1: {}", ["models.yaml: 1: there is no such model; there are digits, other"]),
        ("digits: 1", ["models.yaml: digits should hold default and labels, is 1"]),
        ("digits: {defualt: 1}", ["models.yaml: digits.defualt: is not known; the keys are default and labels"]),
        ("digits: {labels: [stable]}", ["models.yaml: digits.labels should map labels to versions, is a list"]),
        ("digits: {labels: {1: 1}}", ["models.yaml: digits.labels: the label 1 should be text; put it in quotes"]),
        ("digits: {default: '1'}", ["models.yaml: digits.default should be a version of digits (1, 2, 3), is '1'"]),
        ("digits: {default: yes}", ["models.yaml: digits.default should be a version of digits (1, 2, 3), is True"]),
        (
            "digits: {default: 9, labels: {stable: 8}}",
            [
                "models.yaml: digits.labels.stable should be a version of digits (1, 2, 3), is 8",
                "models.yaml: digits.default should be a version of digits (1, 2, 3), is 9",
            ],
        ),
        ("digits: !!python/object/apply:os.system ['true']", ["models.yaml, line 1: is not YAML: "]),
    ],
)
def test_a_wrong_models_yaml_stops_the_scan_and_names_every_problem(models, text, problems):
    """A default that was not meant must not be served, so nothing is."""
    if problems is None:
        assert choose(models, text).find("digits").version == 3
        return

    with pytest.raises(ConfigurationError) as raised:
        choose(models, text)

    assert len(raised.value.problems) == len(problems)
    assert all(found.startswith(wanted) for found, wanted in zip(raised.value.problems, problems, strict=True))


def test_a_models_yaml_that_leads_outside_is_refused(models, tmp_path):
    """Nothing outside the models folder is read, and it is not ignored in silence."""
    (tmp_path / "outside.yaml").write_text("digits: {default: 1}")
    (models / "models.yaml").symlink_to(tmp_path / "outside.yaml")

    with pytest.raises(ConfigurationError, match="leads out of the models folder"):
        Registry.scan(models)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "digits: {labels: {stable: 2}}\n"),
        ("# ours\n", "# ours\ndigits: {labels: {stable: 2}}\n"),
        ("{}", "{digits: {labels: {stable: 2}}}"),
        ("other: {default: 1}  # kept\n", "digits: {labels: {stable: 2}}\nother: {default: 1}  # kept\n"),
        ("digits: {default: 1} # kept\n", "digits: {labels: {stable: 2}, default: 1} # kept\n"),
        ("digits: {labels: {}}\n", "digits: {labels: {stable: 2}}\n"),
        ("digits: {labels: {stable: 1, x: 3}}\n", "digits: {labels: {stable: 2, x: 3}}\n"),
        (
            "digits:\n  default: 1\n  labels:\n    # why\n    canary: 3\n",
            "digits:\n  default: 1\n  labels:\n    # why\n    stable: 2\n    canary: 3\n",
        ),
        (
            "digits:\n  labels:\n    stable: 1  # since May\nother: {}\n",
            "digits:\n  labels:\n    stable: 2  # since May\nother: {}\n",
        ),
    ],
)
def test_setting_a_label_changes_nothing_else(models, before, after):
    """Comments, order and style stay; a label moves, and a missing part of the path is put in."""
    if before is not None:
        (models / "models.yaml").write_text(before)

    set_label(models, "digits", "stable", 2)

    assert (models / "models.yaml").read_text() == after
    assert Registry.scan(models).find("digits", label="stable").version == 2
    assert not list(models.glob(".incoming-*"))


@pytest.mark.parametrize("label", ["on", "1.0", "null", "v1", "2026-11-22"])
def test_a_label_that_yaml_would_take_for_something_else_is_quoted(models, label):
    """What was asked for is what is found."""
    set_label(models, "digits", label, 3)

    assert Registry.scan(models).labels("digits") == {label: 3}


@pytest.mark.parametrize(
    "text", ["digits: 3\n", "digits: {labels: }\n", "- digits\n", "digits: &a {default: 1}\nother: *a\n"]
)
def test_a_file_that_cannot_be_changed_safely_is_left_alone(models, text):
    """Rather than guess, the command says so."""
    (models / "models.yaml").write_text(text)

    with pytest.raises(ConfigurationError):
        set_label(models, "digits", "stable", 2)

    assert (models / "models.yaml").read_text() == text


def test_listing_shows_labels_and_the_chosen_default(models, capsys):
    """Each version's row has its labels."""
    choose(models, "digits: {default: 1, labels: {stable: 1, best: 1, canary: 2}}")

    assert main(["list", "--models-dir", str(models)]) == 0

    rows = [line.split()[:5] for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["digits", "1", "yes", "best,", "stable"]
    assert rows[2][:3] == ["digits", "2", "canary"]
    assert rows[3][:3] == ["digits", "3", "litert,"]
