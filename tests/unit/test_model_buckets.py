"""Models in a Cloud Storage bucket are listed, checked and served as those in a folder are, and nothing is written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from model.__main__ import main
from model.adding.target import BucketTarget
from model.registry import Registry
from model.storage.bucket_storage import BucketStorage
from shared.bucket import Bucket, Stored
from shared.errors import ConfigurationError, ConflictError, ModelError, UnavailableError
from tests.unit.test_model_savedmodel import OLD_KERAS

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "model" / "digits" / "1"
in_tensorflow = pytest.mark.xdist_group("tensorflow")


@pytest.fixture
def models(cloud_storage):
    """Return the emulator, its empty bucket, and the URL of a prefix in it."""
    emulator, name = cloud_storage
    return emulator, name, f"gs://{name}/team/models"


def upload(models, folder: Path, place: str = "") -> None:
    emulator, name, _ = models
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = Path("team/models", place, path.relative_to(folder))
            emulator.put(name, key.as_posix(), path.read_bytes())


def downloads(emulator):
    return [path for _, path in emulator.calls if path.startswith("/download/")]


def refuse_reads(monkeypatch, seconds=0.3):
    """Let the client give up soon on what it tries again."""
    monkeypatch.setattr(Bucket.__init__, "__defaults__", (*Bucket.__init__.__defaults__[:2], seconds))


def test_a_bucket_lists_what_a_folder_of_the_same_files_lists(models, tmp_path):
    """Names, versions, default, labels, sizes and reasons: where the files lie makes no difference."""
    folder = tmp_path / "models"
    for place, source in (("digits/1", DIGITS), ("flowers/3", OLD_KERAS), ("broken/1", DIGITS), ("broken/02", DIGITS)):
        shutil.copytree(source, folder / place)
    (folder / "notes" / "drafts").mkdir(parents=True)
    (folder / "notes" / "drafts" / "x.txt").write_text("no version")
    (folder / ".hidden" / "1").mkdir(parents=True)
    (folder / ".hidden" / "1" / "model.json").write_text("{}")
    (folder / "models.yaml").write_text("digits: {default: 1, labels: {stable: 1}}")
    upload(models, folder)

    here, there = Registry.scan(folder), Registry.scan(models[2])

    def facts(registry):
        return [
            (v.name, v.version, v.broken, v.manifest and (v.manifest.size_bytes, v.manifest.runtimes))
            for name in registry.names()
            for v in registry.versions(name)
        ]

    assert facts(there) == facts(here)
    assert len(facts(there)) == 4
    assert (there.labels("digits"), there.default_version("digits")) == ({"stable": 1}, 1)


def test_only_what_could_be_a_file_of_a_version_is_taken():
    """A bucket allows names that no folder could hold, and objects that only mark folders."""

    class Listed:
        def list(self):
            names = ["digits/1/../../x", "digits//1/y", "digits/1/", "/digits/1/z", "digits/1/./w", "one/1", "a/x/b"]
            return dict.fromkeys(
                [*names, ".h/1/a", "digits/1/a\0b", "digits/²/a", "models.yaml", "ok/1/v/w"], Stored(1, 1)
            )

    storage = BucketStorage(Listed())

    assert storage.names() == ["ok"]
    assert ["v/w" in version for version in storage.versions("ok")] == [True]


def test_another_prefix_is_not_ours(models):
    """Neither one that begins alike nor the rest of the bucket."""
    emulator, name, url = models
    for key in ("team/modelsother/1/model.json", "digits/1/model.json", "team/models/code/main.py"):
        emulator.put(name, key, b"{}")

    assert Registry.scan(url).names() == []


def test_the_whole_bucket_may_be_the_folder(models):
    """A URL without a prefix, with or without a slash at its end."""
    emulator, name, _ = models
    emulator.put(name, "digits/1/model.json", (DIGITS / "model.json").read_bytes())

    assert Registry.scan(f"gs://{name}").names() == Registry.scan(f"gs://{name}/").names() == ["digits"]


# Records what is opened for writing, then serves one answer; prints the paths and the answer.
SERVE_ONCE = """
import json, os, sys
import numpy as np
if sys.argv[3] != "litert":
    import tensorflow  # whatever it opens of its own while it is imported is not ours
written = []
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(arguments[0])
    if event in ("os.mkdir", "os.rename"):
        written.append(str(arguments[0]))
sys.addaudithook(note)
from model.registry import Registry
version = Registry.scan(sys.argv[1]).find(sys.argv[2])
inputs = {key: np.zeros([1 if size is None else size for size in spec.shape], spec.dtype)
          for key, spec in version.manifest.signatures["serving_default"].inputs.items()}
answer = version.load().run("serving_default", inputs)
print(json.dumps([written, {key: array.tolist() for key, array in answer.items()}]))
"""


def serve_once(url, name, runtime):
    done = subprocess.run(
        [sys.executable, "-c", SERVE_ONCE, str(url), name, runtime],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_a_converted_model_is_read_straight_into_memory(models):
    """LiteRT takes bytes: no file is written, and TensorFlow's own files stay where they are."""
    upload(models, DIGITS, "digits/1")

    written, answer = serve_once(models[2], "digits", "litert")

    here = serve_once(ROOT / "model", "digits", "litert")[1]
    assert (written, answer) == ([], here)
    assert [Path(path).name for path in downloads(models[0])] == [
        "team%2Fmodels%2Fdigits%2F1%2Fmodel.json",
        "team%2Fmodels%2Fdigits%2F1%2Fmodel.tflite",
    ]


@pytest.mark.tensorflow
@in_tensorflow
def test_tensorflow_reads_a_copy_in_memory_that_is_gone_afterwards(models):
    """A bare SavedModel: its files lie under /dev/shm while it is loaded, nowhere else, and not for longer."""
    upload(models, OLD_KERAS, "flowers/3")

    written, answer = serve_once(models[2], "flowers", "tensorflow")

    assert set(answer) == {"kind"}
    assert any(path.endswith("/flowers/3/saved_model.pb") for path in written)
    assert [path for path in written if not path.startswith("/dev/shm/nightshift-")] == []
    assert not any(Path(path).exists() for path in written)


def test_without_memory_to_keep_files_in_tensorflow_is_refused(models, monkeypatch, tmp_path):
    """Rather than write to a disk, it says what to do."""
    upload(models, OLD_KERAS, "flowers/3")
    monkeypatch.setattr("model.storage.bucket_storage.MEMORY_FOLDER", tmp_path / "nowhere")

    with pytest.raises(ModelError, match=r"^flowers/3: TensorFlow reads files, and there is no .*; serve it from a"):
        Registry.scan(models[2]).find("flowers").load()


@pytest.mark.parametrize(
    ("content", "message", "reads"),
    [
        (b"short", "digits/1/model.tflite: is 5 bytes, model.json says 60348", 1),
        (bytes(60348), "digits/1/model.tflite: sha256 does not match model.json", 2),
    ],
)
def test_a_file_that_is_not_what_model_json_says_is_refused(models, content, message, reads):
    """One of another size is not even fetched."""
    upload(models, DIGITS, "digits/1")
    models[0].put(models[1], "team/models/digits/1/model.tflite", content)

    with pytest.raises(ModelError, match=f"^{message}$"):
        Registry.scan(models[2]).find("digits").load()

    assert len(downloads(models[0])) == reads


@pytest.mark.tensorflow
@in_tensorflow
def test_a_file_that_model_json_does_not_list_is_refused(models):
    """TensorFlow would read it, whatever wrote it there."""
    upload(models, DIGITS, "digits/1")
    described = json.loads((DIGITS / "model.json").read_bytes()) | {"runtimes": ["tensorflow"]}
    models[0].put(models[1], "team/models/digits/1/model.json", json.dumps(described).encode())
    models[0].put(models[1], "team/models/digits/1/variables/more", b"x")

    with pytest.raises(ModelError, match=r"^digits/1/variables/more: is not one of the files that model.json lists$"):
        Registry.scan(models[2]).find("digits").load()


def test_a_file_that_was_replaced_after_the_listing_is_not_mixed_in(models):
    """Each file is read as it was listed, or not at all."""
    upload(models, DIGITS, "digits/1")
    found = Registry.scan(models[2]).find("digits")
    models[0].put(models[1], "team/models/digits/1/model.tflite", (DIGITS / "model.tflite").read_bytes())

    with pytest.raises(ModelError, match=r"^digits/1/model\.tflite: was changed after it was listed$"):
        found.load()


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (403, ModelError, "the models' bucket: Cloud Storage allows no access to it with these credentials"),
        (401, ModelError, "the models' bucket: Cloud Storage allows no access to it with these credentials"),
        (404, ModelError, "the models' bucket: does not exist"),
        (400, UnavailableError, "the models' bucket: Cloud Storage did not answer"),
        (503, UnavailableError, "the models' bucket: Cloud Storage did not answer"),
    ],
)
def test_what_the_bucket_refuses_is_told_from_what_may_work_again(models, monkeypatch, capfd, status, error, message):
    """The answer has no bucket's name in it; the log has."""
    refuse_reads(monkeypatch)
    models[0].before = lambda method, path: status if path.endswith("/o") else None

    with pytest.raises(error) as raised:
        Registry.scan(models[2])

    assert raised.value.message == message
    assert models[1] not in raised.value.message
    assert status == 404 or models[2] in capfd.readouterr().out


def test_a_bucket_that_fails_once_is_asked_again(models, monkeypatch):
    """A passing failure is no failure."""
    upload(models, DIGITS, "digits/1")
    answers = iter([503, 503])
    models[0].before = lambda method, path: next(answers, None) if path.endswith("/o") else None

    assert Registry.scan(models[2]).names() == ["digits"]


def test_a_server_that_is_not_there_is_unavailable(monkeypatch):
    """Nobody listens: an answer within the deadline, and one that may be tried again."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    refuse_reads(monkeypatch)

    with pytest.raises(UnavailableError, match="did not answer"):
        Registry.scan("gs://models/x")


def test_without_credentials_the_reason_is_said(monkeypatch, tmp_path):
    """Outside the cloud somebody has to log in first."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)

    with pytest.raises(ModelError, match="allows no access to it with these credentials"):
        Registry.scan("gs://models/x")


@pytest.mark.parametrize("url", ["gs://", "gs://A", "gs://x", "gs:///models", "gs://bucket?x", "gs://bu cket/x"])
def test_an_url_that_is_none_is_refused(url):
    """Before anything is asked of anybody."""
    with pytest.raises(ConfigurationError, match="expected gs://bucket/prefix"):
        Bucket(url)


def test_predict_serves_from_a_bucket_and_recovers_when_it_comes_back(models, serve):
    """503 while the bucket is away, 200 as soon as it is not, and nothing to restart."""
    upload(models, DIGITS, "digits/1")
    emulator, _, url = models
    emulator.before = lambda method, path: 403
    predict = serve("predict", MODELS_DIR=url, STORAGE_EMULATOR_HOST=emulator.url, THREADS="2")
    example = json.loads((DIGITS / "model.json").read_bytes())["example"]

    refused = httpx.post(f"{predict.url}/v1/models/digits:predict", json=example)
    emulator.before = lambda method, path: None
    answered = httpx.post(f"{predict.url}/v1/models/digits:predict", json=example)

    assert (refused.status_code, set(refused.json())) == (500, {"error"})
    assert answered.status_code == 200
    assert answered.headers["X-Nightshift-Version"] == "1"


def staged_digits(target, number=2):
    with target.staged("digits", number) as staged:
        shutil.copytree(DIGITS, staged, dirs_exist_ok=True)


def test_a_version_is_uploaded_with_its_description_last(models):
    """So that a reader finds a whole version or none."""
    emulator, name, url = models
    order = []
    emulator.before = lambda method, path: order.append(emulator.names(name))

    staged_digits(BucketTarget(Bucket(url, ModelError)))

    *_, before_last, last = [names for names in (*order, emulator.names(name)) if names]
    assert set(last) - set(before_last) == {"team/models/digits/2/model.json"}
    assert not any("saved_model.pb" in key for key in order[-3])
    assert emulator.content(name, "team/models/digits/2/model.tflite") == (DIGITS / "model.tflite").read_bytes()


def test_a_version_in_a_bucket_is_never_overwritten(models):
    """Neither one that was there nor one that comes during the upload; what is there stays as it was."""
    emulator, name, url = models
    emulator.put(name, "team/models/digits/2/model.json", b"theirs")
    target = BucketTarget(Bucket(url, ModelError))

    with pytest.raises(ConflictError, match="digits version 2 exists already in"):
        target.new_version("digits", 2)
    with pytest.raises(ConflictError, match=r"^digits/2/model\.json: exists already$"):
        staged_digits(target)

    assert target.new_version("digits", None) == 3
    assert emulator.names(name) == ["team/models/digits/2/model.json"]
    assert emulator.content(name, "team/models/digits/2/model.json") == b"theirs"


def test_what_an_upload_that_failed_left_is_taken_away(models, monkeypatch):
    """Half a version is no version."""
    emulator, name, url = models
    refuse_reads(monkeypatch)
    emulator.before = lambda method, path: 403 if method == "POST" and len(emulator.names(name)) == 3 else None

    with pytest.raises(ModelError, match="allows no access"):
        staged_digits(BucketTarget(Bucket(url, ModelError)))

    assert emulator.names(name) == []


def test_a_label_that_somebody_sets_at_the_same_time_is_kept(models):
    """models.yaml is written only onto the text that was read."""
    emulator, name, url = models
    emulator.put(name, "team/models/models.yaml", b"digits: {labels: {old: 1}}  # ours\n")
    theirs = iter([b"digits: {labels: {old: 1, theirs: 1}}  # ours\n"])

    def interfere(method, path):
        if method == "POST" and (content := next(theirs, None)):
            emulator.put(name, "team/models/models.yaml", content)

    emulator.before = interfere
    BucketTarget(Bucket(url, ModelError)).set_label("digits", "mine", 2)

    assert emulator.content(name, "team/models/models.yaml") == (
        b"digits: {labels: {mine: 2, old: 1, theirs: 1}}  # ours\n"
    )


@pytest.mark.tensorflow
@in_tensorflow
def test_add_puts_a_model_into_a_bucket_where_list_shows_it(models, capsys):
    """The commands as they are typed, from anyone's SavedModel to an answer out of the bucket."""
    url = models[2]
    add = ["add", str(OLD_KERAS), "--name", "flowers", "--label", "stable", "--to", url]

    codes = [main(add), main(["list", "--models-dir", url]), main([*add, "--version", "1"])]
    shown = capsys.readouterr()
    found = Registry.scan(url).find("flowers", label="stable")
    answer = found.load().run("serving_default", {"measurements": np.zeros((1, 4), np.float32)})

    assert codes == [0, 0, 1]
    assert f"Added flowers version 1, labelled stable: {url}/flowers/1" in shown.out
    assert "flowers  1        yes      stable  litert, tensorflow" in shown.out
    assert shown.err.splitlines()[-1] == (f"error: flowers version 1 exists already in {url}: name another version")
    assert answer["kind"].shape == (1, 3)


def test_force_and_a_bucket_do_not_go_together(capsys):
    """What was served must not change."""
    code = main(["add", "x", "--name", "m", "--to", "gs://models", "--force"])

    assert code == 2
    assert "a version in a bucket is never replaced" in capsys.readouterr().err
