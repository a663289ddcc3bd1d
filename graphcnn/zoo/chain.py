"""What the families of networks share: layers in a row under PyTorch's names, and numbers of channels."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.dsl.layers import Layer
from graphcnn.dsl.tensor import Tensor
from graphcnn.errors import OptionError


def chain(x: Tensor, name: str, layers: Sequence[Layer]) -> Tensor:
    """Return x after all layers; each is named by its place, as in PyTorch's Sequential: `features.3`."""
    for place, layer in enumerate(layers):
        layer.name = f"{name}.{place}"
        x = layer(x)
    return x


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times the width of a network: at least 1, and rounded.

    Raises OptionError for a width that is not a number above 0.
    """
    _check_width(width)
    return max(1, round(channels * width))


def divisible(channels: float, width: float = 1.0) -> int:
    """Return a number of channels times the width, rounded to a multiple of 8 as MobileNets have it.

    At least 8, and never less than 9/10 of the product (Sandler et al., "MobileNetV2", the authors' code).
    """
    _check_width(width)
    product = channels * width
    rounded = max(8, int(product + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * product else rounded


def _check_width(width: object) -> None:
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < float("inf"):
        raise OptionError(
            f"width={width!r:.60} is not a number above 0",
            mend="width=0.5 halves the channels of every layer",
        )
