"""Places of numbers in a whole batch: as many for each sample, and from sample to sample as far apart.

PyTorch's exporter writes views of memory as such places, which it computes from the numbers of the samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.dsl.tensor import Tensor
from graphcnn.errors import InterchangeError
from graphcnn.interchange.onnx.reading.reshaping import reshape_to
from graphcnn.interchange.onnx.reading.step import Step, positive
from graphcnn.interchange.onnx.reading.table import UnknownYetError, in_the_way, reads
from graphcnn.interchange.onnx.reading.taking import few, runs_of, taken
from graphcnn.interchange.onnx.reading.values import Held, Known, Merged, Order, Variable
from graphcnn.ir import BATCH, format_shape


@dataclass(slots=True, eq=False)
class SamplePlaces(Variable):
    """Whole numbers, of which those of sample n are the first one's and n · apart.

    first: with the size 1 along the axis of the samples, which is the first.
    """

    first: Array = field(kw_only=True)
    apart: int = field(kw_only=True)

    def at(self, order: Order) -> Tensor:
        raise InterchangeError(
            "it computes with the numbers of the samples, which are known only at run time"
        )

    @property
    def any_order(self) -> Order:
        return tuple(range(self.rank))


def _places(first: Array, apart: int) -> SamplePlaces:
    return SamplePlaces((BATCH, *first.shape[1:]), "int64", first=first, apart=apart)


@reads("Range")
def numbers(step: Step) -> Variable:
    """The numbers of the samples, 0 to N - 1; other ranges are known, or not to be."""
    unknown = [each for each in step.inputs if isinstance(each, Variable)]
    if unknown:
        raise UnknownYetError(unknown[0], "size")
    start, limit, apart = (step.known(place, "limits").reshape(-1)[0] for place in range(3))
    if (start, limit, apart) != (0, BATCH, 1):
        raise in_the_way("it computes with the batch size, which is known only at run time")
    return _places(np.zeros(1, np.int64), 1)


def read_places(step: Step) -> Held:
    """Return what a node makes of such places. Raises InterchangeError where it makes others of them."""
    rule = _RULES.get(step.node.op_type)
    if rule is None:
        raise in_the_way("it computes with the numbers of the samples, which are known only at run time")
    return rule(step)


def _shifted(step: Step) -> Held:
    places, number = _operands(step)
    if number.ndim > places.rank or (number.ndim == places.rank and number.shape[0] != 1):
        raise in_the_way(f"it adds {list(number.shape)} to the numbers of the samples")
    few(np.broadcast_to(0, np.broadcast_shapes(places.first.shape, number.shape)))
    return _places(places.first + number, places.apart)


def _scaled(step: Step) -> Held:
    places, number = _operands(step)
    if number.size != 1 or number.ndim > places.rank:
        raise in_the_way("it multiplies the numbers of the samples with several others")
    factor = int(number.reshape(-1)[0])
    return _places(places.first * factor, places.apart * factor)


def _operands(step: Step) -> tuple[SamplePlaces, Array]:
    places = next(each for each in step.inputs if isinstance(each, SamplePlaces))
    other = next((each for each in step.inputs if isinstance(each, Known)), None)
    if other is None or other.array.dtype.kind != "i":
        raise in_the_way("it computes with the numbers of the samples, and others that are not known")
    return places, other.array


def _unsqueezed(step: Step) -> Held:
    places = step[0]
    assert isinstance(places, SamplePlaces)
    axes = step.setting("axes", 1) or []
    rank = places.rank + len(axes)
    new = {positive(axis, rank) for axis in axes}
    if 0 in new:
        raise in_the_way("the samples are no longer along the first axis")
    sizes = iter(places.first.shape)
    return _places(places.first.reshape([1 if a in new else next(sizes) for a in range(rank)]), places.apart)


def _gathered(step: Step) -> Held:
    """Take places within each sample from all numbers of a batch, which lie one sample after the other."""
    x, places = step[0], step[1]
    if not isinstance(x, Merged) or not isinstance(places, SamplePlaces) or step.axis(x.rank):
        raise in_the_way("it takes samples of the batch")
    within = x.apart.shape[1 : x.groups[0]]
    size = int(np.prod([int(each) for each in within if each != BATCH]))
    is_apart = x.apart.shape[0] == BATCH and places.apart == size
    if not is_apart or not 0 <= places.first.min() <= places.first.max() < size:
        raise in_the_way(f"its places of {format_shape(x.shape)} are not those of each sample in itself")
    rest = x.apart.shape[x.groups[0] :]
    flat = reshape_to(x.apart, (BATCH, size, *rest))
    runs = runs_of(places.first.reshape(-1).tolist())
    found = flat if runs == [(0, size, 1)] else taken(step, flat, 1, runs)
    return reshape_to(found, (BATCH, *places.first.shape[1:], *rest))


_RULES: Final[dict[str, Callable[[Step], Held]]] = {
    "Add": _shifted,
    "Mul": _scaled,
    "Unsqueeze": _unsqueezed,
    "Gather": _gathered,
    "Identity": lambda step: step[0],
}
