"""Pooling over windows of [N, H, W, C], and how an error finds its way back through it.

Max-pooling notes the winning unit of each window, and the error is assigned to it alone. Average pooling
multiplies the error by 1 / (N·N) and assigns it to the whole block; L2-pooling by x / y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import Dim, DType, Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.arithmetic import Divide, Multiply
from graphcnn.ops.attributes import (
    NO_PADDING,
    Padding,
    Pair,
    check_padding,
    check_pair,
    require_float,
    require_rank,
)
from graphcnn.ops.comparison import Greater, Select
from graphcnn.ops.notation import place
from graphcnn.ops.pointwise import constant

BLOCKS = r"\sum_{i,j \,:\, (i',j') \in \text{block}(i,j)}"
"""The sum over the windows that a unit lies in: one, or none, where windows do not overlap."""


@dataclass(frozen=True, slots=True)
class _Windows(Op):
    """What every op on pooling windows shares: the window's size, stride and padding."""

    size: Pair
    stride: Pair
    padding: Padding = NO_PADDING

    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_pair("size", self.size, 1)
        check_pair("stride", self.stride, 1)
        check_padding("padding", self.padding)
        if any(max(self.padding[axis]) >= self.size[axis] for axis in (0, 1)):
            raise OptionError(
                f"padding {self.padding} of a {self.size[0]}x{self.size[1]} pool "
                "would make windows of padding alone",
                mend="pad by less than the window's size",
            )

    def pooled(self, images: TensorType) -> TensorType:
        """Return the type of the pooled images."""
        require_rank(self.name, "images", images, 4, "N, H, W, C")
        require_float(self.name, images)
        sizes: list[Dim] = []
        for axis, side in ((0, "height"), (1, "width")):
            extent, (before, after) = images.static(1 + axis), self.padding[axis]
            room = extent + before + after - self.size[axis]
            if room < 0:
                padded = f"{extent} + {before} + {after} = {extent + before + after}"
                raise ShapeError(
                    f"the {self.size[0]}x{self.size[1]} pooling window is larger than its input",
                    facts=[
                        f"input {images}, padding {self.padding}",
                        f"{side}: {padded} < {self.size[axis]}",
                    ],
                    mend="take a smaller window, or one pooling layer less before it",
                )
            sizes.append(room // self.stride[axis] + 1)
        return images.with_shape((images.shape[0], *sizes, images.shape[3]))

    @property
    def index_dtype(self) -> DType:
        """The element type that holds an index into a window."""
        return "uint8" if self.size[0] * self.size[1] <= 256 else "int32"

    def options(self) -> tuple[Pair, Pair, Padding]:
        return self.size, self.stride, self.padding

    def _place(self) -> str:
        """Return the index of a unit of the window at i, j."""
        return ",".join(
            place((self.stride[axis], "ij"[axis]), (1, "mn"[axis]), shift=-self.padding[axis][0])
            for axis in (0, 1)
        )

    def _sum_over_window(self) -> str:
        rows, columns = self.size
        return rf"\sum_{{m=0}}^{{{rows - 1}}} \sum_{{n=0}}^{{{columns - 1}}}"

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        pooled = min((*operands, *results), key=lambda type: type.elements(batch))
        return pooled.elements(batch) * self.size[0] * self.size[1]


@dataclass(frozen=True, slots=True)
class MaxPool2d(_Windows):
    """The greatest element of each window, and its index in it, row by row; the first one of equals.

    Padding never wins, not even over minus infinity.
    """

    name: ClassVar[str] = "max_pool2d"
    equation: ClassVar[str] = "y = max of the window; index = its winning unit"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        pooled = self.pooled(operands[0])
        return pooled, pooled.with_dtype(self.index_dtype)

    def latex(self, *operands: TensorType) -> str:
        window = rf"0 \le m < {self.size[0]},\, 0 \le n < {self.size[1]}"
        return rf"$y_{{i,j,c}} = \max_{{{window}}} $a_{{{self._place()},c}}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return r"$G_{i',j',c} = \sum_{i,j \,:\, (i',j') = \text{winner}(i,j,c)} $D_{i,j,c}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        route = RouteToWinner2d(*self.options(), operands[0].type.shape)
        return (emit.by("max-pool: to the winning unit")(route, delta, results[1]),)


@dataclass(frozen=True, slots=True)
class _ToImages(_Windows):
    """An op from pooled values back to images of a given shape."""

    shape: tuple[Dim, ...] = ()

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        images = operands[0].with_shape(self.shape)
        _require_pooled(self, images, operands)
        return (images,)


def _require_pooled(op: _Windows, images: TensorType, operands: Sequence[TensorType]) -> None:
    pooled = op.pooled(images)
    expected = [pooled, pooled.with_dtype(op.index_dtype)][: len(operands)]
    if list(operands) != expected:
        wanted, found = (", ".join(map(str, types)) for types in (expected, operands))
        raise ShapeError(f"{op.name} on images {images} takes {wanted}, not {found}")


@dataclass(frozen=True, slots=True)
class RouteToWinner2d(_ToImages):
    """Assign each pooled error to the winning unit of its window; overlapping windows add up."""

    name: ClassVar[str] = "route_to_winner2d"
    equation: ClassVar[str] = "delta goes to the winning unit, 0 to all others"
    arity: ClassVar[int] = 2

    def latex(self, *operands: TensorType) -> str:
        return r"$y_{i',j',c} = \sum_{i,j \,:\, (i',j') = $b_{i,j,c}} $a_{i,j,c}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return emit(GatherWinner2d(*self.options()), delta, operands[1]), None


@dataclass(frozen=True, slots=True)
class GatherWinner2d(_Windows):
    """Fetch from each window of the images the unit that an index names."""

    name: ClassVar[str] = "gather_winner2d"
    equation: ClassVar[str] = "y = x(index of the winning unit)"
    arity: ClassVar[int] = 2

    def latex(self, *operands: TensorType) -> str:
        return r"$y_{i,j,c} = $a_{i',j',c}, \quad (i',j') = $b_{i,j,c}"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        images, index = operands
        pooled = self.pooled(images)
        _require_pooled(self, images, (pooled, index))
        return (pooled,)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return emit(RouteToWinner2d(*self.options(), operands[0].type.shape), delta, operands[1]), None


@dataclass(frozen=True, slots=True)
class _ToPooled(_Windows):
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (self.pooled(operands[0]),)


@dataclass(frozen=True, slots=True)
class SumPool2d(_ToPooled):
    """The sum of each window."""

    name: ClassVar[str] = "sum_pool2d"
    equation: ClassVar[str] = "y = Σ over the window of x"

    def latex(self, *operands: TensorType) -> str:
        return f"$y_{{i,j,c}} = {self._sum_over_window()} $a_{{{self._place()},c}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(SpreadToBlock2d(*self.options(), operands[0].type.shape), delta),)


@dataclass(frozen=True, slots=True)
class SpreadToBlock2d(_ToImages):
    """Assign each pooled error to every unit of its block; overlapping blocks add up."""

    name: ClassVar[str] = "spread_to_block2d"
    equation: ClassVar[str] = "delta goes to all units of the block"
    arity: ClassVar[int] = 1

    def latex(self, *operands: TensorType) -> str:
        return rf"$y_{{i',j',c}} = {BLOCKS} $a_{{i,j,c}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(SumPool2d(*self.options()), delta),)


@dataclass(frozen=True, slots=True)
class AveragePool2d(_ToPooled):
    """The mean of each window; padding counts as zeros, so that the divisor is always N·N."""

    name: ClassVar[str] = "average_pool2d"
    equation: ClassVar[str] = "y = 1/(N·N) Σ over the window of x"

    def latex(self, *operands: TensorType) -> str:
        return rf"$y_{{i,j,c}} = {self._share()} {self._sum_over_window()} $a_{{{self._place()},c}}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return rf"$G_{{i',j',c}} = {self._share()} {BLOCKS} $D_{{i,j,c}}"

    def _share(self) -> str:
        return rf"\frac{{1}}{{{self.size[0]} \times {self.size[1]}}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by("average pool: delta / (N·N) to the block")
        share = constant(emit, 1.0 / (self.size[0] * self.size[1]), delta.type)
        scaled = emit(Multiply(), delta, share)
        return (emit(SpreadToBlock2d(*self.options(), operands[0].type.shape), scaled),)


@dataclass(frozen=True, slots=True)
class L2Pool2d(_ToPooled):
    """The Euclidean norm of each window."""

    name: ClassVar[str] = "l2_pool2d"
    equation: ClassVar[str] = "y = √(Σ over the window of x²)"

    def latex(self, *operands: TensorType) -> str:
        return rf"$y_{{i,j,c}} = \sqrt{{{self._sum_over_window()} ($a_{{{self._place()},c}})^2}}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return rf"$G_{{i',j',c}} = $a_{{i',j',c}} {BLOCKS} \frac{{$D_{{i,j,c}}}}{{$y_{{i,j,c}}}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by("L2 pool: x / y · delta to the block")
        (x,), y = operands, results[0]
        positive = emit(Greater(), y, constant(emit, 0.0, y.type))
        divisor = emit(Select(), positive, y, constant(emit, 1.0, y.type))
        spread = emit(SpreadToBlock2d(*self.options(), x.type.shape), emit(Divide(), delta, divisor))
        return (emit(Multiply(), x, spread),)
