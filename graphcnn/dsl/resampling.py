"""Functions that change the size of images, by repeating pixels, between them, or from channels."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.arguments import Size, pair, require_images
from graphcnn.dsl.layers.resampling import UpsampleMode, interpolated, shuffled, unshuffled, upsampled
from graphcnn.dsl.tensor import Tensor, apply_function
from graphcnn.errors import OptionError
from graphcnn.ir import Value


@known_arguments
def upsample2d(x: Tensor, scale: Size, mode: UpsampleMode = "nearest", align_corners: bool = False) -> Tensor:
    """Return images `scale` times as large, [N, H, W, C] → [N, H·scale, W·scale, C].

    scale: how many times as many rows and columns; or (vertical, horizontal).
    mode: "nearest" repeats each pixel, "bilinear" draws lines between the middles of neighbours.
    align_corners: for "bilinear", whether corner pixels stay where they are, as their middles; by default the
    corners of the whole images stay.
    """
    return apply_function(
        lambda build, value: upsampled(build, "upsample2d", value, scale, mode, align_corners),
        "upsample2d",
        x,
    )


@known_arguments
def resize2d(x: Tensor, size: Size, align_corners: bool = False) -> Tensor:
    """Return images of any size, [N, H, W, C] → [N, size, size, C], on lines between neighbouring pixels.

    size: rows and columns; or (rows, columns). align_corners: as in `upsample2d`. Smaller images are read at
    places that are further apart, and not averaged.
    """

    def resized(build: Builder, value: Value) -> Value:
        require_images("resize2d", value)
        if not isinstance(align_corners, bool):
            raise OptionError(
                f"align_corners={align_corners!r} is neither True nor False", mend="align_corners=True"
            )
        return interpolated(build, value, pair("size", size), align_corners)

    return apply_function(resized, "resize2d", x)


@known_arguments
def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """Return channels as pixels, [N, H, W, C·factor²] → [N, H·factor, W·factor, C].

    Channel c·factor² + i·factor + j becomes row i and column j of the block of channel c, as in PyTorch
    (Shi et al., "Real-Time Single Image and Video Super-Resolution", 2016).
    """
    return apply_function(
        lambda build, value: shuffled(build, "pixel_shuffle", value, factor), "pixel_shuffle", x
    )


@known_arguments
def pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    """Return pixels as channels, [N, H·factor, W·factor, C] → [N, H, W, C·factor²].

    It undoes `pixel_shuffle`.
    """
    return apply_function(
        lambda build, value: unshuffled(build, "pixel_unshuffle", value, factor), "pixel_unshuffle", x
    )
