"""Values of a graph as PyTorch computes them: what its ops mean, in functions of PyTorch alone.

Every op has a line in `MEANINGS`, on tensors in the layouts of this project. PyTorch's autograd can derive
what comes out, and so knows every gradient, to any order, without a single rule of ours. PyTorch is not
among the requirements of this project: whoever calls this has to have it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.backend import bind_inputs, reference
from graphcnn.errors import GraphError
from graphcnn.ir import SAMPLE_KEYS, Graph, Input, Op, Value, concrete_shape
from graphcnn.ops.attributes import Padding
from graphcnn.ops.taking import Run
from graphcnn.testing.gradient_matrix import GradientCase, build_gradient_case, evaluated, random_multiples

Tensor: TypeAlias = Any
Meaning: TypeAlias = Callable[[Any, list[Tensor], int], Tensor | tuple[Tensor, ...]]
"""An op, its operands and the batch size to its results."""

TOLERANCE: Final = 1e-10


def check_gradient_case_in_pytorch(name: str) -> None:
    """Check that PyTorch finds the gradients of a case of `gradient_cases()`, of first and second order.

    All is of float64. Raises AssertionError where a gradient is more than 1e-10 off, absolutely or relative
    to the greatest of its elements; KeyError for an unknown name.
    """
    case = build_gradient_case(name).in_float64()
    expected = derived(case)
    for label, found in evaluated(case).items():
        wanted = expected[label]
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        error = float(np.abs(found - wanted).max(initial=0)) if found.shape == wanted.shape else np.inf
        if not error <= TOLERANCE * scale:
            raise AssertionError(f"case {name!r}: the gradient of {label} is {error:.3g} off PyTorch's")


def derived(case: GradientCase) -> dict[str, Array]:
    """Return the gradients of a case, of first and second order by name, as autograd finds them."""
    torch = importlib.import_module("torch")
    tensors = {label: torch.tensor(array) for label, array in case.arrays.items()}
    sources = [tensors[label].requires_grad_() for label in case.wrt]
    scalar = evaluate_in_pytorch(case.graph, tensors, [case.scalar])[0]
    multiples = random_multiples(case)
    found: dict[str, Array] = {}
    for order in (1, 2):
        gradients = [torch.zeros_like(source) for source in sources]
        if scalar.requires_grad:
            known = torch.autograd.grad(scalar, sources, create_graph=True, allow_unused=True)
            gradients = [
                zero if gradient is None else gradient
                for zero, gradient in zip(gradients, known, strict=True)
            ]
        found.update(
            (f"{label}, order {order}", gradient.numpy(force=True))
            for label, gradient in zip(case.wrt, gradients, strict=True)
        )
        scalar = sum(
            (gradient * torch.tensor(multiples[label])).sum()
            for label, gradient in zip(case.wrt, gradients, strict=True)
        )
    return found


def evaluate_in_pytorch(graph: Graph, inputs: Mapping[str, Tensor], values: Sequence[Value]) -> list[Tensor]:
    """Return values of a graph as tensors of PyTorch, computed from tensors by the names of the inputs.

    Raises GraphError for an op that has no meaning in PyTorch.
    """
    _, batch = bind_inputs(graph, {label: tensor.detach().numpy() for label, tensor in inputs.items()})
    known: dict[int, tuple[Tensor, ...]] = {}
    for key, node in graph.items():
        if isinstance(node.op, Input):
            known[key] = (inputs[node.op.label],)
            continue
        meaning = MEANINGS.get(type(node.op))
        if meaning is None:
            raise GraphError(
                f"{node.op.name} has no meaning in PyTorch",
                mend="add a line to graphcnn.testing.pytorch.MEANINGS",
            )
        results = meaning(node.op, [known[v.key][v.index] for v in node.operands], batch)
        known[key] = results if isinstance(results, tuple) else (results,)
    return [known[value.key][value.index] for value in values]


def _torch() -> Any:
    return importlib.import_module("torch")


def _of(name: str, *, module: str = "torch", **options: Any) -> Meaning:
    """Return the meaning of an op that is one function of PyTorch."""
    return lambda op, tensors, batch: getattr(importlib.import_module(module), name)(*tensors, **options)


def _dtype(name: str) -> Any:
    return getattr(_torch(), name)


def _functional() -> Any:
    return importlib.import_module("torch.nn.functional")


# Images are [N, H, W, C] here and [N, C, H, W] there


def _to_channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _to_channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _padded(x: Tensor, padding: Padding, value: float = 0.0) -> Tensor:
    """Return [N, C, H, W] with a border."""
    (top, bottom), (left, right) = padding
    return _functional().pad(x, (left, right, top, bottom), value=value)


def _slide(op: ops.Correlate2d | ops.Convolve2d, tensors: list[Tensor], batch: int) -> Tensor:
    images, window = tensors
    x = _padded(_to_channels_first(images), op.padding)
    if op.sum_over == "channels":
        w = window.flip(0, 1) if isinstance(op, ops.Convolve2d) else window
        options = {"stride": op.stride, "dilation": op.dilation, "groups": op.groups}
        return _to_channels_last(_functional().conv2d(x, w.permute(3, 2, 0, 1).contiguous(), **options))
    w = _to_channels_first(window)
    w = w.flip(2, 3) if isinstance(op, ops.Convolve2d) else w
    parts = []
    for some, filters in zip(x.chunk(op.groups, 1), w.chunk(op.groups, 1), strict=True):
        swapped = (some.transpose(0, 1), filters.transpose(0, 1).contiguous())
        parts.append(_functional().conv2d(*swapped, stride=op.stride, dilation=op.dilation))
    return _torch().cat(parts, 1).permute(2, 3, 0, 1)


def _max_pool(op: ops.MaxPool2d, tensors: list[Tensor], batch: int) -> tuple[Tensor, Tensor]:
    x = _padded(_to_channels_first(tensors[0]), op.padding, -np.inf)
    pooled, flat = _functional().max_pool2d(x, op.size, op.stride, return_indices=True)
    rows, columns = (_torch().arange(pooled.shape[2 + axis]) * op.stride[axis] for axis in (0, 1))
    row = flat // x.shape[3] - rows[:, None]
    column = flat % x.shape[3] - columns
    index = _to_channels_last(row * op.size[1] + column)
    return _to_channels_last(pooled), index.to(_dtype(op.index_dtype))


def _winners(op: Any, index: Tensor, width: int) -> Tensor:
    """Return where the winners of windows are in padded images of this width, row by row: [N, C, places]."""
    place = _to_channels_first(index.to(_dtype("int64")))
    rows, columns = (_torch().arange(place.shape[2 + axis]) * op.stride[axis] for axis in (0, 1))
    return ((rows[:, None] + place // op.size[1]) * width + columns + place % op.size[1]).flatten(2)


def _gather(op: ops.GatherWinner2d, tensors: list[Tensor], batch: int) -> Tensor:
    images, index = tensors
    x = _padded(_to_channels_first(images), op.padding)
    found = x.flatten(2).gather(2, _winners(op, index, x.shape[3]))
    return _to_channels_last(found.reshape(_to_channels_first(index).shape))


def _route(op: ops.RouteToWinner2d, tensors: list[Tensor], batch: int) -> Tensor:
    delta, index = tensors
    height, width = _padded_size(op, batch)
    zeros = delta.new_zeros(*_to_channels_first(delta).shape[:2], height * width)
    routed = zeros.scatter_add(2, _winners(op, index, width), _to_channels_first(delta).flatten(2))
    return _without_border(op, routed.unflatten(2, (height, width)), batch)


def _padded_size(op: Any, batch: int) -> tuple[int, int]:
    _, height, width, _ = concrete_shape(op.shape, batch)
    return height + sum(op.padding[0]), width + sum(op.padding[1])


def _without_border(op: Any, x: Tensor, batch: int) -> Tensor:
    _, height, width, _ = concrete_shape(op.shape, batch)
    (top, _), (left, _) = op.padding
    return _to_channels_last(x[:, :, top : top + height, left : left + width])


def _spread(op: ops.SpreadToBlock2d, tensors: list[Tensor], batch: int) -> Tensor:
    delta = _to_channels_first(tensors[0])
    channels = delta.shape[1]
    ones = delta.new_ones(channels, 1, *op.size)
    blocks = _functional().conv_transpose2d(delta, ones, stride=op.stride, groups=channels)
    height, width = _padded_size(op, batch)
    rest = ((0, height - blocks.shape[2]), (0, width - blocks.shape[3]))
    return _without_border(op, _padded(blocks, rest), batch)


def _average_pool(op: ops.AveragePool2d, tensors: list[Tensor], batch: int) -> Tensor:
    x = _padded(_to_channels_first(tensors[0]), op.padding)
    return _to_channels_last(_functional().avg_pool2d(x, op.size, op.stride))


def _sum_pool(op: ops.SumPool2d, tensors: list[Tensor], batch: int) -> Tensor:
    x = _padded(_to_channels_first(tensors[0]), op.padding)
    return _to_channels_last(_functional().avg_pool2d(x, op.size, op.stride, divisor_override=1))


def _l2_pool(op: ops.L2Pool2d, tensors: list[Tensor], batch: int) -> Tensor:
    x = _padded(_to_channels_first(tensors[0]), op.padding)
    return _to_channels_last(_functional().lp_pool2d(x, 2.0, op.size, op.stride))


# Movements


def _zero_insert(op: ops.ZeroInsert, tensors: list[Tensor], batch: int) -> Tensor:
    (x,) = tensors
    rows, columns = op.factors
    result = x.new_zeros(x.shape[0], (x.shape[1] - 1) * rows + 1, (x.shape[2] - 1) * columns + 1, x.shape[3])
    indices = tuple(
        _torch().arange(size) * factor for size, factor in zip(x.shape[1:3], op.factors, strict=True)
    )
    return result.index_put((_torch().arange(x.shape[0])[:, None, None], indices[0][:, None], indices[1]), x)


def _subsample(op: ops.Subsample, tensors: list[Tensor], batch: int) -> Tensor:
    return tensors[0][:, :: op.factors[0], :: op.factors[1]]


def _pad(op: ops.Pad, tensors: list[Tensor], batch: int) -> Tensor:
    widths = [width for pair in reversed(op.widths) for width in pair]
    return _functional().pad(tensors[0], widths, value=op.value)


def _crop(op: ops.Crop, tensors: list[Tensor], batch: int) -> Tensor:
    (x,) = tensors
    for axis, (before, after) in enumerate(op.widths):
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


def _places(runs: Sequence[Run]) -> Tensor:
    return _torch().tensor([first + step * number for first, count, step in runs for number in range(count)])


def _take(op: ops.Take, tensors: list[Tensor], batch: int) -> Tensor:
    return tensors[0].index_select(op.axis, _places(op.runs))


def _scatter_sum(op: ops.ScatterSum, tensors: list[Tensor], batch: int) -> Tensor:
    (x,) = tensors
    zeros = x.new_zeros(*x.shape[: op.axis], op.size, *x.shape[op.axis + 1 :])
    return zeros.index_add(op.axis, _places(op.runs), x)


def _interpolate(op: ops.Interpolate, tensors: list[Tensor], batch: int) -> Tensor:
    lines = tensors[0].movedim(op.axis, -1)
    fine = _linear(lines.reshape(-1, 1, lines.shape[-1]), op.size, op.align_corners)
    return fine.reshape(*lines.shape[:-1], op.size).movedim(-1, op.axis)


def _linear(lines: Tensor, size: int, align_corners: bool) -> Tensor:
    return _functional().interpolate(lines, size, mode="linear", align_corners=align_corners)


def _interpolate_transposed(op: ops.InterpolateTransposed, tensors: list[Tensor], batch: int) -> Tensor:
    """Return the product with the transpose of the matrix that interpolates."""
    lines = tensors[0].movedim(op.axis, -1)
    units = _torch().eye(op.size, dtype=lines.dtype)[:, None]
    matrix = _linear(units, lines.shape[-1], op.align_corners)[:, 0]
    return (lines @ matrix.T).movedim(-1, op.axis)


def _reshape(op: ops.Reshape, tensors: list[Tensor], batch: int) -> Tensor:
    return tensors[0].reshape(concrete_shape(op.shape, batch))


def _broadcast(op: ops.Broadcast, tensors: list[Tensor], batch: int) -> Tensor:
    return tensors[0].broadcast_to(concrete_shape(op.shape, batch))


# Reductions, of which PyTorch takes no axes for all axes


def _folding(name: str) -> Meaning:
    def fold(op: Any, tensors: list[Tensor], batch: int) -> Tensor:
        (x,) = tensors
        return getattr(_torch(), name)(x, op.axes, keepdim=op.keep) if op.axes else x

    return fold


def _inverse_deviation(op: ops.InverseDeviation, tensors: list[Tensor], batch: int) -> tuple[Tensor, Tensor]:
    variance = _folding("mean")(op, [tensors[0].square()], batch)
    assert not isinstance(variance, tuple)
    return (variance + op.epsilon).rsqrt(), variance


def _count(op: ops.Count, tensors: list[Tensor], batch: int) -> Tensor:
    (x,) = tensors
    return x.new_tensor(float(np.prod([x.shape[axis] for axis in op.axes])))


# Losses, and the rest


def _one_hot(op: ops.OneHot, tensors: list[Tensor], batch: int) -> Tensor:
    labels = tensors[0].to(_dtype("int64"))
    return _functional().one_hot(labels, op.classes).to(_dtype(op.dtype))


def _cross_entropy(op: ops.SoftmaxCrossEntropy, tensors: list[Tensor], batch: int) -> Tensor:
    logits, labels = tensors
    return _functional().cross_entropy(logits, labels.to(_dtype("int64")), reduction="none")


def _squared_error(op: ops.SquaredError, tensors: list[Tensor], batch: int) -> Tensor:
    squares = _functional().mse_loss(*tensors, reduction="none")
    return squares.reshape(squares.shape[0], -1).sum(1) / 2


def _clip_mask(op: ops.ClipMask, tensors: list[Tensor], batch: int) -> Tensor:
    (x,) = tensors
    inside = (op.low <= x) & (x <= op.high) if op.closed else (op.low < x) & (x < op.high)
    return inside.to(x.dtype)


def _by_the_reference(op: Op, tensors: list[Tensor], batch: int) -> Tensor:
    """Return what the reference draws, which PyTorch takes for constants."""
    (keys,) = tensors
    graph = Graph()
    graph.output("numbers", graph.add(op, graph.input("keys", SAMPLE_KEYS)))
    return _torch().tensor(reference().compile(graph)(keys=keys.numpy())["numbers"])


# Of each sample, one by one: images are [N, H, W, C]


def _flip_samples(op: ops.FlipSamples, tensors: list[Tensor], batch: int) -> Tensor:
    samples, flags = tensors
    chosen = flags.reshape(-1, *[1] * (samples.dim() - 1))
    return _torch().where(chosen, samples.flip(op.axis), samples)


def _crop_samples(op: ops.CropSamples, tensors: list[Tensor], batch: int) -> Tensor:
    images, *places = tensors
    return _windows(images, op.size, [place.tolist() for place in places], op.value)


def _paste_samples(op: ops.PasteSamples, tensors: list[Tensor], batch: int) -> Tensor:
    images, *places = tensors
    return _windows(images, op.size, [(-place.long()).tolist() for place in places], 0.0)


def _windows(images: Tensor, size: tuple[int, int], places: list[list[int]], value: float) -> Tensor:
    """Return windows by padding: negative widths crop. What lies too far away is as good as just outside."""
    found = []
    for image, *begins in zip(images, *places, strict=True):
        widths: list[int] = []
        for axis in (1, 0):
            length, begin = image.shape[axis], begins[axis]
            begin = min(max(begin, -size[axis]), length)
            widths += [-begin, begin + size[axis] - length]
        found.append(_functional().pad(image, (0, 0, *widths), value=value))
    return _torch().stack(found)


def _erase_samples(op: ops.EraseSamples, tensors: list[Tensor], batch: int) -> Tensor:
    images, *box = tensors
    within = []
    for axis in (0, 1):
        distance = _torch().arange(images.shape[1 + axis]) - box[axis].long()[:, None]
        within.append((distance >= 0) & (distance < box[2 + axis][:, None]))
    boxes = within[0][:, :, None, None] & within[1][:, None, :, None]
    return images.masked_fill(boxes, op.value)


def _warp_samples(op: ops.WarpSamples, tensors: list[Tensor], batch: int) -> Tensor:
    images, *numbers = tensors
    return (_shares(images, numbers) @ images.flatten(1, 2)).reshape(images.shape)


def _warp_samples_transposed(op: ops.WarpSamplesTransposed, tensors: list[Tensor], batch: int) -> Tensor:
    images, *numbers = tensors
    return (_shares(images, numbers).mT @ images.flatten(1, 2)).reshape(images.shape)


def _shares(images: Tensor, numbers: list[Tensor]) -> Tensor:
    """Return the matrix [N, H W, H W] of bilinear interpolation: what PyTorch makes of each pixel alone."""
    samples, height, width, _ = images.shape
    torch = _torch()
    i, j = torch.arange(height * width) // width, torch.arange(height * width) % width
    a, b, c, d, e, f = (each[:, None].to(torch.float64) / 2.0**32 for each in numbers)
    rows, columns = a * i + b * j + c, d * i + e * j + f
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], -1)
    pixels = torch.eye(height * width, dtype=torch.float64).reshape(1, -1, height, width)
    found = _functional().grid_sample(pixels.expand(samples, -1, -1, -1), grid[:, None], align_corners=False)
    return found[:, :, 0].mT.to(images.dtype)


def _random_numbers(
    op: ops.RandomUniform | ops.RandomNormal, tensors: list[Tensor], batch: int
) -> tuple[Tensor, ...]:
    """Return our own random numbers, which PyTorch takes for constants."""
    graph, arrays = Graph(), [tensor.detach().numpy() for tensor in tensors]
    operands = [
        graph.input("state", ops.GENERATOR_STATE),
        graph.input("like", ops.GENERATOR_STATE.with_shape(arrays[1].shape).with_dtype(str(arrays[1].dtype))),  # type: ignore[arg-type]
    ]
    for label, value in zip(("numbers", "following"), graph.add_all(op, *operands), strict=True):
        graph.output(label, value)
    found = reference().compile(graph)(state=arrays[0], like=arrays[1])
    return tuple(_torch().tensor(found[label]) for label in ("numbers", "following"))


def _round_bfloat16(op: ops.RoundBfloat16, tensors: list[Tensor], batch: int) -> Tensor:
    (x,) = tensors
    return x + (x.to(_torch().bfloat16).to(x.dtype) - x).detach()  # the gradient is passed straight through


FUNCTIONAL: Final = "torch.nn.functional"

MEANINGS: Final[dict[type[Op], Meaning]] = {
    ops.Constant: lambda op, tensors, batch: _torch().tensor(op.value, dtype=_dtype(op.type.dtype)),
    ops.Add: _of("add"),
    ops.Subtract: _of("sub"),
    ops.Multiply: _of("mul"),
    ops.Divide: _of("div"),
    ops.Maximum: _of("maximum"),
    ops.Minimum: _of("minimum"),
    ops.Negate: _of("neg"),
    ops.Abs: _of("abs"),
    ops.Sign: _of("sign"),
    ops.Power: lambda op, tensors, batch: tensors[0].pow(op.exponent),
    ops.Exp: _of("exp"),
    ops.Log: _of("log"),
    ops.Sqrt: _of("sqrt"),
    ops.Sin: _of("sin"),
    ops.Cos: _of("cos"),
    ops.Erf: _of("erf"),
    ops.Tanh: _of("tanh"),
    ops.Sigmoid: _of("sigmoid"),
    ops.Relu: _of("relu"),
    ops.ReluMask: lambda op, tensors, batch: (tensors[0] > 0).to(tensors[0].dtype),
    ops.Softplus: _of("softplus", module=FUNCTIONAL, threshold=40.0),
    ops.Elu: lambda op, tensors, batch: _functional().elu(tensors[0], op.alpha),
    ops.Clip: lambda op, tensors, batch: tensors[0].clamp(op.low, op.high),
    ops.ClipMask: _clip_mask,
    ops.RoundBfloat16: _round_bfloat16,
    ops.StopGradient: lambda op, tensors, batch: tensors[0].detach(),
    ops.Greater: _of("gt"),
    ops.GreaterEqual: _of("ge"),
    ops.Equal: _of("eq"),
    ops.LogicalAnd: _of("logical_and"),
    ops.LogicalOr: _of("logical_or"),
    ops.LogicalNot: _of("logical_not"),
    ops.Select: _of("where"),
    ops.Correlate2d: _slide,
    ops.Convolve2d: _slide,
    ops.Rot180: lambda op, tensors, batch: tensors[0].flip(op.axes),
    ops.MaxPool2d: _max_pool,
    ops.RouteToWinner2d: _route,
    ops.GatherWinner2d: _gather,
    ops.SpreadToBlock2d: _spread,
    ops.AveragePool2d: _average_pool,
    ops.SumPool2d: _sum_pool,
    ops.L2Pool2d: _l2_pool,
    ops.ZeroInsert: _zero_insert,
    ops.Subsample: _subsample,
    ops.Pad: _pad,
    ops.Crop: _crop,
    ops.Transpose: lambda op, tensors, batch: tensors[0].permute(op.permutation),
    ops.Take: _take,
    ops.ScatterSum: _scatter_sum,
    ops.Interpolate: _interpolate,
    ops.InterpolateTransposed: _interpolate_transposed,
    ops.Reshape: _reshape,
    ops.Broadcast: _broadcast,
    ops.Concatenate: lambda op, tensors, batch: _torch().cat(tensors, op.axis),
    ops.Cast: lambda op, tensors, batch: tensors[0].to(_dtype(op.dtype)),
    ops.Matmul: _of("matmul"),
    ops.Sum: _folding("sum"),
    ops.Mean: _folding("mean"),
    ops.Max: _folding("amax"),
    ops.InverseDeviation: _inverse_deviation,
    ops.Count: _count,
    ops.ArgMax: lambda op, tensors, batch: tensors[0].argmax(op.axis),
    ops.LogSoftmax: _of("log_softmax", module=FUNCTIONAL, dim=-1),
    ops.OneHot: _one_hot,
    ops.SoftmaxCrossEntropy: _cross_entropy,
    ops.SquaredError: _squared_error,
    ops.RandomUniform: _random_numbers,
    ops.RandomNormal: _random_numbers,
    ops.SampleUniform: _by_the_reference,
    ops.SampleNormal: _by_the_reference,
    ops.SampleIntegers: _by_the_reference,
    ops.FlipSamples: _flip_samples,
    ops.CropSamples: _crop_samples,
    ops.PasteSamples: _paste_samples,
    ops.EraseSamples: _erase_samples,
    ops.WarpSamples: _warp_samples,
    ops.WarpSamplesTransposed: _warp_samples_transposed,
    ops.UserFunction: lambda op, tensors, batch: op.function.python(*tensors),
    ops.AllReduce: lambda op, tensors, batch: tensors[0],
    ops.AllGather: lambda op, tensors, batch: tensors[0],
    ops.BroadcastFrom: lambda op, tensors, batch: tensors[0],
    ops.KeepOn: lambda op, tensors, batch: tensors[0],
}
