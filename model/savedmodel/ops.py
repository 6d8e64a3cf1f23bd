"""Judges every operation that loading or serving a SavedModel would run, by reading it and never running it.

A SavedModel is a program: it can read and write files and call Python. What the loaders and the signatures reach is
followed through inputs, control inputs and functions, bodies of loops and branches included, and each operation must
be on the allow-list of the part that reaches it. The save path is never run, so it is not judged.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from shared.errors import ModelError

from . import allowed
from .objects import object_functions

INIT_SIGNATURE = "__saved_model_init_op"
READS_VOCABULARY = ("InitializeTableFromTextFile", "InitializeTableFromTextFileV2")
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


class Part(NamedTuple):
    """One way into a SavedModel, and what may be found on it."""

    name: str
    operations: frozenset[str]
    nodes: list[str]
    functions: list[str]


class Finding(NamedTuple):
    """An operation that is not allowed where it is."""

    operation: str
    node: str
    function: str
    part: str

    def __str__(self) -> str:
        place = f"the function {self.function}" if self.function else "the graph"
        return f"{self.operation} ({self.node} in {place}), reached from {self.part}"


def refuse_unsafe(graph: Any, where: str) -> None:
    """Refuse a graph that would run an operation which is not on the allow-list.

    Args:
        graph: From `read_graph`.
        where: How messages name the folder.

    Raises:
        ModelError: It would, and which; or the graph refers to what it does not hold.
    """
    found = find_unsafe(graph, where)
    if found:
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        advice = ""
        if any(finding.operation in READS_VOCABULARY for finding in found):
            advice = ". Give the table its vocabulary as a list instead of a file, and save the model again"
        raise ModelError(f"{where}: holds an operation that a served model must not: {found[0]}{more}{advice}")


def find_unsafe(graph: Any, where: str) -> list[Finding]:
    """Return every operation that is not allowed where it is, in the order of the parts.

    Raises:
        ModelError: The graph refers to a node or function that it does not hold, or holds two of a name.
    """
    nodes = _by_name(graph.graph_def.node, lambda node: node.name, f"{where}: node")
    library = graph.graph_def.library.function
    functions = _by_name(library, lambda function: function.signature.name, f"{where}: function")
    found: dict[Finding, None] = {}
    for part in _parts(graph, where):
        for function, node in _reached(part, nodes, functions, where):
            if node.op not in part.operations and node.op not in functions:
                found[Finding(node.op, node.name, function, part.name)] = None
    return list(found)


def _parts(graph: Any, where: str) -> list[Part]:
    """Return the signatures, the initialiser and the restore path of a graph."""
    served, initialised = [], []
    for key, signature in graph.signature_def.items():
        tensors = [info.name for info in (*signature.inputs.values(), *signature.outputs.values())]
        if key == INIT_SIGNATURE:
            initialised += tensors
        elif not key.startswith("__"):
            served += tensors
    for name in INIT_COLLECTIONS:
        initialised += graph.collection_def[name].node_list.value if name in graph.collection_def else []
    restored = [graph.saver_def.restore_op_name] if graph.saver_def.restore_op_name else []
    functions = object_functions(graph.object_graph_def.nodes, where)
    return [
        Part("a signature", allowed.SERVE, served, functions.served),
        Part("the initialiser", allowed.INITIALISE, initialised, functions.initialised),
        Part("the restore function", allowed.RESTORE, restored, functions.restored),
    ]


def _reached(
    part: Part, nodes: Mapping[str, Any], functions: Mapping[str, Any], where: str
) -> Iterator[tuple[str, Any]]:
    """Yield every node that a part can run, with the function it is in, "" for the graph itself."""
    alike = _implementations(functions)
    waiting = [("node", _node_name(name)) for name in part.nodes] + [("function", name) for name in part.functions]
    seen = set(waiting)
    while waiting:
        kind, name = waiting.pop()
        body: tuple[Any, ...]
        if kind == "node":
            node = _get(nodes, name, f"{where}: node")
            body, further = (node,), [("node", _node_name(tensor)) for tensor in node.input]
        else:
            function = _get(functions, name, f"{where}: function")
            # TensorFlow may put one implementation of a function in the place of another.
            body, further = tuple(function.node_def), [("function", other) for other in alike.get(name, ())]
        for node in body:
            yield "" if kind == "node" else name, node
            further += [("function", called) for called in _called(node.attr)]
            if node.op in functions:  # a function by the name of an operation takes its place
                further.append(("function", node.op))
        new = [place for place in dict.fromkeys(further) if place not in seen]
        seen.update(new)
        waiting += new


def _called(attributes: Mapping[str, Any]) -> Iterator[str]:
    """Yield the name of every function that a node's attributes hold, at any depth."""
    waiting = list(attributes.values())
    while waiting:
        value = waiting.pop()
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
            waiting += function.attr.values()


def _implementations(functions: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, for each function that says what it implements, all functions that implement the same."""
    groups: dict[bytes, list[str]] = {}
    for name, function in functions.items():
        if "api_implements" in function.attr:
            groups.setdefault(function.attr["api_implements"].s, []).append(name)
    return {name: group for group in groups.values() for name in group}


def _node_name(tensor: str) -> str:
    """Return the node of `^control`, `node` or `node:0`."""
    return tensor.removeprefix("^").split(":")[0]


def _get(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ModelError(f"{what} {name!r} is referred to and not there; the file is damaged")
    return table[name]


def _by_name(items: Any, name: Any, what: str) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for item in items:
        if name(item) in table:
            raise ModelError(f"{what} {name(item)!r} is there twice")
        table[name(item)] = item
    return table
