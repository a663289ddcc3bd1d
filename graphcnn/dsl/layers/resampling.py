"""Layers that change the size of images: upsampling, and pixels from channels and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeAlias, get_args

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.arguments import Size, count, pair, require_images
from graphcnn.dsl.layers.base import OneValue
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import Value
from graphcnn.ops.attributes import Pair

UpsampleMode: TypeAlias = Literal["nearest", "bilinear"]
OTHER_NAMES: Final = {"linear": "bilinear", "trilinear": "bilinear", "bicubic": "bilinear", "area": "nearest"}


@dataclass(eq=False)
class Upsample2d(OneValue):
    """Images `scale` times as large, [N, H, W, C] → [N, H·scale, W·scale, C].

    scale: how many times as many rows and columns; or (vertical, horizontal).
    mode: "nearest" repeats each pixel, "bilinear" draws lines between the middles of neighbours.
    align_corners: for "bilinear", whether the middles of the corner pixels stay where they are; by default
    the corners of the whole images do.
    """

    scale: Size
    mode: UpsampleMode = "nearest"
    align_corners: bool = False

    kind: ClassVar[str] = "upsample"

    def check(self) -> None:
        check_upsampling(self.scale, self.mode, self.align_corners)

    def build(self, build: Builder, *values: Value) -> Value:
        return upsampled(build, "Upsample2d", values[0], self.scale, self.mode, self.align_corners)


@dataclass(eq=False)
class PixelShuffle(OneValue):
    """Channels as pixels, [N, H, W, C·factor²] → [N, H·factor, W·factor, C]."""

    factor: int

    kind: ClassVar[str] = "pixel_shuffle"

    def check(self) -> None:
        check_factor(self.factor)

    def build(self, build: Builder, *values: Value) -> Value:
        return shuffled(build, "PixelShuffle", values[0], self.factor)


@dataclass(eq=False)
class PixelUnshuffle(OneValue):
    """Pixels as channels, [N, H·factor, W·factor, C] → [N, H, W, C·factor²]."""

    factor: int

    kind: ClassVar[str] = "pixel_unshuffle"

    def check(self) -> None:
        check_factor(self.factor)

    def build(self, build: Builder, *values: Value) -> Value:
        return unshuffled(build, "PixelUnshuffle", values[0], self.factor)


def check_upsampling(scale: object, mode: object, align_corners: object) -> Pair:
    """Return the scale of rows and columns. Raises OptionError for arguments that are not allowed."""
    scales = pair("scale", scale)
    if mode not in get_args(UpsampleMode):
        other = OTHER_NAMES.get(mode) if isinstance(mode, str) else None
        raise OptionError(
            f"mode={mode!r} is no way of upsampling",
            facts=[f"there are {', '.join(map(repr, get_args(UpsampleMode)))}"],
            mend=f"mode={other or 'nearest'!r}",
        )
    if not isinstance(align_corners, bool) or (align_corners and mode != "bilinear"):
        raise OptionError(
            f"align_corners={align_corners!r} does not go with mode={mode!r}",
            mend='leave it out, or mode="bilinear", align_corners=True',
        )
    return scales


def upsampled(
    build: Builder, name: str, x: Value, scale: object, mode: object, align_corners: object
) -> Value:
    """Append what `upsample2d` returns."""
    scales = check_upsampling(scale, mode, align_corners)
    require_images(name, x)
    height, width = (x.type.static(axis) * factor for axis, factor in zip((1, 2), scales, strict=True))
    if mode == "bilinear":
        return interpolated(build, x, (height, width), bool(align_corners))
    return repeated(build, x, scales)


def repeated(build: Builder, x: Value, scales: Pair) -> Value:
    """Append images whose pixels are repeated."""
    front, height, width, channels = x.type.shape
    apart = build(ops.Reshape((front, height, 1, width, 1, channels)), x)
    wide = build(ops.Broadcast((front, height, scales[0], width, scales[1], channels)), apart)
    rows, columns = x.type.static(1) * scales[0], x.type.static(2) * scales[1]
    return build(ops.Reshape((front, rows, columns, channels)), wide)


def interpolated(build: Builder, x: Value, size: Pair, align_corners: bool) -> Value:
    """Append images of another size, along rows and then along columns; what grows most comes last."""
    axes = sorted((1, 2), key=lambda axis: size[axis - 1] / x.type.static(axis))
    for axis in axes:
        if size[axis - 1] != x.type.static(axis):
            x = build(ops.Interpolate(axis, size[axis - 1], align_corners), x)
    return x


def shuffled(build: Builder, name: str, x: Value, factor: object) -> Value:
    """Append what `pixel_shuffle` returns."""
    require_images(name, x)
    block = check_factor(factor)
    front, (height, width, channels) = x.type.shape[0], map(int, x.type.shape[1:])
    if channels % block**2:
        raise ShapeError(
            f"{name} by {block} makes pixels of {block**2} channels each, but {x.type} has {channels}",
            mend=f"put gcn.Conv2d(filters, 3) before it, where filters is a multiple of {block**2}",
        )
    kept = channels // block**2
    apart = build(ops.Reshape((front, height, width, kept, block, block)), x)
    turned = build(ops.Transpose((0, 1, 4, 2, 5, 3)), apart)
    return build(ops.Reshape((front, height * block, width * block, kept)), turned)


def unshuffled(build: Builder, name: str, x: Value, factor: object) -> Value:
    """Append what `pixel_unshuffle` returns."""
    require_images(name, x)
    block = check_factor(factor)
    front, (height, width, channels) = x.type.shape[0], map(int, x.type.shape[1:])
    if height % block or width % block:
        raise ShapeError(
            f"{name} by {block} takes images of whole blocks, but {x.type} has {height} rows and "
            f"{width} columns",
            mend="gcn.pad or crop it before: x[:, :rows, :columns]",
        )
    apart = build(ops.Reshape((front, height // block, block, width // block, block, channels)), x)
    turned = build(ops.Transpose((0, 1, 3, 5, 2, 4)), apart)
    return build(ops.Reshape((front, height // block, width // block, channels * block**2)), turned)


def check_factor(factor: object) -> int:
    """Return the factor. Raises OptionError for what is none."""
    count("factor", factor)
    assert isinstance(factor, int)
    return factor
