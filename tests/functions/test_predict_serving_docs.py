"""The curl lines of TensorFlow Serving's own documentation and tests, answered as there.

From its RESTful API guide, its Docker guide and its model server's tests, over models that are made here as theirs
were: in version 1's form, with inputs of the shape [-1, 1] that the documentation asks with bare numbers.
"""

import json
import shlex
import subprocess

import pytest

from tests.support import running_function

pytestmark = [pytest.mark.tensorflow, pytest.mark.xdist_group("tensorflow")]


def save_half(folder, plus, regress, classify):
    """Save y = x / 2 + plus: predict over numbers, regress and classify over serialized examples."""
    import tensorflow.compat.v1 as tf

    info, signature = tf.saved_model.utils.build_tensor_info, tf.saved_model.signature_def_utils.build_signature_def
    with tf.Graph().as_default(), tf.Session() as session:
        serialized = tf.placeholder(tf.string, [None], name="tf_example")
        parsed = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        half, more = tf.get_variable("a", initializer=0.5), tf.get_variable("b", initializer=float(plus))
        x = tf.identity(parsed["x"], name="x")
        y = tf.identity(half * x + more, name="y")
        signatures = {
            "serving_default": signature({"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict"),
            regress: signature({"inputs": info(serialized)}, {"outputs": info(y)}, "tensorflow/serving/regress"),
            classify: signature({"inputs": info(serialized)}, {"scores": info(y)}, "tensorflow/serving/classify"),
        }
        # The published model sets a file's name as it is initialised, which an allow-list has to let pass.
        file = tf.get_variable("filename_tensor", initializer="", trainable=False, use_resource=False)
        main = tf.group(file.assign("foo.txt"))
        session.run(tf.global_variables_initializer())
        builder = tf.saved_model.builder.SavedModelBuilder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures, main_op=main)
        builder.save()


def save_guide(folder):
    """Save what the guide's requests speak of: tags with signals and sensors, words, pairs, captioned images."""
    import tensorflow as tf

    def shape(dtype, *sizes, name):
        return tf.TensorSpec(sizes, dtype, name=name)

    @tf.function
    def readings(tag, signal, sensor):
        return {"tag_out": tf.identity(tag), "signal_out": tf.identity(signal), "sensor_out": tf.identity(sensor)}

    @tf.function(input_signature=[shape(tf.string, None, name="word")])
    def words(word):
        return {"length": tf.strings.length(word)}

    @tf.function(input_signature=[shape(tf.float32, None, 1, 2, name="pair")])
    def pairs(pair):
        return {"same": tf.identity(pair)}

    @tf.function(input_signature=[shape(tf.string, None, name="inputs")])
    def objects(serialized):
        features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image", "caption")}
        parsed = tf.io.parse_example(serialized, features)
        sizes = tf.cast(tf.strings.length(parsed["image"]), tf.float32)
        return {"classes": parsed["caption"][:, None], "scores": sizes[:, None]}

    inputs = (
        shape(tf.string, None, name="tag"),
        shape(tf.int64, None, 5, name="signal"),
        shape(tf.float32, None, 2, 2, name="sensor"),
    )
    module = tf.Module()
    module.functions = [words, pairs, objects]
    signatures = {"serving_default": readings.get_concrete_function(*inputs), "words": words, "pairs": pairs}
    tf.saved_model.save(module, str(folder), signatures={**signatures, "classify_objects": objects})


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The port of a predict that serves all three, each as version 123."""
    folder = tmp_path_factory.mktemp("docs")
    models = folder / "models"
    save_half(models / "half_plus_two/00000123", 2, "regress_x_to_y", "classify_x_to_y")
    save_half(models / "half_plus_three/00000123", 3, "tensorflow/serving/regress", "tensorflow/serving/classify")
    save_guide(models / "guide/123")
    env = {"STATE_DIR": str(folder), "MODELS_DIR": str(models), "THREADS": "4"}
    with running_function("predict", env, folder / "log") as running:
        yield running.port


def curl(port, line):
    """Run a line as it stands, but for the port; return the status, the content type and the decoded answer."""
    command = shlex.split(line.replace("localhost:8501", f"127.0.0.1:{port}"))
    command += ["--silent", "--show-error", "--noproxy", "*", "--write-out", r"\n%{http_code} %{content_type}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    body, _, told = done.stdout.rpartition("\n")
    status, content_type = told.split()
    return int(status), content_type, json.loads(body[body.index("{") :])


AVAILABLE = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
STATUS = {"model_version_status": [AVAILABLE]}
LINES = [
    # The guide's own walk through half_plus_three.
    ("curl http://localhost:8501/v1/models/half_plus_three", 200, STATUS),
    (
        """curl -d '{"instances": [1.0,2.0,5.0]}' -X POST http://localhost:8501/v1/models/half_plus_three:predict""",
        200,
        {"predictions": [3.5, 4.0, 5.5]},
    ),
    (
        """curl -d '{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}' \\
        -X POST http://localhost:8501/v1/models/half_plus_three:regress""",
        200,
        {"results": [3.5, 4.0]},
    ),
    (
        """curl -i -d '{"instances": [1.0,5.0]}' -X POST http://localhost:8501/v1/models/half:predict""",
        404,
        {"error": "Servable not found for request: Latest(half)"},
    ),
    # The Docker guide's half_plus_two.
    (
        """curl -d '{"instances": [1.0, 2.0, 5.0]}' -X POST http://localhost:8501/v1/models/half_plus_two:predict""",
        200,
        {"predictions": [2.5, 3.0, 4.5]},
    ),
    ("curl http://localhost:8501/v1/models/half_plus_two", 200, STATUS),
    ("curl http://localhost:8501/v1/models/half_plus_two/versions/123", 200, STATUS),
    # The model server's own tests.
    (
        """curl -d '{"instances": [2.0, 3.0, 4.0]}' http://localhost:8501/v1/models/half_plus_two:predict""",
        200,
        {"predictions": [3.0, 3.5, 4.0]},
    ),
    (
        """curl -d '{"inputs": [2.0, 3.0, 4.0]}' http://localhost:8501/v1/models/half_plus_two:predict""",
        200,
        {"outputs": [3.0, 3.5, 4.0]},
    ),
    (
        """curl -d '{"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}' \\
        http://localhost:8501/v1/models/half_plus_two:classify""",
        200,
        {"results": [[["", 3.0]]]},
    ),
    (
        """curl -d '{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}' \\
        http://localhost:8501/v1/models/half_plus_two:regress""",
        200,
        {"results": [3.0]},
    ),
    # As the shape [-1, 1] would rather have them; named, and by version.
    (
        """curl -d '{"instances": [[1.0], [2.0]]}' http://localhost:8501/v1/models/half_plus_two:predict""",
        200,
        {"predictions": [[2.5], [3.0]]},
    ),
    (
        """curl -d '{"instances": [{"x": 1.0}, {"x": 2.0}], "signature_name": "serving_default"}' \\
        http://localhost:8501/v1/models/half_plus_two/versions/123:predict""",
        200,
        {"predictions": [2.5, 3.0]},
    ),
    (
        """curl -d '{"inputs": {"x": [[1.0], [2.0]]}}' http://localhost:8501/v1/models/half_plus_two:predict""",
        200,
        {"outputs": [[2.5], [3.0]]},
    ),
    # The guide's request formats.
    (
        """curl -d '{"signature_name": "words", "instances": ["foo", "bar", "baz"]}' \\
        http://localhost:8501/v1/models/guide:predict""",
        200,
        {"predictions": [3, 3, 3]},
    ),
    (
        """curl -d '{"signature_name": "pairs", "instances": [ [[1, 2]], [[3, 4]] ]}' \\
        http://localhost:8501/v1/models/guide:predict""",
        200,
        {"predictions": [[[1.0, 2.0]], [[3.0, 4.0]]]},
    ),
    (
        """curl -d '{"instances": [
            {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
            {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]}
        ]}' http://localhost:8501/v1/models/guide:predict""",
        200,
        {
            "predictions": [
                {"tag_out": "foo", "signal_out": [1, 2, 3, 4, 5], "sensor_out": [[1.0, 2.0], [3.0, 4.0]]},
                {"tag_out": "bar", "signal_out": [3, 4, 1, 2, 5], "sensor_out": [[4.0, 5.0], [6.0, 8.0]]},
            ]
        },
    ),
    (
        """curl -d '{"inputs": {
            "tag": ["foo", "bar"],
            "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
            "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]
        }}' http://localhost:8501/v1/models/guide:predict""",
        200,
        {
            "outputs": {
                "tag_out": ["foo", "bar"],
                "signal_out": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
                "sensor_out": [[[1.0, 2.0], [3.0, 4.0]], [[4.0, 5.0], [6.0, 8.0]]],
            }
        },
    ),
    (
        """curl -d '{"signature_name": "classify_objects", "examples": [
            {"image": { "b64": "aW1hZ2UgYnl0ZXM=" }, "caption": "seaside"},
            {"image": { "b64": "YXdlc29tZSBpbWFnZSBieXRlcw==" }, "caption": "mountains"}
        ]}' http://localhost:8501/v1/models/guide:classify""",
        200,
        {"results": [[["seaside", 11.0]], [["mountains", 19.0]]]},
    ),
    # What its tests of the REST handler refuse.
    (
        """curl -d '{"instances": [1.0]}' http://localhost:8501/v1/models/half_plus_two/versions/9:predict""",
        404,
        {"error": "Servable not found for request: Specific(half_plus_two, 9)"},
    ),
    (
        """curl -d '{}' http://localhost:8501/v1/models/half_plus_two:predict""",
        400,
        {"error": "Missing 'inputs' or 'instances' key"},
    ),
    (
        """curl -d '{"instances": [1.0], "inputs": [1.0]}' http://localhost:8501/v1/models/half_plus_two:predict""",
        400,
        {"error": "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"},
    ),
    (
        """curl -d '{"instances": []}' http://localhost:8501/v1/models/half_plus_two:predict""",
        400,
        {"error": "No values in 'instances' array"},
    ),
    (
        """curl -d '{"instances": [1.0], "signature_name": 5}' http://localhost:8501/v1/models/half_plus_two:predict""",
        400,
        {"error": "'signature_name' key must be a string value."},
    ),
]


@pytest.mark.parametrize(("line", "status", "answer"), LINES)
def test_a_line_of_the_documentation_is_answered_as_there(port, line, status, answer):
    """The status, the content type and the whole document."""
    assert curl(port, line) == (status, "application/json", answer)


def test_the_documentation_s_special_numbers_are_tokens_both_ways(port):
    """What the guide's part on JSON conformance sends, mended."""
    line = """curl -d '{"instances": [1.0, -3.0, NaN, Infinity, -Infinity]}' \\
    http://localhost:8501/v1/models/half_plus_three:predict"""

    status, _, answer = curl(port, line)

    assert (status, [str(number) for number in answer["predictions"]]) == (200, ["3.5", "1.5", "nan", "inf", "-inf"])


def tensor(dtype, name, *sizes):
    """A tensor as the metadata shows it."""
    dims = [{"size": str(size), "name": ""} for size in sizes]
    return {"dtype": dtype, "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": name}


def test_the_metadata_is_the_document_that_their_test_compares(port):
    """Every signature with its method, each tensor with its type, shape and name inside the graph."""
    x, y = tensor("DT_FLOAT", "x:0", -1, 1), tensor("DT_FLOAT", "y:0", -1, 1)
    example = {"inputs": tensor("DT_STRING", "tf_example:0", -1)}
    ways = {
        "serving_default": ({"x": x}, {"y": y}, "predict"),
        "regress_x_to_y": (example, {"outputs": y}, "regress"),
        "classify_x_to_y": (example, {"scores": y}, "classify"),
    }
    signatures = {
        name: {"inputs": inputs, "outputs": outputs, "method_name": f"tensorflow/serving/{method}", "defaults": {}}
        for name, (inputs, outputs, method) in ways.items()
    }

    assert curl(port, "curl http://localhost:8501/v1/models/half_plus_two/metadata") == (
        200,
        "application/json",
        {
            "model_spec": {"name": "half_plus_two", "signature_name": "", "version": "123"},
            "metadata": {"signature_def": {"signature_def": signatures}},
        },
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": [[[1.0]]]}, "got shape [1, 1, 1]"),
        ({"instances": [[1.0, 2.0]]}, "got shape [1, 2]"),
        ({"instances": [1.0, [2.0]]}, "got array"),
        ({"inputs": 1.0}, "got shape []"),
        ({"signature_name": "pairs", "instances": [[1, 2]]}, "got shape [1, 2]"),
    ],
)
def test_bare_numbers_are_the_only_shape_that_is_not_the_signature_s(port, body, message):
    """A column may be given bare, since the documentation does; nothing else is reshaped."""
    model = "guide" if "signature_name" in body else "half_plus_two"
    line = f"curl -d {shlex.quote(json.dumps(body))} http://localhost:8501/v1/models/{model}:predict"

    status, _, answer = curl(port, line)

    assert status == 400
    assert message in answer["error"]
