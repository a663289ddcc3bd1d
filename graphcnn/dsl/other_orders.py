"""Orders of other frameworks that pass here and mean something else: channels first, in calls and images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeGuard, cast

from graphcnn import ops
from graphcnn.arguments import call
from graphcnn.errors import ShapeError
from graphcnn.ir import Graph, Input
from graphcnn.warned import advise

if TYPE_CHECKING:
    from graphcnn.dsl.layers.base import Layer
    from graphcnn.dsl.tensor import Tensor

KERNELS: Final = (1, 3, 5, 7)
TRANSPOSED_KERNELS: Final = (2, 3, 4, 5)
"""The kernels that are common."""
MANY: Final = 12
"""Kernels below are odd, most often, and numbers of filters even."""
IMAGE_CHANNELS: Final = (1, 3, 4)
SMALLEST: Final = 8
"""Images have so many channels, most often, are at least so high and wide, and neither is twice the other."""
WINDOWS: Final = (
    *(ops.Correlate2d, ops.Convolve2d, ops.MaxPool2d, ops.SumPool2d, ops.AveragePool2d, ops.L2Pool2d),
)
"""The ops that go over the rows and columns of images."""


@contextmanager
def channels_in_front(layer: Layer, channels: int, kernels: tuple[int, ...] = KERNELS) -> Iterator[None]:
    """Say of a convolution that it may have been given the channels that come in, which PyTorch's has first.

    In the error, where it does not fit its images; else by one warning, where what it was given by position
    looks so: as many filters as channels, a kernel as large as numbers of filters are, a stride as kernels
    are. channels: those of its images. kernels: which are common.
    """
    notes = vars(layer)
    given, by_name = notes.get("_given", ((), {}))
    if len(given) < 3 or given[0] != channels or not all(isinstance(each, int) for each in given[:3]):
        yield
        return
    name = type(layer).__name__
    filters, kernel, stride = given[:3]
    meant = call(f"gcn.{name}", given[1:], by_name)
    try:
        yield
    except ShapeError as error:
        error.mend += f"; or leave out the channels that come in: {meant}"
        raise
    is_many = kernel >= MANY or kernel in (6, 8, 10)
    if is_many and stride in kernels and stride < kernel != 2 * stride and not notes.get("_is_warned"):
        notes["_is_warned"] = True  # a network is traced several times
        advise(
            f"{filters} filter{'s' * (filters != 1)} with a kernel of {kernel} and a stride of {stride}: in "
            f"PyTorch's order, {filters} channels that come in, {kernel} filters and a kernel of {stride}",
            mend=f"leave out the channels that come in: {meant}; or, where it is meant, name the stride: "
            f"gcn.{name}({filters}, {kernel}, stride={stride})",
            layer=layer.title,
            place=layer.origin,
        )


def is_channels_first(sizes: Sequence[object]) -> TypeGuard[tuple[int, int, int]]:
    """Whether the sizes of an image look like (3, 32, 32): channels in front of a height and a width."""
    if len(sizes) != 3 or not all(isinstance(size, int) for size in sizes):
        return False
    channels, height, width = cast(tuple[int, int, int], tuple(sizes))
    shorter, longer = sorted((height, width))
    return channels in IMAGE_CHANNELS and shorter >= SMALLEST and longer < 2 * shorter


def say_of_channels_in_front(error: ShapeError, values: Iterable[Tensor]) -> None:
    """Let an error of shapes say so, where images that values are made of look like (3, 32, 32)."""
    for source in _inputs(values):
        sizes = source.shape[1:]
        if is_channels_first(sizes):
            channels, height, width = sizes
            error.facts += (f"the images {source.type} look like channels, height, width",)
            otherwise = f"; or, where that is meant, {error.mend}" if error.mend else ""
            error.mend = f"channels come last: the shape {(height, width, channels)}{otherwise}"
            return


def _inputs(values: Iterable[Tensor]) -> list[Tensor]:
    """Return the inputs with a batch that values are made of."""
    found, seen, left = [], set(), list(values)
    while left:
        value = left.pop()
        if value in seen:
            continue
        seen.add(value)
        left += value.operands
        if not value.operands and value.type.has_batch:
            found.append(value)
    return found


def warn_of_channels_in_front(graph: Graph) -> None:
    """Warn of images of a shape as (3, 32, 32), 3 rows of 32 pixels, that a convolution or pool goes over."""
    seen = {
        graph.node(node.operands[0].key).types[0].shape[1:3]
        for _, node in graph.items()
        if isinstance(node.op, WINDOWS)
    }
    for _, node in graph.items():
        is_data = isinstance(node.op, Input) and node.op.role == "data"
        if not is_data or node.types[0].shape[1:3] not in seen:
            continue
        sizes = node.types[0].shape[1:]
        if is_channels_first(sizes):
            rows, *size = sizes
            advise(
                f"the images {node.types[0]} are {rows} row{'s' * (rows != 1)} of {size[0]} pixels "
                f"with {size[1]} channels: images are [N, H, W, C], channels last",
                mend=f"the shape {(*size, rows)}, and images.transpose(0, 2, 3, 1)",
                place=node.origin,
            )
