"""What a SavedModel would run is read and judged before anything runs, wherever it is hidden."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from model.savedmodel import allowed, schema
from model.savedmodel.objects import LOADER_METHODS
from model.savedmodel.ops import find_unsafe, refuse_unsafe
from model.savedmodel.read import read_bare, read_graph, read_signatures
from model.savedmodel.schema import MESSAGES, PACKAGE, message_class
from model.storage.folder import FolderVersion
from shared.errors import ModelError

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "model" / "digits" / "1"
OLD_KERAS = ROOT / "tests" / "samples" / "models" / "old_keras"
WRITE = {"name": "hidden", "op": "WriteFile"}

in_tensorflow = pytest.mark.xdist_group("tensorflow")


@pytest.fixture
def graph():
    """The committed model's graph, to be spoilt; it calls its functions from three nodes."""
    return read_graph(DIGITS, "m/1")


def caller(graph, role):
    """Return the node by which the main graph calls its signature or its restore function."""
    info = graph.signature_def["serving_default"].outputs["digit"]
    name = info.name.split(":")[0] if role == "signature" else graph.saver_def.restore_op_name
    return next(node for node in graph.graph_def.node if node.name == name)


def function(graph, name):
    return next(found for found in graph.graph_def.library.function if found.signature.name == name)


def add_function(graph, name, /, **node):
    """Add a function of one node, and return its name."""
    added = graph.graph_def.library.function.add()
    added.signature.name = name
    added.node_def.add(**(node or WRITE))
    return name


def called(graph, role):
    return function(graph, caller(graph, role).attr["f"].func.name)


def add_object(graph, method, name):
    """Give the root object a method of the object graph."""
    objects = graph.object_graph_def.nodes
    objects.add().function.concrete_functions.append(name)
    objects[0].children.add(local_name=method, node_id=len(objects) - 1)


def in_the_signature(graph):
    called(graph, "signature").node_def.add(**WRITE)


def in_the_restore_function(graph):
    called(graph, "restore").node_def.add(**WRITE)


def in_the_initialiser(graph):
    graph.graph_def.node.add(**WRITE)
    graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "hidden"


def in_an_initialiser_of_tensorflow_1(graph):
    graph.graph_def.node.add(**WRITE)
    graph.collection_def["legacy_init_op"].node_list.value.append("hidden:0")


def in_a_while_body(graph):
    loop = called(graph, "signature").node_def.add(name="loop", op="StatelessWhile")
    loop.attr["cond"].func.name = add_function(graph, "condition", name="c", op="Const")
    loop.attr["body"].func.name = add_function(graph, "body")


def in_a_branch_of_a_case_in_a_function_of_a_function(graph):
    outer = called(graph, "signature").node_def.add(name="outer", op="PartitionedCall")
    outer.attr["f"].func.name = add_function(graph, "middle", name="case", op="Case")
    branches = function(graph, "middle").node_def[0].attr["branches"].list
    branches.func.add(name=add_function(graph, "first", name="a", op="Abs"))
    branches.func.add(name=add_function(graph, "second"))


def in_an_attribute_of_a_function_attribute(graph):
    value = called(graph, "signature").node_def.add(name="outer", op="PartitionedCall").attr["f"].func
    value.name = add_function(graph, "harmless", name="a", op="Abs")
    value.attr["T"].func.name = add_function(graph, "hidden_function")


def behind_a_control_input(graph):
    graph.graph_def.node.add(**WRITE)
    caller(graph, "signature").input.append("^hidden")


def behind_an_input_of_the_init_op(graph):
    graph.graph_def.node.add(**WRITE)
    graph.graph_def.node.add(name="init", op="NoOp", input=["^hidden"])
    graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "init"


def in_a_function_by_the_name_of_an_operation(graph):
    called(graph, "signature").node_def.add(name="looks_fine", op="Abs")
    add_function(graph, "Abs")


def in_another_implementation_of_a_function(graph):
    called(graph, "signature").attr["api_implements"].s = b"lstm"
    function(graph, add_function(graph, "for_another_device")).attr["api_implements"].s = b"lstm"


def in_the_object_graph_s_own_signature(graph):
    add_object(graph, "signatures", add_function(graph, "other_signature"))


def in_a_resource_s_initialiser(graph):
    add_object(graph, "_initialize", add_function(graph, "initialize"))


def in_a_method_that_the_loader_calls(graph):
    add_object(graph, "_maybe_initialize_trackable", add_function(graph, "method"))


def in_a_table_s_restore_function(graph):
    graph.object_graph_def.nodes.add().function.concrete_functions.append(add_function(graph, "restore_table"))
    saveable = graph.object_graph_def.nodes[0].saveable_objects["table"]
    saveable.restore_function = len(graph.object_graph_def.nodes) - 1


HIDING_PLACES = [
    (in_the_signature, "a signature"),
    (in_the_restore_function, "the restore function"),
    (in_the_initialiser, "the initialiser"),
    (in_an_initialiser_of_tensorflow_1, "the initialiser"),
    (in_a_while_body, "a signature"),
    (in_a_branch_of_a_case_in_a_function_of_a_function, "a signature"),
    (in_an_attribute_of_a_function_attribute, "a signature"),
    (behind_a_control_input, "a signature"),
    (behind_an_input_of_the_init_op, "the initialiser"),
    (in_a_function_by_the_name_of_an_operation, "a signature"),
    (in_another_implementation_of_a_function, "a signature"),
    (in_the_object_graph_s_own_signature, "a signature"),
    (in_a_resource_s_initialiser, "the initialiser"),
    (in_a_method_that_the_loader_calls, "the initialiser"),
    (in_a_table_s_restore_function, "the restore function"),
]


@pytest.mark.parametrize(("hide", "part"), HIDING_PLACES, ids=lambda value: getattr(value, "__name__", None))
def test_an_operation_that_writes_files_is_found_wherever_it_hides(graph, hide, part):
    """Each way that TensorFlow has of running something is followed."""
    assert find_unsafe(graph, "m/1") == []

    hide(graph)

    found = find_unsafe(graph, "m/1")
    assert [(finding.operation, finding.part) for finding in found] == [("WriteFile", part)]
    with pytest.raises(
        ModelError, match=r"^m/1: holds an operation that a served model must not: WriteFile \(hidden in"
    ):
        refuse_unsafe(graph, "m/1")


def test_the_message_says_where_it_is_and_what_reaches_it(graph):
    """Enough for the model's owner to find it."""
    in_a_while_body(graph)
    in_the_initialiser(graph)

    with pytest.raises(ModelError) as raised:
        refuse_unsafe(graph, "m/1")

    assert raised.value.message == (
        "m/1: holds an operation that a served model must not: WriteFile (hidden in the function body), "
        "reached from a signature; and 1 more"
    )


@pytest.mark.parametrize("folder", [DIGITS, OLD_KERAS])
def test_what_keras_saves_passes(folder):
    """A plain export and one of old Keras, with an optimizer, hold nothing that is refused."""
    assert find_unsafe(read_graph(folder, "m/1"), "m/1") == []


def test_what_is_not_run_is_not_judged(graph):
    """The save path writes files, and a function that nothing calls may hold what it likes."""
    operations = {node.op for found in graph.graph_def.library.function for node in found.node_def}
    add_function(graph, "never_called")

    assert "SaveV2" in operations
    assert find_unsafe(graph, "m/1") == []


@pytest.mark.parametrize(
    ("operation", "refused_in"),
    [
        ("RestoreV2", ["a signature", "the initialiser"]),
        ("AssignVariableOp", ["a signature"]),
        ("Assign", ["a signature"]),
    ],
)
def test_only_loading_may_assign_and_only_restoring_may_read_the_checkpoint(graph, operation, refused_in):
    """TensorFlow Serving's own half_plus_two sets a variable as it is initialised; a request never does."""
    called(graph, "restore").node_def.add(name="more", op=operation)
    assert find_unsafe(graph, "m/1") == []

    called(graph, "signature").node_def.add(name="more", op=operation)
    add_object(graph, "_initialize", add_function(graph, "initialize", name="more", op=operation))

    assert [finding.part for finding in find_unsafe(graph, "m/1")] == refused_in


@pytest.mark.parametrize(
    "operation",
    [
        *("ReadFile", "WriteFile", "MatchingFiles", "WholeFileReaderV2", "ReaderReadV2", "ImmutableConst", "PrintV2"),
        *("PyFunc", "EagerPyFunc", "PyFuncStateless", "DebugIdentityV2", "DumpTensor", "SaveV2", "MergeV2Checkpoints"),
        *("TFRecordDataset", "LoadDataset", "GeneratorDataset", "RemoteCall", "RpcCall", "DecodeProtoV2", "Abort"),
        *("InitializeTableFromTextFileV2", "XlaCallModule", "AnOperationOfTomorrow", "FileSystemSetConfiguration"),
    ],
)
def test_operations_that_reach_out_are_on_no_list(operation):
    """Files, Python, the network, debuggers, and whatever nobody has read yet."""
    assert operation not in allowed.RESTORE


def test_a_table_that_reads_a_file_is_refused_with_what_to_do(graph):
    """The commonest case that an owner can mend."""
    add_object(graph, "_initialize", add_function(graph, "fill", name="t", op="InitializeTableFromTextFileV2"))

    with pytest.raises(ModelError, match="Give the table its vocabulary as a list instead of a file"):
        refuse_unsafe(graph, "m/1")


def damage(graph, how):
    if how == "a node that is not there":
        caller(graph, "signature").input.append("nowhere:0")
    elif how == "a function that is not there":
        caller(graph, "signature").attr["f"].func.name = "nowhere"
    elif how == "two functions of a name":
        add_function(graph, "twice")
        add_function(graph, "twice", name="a", op="Abs")
    elif how == "two nodes of a name":
        graph.graph_def.node.add(name="twice", op="Abs")
        graph.graph_def.node.add(name="twice", op="WriteFile")
    else:
        graph.object_graph_def.nodes[0].children.add(local_name="signatures", node_id=10**6)


@pytest.mark.parametrize(
    "how",
    [
        "a node that is not there",
        "a function that is not there",
        "two functions of a name",
        "two nodes of a name",
        "an object that is not there",
    ],
)
def test_a_graph_that_cannot_be_followed_is_refused(graph, how):
    """Where it is unclear what would run, nothing does."""
    damage(graph, how)

    with pytest.raises(ModelError, match=r"is referred to and not there|is there twice|refers to object 1000000"):
        find_unsafe(graph, "m/1")


def test_signatures_are_read_as_tensorflow_wrote_them():
    """Names, dtypes and shapes, and what each tensor is called inside."""
    signature = read_signatures(read_graph(OLD_KERAS, "m/1"), "m/1")["serving_default"]

    found = signature.inputs["measurements"]
    assert (found.dtype, found.shape, found.tensor_name) == ("float32", (None, 4), "serving_default_measurements:0")
    assert signature.outputs["kind"].shape == (None, 3)
    assert signature.method_name == "tensorflow/serving/predict"


def write_model(folder, *graphs):
    folder.mkdir(parents=True, exist_ok=True)
    saved = message_class("SavedModel")(meta_graphs=graphs)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return folder


def test_the_graph_for_serving_is_found_among_several(tmp_path, graph):
    """By its tag; one graph needs none, and several without it are not guessed among."""
    train, plain = message_class("MetaGraphDef")(), message_class("MetaGraphDef")()
    train.meta_info_def.tags.append("train")

    assert read_graph(write_model(tmp_path / "both", train, graph), "m/1") == graph
    assert read_graph(write_model(tmp_path / "one", plain), "m/1") == plain
    for graphs in ((), (train, plain)):
        with pytest.raises(ModelError, match=f'holds {len(graphs)} graphs and none is tagged "serve"'):
            read_graph(write_model(tmp_path / "none", *graphs), "m/1")


@pytest.mark.parametrize("other", ["saved_model.pbtxt", "saved_model.cpb"])
def test_another_form_beside_the_binary_is_refused(tmp_path, graph, other):
    """What is judged must be what TensorFlow loads."""
    write_model(tmp_path, graph)
    (tmp_path / other).write_text("")

    with pytest.raises(ModelError, match="only the binary form"):
        read_graph(tmp_path, "m/1")


def test_signatures_that_no_request_can_carry_are_refused(graph):
    """None at all, an input that is a resource, or a sparse one."""
    signature = graph.signature_def["serving_default"]
    signature.inputs["image"].dtype = 20
    with pytest.raises(ModelError, match=r"^m/1: serving_default: image is not a dense tensor"):
        read_signatures(graph, "m/1")

    del graph.signature_def["serving_default"]
    with pytest.raises(ModelError, match=r"^m/1: has no signature"):
        read_signatures(graph, "m/1")


def test_a_bare_savedmodel_describes_itself(tmp_path):
    """Without a model.json: its name and number from the folder, its size from its files."""
    folder = tmp_path / "flowers" / "7"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes((OLD_KERAS / "saved_model.pb").read_bytes())

    manifest = read_bare(FolderVersion(folder))

    assert (manifest.name, manifest.version, manifest.runtimes) == ("flowers", 7, ("tensorflow",))
    assert manifest.size_bytes == (folder / "saved_model.pb").stat().st_size
    assert list(manifest.signatures) == ["serving_default"]


FLIP_AND_READ = """
import random, sys
from pathlib import Path
from model.savedmodel.ops import refuse_unsafe
from model.savedmodel.read import read_graph, read_signatures
from shared.errors import ModelError
content, folder, refused = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), 0
for seed in range(50):
    random.seed(seed)
    damaged = bytearray(content)
    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    (folder / "saved_model.pb").write_bytes(bytes(damaged if seed else content[: len(content) // 2]))
    try:
        graph = read_graph(folder, "m/1")
        read_signatures(graph, "m/1")
        refuse_unsafe(graph, "m/1")
    except ModelError as error:
        assert error.message.startswith("m/1") and "\\n" not in error.message, error.message
        refused += 1
print(refused)
"""


def test_fifty_damaged_files_give_a_line_each_or_are_harmless(tmp_path):
    """A flipped bit is refused in one line or leaves a model that reads; nothing crashes."""
    command = [sys.executable, "-c", FLIP_AND_READ, str(OLD_KERAS / "saved_model.pb"), str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert 1 <= int(done.stdout) < 50


@pytest.mark.tensorflow
@in_tensorflow
def test_the_schema_is_tensorflow_s():
    """Every field that is read has TensorFlow's number and type."""
    importlib.import_module("tensorflow")
    pool = importlib.import_module("google.protobuf.descriptor_pool").Default()
    names = {
        "MetaInfoDef": "MetaGraphDef.MetaInfoDef",
        "ListValue": "AttrValue.ListValue",
        "ArgDef": "OpDef.ArgDef",
        "NodeList": "CollectionDef.NodeList",
        "Dim": "TensorShapeProto.Dim",
        "ObjectReference": "TrackableObjectGraph.TrackableObject.ObjectReference",
    }

    def kind(field):
        return "int32" if field.enum_type else field.type

    def values(field):
        message = field.message_type
        return message.fields_by_name["value"] if message and message.GetOptions().map_entry else field

    for name in MESSAGES:
        theirs = pool.FindMessageTypeByName(f"tensorflow.{names.get(name, name)}")
        for field in schema.message_class(name).DESCRIPTOR.fields:
            other = theirs.fields_by_name[field.name]
            assert (field.number, field.is_repeated) == (other.number, other.is_repeated), (name, field.name)
            mine, its = values(field), values(other)
            assert mine.type == (mine.TYPE_INT32 if its.enum_type else its.type), (name, field.name)
            if mine.message_type:
                whole = mine.message_type.full_name.removeprefix(f"{PACKAGE}.")
                assert f"tensorflow.{names.get(whole, whole)}" == its.message_type.full_name


@pytest.mark.tensorflow
@in_tensorflow
def test_the_allow_list_holds_operations_that_there_are():
    """A misspelt name would refuse a model that is fine."""
    importlib.import_module("tensorflow")
    raw_ops = importlib.import_module("tensorflow").raw_ops

    present = {name for name in dir(raw_ops) if not name.startswith("_")}

    assert sorted(allowed.RESTORE - present) == []


@pytest.mark.tensorflow
@in_tensorflow
def test_every_method_of_what_the_loader_builds_is_known():
    """A method that TensorFlow gains would be a way in."""
    importlib.import_module("tensorflow")
    tracked = importlib.import_module("tensorflow.python.trackable.autotrackable").AutoTrackable
    resource = importlib.import_module("tensorflow.python.trackable.resource").RestoredResource

    names = {name for kind in (tracked, resource) for name, _ in inspect.getmembers(kind) if not name.startswith("__")}

    assert sorted(names - LOADER_METHODS) == []
