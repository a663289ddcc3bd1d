"""Windows that slide over the places of images and signals: what Conv and pools say of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphcnn.interchange.onnx.reading.step import Step
from graphcnn.interchange.onnx.reading.table import in_the_way
from graphcnn.interchange.onnx.reading.values import Variable
from graphcnn.ir import BATCH
from graphcnn.ops.attributes import Padding, Pair


@dataclass(frozen=True, slots=True)
class Windows:
    """Sizes along each axis of places: one of signals, two of images."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]

    @property
    def is_of_images(self) -> bool:
        return len(self.size) == 2

    @property
    def pads(self) -> Padding:
        """The padding of images, ((top, bottom), (left, right)); signals are images of one row."""
        return self._two(self.padding, (0, 0))  # type: ignore[return-value]

    @property
    def sizes(self) -> Pair:
        return self._two(self.size, 1)  # type: ignore[return-value]

    @property
    def strides(self) -> Pair:
        return self._two(self.stride, 1)  # type: ignore[return-value]

    @property
    def dilations(self) -> Pair:
        return self._two(self.dilation, 1)  # type: ignore[return-value]

    def _two(self, each: tuple[object, ...], of_one_row: object) -> tuple[object, ...]:
        return each if self.is_of_images else (of_one_row, *each)


def require_places(x: Variable) -> tuple[int, ...]:
    """Return the sizes of the places of images or signals. Raises InterchangeError for anything else."""
    if x.rank not in (3, 4):
        raise in_the_way(f"it is on a value of {x.rank} axes; images have 4 and signals 3")
    if BATCH in x.shape[1:]:
        raise in_the_way("the batch is not the first axis of what it takes")
    return tuple(int(size) for size in x.shape[2:])


def windows_of(step: Step, size: Sequence[int], places: tuple[int, ...]) -> Windows:
    """Return the windows of a node. Raises InterchangeError for sizes that do not fit the places."""
    rank = len(places)
    stride = _sizes(step, "strides", rank)
    dilation = _sizes(step, "dilations", rank)
    if len(size) != rank or min(size) < 1:
        raise in_the_way(f"its kernel_shape {list(size)} does not fit {rank} axes of places")
    reach = [(wide - 1) * apart + 1 for wide, apart in zip(size, dilation, strict=True)]
    padding = padding_of(step, places, stride, reach)
    return Windows(tuple(size), stride, dilation, padding)


def padding_of(
    step: Step, places: Sequence[int], stride: Sequence[int], reach: Sequence[int]
) -> tuple[Pair, ...]:
    """Return what is put before and after each axis."""
    how, rank = step.setting("auto_pad", default="NOTSET"), len(places)
    if how == "VALID":
        return ((0, 0),) * rank
    if how in ("SAME_UPPER", "SAME_LOWER"):
        found = []
        for size, step_size, wide in zip(places, stride, reach, strict=True):
            total = max((math.ceil(size / step_size) - 1) * step_size + wide - size, 0)
            found.append(
                (total // 2, total - total // 2) if how == "SAME_UPPER" else (total - total // 2, total // 2)
            )
        return tuple(found)
    pads = step.setting("pads", default=[0] * 2 * rank)
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        raise in_the_way(f"its pads {pads} are no two widths for each of {rank} axes")
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def _sizes(step: Step, name: str, rank: int) -> tuple[int, ...]:
    sizes = step.setting(name) or [1] * rank
    if len(sizes) != rank or min(sizes) < 1:
        raise in_the_way(f"its {name} {sizes} do not fit {rank} axes of places")
    return tuple(sizes)
