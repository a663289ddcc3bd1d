"""What a stride leaves behind in gradients, and how it costs nothing: inserted zeros, and taps nobody keeps.

Where s - 1 zeros stand between neighbours, a row of results meets every s-th row of the filters alone, and
which ones they are, its *phase*, depends on the row's remainder by s; columns likewise. So the input gradient
of a strided convolution, and a transposed convolution, take s² times fewer products than they are written
with: each phase is a correlation of the map as it was with its own part of the filters. And where a stride
does not reach the last rows, the filter gradient is written for more taps than there are, and cropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.ir import Op, TensorType
from graphcnn.ops import Correlate2d, ZeroInsert
from graphcnn.ops.attributes import NO_PADDING, Padding, Pair
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.target import Target
from graphcnn_native.tile_sizes import best_tile, vectors_of_row


@dataclass(frozen=True, slots=True)
class PhasedCorrelation(Op):
    """A correlation, padded and in groups, of a map [N, H, W, C] into which `factors` would insert zeros.

    sides: columns of zeros that the map has at its left and right already, beside those of `padding`.
    panel: of so many filters the panels are that these lie in (`panels.py`); 0 where they lie as they are.
    """

    factors: Pair
    padding: Padding = NO_PADDING
    groups: int = 1
    sides: tuple[int, int] = (0, 0)
    panel: int = 0

    name: ClassVar[str] = "phased_correlation"
    equation: ClassVar[str] = "Y = zero_insert(X) ⋆ w"
    arity: ClassVar[int] = 2
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        images, filters = operands
        width = images.static(2) - sum(self.sides)
        inserted = ZeroInsert(self.factors).result_types(
            images.with_shape((images.shape[0], images.shape[1], width, images.shape[3]))
        )
        return self.correlation.result_types(*inserted, filters)

    @property
    def correlation(self) -> Correlate2d:
        """The correlation of the map with its zeros."""
        return Correlate2d(padding=self.padding, groups=self.groups)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        """Return the FLOPs of all phases; at the edges, a few that meet no pixel are among them."""
        products = math.prod(map(int, operands[1].shape[:3]))
        return 2 * results[0].elements(batch) * products // math.prod(self.factors)


@dataclass(frozen=True, slots=True)
class FilterGradientOfTaps(Correlate2d):
    """A correlation that sums over the batch for the first rows and columns of taps alone."""

    taps: Pair = (1, 1)

    name: ClassVar[str] = "correlate2d_of_taps"
    equation: ClassVar[str] = "dw = crop(images ⋆ delta)"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (whole,) = Correlate2d.result_types(self, *operands)
        return (whole.with_shape((*self.taps, *whole.shape[2:])),)


@dataclass(frozen=True, slots=True)
class Phase:
    """Results at one remainder: `first`, `first` + factor, ..., so many as `count`.

    tap: the first of its taps, which lie `factor` apart; taps: how many. shift: how far the first tap's pixel
    lies behind the number of the result within the phase; below 0 before it.
    """

    first: int
    count: int
    tap: int
    taps: int
    shift: int


def phases(size: int, taps: int, before: int, factor: int) -> list[Phase]:
    """Return the phases along an axis of so many results and taps, padded by `before` zeros in front."""
    found = []
    for first in range(min(factor, size)):
        tap = (before - first) % factor
        shift = (first + tap - before) // factor
        count = -(-(size - first) // factor)
        found.append(Phase(first, count, tap, max(0, -(-(taps - tap) // factor)), shift))
    return found


def tile_of_phases(
    op: PhasedCorrelation, images: TensorType, filters: TensorType, target: Target
) -> tuple[int, int]:
    """Return how many results of a phase, and vectors of filters, a register tile has."""
    (results,) = op.result_types(images, filters)
    most = phases(results.static(2), filters.static(1), op.padding[1][0], op.factors[1])[0].count
    item, count = SIZES[ITEMS[filters.dtype]], filters.static(3) // op.groups
    vectors, has_half = vectors_of_row(target, count, item)
    return best_tile(target, most, vectors, has_half=has_half)


def sides_needed(width: int, found: Sequence[Phase]) -> tuple[int, int]:
    """Return how many columns of zeros a map of this width needs at its left and right."""
    used = [phase for phase in found if phase.taps]
    left = max((-phase.shift for phase in used), default=0)
    right = max((phase.count + phase.taps - 1 + phase.shift - width for phase in used), default=0)
    return max(0, left), max(0, right)


def suits_phases(inserting: ZeroInsert, filters: TensorType, target: Target) -> bool:
    """Return whether a correlation over inserted zeros is faster without them.

    It fills its lanes with filters; a few are better off with samples in the lanes, zeros and all.
    """
    count, lanes = filters.static(3), target.lanes(SIZES[ITEMS[filters.dtype]])
    return -(-count // lanes) * lanes < math.prod(inserting.factors) * count
