"""What each function needs of Cloud Run is read whole, and everything wrong with it told at once with its line."""

import pytest
import yaml

from deployment.service_files import Service, read_services
from functions._staging.stage import function_names, needed_files
from shared.config import ROOT, Settings
from shared.errors import ConfigurationError

GOOD = """# A comment
include: [data/*.json]
memory: 1Gi
cpu: 1
concurrency: 8
max_instances: 20
timeout_seconds: 60
startup_path: /health
database: write
objects: read
secrets: [PAGE_TOKEN_KEY]
publishes: [predictions]
subscribes: nightly
calls: [other]
models: true
"""
LEAST = "memory: 512Mi\ncpu: 2\nconcurrency: 1\nmax_instances: 1\ntimeout_seconds: 1\nstartup_path: /\n"
LINES = {line.partition(":")[0]: number for number, line in enumerate(GOOD.splitlines(), start=1)}


@pytest.fixture
def root(tmp_path):
    """A repository of two functions that want little."""
    for name in ("good_one", "other"):
        folder = tmp_path / "functions" / name
        folder.mkdir(parents=True)
        (folder / "main.py").write_text("")
        (folder / "service.yaml").write_text(LEAST)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.json").write_text("{}")
    return tmp_path


def write(root, text, name="good_one"):
    """Write one function's file."""
    (root / "functions" / name / "service.yaml").write_text(text, "utf-8")


def problems(root):
    """Return what is wrong with the functions' files."""
    with pytest.raises(ConfigurationError) as raised:
        read_services(root)
    return raised.value.problems


def test_every_key_is_read(root):
    """As it stands there; those left out have their defaults."""
    write(root, GOOD)

    assert read_services(root) == [
        Service(
            function="good_one",
            service="good-one",
            memory="1Gi",
            cpu=1,
            concurrency=8,
            max_instances=20,
            timeout_seconds=60,
            startup_path="/health",
            database="write",
            secrets=("PAGE_TOKEN_KEY",),
            publishes=("predictions",),
            subscribes="nightly",
            calls=("other",),
            models=True,
            objects="read",
        ),
        Service(
            *("other", "other", "512Mi", 2, 1, 1, 1, "/"),
            *("none", (), (), None, (), False, "none"),
        ),
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("memory: 1Gi", "memory: 1G", "memory: expected memory such as 512Mi or 2Gi, from 512Mi to 32Gi, got '1G'"),
        ("memory: 1Gi", "memory: 1024", "memory: expected memory such as 512Mi or 2Gi, from 512Mi to 32Gi, got 1024"),
        ("memory: 1Gi", "memory: 256Mi", "memory: expected memory such as 512Mi or 2Gi"),
        ("memory: 1Gi", "memory: 64Gi", "memory: expected memory such as 512Mi or 2Gi"),
        ("memory: 1Gi", "memory:", "memory: expected memory such as 512Mi or 2Gi"),
        ("memory: 1Gi", "memory: 5Gi", "memory: expected 512Mi to 4Gi with 1 vCPU, got 5Gi"),
        (
            "cpu: 1",
            "cpu: 0.5",
            "cpu: expected 1, 2, 4, 6 or 8 vCPUs, as Cloud Run's second generation has them, got 0.5",
        ),
        ("cpu: 1", "cpu: 3", "cpu: expected 1, 2, 4, 6 or 8 vCPUs"),
        ("cpu: 1", "cpu: true", "cpu: expected 1, 2, 4, 6 or 8 vCPUs"),
        ("cpu: 1", "cpu: '1'", "cpu: expected 1, 2, 4, 6 or 8 vCPUs"),
        ("concurrency: 8", "concurrency: 0", "concurrency: expected a whole number from 1 to 1000, got 0"),
        ("concurrency: 8", "concurrency: 1001", "concurrency: expected a whole number from 1 to 1000, got 1001"),
        ("concurrency: 8", "concurrency: 8.0", "concurrency: expected a whole number from 1 to 1000, got 8.0"),
        ("concurrency: 8", "concurrency: true", "concurrency: expected a whole number from 1 to 1000, got True"),
        ("max_instances: 20", "max_instances: 0", "max_instances: expected a whole number from 1 to 1000, got 0"),
        ("max_instances: 20", "max_instances: 1001", "max_instances: expected a whole number from 1 to 1000"),
        ("timeout_seconds: 60", "timeout_seconds: 0", "timeout_seconds: expected a whole number from 1 to 3600, got 0"),
        ("timeout_seconds: 60", "timeout_seconds: 3601", "timeout_seconds: expected a whole number from 1 to 3600"),
        ("timeout_seconds: 60", "timeout_seconds: 60s", "timeout_seconds: expected a whole number from 1 to 3600"),
        ("/health", "health", "startup_path: expected a path such as /health, got 'health'"),
        ("/health", "/a?b=c", "startup_path: expected a path such as /health, got '/a?b=c'"),
        (
            "/health",
            "/healthz",
            "startup_path: expected a path that Cloud Run does not keep to itself, as it does /healthz",
        ),
        ("/health", "/_ah/warmup", "startup_path: expected a path that Cloud Run does not keep to itself"),
        ("/health", "/eventlog", "startup_path: expected a path that Cloud Run does not keep to itself"),
        ("database: write", "database: admin", "database: expected none or read or write, got 'admin'"),
        ("database: write", "database:", "database: expected none or read or write, got None"),
        ("database: write", "database: [read]", "database: expected none or read or write, got ['read']"),
        ("objects: read", "objects: reads", "objects: expected none or read or write, got 'reads'"),
        ("[PAGE_TOKEN_KEY]", "[DB_PASSWORD]", "secrets: expected some of PAGE_TOKEN_KEY, got 'DB_PASSWORD'"),
        ("[PAGE_TOKEN_KEY]", "PAGE_TOKEN_KEY", "secrets: expected a list of texts, got 'PAGE_TOKEN_KEY'"),
        ("[PAGE_TOKEN_KEY]", "[PAGE_TOKEN_KEY, PAGE_TOKEN_KEY]", "secrets: expected each once"),
        ("[predictions]", "[prediction]", "publishes: expected some of nightly, predictions, got 'prediction'"),
        (
            "subscribes: nightly",
            "subscribes: [nightly]",
            "subscribes: expected nightly or predictions, got ['nightly']",
        ),
        ("subscribes: nightly", "subscribes: weekly", "subscribes: expected nightly or predictions, got 'weekly'"),
        ("calls: [other]", "calls: [others]", "calls: expected some of other, got 'others'"),
        ("calls: [other]", "calls: [good_one]", "calls: expected some of other, got 'good_one'"),
        ("calls: [other]", "calls: [1]", "calls: expected a list of texts, got [1]"),
        ("models: true", "models: 1", "models: expected true or false, got 1"),
        ("models: true", "models: 'yes'", "models: expected true or false, got 'yes'"),
        ("[data/*.json]", "[data/*.csv]", "include: expected files of the repository, nothing matches 'data/*.csv'"),
        ("[data/*.json]", "[../secret]", "include: expected paths inside the repository, got '../secret'"),
        ("[data/*.json]", "[/etc/passwd]", "include: expected paths inside the repository, got '/etc/passwd'"),
        ("[data/*.json]", "data", "include: expected a list of texts, got 'data'"),
        ("models: true", "modles: true", "modles: unknown key: did you mean models?"),
        ("models: true", "region: x", "region: unknown key: expected some of include, memory"),
        ("models: true", "memory: 2Gi", "memory: expected once, it is there already on line 3"),
        ("models: true", "? [a]\n: b", "expected a key that is text"),
        ("models: true", "models: !!python/name:os.getcwd ''", "models: could not determine a constructor"),
        ("models: true", "models: [", "cannot be read: "),
        ("models: true", "models: *nothing", "cannot be read: "),
    ],
)
def test_each_kind_of_wrong_entry_is_named_with_its_line(root, old, new, words):
    """The message says where, what was expected and what stood there."""
    assert old in GOOD
    write(root, GOOD.replace(old, new))

    (problem,) = problems(root)

    line = next(number for number, text in enumerate(GOOD.splitlines(), start=1) if old in text)
    assert problem.startswith(f"functions/good_one/service.yaml:{line}: {words}") or "cannot be read" in words
    assert words in problem


@pytest.mark.parametrize("key", LEAST.replace(":", "").split()[::2])
def test_a_missing_key_is_named(root, key):
    """What a function needs is for its author to say."""
    write(root, "".join(line for line in LEAST.splitlines(keepends=True) if not line.startswith(key)))

    assert problems(root) == [f"functions/good_one/service.yaml: {key}: expected, not there"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ":1: expected a mapping"),
        (b"[memory]", ":1: expected a mapping"),
        (b"memory", ":1: expected a mapping"),
        (b"\xff\xfe", ": cannot be read: UnicodeDecodeError"),
        (None, ": cannot be read: No such file or directory"),
        (b"a: " + b"[" * 3000, ": cannot be read: RecursionError"),
    ],
)
def test_a_file_that_says_nothing_is_named(root, content, words):
    """Nor is one that is not there at all."""
    path = root / "functions" / "good_one" / "service.yaml"
    path.unlink() if content is None else path.write_bytes(content)

    (problem,) = problems(root)

    assert problem.startswith(f"functions/good_one/service.yaml{words}")


def test_everything_wrong_is_told_at_once_file_by_file(root):
    """From the first line to the last."""
    write(root, GOOD.replace("models: true", "modles: 1").replace("cpu: 1", "cpu: 3").replace("/health", "x"))
    write(root, LEAST.replace("512Mi", "1"), "other")

    found = [problem.split(": expected")[0].split(": unknown")[0] for problem in problems(root)]

    assert found == [
        "functions/good_one/service.yaml:4: cpu",
        "functions/good_one/service.yaml:8: startup_path",
        "functions/good_one/service.yaml:15: modles",
        "functions/other/service.yaml:1: memory",
    ]


@pytest.mark.parametrize(
    ("cpu", "memory", "words"),
    [
        (1, "4Gi", None),
        (1, "4097Mi", "512Mi to 4Gi"),
        (2, "8Gi", None),
        (2, "9Gi", "512Mi to 8Gi"),
        (4, "1Gi", "2Gi to 16Gi"),
        (4, "16Gi", None),
        (6, "3Gi", "4Gi to 24Gi"),
        (8, "32Gi", None),
        (8, "2Gi", "4Gi to 32Gi"),
    ],
)
def test_memory_and_cpu_go_together(root, cpu, memory, words):
    """As Cloud Run has them in pairs."""
    write(root, LEAST.replace("cpu: 2", f"cpu: {cpu}").replace("512Mi", memory))

    if words is None:
        assert read_services(root)[0].memory == memory
    else:
        assert problems(root) == [
            f"functions/good_one/service.yaml:1: memory: expected {words} with {cpu} vCPU, got {memory}"
        ]


def test_a_topic_has_one_subscriber(root):
    """There is one push subscription a topic, and its dead letters are delivered again to that alone."""
    write(root, LEAST + "subscribes: nightly\n")
    write(root, LEAST + "subscribes: nightly\n", "other")

    assert problems(root) == [
        "functions/other/service.yaml:7: subscribes: expected a topic with no subscriber yet; nightly goes to good_one"
    ]


def test_what_is_shipped_is_right_and_staged(root):
    """Each function has its file, and staging reads the same one."""
    services = {service.function: service for service in read_services(ROOT)}

    assert sorted(services) == function_names()
    for function in services:
        include = yaml.safe_load((ROOT / "functions" / function / "service.yaml").read_text())["include"]
        assert len([path for path in needed_files(function) if not path.is_file()]) == 0
        assert isinstance(include, list)
    assert (services["nightly_transform"].subscribes, services["store_result"].subscribes) == ("nightly", "predictions")
    assert services["nightly_transform"].calls == ("predict",)


def test_cloud_run_waits_longer_than_predict_waits_for_a_model():
    """Else a slow model would end as a broken connection rather than as an answer that says so."""
    predict = next(service for service in read_services(ROOT) if service.function == "predict")

    assert predict.timeout_seconds > Settings.from_env({}).model_timeout_seconds
