"""The registry finds models by name, survives broken ones, and loads only what is sound."""

import errno
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.registry import ModelVersion, Registry
from shared.errors import ModelError, NotFoundError

MODELS = Path(__file__).parents[2] / "model"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with the committed digits/1 in it."""
    folder = tmp_path / "models"
    shutil.copytree(MODELS / "digits" / "1", folder / "digits" / "1")
    return folder


def add_version(models: Path, name: str, version: int, **change: Any) -> Path:
    """Copy digits/1 to another name and number, with model.json telling the same."""
    folder = Path(shutil.copytree(models / "digits" / "1", models / name / str(version)))
    document = json.loads((folder / "model.json").read_bytes())
    (folder / "model.json").write_text(json.dumps(document | {"name": name, "version": version} | change))
    return folder


def test_the_repository_s_own_folder_lists_models_and_no_code() -> None:
    """runtimes/, training/ and __pycache__ lie beside the models and are none."""
    registry = Registry.scan(MODELS)

    assert "digits" in registry.names()
    assert not {"runtimes", "training", "__pycache__"} & set(registry.names())
    assert registry.find("digits", 1).broken is None


def test_scanning_imports_no_numerical_library_and_opens_no_weights() -> None:
    """Listing models is cheap: neither numpy nor a runtime is imported, and only model.json is read."""
    script = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from pathlib import Path
from model.registry import Registry
registry = Registry.scan(Path(sys.argv[1]))
assert registry.find("digits").broken is None
print([m for m in ("numpy", "ai_edge_litert", "tensorflow", "rich") if m in sys.modules])
print(sorted({Path(path).name for path in opened if "digits" in path}))
"""

    done = subprocess.run(
        [sys.executable, "-c", script, str(MODELS)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines() == ["[]", "['model.json']"]


def test_the_highest_sound_version_is_the_default(models: Path) -> None:
    """Versions are numbers: 10 is after 9, and a broken one is passed over."""
    for version in (9, 10, 11):
        add_version(models, "digits", version)
    (models / "digits" / "11" / "model.json").write_text("{")

    registry = Registry.scan(models)

    assert [version.version for version in registry.versions("digits")] == [1, 9, 10, 11]
    assert registry.find("digits").version == 10
    assert registry.find("digits", 9).version == 9


def test_a_broken_version_is_kept_with_its_reason_and_stops_no_other(models: Path) -> None:
    """What cannot be read is listed, says why, cannot be loaded, and the rest serves."""
    (models / "digits" / "2").mkdir()
    (models / "empty" / "1").mkdir(parents=True)

    registry = Registry.scan(models)
    broken = registry.find("digits", 2)

    assert registry.names() == ["digits", "empty"]
    assert broken.manifest is None
    assert broken.broken is not None
    assert broken.broken.startswith("digits/2: holds neither model.json nor saved_model.pb; only SavedModels are taken")
    with pytest.raises(ModelError, match=r"^digits/2: holds neither model\.json nor saved_model\.pb"):
        broken.load()
    with pytest.raises(ModelError, match=r"^empty: no version can be served; the newest: empty/1: holds neither"):
        registry.find("empty")
    assert registry.find("digits").load() is not None


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("nope", None, "Servable not found for request: Latest(nope)"),
        ("nope", 1, "Servable not found for request: Specific(nope, 1)"),
        ("digits", 9, "Servable not found for request: Specific(digits, 9)"),
        ("../model/digits", None, "Servable not found for request: Latest(../model/digits)"),
        ("", None, "Servable not found for request: Latest()"),
    ],
)
def test_an_unknown_model_or_version_is_not_found(models: Path, name: str, version: int | None, message: str) -> None:
    """The words are TensorFlow Serving's; a name is looked up, never joined to a path."""
    with pytest.raises(NotFoundError) as raised:
        Registry.scan(models).find(name, version)

    assert raised.value.message == message
    assert raised.value.reason == "MODEL_NOT_FOUND"


def test_the_default_model_is_the_preferred_or_the_only_one(models: Path) -> None:
    """With two models and no preference there is no default."""
    assert Registry.scan(models).default_name(None) == "digits"

    add_version(models, "other", 1)
    registry = Registry.scan(models)

    assert registry.default_name(None) is None
    assert registry.default_name("other") == "other"
    with pytest.raises(NotFoundError):
        registry.default_name("nope")


def test_files_and_folders_of_other_names_are_ignored(models: Path) -> None:
    """Only folders named by digits are versions; a model has at least one; hidden folders are none."""
    (models / "notes.txt").write_text("")
    (models / "code" / "sub").mkdir(parents=True)
    (models / ".hidden" / "1").mkdir(parents=True)
    (models / "digits" / "7").write_text("a file")
    for name in ("1a", "-1", "²", ".incoming-x"):
        (models / "digits" / name).mkdir()

    registry = Registry.scan(models)

    assert registry.names() == ["digits"]
    assert [version.version for version in registry.versions("digits")] == [1]


def test_two_folders_of_one_number_serve_neither(models: Path) -> None:
    """001 and 1 are the same version, and which was meant cannot be known."""
    (models / "digits" / "001").mkdir()

    found = Registry.scan(models).find("digits", 1)

    assert found.broken == "digits/1: another folder is version 1 too"


@pytest.mark.parametrize("link", ["evil", "digits/5", "digits/1/model.json", "digits/1/model.tflite"])
def test_symlinks_that_lead_out_of_the_folder_are_not_followed(models: Path, tmp_path: Path, link: str) -> None:
    """Nothing outside the models folder is listed or read, whatever points there."""
    outside = Path(shutil.copytree(models / "digits", tmp_path / "outside"))
    target = {"evil": outside, "digits/5": outside / "1"}.get(link, outside / "1" / Path(link).name)
    (models / link).unlink(missing_ok=True)
    (models / link).symlink_to(target)

    registry = Registry.scan(models)

    assert registry.names() == ["digits"]
    assert [version.version for version in registry.versions("digits")] == [1]
    if "/1/" in link:
        with pytest.raises(ModelError, match=f"^{link}: leads out of the models folder"):
            registry.find("digits", 1).load()


def test_a_symlink_that_stays_inside_is_followed(models: Path) -> None:
    """Deployments that swap a link to publish a version keep working."""
    (models / "releases").mkdir()
    (models / "digits" / "1").rename(models / "releases" / "first")
    (models / "digits" / "1").symlink_to(models / "releases" / "first")

    found = Registry.scan(models).find("digits")

    assert found.broken is None
    assert found.load() is not None


def test_a_folder_that_is_not_there_is_an_error_without_its_path(tmp_path: Path) -> None:
    """A wrong models folder is said plainly; where it should lie is not told to callers."""
    with pytest.raises(ModelError, match=r"^the models folder cannot be listed: No such file or directory$"):
        Registry.scan(tmp_path / "nowhere")


def flip_last_byte(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_last_byte, "digits/1/model.tflite: sha256 does not match model.json"),
        (lambda content: content[:-1], "digits/1/model.tflite: is {less} bytes, model.json says {size}"),
        (lambda content: content + b"\0", "digits/1/model.tflite: is {more} bytes, model.json says {size}"),
    ],
)
def test_a_tampered_or_truncated_file_is_refused(models: Path, damage: Any, message: str) -> None:
    """What is served is what was checked when the version was made."""
    file = models / "digits" / "1" / "model.tflite"
    size = file.stat().st_size
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(ModelError) as raised:
        Registry.scan(models).find("digits").load()

    assert raised.value.message == message.format(size=size, less=size - 1, more=size + 1)


def test_a_missing_file_is_refused_and_tried_again_once_it_is_there(models: Path) -> None:
    """A failed load is not kept: the version serves as soon as its file is back."""
    file = models / "digits" / "1" / "model.tflite"
    content = file.read_bytes()
    file.unlink()
    found = Registry.scan(models).find("digits")

    with pytest.raises(ModelError, match=r"^digits/1/model\.tflite: cannot be read: No such file or directory$"):
        found.load()
    file.write_bytes(content)

    assert found.load() is found.load()


def test_files_that_the_runtime_does_not_need_are_not_read(models: Path) -> None:
    """LiteRT serves from its one file: a staged version may lack its SavedModel."""
    (models / "digits" / "1" / "saved_model.pb").unlink()
    shutil.rmtree(models / "digits" / "1" / "variables")

    assert Registry.scan(models).find("digits").load() is not None


def test_loading_writes_nothing(models: Path) -> None:
    """A function's file system is memory: what is written there is taken from the instance."""

    def snapshot() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in models.rglob("*")}

    before = snapshot()

    Registry.scan(models).find("digits").load()

    assert snapshot() == before


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Make packages look as if they were not installed."""
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_a_version_that_only_tensorflow_serves_says_what_is_needed(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No runtime for it here: the message names the package that it needs."""
    add_version(models, "words", 1, runtimes=["tensorflow"], litert={})
    hide(monkeypatch, "tensorflow")

    with pytest.raises(ModelError) as raised:
        Registry.scan(models).find("words").load()

    assert raised.value.message == "words/1: needs the package tensorflow"


def test_a_runtime_that_is_not_known_is_named(models: Path) -> None:
    """A version made for something later is not taken for one of ours."""
    add_version(models, "words", 1, runtimes=["onnx"], litert={})

    with pytest.raises(ModelError, match=r"^words/1: needs the runtime onnx, which is unknown here$"):
        Registry.scan(models).find("words").load()


def test_without_any_runtime_installed_the_packages_are_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that lacks the runtimes is told which packages would do."""
    hide(monkeypatch, "ai_edge_litert", "tensorflow")

    with pytest.raises(ModelError, match=r"^digits/1: needs the package ai-edge-litert or tensorflow$"):
        Registry.scan(models).find("digits").load()


def test_tensorflow_is_not_imported_for_what_litert_serves() -> None:
    """Loading and warming the bundled model leaves TensorFlow out, though it is installed."""
    script = (
        "import sys; from pathlib import Path; from model.registry import Registry; "
        "Registry.scan(Path(sys.argv[1])).find('digits').load(); print('tensorflow' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(MODELS)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines()[-1] == "False"


def test_a_version_is_warmed_with_its_example(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first caller finds a model that has answered before."""
    from model.runtimes import litert

    warmed = []

    class WatchedRuntime(litert.LiteRTRuntime):
        def run(self, signature_name: str, inputs: Any) -> Any:
            warmed.append((signature_name, inputs["image"].shape))
            return super().run(signature_name, inputs)

    monkeypatch.setattr(litert, "LiteRTRuntime", WatchedRuntime)

    Registry.scan(models).find("digits").load()

    assert warmed == [("serving_default", (1, 8, 8))]


@pytest.mark.parametrize("example", [{"instances": [[1]]}, {"signature_name": "x"}, {"instances": []}, {"inputs": "a"}])
def test_an_example_that_fails_is_reported_and_stops_nothing(
    models: Path, capfd: pytest.CaptureFixture[str], example: dict[str, Any]
) -> None:
    """The version serves, cold; the operator finds the reason in the log."""
    add_version(models, "digits", 2, example=example)

    runtime = Registry.scan(models).find("digits", 2).load()

    assert runtime is not None
    assert "digits/2: its example fails, so it starts cold: " in capfd.readouterr().out


def test_sixteen_first_callers_build_one_runtime(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests come first, the weights are read and the model built once."""
    from model.runtimes import litert

    built = []

    class CountedRuntime(litert.LiteRTRuntime):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            built.append(threading.get_ident())
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(litert, "LiteRTRuntime", CountedRuntime)
    found: ModelVersion = Registry.scan(models).find("digits")
    together, runtimes = threading.Barrier(16), []

    def first_call() -> None:
        together.wait()
        runtimes.append(found.load())

    threads = [threading.Thread(target=first_call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(built) == 1
    assert len(runtimes) == 16
    assert len({id(runtime) for runtime in runtimes}) == 1


def test_a_model_that_cannot_be_listed_is_kept_as_broken(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without permission is shown, not silently left out."""
    secret, list_folder = models / "secret", Path.iterdir
    secret.mkdir()

    def refuse_secret(folder: Path) -> Iterator[Path]:
        # Not chmod: the tests may run as root, who may list anything.
        if folder == secret:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", refuse_secret)

    registry = Registry.scan(models)

    assert [version.broken for version in registry.versions("secret")] == [
        "secret: cannot be listed: Permission denied"
    ]
    assert registry.find("digits").broken is None
