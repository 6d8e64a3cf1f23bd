"""Finds which functions of a SavedModel's object graph TensorFlow's v2 loader and its signatures call.

The v2 loader does not run the graph that TensorFlow Serving and the v1 loader run: it rebuilds Python objects, gives
them the functions that the file names as their methods, and calls those. A file is free to name any method so.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from shared.errors import ModelError

# The methods that the loader calls, or may call, on the objects it builds (TensorFlow 2.21; a test holds it to that).
_LOADER_METHODS = """
_add_trackable_child _add_variable_with_custom_getter _checkpoint_adapter _checkpoint_dependencies
_copy_trackable_to_cpu _create_resource _deferred_dependencies _delete_tracking _deserialization_dependencies
_deserialize_from_proto _destroy_resource _destruction_context _export_to_saved_model_graph
_gather_saveables_for_checkpoint _handle_deferred_dependencies _initialize _lookup_dependency
_maybe_initialize_trackable _name_based_attribute_restore _name_based_restores _no_dependency _object_identifier
_preload_simple_restoration _resource_handle _resource_type _restore_from_tensors _serialize_to_proto
_serialize_to_tensors _setattr_tracking _tf_api_names _tf_api_names_v1 _track_trackable _trackable_children
_unconditional_checkpoint_dependencies _unconditional_dependency_names _update_uid resource_handle
"""
LOADER_METHODS = frozenset(_LOADER_METHODS.split())


class ObjectFunctions(NamedTuple):
    """The functions that are called: by requests, to set objects up, and to restore what they hold."""

    served: list[str]
    initialised: list[str]
    restored: list[str]


def object_functions(objects: Any, where: str) -> ObjectFunctions:
    """Return the functions of an object graph that loading or serving calls.

    Args:
        objects: The nodes of the SavedObjectGraph, the root first; empty in what TensorFlow 1 saved.
        where: How messages name the folder.

    Raises:
        ModelError: An object refers to one that is not there.
    """
    served, initialised, restored = [], [], []
    for index, value in enumerate(objects):
        for child in (*value.children, *value.dependencies):
            if child.local_name in LOADER_METHODS:
                initialised.append(child.node_id)
            if index == 0 and child.local_name == "signatures":
                served.append(child.node_id)
        for saveable in value.saveable_objects.values():
            # Saving too: the loader runs it to learn what there is to restore.
            restored += [saveable.save_function, saveable.restore_function]
    return ObjectFunctions(*(_functions(objects, start, where) for start in (served, initialised, restored)))


def _functions(objects: Any, start: Iterable[int], where: str) -> list[str]:
    """Return every function of some objects and of their children, at any depth."""
    waiting, seen, functions = list(start), set(start), []
    while waiting:
        index = waiting.pop()
        if not 0 <= index < len(objects):
            raise ModelError(f"{where}: refers to object {index}, which is not there; the file is damaged")
        value = objects[index]
        functions += [*value.function.concrete_functions, value.bare_concrete_function.concrete_function_name]
        new = {child.node_id for child in value.children} - seen
        seen |= new
        waiting += new
    return [name for name in functions if name]
