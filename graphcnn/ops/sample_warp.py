"""Images read between their pixels, at places that each sample's own affine map says, and the way back.

A map has six whole numbers, in units of 2^-32 pixels, so that the places are exact on every backend:
row = a i + b j + c and column = d i + e j + f, for the pixel (i, j) of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from graphcnn.errors import ShapeError
from graphcnn.ir import BATCH, SAMPLE_KEYS, Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import require_float, require_rank

UNITS: Final = 32
"""A pixel is 2^UNITS of the units of a map."""
WEIGHT_BITS: Final = 24
"""So many bits of a place between two pixels are counted."""


@dataclass(frozen=True, slots=True)
class _Warp(Op):
    """What reading at mapped places and its transpose share: images [N, H, W, C], six numbers int64 [N]."""

    arity: ClassVar[int] = 7
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        images, *numbers = operands
        require_float(self.name, images)
        require_rank(self.name, "images", images, 4, "N, H, W, C")
        if images.shape[0] != BATCH or any(each != SAMPLE_KEYS for each in numbers):
            raise ShapeError(
                f"{self.name} takes images [N, H, W, C] and six times {SAMPLE_KEYS}, "
                f"not {', '.join(map(str, operands))}"
            )
        return (images,)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 8 * results[0].elements(batch)


@dataclass(frozen=True, slots=True)
class WarpSamples(_Warp):
    """Images read at mapped places: bilinear between four pixels, of which those beside the image are 0.

    Of a place, its lowest 8 bits do not count. With t and u the rest behind row and column, the result is
    (1 - t) ((1 - u) x(r, c) + u x(r, c+1)) + t ((1 - u) x(r+1, c) + u x(r+1, c+1)).
    """

    name: ClassVar[str] = "warp_samples"
    equation: ClassVar[str] = "y(s, i, j) = x(s, row, column), where (row, column) = A(s) (i, j, 1)"
    formula: ClassVar[str] = (
        r"$y_{s,i,j} = \sum_{m} \sum_{n} \max(0, 1 - |$b_s i + $c_s j + $d_s - m|)\, "
        r"\max(0, 1 - |$e_s i + $f_s j + $g_s - n|)\, $a_{s,m,n}"
    )

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(WarpSamplesTransposed(), delta, *operands[1:]), *[None] * 6)


@dataclass(frozen=True, slots=True)
class WarpSamplesTransposed(_Warp):
    """The transpose of `WarpSamples`: each pixel sums up, in float64, what was made of it."""

    name: ClassVar[str] = "warp_samples_transposed"
    equation: ClassVar[str] = "y(s, m, n) = Σ x(s, i, j) of the share that (m, n) has in A(s) (i, j, 1)"
    formula: ClassVar[str] = (
        r"$y_{s,m,n} = \sum_{i} \sum_{j} \max(0, 1 - |$b_s i + $c_s j + $d_s - m|)\, "
        r"\max(0, 1 - |$e_s i + $f_s j + $g_s - n|)\, $a_{s,i,j}"
    )

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(WarpSamples(), delta, *operands[1:]), *[None] * 6)
