"""Orders of other frameworks that pass here and mean something else: channels first, in calls and images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from graphcnn import ops
from graphcnn.arguments import call
from graphcnn.errors import GraphcnnWarning, OptionError, ShapeError
from graphcnn.ir import Graph, Input, Origin

if TYPE_CHECKING:
    from graphcnn.dsl.layers.base import Layer

KERNELS: Final = (1, 3, 5, 7)
TRANSPOSED_KERNELS: Final = (2, 3, 4, 5)
"""The kernels that are common."""
MANY: Final = 12
"""Kernels below are odd, most often, and numbers of filters even."""
LARGE: Final = 16
"""Images that are so wide, with as many channels and three rows, have their channels in front."""


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
        warn(
            f"{filters} filter{'s' * (filters != 1)} with a kernel of {kernel} and a stride of {stride}: in "
            f"PyTorch's order, {filters} channels that come in, {kernel} filters and a kernel of {stride}",
            mend=f"leave out the channels that come in: {meant}; or, where it is meant, name the stride: "
            f"gcn.{name}({filters}, {kernel}, stride={stride})",
            layer=layer.title,
            place=layer.origin,
        )


def warn_of_channels_in_front(graph: Graph) -> None:
    """Warn of a convolution's images of a shape as (3, 32, 32): 3 rows of 32 pixels, with 32 channels."""
    warned: set[int] = set()
    for _, node in graph.items():
        if not isinstance(node.op, ops.Correlate2d | ops.Convolve2d):
            continue
        images = graph.node(node.operands[0].key)
        channels, *size = images.types[0].shape[1:]
        is_data = isinstance(images.op, Input) and images.op.role == "data"
        if not is_data or node.operands[0].key in warned or channels not in (1, 3):
            continue
        if size[0] == size[1] and isinstance(size[0], int) and size[0] >= LARGE:
            warned.add(node.operands[0].key)
            warn(
                f"the images {images.types[0]} are {channels} row{'s' * (channels != 1)} of {size[0]} pixels "
                f"with {size[1]} channels: images are [N, H, W, C], channels last",
                mend=f"the shape {(*size, channels)}, and images.transpose(0, 2, 3, 1)",
                layer="",
                place=images.origin,
            )


def warn(said: str, *, mend: str, layer: str, place: Origin) -> None:
    """Warn of what is allowed, but hardly meant, at a line of the user's."""
    # an error, which is not raised, writes what errors say: layer, line, source, mend
    advice = OptionError(said, mend=mend)
    advice.located(layer=layer, file=place.file, line=place.line)
    warnings.warn_explicit(str(advice), GraphcnnWarning, place.file or "graphcnn", place.line)
