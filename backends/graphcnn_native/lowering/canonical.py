"""Rewrites a graph into the forms that the kernels are made for; what it computes stays the same."""

from __future__ import annotations

from dataclasses import replace

from graphcnn.ir import BATCH, Emitter, Graph, Op, Value
from graphcnn.ops import (
    Concatenate,
    Constant,
    Convolve2d,
    Correlate2d,
    Crop,
    MaxPool2d,
    Multiply,
    Pad,
    Relu,
    ReluMask,
    Rot180,
    RouteToWinner2d,
    SquaredError,
    Subtract,
    Sum,
    Transpose,
)
from graphcnn.ops.convolution import FILTER_AXES, IMAGE_AXES
from graphcnn_native.lowering.winograd import (
    WinogradCorrelation,
    WinogradFilterGradient,
    WinogradFilters,
    suits,
)
from graphcnn_native.target import Target


def canonical(graph: Graph, target: Target, *, winograd: bool) -> tuple[Graph, dict[int, int]]:
    """Return the graph with fewer kinds of nodes, and for each of its keys the key in the graph given.

    Dead nodes are left behind, and:

    - no true convolutions: they become correlations with rotated kernels (Eq. 3);
    - a correlation that sums over images of a fixed number sums over channels, which are these images;
    - correlations are padded at top and bottom only: zeros at the sides are written once, by a `pad`;
    - `relu_mask(x)` asks `relu(x)` where that exists, so that x need not be kept;
    - an error is masked before a pool routes it back, where there are fewer of them;
    - a squared error is a sum of squares;
    - a scalar stays where it is;
    - with `winograd`, 3x3 correlations of many channels become Winograd's.
    """
    canonicalizer = _Canonicalizer(graph, target if winograd else None)
    for key, _ in graph.items():
        canonicalizer.visit(key)
    result, values = canonicalizer.result, canonicalizer.values
    for label, value in graph.outputs.items():
        result.output(label, values[value])
    for label, value in graph.updates.items():
        result.update(label, values[value])
    return _without_dead_nodes(result, canonicalizer.sources)


class _Canonicalizer:
    """Copies a graph node by node into a new one, in the forms that kernels know."""

    def __init__(self, source: Graph, winograd: Target | None) -> None:
        self.source = source
        self.winograd = winograd
        self.result = Graph(source.name)
        self.values: dict[Value, Value] = {}
        self.sources: dict[int, int] = {}
        self._padded: dict[tuple[Pad, Value], Value] = {}
        self._relus: dict[Value, Value] = {}
        self._mapped: dict[Value, Value] = {}

    def visit(self, key: int) -> None:
        node = self.source.node(key)
        operands = tuple(self.values[operand] for operand in node.operands)
        emit = Emitter(self.result, replace(node.origin, forward=None))
        replacement = self._replacement(emit, node.op, operands)
        results = (replacement,) if replacement is not None else emit.all(node.op, *operands)
        self.values.update(zip(self.source.results(key), results, strict=True))
        for new in range(len(self.sources), len(self.result)):
            self.sources[new] = key
        if isinstance(node.op, Relu):
            self._relus.setdefault(operands[0], results[0])

    def _replacement(self, emit: Emitter, op: Op, operands: tuple[Value, ...]) -> Value | None:
        match op:
            case Convolve2d():
                axes = FILTER_AXES if op.sum_over == "channels" else IMAGE_AXES
                rotated = emit(Rot180(axes), operands[1])
                return self._correlation(emit, op.as_correlation(), operands[0], rotated)
            case Correlate2d():
                return self._correlation(emit, op, *operands)
            case ReluMask() if operands[0] in self._relus:
                return emit(op, self._relus[operands[0]])
            case Pad() | Crop() | Transpose() | Rot180() if operands[0].type.is_scalar:
                return operands[0]
            case Multiply():
                return self._masked_before_routing(emit, operands)
            case SquaredError():
                difference = emit(Subtract(), *operands)
                square = emit(Multiply(), difference, difference)
                rest = tuple(range(1, square.type.rank))
                total = emit(Sum(rest), square) if rest else square
                half = emit(Constant(0.5, total.type.with_shape(())))
                return emit(Multiply(), total, half)
        return None

    def _correlation(self, emit: Emitter, op: Correlate2d, images: Value, window: Value) -> Value:
        if op.sum_over == "batch" and images.type.shape[0] != BATCH:
            return self._correlation_over_images(emit, op, images, window)
        tiled = self._on_tiles(emit, op, images, window)
        if tiled is not None:
            return tiled
        rows, (left, right) = op.padding
        if not left and not right:
            return emit(op, images, window)
        pad = Pad(((0, 0), (0, 0), (left, right), (0, 0)))
        if (pad, images) not in self._padded:
            self._padded[pad, images] = emit(pad, images)
        return emit(replace(op, padding=(rows, (0, 0))), self._padded[pad, images], window)

    def _on_tiles(self, emit: Emitter, op: Correlate2d, images: Value, window: Value) -> Value | None:
        """Emit a correlation as Winograd's, if it is faster that way."""
        (result,) = op.result_types(images.type, window.type)
        over_batch = op.sum_over == "batch"
        filters, maps = (result, window.type) if over_batch else (window.type, result)
        if images.type.shape[0] != BATCH or self.winograd is None:
            return None
        if not suits(op, images.type, filters, maps, self.winograd):
            return None
        attributes = op.stride, op.padding, op.dilation, op.groups, op.sum_over
        if over_batch:
            return emit(WinogradFilterGradient(*attributes), images, window)
        if window not in self._mapped:
            self._mapped[window] = emit(WinogradFilters(), window)
        return emit(WinogradCorrelation(*attributes), images, self._mapped[window])

    def _correlation_over_images(self, emit: Emitter, op: Correlate2d, images: Value, window: Value) -> Value:
        """Exchange images and channels on either side, group by group."""
        plain = replace(op, groups=1, sum_over="channels")
        parts = []
        for group in range(op.groups):
            channels, filters = (self._group(emit, each, op.groups, group) for each in (images, window))
            turned = emit(Transpose((3, 1, 2, 0)), channels), emit(Transpose((1, 2, 0, 3)), filters)
            parts.append(emit(Transpose((1, 2, 0, 3)), self._correlation(emit, plain, *turned)))
        return parts[0] if op.groups == 1 else emit(Concatenate(3), *parts)

    def _group(self, emit: Emitter, value: Value, groups: int, group: int) -> Value:
        """Emit the channels of one group."""
        size = value.type.static(3) // groups
        widths = ((0, 0), (0, 0), (0, 0), (group * size, (groups - 1 - group) * size))
        return emit(Crop(widths), value) if groups > 1 else value

    def _masked_before_routing(self, emit: Emitter, operands: tuple[Value, ...]) -> Value | None:
        """route(d) · mask(relu(x)) = route(d · mask(pooled relu(x))): the winner is what was pooled."""
        for routed, mask in (operands, operands[::-1]):
            route, masking = (self.result.node(value.key) for value in (routed, mask))
            if not isinstance(route.op, RouteToWinner2d) or not isinstance(masking.op, ReluMask):
                continue
            delta, index = route.operands
            pool = self.result.node(index.key)
            if isinstance(pool.op, MaxPool2d) and pool.operands[0] == masking.operands[0]:
                pooled = self.result.results(index.key)[0]
                if isinstance(self.result.node(pool.operands[0].key).op, Relu):
                    masked = emit(Multiply(), delta, emit(ReluMask(), pooled))
                    return emit(route.op, masked, index)
        return None


def _without_dead_nodes(graph: Graph, sources: dict[int, int]) -> tuple[Graph, dict[int, int]]:
    live = {value.key for value in (*graph.roots(), *graph.inputs.values())}
    for key, node in sorted(graph.items(), reverse=True):
        if key in live:
            live.update(operand.key for operand in node.operands)
    result, values, kept = Graph(graph.name), dict[Value, Value](), dict[int, int]()
    for key, node in graph.items():
        if key in live:
            new = result.add_all(node.op, *(values[operand] for operand in node.operands), origin=node.origin)
            values.update(zip(graph.results(key), new, strict=True))
            kept[new[0].key] = sources[key]
    for label, value in graph.outputs.items():
        result.output(label, values[value])
    for label, value in graph.updates.items():
        result.update(label, values[value])
    return result, kept
