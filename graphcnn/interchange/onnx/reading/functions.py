"""Operators that the standard defines by others, and the functions that a file brings itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphcnn.errors import FileError
from graphcnn.interchange.onnx.reading.file import require_onnx
from graphcnn.interchange.onnx.reading.values import Held
from graphcnn.ir import BATCH


@dataclass(frozen=True, slots=True)
class Body:
    """What a function computes. defaults: attributes that its caller may leave out."""

    nodes: Sequence[Any]
    inputs: Sequence[str]
    outputs: Sequence[str]
    opsets: Mapping[str, int]
    defaults: Mapping[str, Any]


def body_of(
    node: Any, operands: Sequence[Held | None], opsets: Mapping[str, int], own: Any | None
) -> Body | None:
    """Return what a node calls: a function of the file, `own`, or one of the standard; None for neither."""
    onnx = require_onnx()
    if own is not None:
        defaults = {each.name: onnx.helper.get_attribute_value(each) for each in own.attribute_proto}
        versions = {**opsets, **{each.domain: each.version for each in own.opset_import}}
        return Body(own.node, own.input, own.output, versions, defaults)
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[""], node.domain)
    except onnx.defs.SchemaError:
        return None
    function = _of_standard(schema, node, operands, opsets[""])
    if function is None:
        return None
    defaults = {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }
    versions = {**opsets, **{each.domain: each.version for each in function.opset_import}}
    return Body(function.node, function.input, function.output, versions, defaults)


def _of_standard(schema: Any, node: Any, operands: Sequence[Held | None], version: int) -> Any | None:
    """Return the function that the standard says an operator is, which may depend on the operands' types."""
    onnx = require_onnx()
    if schema.has_function:
        return schema.function_body
    if not schema.has_context_dependent_function:
        return None
    types = []
    for operand in operands:
        if operand is None:
            types.append(onnx.TypeProto().SerializeToString())
            continue
        shape = [None if size == BATCH else size for size in operand.shape]
        dtype = operand.array.dtype if hasattr(operand, "array") else operand.dtype
        number = onnx.helper.np_dtype_to_tensor_dtype(onnx.numpy_helper.np.dtype(dtype))
        types.append(onnx.helper.make_tensor_type_proto(number, shape).SerializeToString())
    try:
        content = schema.get_context_dependent_function(node.SerializeToString(), types)
    except (RuntimeError, ValueError):
        return None
    function = onnx.FunctionProto()
    if not content:
        return None
    function.ParseFromString(content)
    return function


MOST_CALLED: Final = 10_000
"""Nodes of a file's own functions, counted for each call."""


def require_bounded(functions: Mapping[tuple[str, str], Any], nodes: Sequence[Any]) -> None:
    """Raise FileError where functions call themselves, or each other so often that they are too many nodes.

    Each function is counted once: two that call the one before twice are four nodes, and forty 2^40.
    """
    sizes: dict[tuple[str, str], int] = {}
    stack = [(key, False) for key in functions]
    open_ones: set[tuple[str, str]] = set()
    while stack:
        key, finished = stack.pop()
        called = [(node.domain, node.op_type) for node in functions[key].node]
        if finished:
            open_ones.discard(key)
            sizes[key] = sum(sizes.get(each, 0) + 1 for each in called)
        elif key not in sizes:
            if key in open_ones:
                raise FileError(f"its function {key[1]!r:.80} calls itself")
            open_ones.add(key)
            stack.append((key, True))
            for each in set(called) & functions.keys():
                if each in open_ones:
                    raise FileError(f"its function {each[1]!r:.80} calls itself")
                stack.append((each, False))
    total = sum(sizes.get((node.domain, node.op_type), 0) for node in nodes)
    if total > MOST_CALLED:
        raise FileError(f"calls of its functions are {total} nodes, and at most {MOST_CALLED} are read")
