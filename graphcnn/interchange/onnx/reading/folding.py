"""Nodes whose operands are all known: they are computed while the file is read.

Arithmetic of shapes is done here, since the batch size "N" may be among its numbers; all else is computed by
onnx.reference, if the result is bounded by what it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import FileError
from graphcnn.interchange.onnx.reading.file import require_onnx
from graphcnn.interchange.onnx.reading.multiples import divided, equals, per_sample, plus, times
from graphcnn.interchange.onnx.reading.table import in_the_way
from graphcnn.interchange.onnx.reading.tensors import array_of, widened
from graphcnn.interchange.onnx.reading.values import Known

MOST_ELEMENTS: Final = 2**24
"""Of an array that is made of smaller ones."""
MOST_REPEATED: Final = 2**28
"""Of one that repeats a single number, and is held as such."""
MOST_WORK: Final = 2**28
"""Products and sums of a node that is computed here."""
MOST_SIZES: Final = 2**12
"""Numbers, of which some count the batch, that are computed with."""

_RANDOM: Final = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"),
}
_CONTROL: Final = {"Loop", "Scan", "If", "SequenceMap"}
_OF_WEIGHTS: Final = {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Identity"}
"""What is still a weight that is trained, under another shape."""


def is_random(node: Any) -> bool:
    return node.op_type in _RANDOM


def has_batch(array: Array) -> bool:
    """Whether some of the numbers count the batch, as "N" does."""
    return array.dtype == object


def sizes_array(sizes: Sequence[object]) -> Array:
    """Return sizes as an array, of int64 where none of them counts the batch."""
    is_known = all(per_sample(size) is None for size in sizes)
    return np.array(sizes, np.int64 if is_known else object).reshape(len(sizes))


def folded(
    node: Any, operands: Sequence[Known | None], attributes: Mapping[str, Any], version: int
) -> list[Known] | None:
    """Return what a node makes of arrays; None where that has the batch as an axis.

    Raises InterchangeError for what cannot be computed here.
    """
    first = next((each.name for each in operands[:1] if each is not None), "")
    name = first if node.op_type in _OF_WEIGHTS else ""
    arrays = [None if each is None else each.array for each in operands]
    rule = _RULES.get(node.op_type)
    symbolic = any(array is not None and has_batch(array) for array in arrays)
    if symbolic and any(array is not None and array.size > MOST_SIZES for array in arrays):
        raise in_the_way("it computes with the batch size and many other numbers")
    result = None if rule is None else rule([a for a in arrays if a is not None], dict(attributes))
    if result is not None:
        return [Known(_narrowed(result, arrays[0]), name)]
    if symbolic and node.op_type in ("Expand", "Range"):
        return None
    if symbolic:
        raise in_the_way("it computes with the batch size, which is known only at run time")
    if node.op_type in _CONTROL:
        raise in_the_way()
    _require_bounded(node, arrays, attributes)
    return [Known(array, name) for array in _by_reference(node, arrays, attributes, version)]


def _narrowed(result: Array, first: Array | None) -> Array:
    """Return an array of objects that do not count the batch as one of int64, or of truth."""
    if result.dtype != object or any(per_sample(each) is not None for each in result.reshape(-1)):
        return result
    return result.astype(bool if all(isinstance(each, bool) for each in result.reshape(-1)) else np.int64)


def _by_reference(
    node: Any, arrays: Sequence[Array | None], attributes: Mapping[str, Any], version: int
) -> list[Array]:
    onnx = require_onnx()
    from onnx.reference import ReferenceEvaluator

    inputs = [f"x{i}" if array is not None else "" for i, array in enumerate(arrays)]
    outputs = [f"y{i}" for i in range(len(node.output))]
    copy = onnx.helper.make_node(node.op_type, inputs, outputs, domain=node.domain, **attributes)
    infos = [
        onnx.helper.make_tensor_value_info(
            f"x{i}", onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for i, array in enumerate(arrays)
        if array is not None
    ]
    graph = onnx.helper.make_graph(
        [copy], "node", infos, [onnx.ValueInfoProto(name=name) for name in outputs]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
    feeds = {f"x{i}": array for i, array in enumerate(arrays) if array is not None}
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:
        raise in_the_way(f"the reference cannot compute it: {type(error).__name__}: {error!s:.200}") from None
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        raise in_the_way("it makes a sequence, and graphcnn has tensors alone")
    return [widened(np.asarray(result)) for result in results]


def _require_bounded(node: Any, arrays: Sequence[Array | None], attributes: Mapping[str, Any]) -> None:
    """Raise FileError for a node that makes far more numbers than it is given."""
    sizes = [_held(array) for array in arrays if array is not None]
    count = _made(node.op_type, arrays, attributes)
    if count is None:
        raise in_the_way("it is not computed while a file is read")
    if count > MOST_ELEMENTS and count > 2 * sum(sizes):
        raise FileError(f"a node {node.op_type} makes {count} numbers of {sum(sizes)}")
    if node.op_type in _PRODUCTS and math.prod(sizes) > MOST_WORK:
        raise in_the_way("it multiplies arrays that are too large to be multiplied while a file is read")


def _held(array: Array) -> int:
    """Return how many numbers an array has in memory: along axes that repeat them, one."""
    return math.prod(
        size for size, stride in zip(array.shape, array.strides, strict=True) if stride or not size
    )


_PRODUCTS: Final = {
    "MatMul",
    "Gemm",
    "Einsum",
    "Conv",
    "ConvTranspose",
    "MatMulInteger",
    "ConvInteger",
    "QLinearConv",
}
_SAME: Final = {
    *("Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "BitShift"),
    *("BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip"),
    *("Compress", "Concat", "Cos", "Cosh", "CumSum", "DequantizeLinear", "Div", "Dropout", "Elu", "Equal"),
    *("Erf", "Exp", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Greater"),
    *("GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less"),
    *(
        "LessOrEqual",
        "Log",
        "LogSoftmax",
        "Max",
        "Mean",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "NonZero",
        "Not",
    ),
    *("Or", "PRelu", "Pow", "QuantizeLinear", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum"),
    *("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"),
    *(
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "ReverseSequence",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Selu",
    ),
    *(
        "Shape",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
    ),
    *(
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "TopK",
        "Transpose",
        "Trilu",
    ),
    *("Unique", "Unsqueeze", "Where", "Xor", "DepthToSpace", "SpaceToDepth", "LpNormalization", "Hardmax"),
    *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GlobalAveragePool", "EyeLike"),
    *("Gemm", "MatMul", "Einsum", "Conv", "ConvTranspose"),
}
"""What makes at most as many numbers as broadcasting its operands does, or as a product of matrices."""


def _made(operator: str, arrays: Sequence[Array | None], attributes: Mapping[str, Any]) -> int | None:
    """Return a bound of how many numbers a node makes; None where there is none."""
    given = [array for array in arrays if array is not None]
    if operator in _SAME:
        try:
            return int(math.prod(np.broadcast_shapes(*(array.shape for array in given))))
        except ValueError:
            return sum(array.size for array in given)
    if operator == "Expand":
        return int(given[0].size) * math.prod(max(int(size), 1) for size in given[1].reshape(-1).tolist())
    if operator == "Tile":
        return int(given[0].size) * math.prod(max(int(size), 0) for size in given[1].reshape(-1).tolist())
    if operator == "Range":
        start, limit, delta = (each.reshape(-1)[0].item() for each in given)
        return max(0, int(np.ceil((limit - start) / delta))) if delta else 0
    if operator == "OneHot":
        return int(given[0].size) * int(given[1].reshape(-1)[0])
    if operator == "Pad":
        widths = attributes.get("pads", given[1].reshape(-1).tolist() if len(given) > 1 else [])
        sides = zip(given[0].shape, widths[: len(widths) // 2], widths[len(widths) // 2 :], strict=False)
        return math.prod(int(size) + abs(int(before)) + abs(int(after)) for size, before, after in sides)
    return None


# Arithmetic of shapes: NumPy's functions on arrays of objects compute with "N" as they do with numbers


def _gather(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    data, indices = arrays
    if data.ndim != 1 or indices.dtype.kind != "i":
        return None
    if indices.size and not -data.size <= indices.min() <= indices.max() < data.size:
        raise in_the_way(f"its indices reach beyond its {data.size} numbers")
    return np.asarray(data[indices], data.dtype)


def _concat(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    if any(array.ndim != 1 for array in arrays):
        return None
    symbolic = any(map(has_batch, arrays))
    return np.concatenate([array.astype(object) if symbolic else array for array in arrays])


def _unsqueeze(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    axes = attributes.get("axes", arrays[1].reshape(-1).tolist() if len(arrays) > 1 else None)
    if axes is None:
        return None
    rank = arrays[0].ndim + len(axes)
    places = {axis + rank if axis < 0 else axis for axis in axes}
    if len(places) < len(axes) or not places <= set(range(rank)):
        raise in_the_way(f"its axes {axes} are none of {rank} axes")
    shape = iter(arrays[0].shape)
    return arrays[0].reshape([1 if axis in places else next(shape) for axis in range(rank)])


def _squeeze(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    axes = attributes.get("axes", arrays[1].reshape(-1).tolist() if len(arrays) > 1 else None)
    try:
        return np.squeeze(arrays[0], None if axes is None else tuple(int(axis) for axis in axes))
    except ValueError as error:
        raise in_the_way(f"it cannot leave out its axes: {error!s:.100}") from None


def _slice(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    data = arrays[0]
    if data.ndim != 1 or len(arrays) not in (3, 4, 5):
        return None
    starts, ends, *rest = (array.reshape(-1).tolist() for array in arrays[1:])
    step = rest[1][0] if len(rest) > 1 else 1
    if len(starts) != 1 or len(ends) != 1 or not step:
        return None
    return data[slice(starts[0], None if step < 0 and ends[0] < -data.size else ends[0], step)]


def _constant_of_shape(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    """Return a number that is repeated: it takes no more memory than one."""
    shape = arrays[0].reshape(-1).tolist()
    value = (
        array_of(attributes["value"], None).reshape(-1) if "value" in attributes else np.zeros(1, np.float32)
    )
    if has_batch(arrays[0]) or any(size < 0 for size in shape) or value.size != 1:
        raise in_the_way(f"its shape is {shape}")
    if math.prod(shape) > MOST_REPEATED:
        raise FileError(f"a node ConstantOfShape makes {math.prod(shape)} numbers")
    return np.broadcast_to(value[0], shape)


def _cast(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    return arrays[0] if has_batch(arrays[0]) else None


def _same(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    return arrays[0]


def _reshape(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    target = attributes.get("shape", arrays[1].reshape(-1).tolist() if len(arrays) > 1 else None)
    if target is None or attributes.get("allowzero") or has_batch(np.asarray(target)):
        return None
    data = arrays[0]
    sizes = [data.shape[i] if size == 0 and i < data.ndim else size for i, size in enumerate(target)]
    try:
        return data.reshape([int(size) for size in sizes])
    except (ValueError, OverflowError) as error:
        raise in_the_way(f"{error!s:.100}") from None


def _arithmetic(function: Callable[[Any, Any], Any]) -> Callable[[list[Array], dict[str, Any]], Array | None]:
    """Return the rule of an operation on sizes: the neutral numbers leave "N" as it is."""

    def computed(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
        if not any(map(has_batch, arrays)):
            return None
        x, y = np.broadcast_arrays(*(array.astype(object) for array in arrays))
        numbers = [function(a, b) for a, b in zip(x.reshape(-1), y.reshape(-1), strict=True)]
        return None if None in numbers else np.array(numbers, object).reshape(x.shape)

    return computed


def _shape(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    return np.array(arrays[0].shape[slice(attributes.get("start", 0), attributes.get("end"))], np.int64)


def _where(arrays: list[Array], attributes: dict[str, Any]) -> Array | None:
    """Choose between sizes."""
    if not any(map(has_batch, arrays)) or has_batch(arrays[0]):
        return None
    condition, *both = np.broadcast_arrays(arrays[0], *(array.astype(object) for array in arrays[1:]))
    return np.where(condition, *both)


_RULES: Final[dict[str, Callable[[list[Array], dict[str, Any]], Array | None]]] = {
    "Gather": _gather,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "Identity": _same,
    "Reshape": _reshape,
    "Mul": _arithmetic(times),
    "Div": _arithmetic(divided),
    "Add": _arithmetic(plus),
    "Equal": _arithmetic(equals),
    "Where": _where,
    "Shape": _shape,
}
