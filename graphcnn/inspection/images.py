"""Feature maps and filters as images: many small ones in a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from graphcnn.arguments import known_methods
from graphcnn.arrays import Array
from graphcnn.figures import new_figure, picture
from graphcnn.interchange.files import as_path, write_atomically
from graphcnn.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 7.0
"""Inches along the longer side of a figure."""
SMALLEST_TILE = 24
"""Pixels of a tile in a figure, at least, so that the lines between tiles stay thin."""


@known_methods()
@dataclass(frozen=True, slots=True, eq=False)
class ImageGrid:
    """Images of one size in a grid, with a line of NaN between them.

    array: [rows, columns] of the whole grid, or [rows, columns, 3] in colour. tiles: [images, h, w] or
    [images, h, w, 3], as they were. columns: images in a row. is_signed: whether 0 is the middle of the
    colours, as for filters; else dark is the least.
    """

    title: str
    tiles: Array
    columns: int
    is_signed: bool = False

    @property
    def array(self) -> Array:
        return _joined(self.tiles, self.columns)

    def plot(self) -> Figure:
        """Return a matplotlib figure. Raises OptionError where matplotlib is not installed."""
        figure = new_figure(layout="constrained")
        import matplotlib as mpl

        enlarged = max(1, SMALLEST_TILE // max(self.tiles.shape[1:3]))
        grid = _joined(self.tiles.repeat(enlarged, 1).repeat(enlarged, 2), self.columns)
        height, width = grid.shape[:2]
        scale = LARGEST / max(height, width)
        figure.set_size_inches(max(width * scale, 3), max(height * scale, 1) + 0.5)
        axes = figure.subplots()
        axes.set(xticks=[], yticks=[])
        axes.set_title(visible(self.title), parse_math=False)
        axes.spines[:].set_visible(False)
        finite = self.tiles[np.isfinite(self.tiles)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if grid.ndim == 3:
            shown = (grid - low) / (high - low or 1.0)
            axes.imshow(np.where(np.isnan(shown), 1.0, shown), interpolation="nearest")
            return figure
        named = mpl.colormaps["RdBu_r" if self.is_signed else "viridis"]
        colours = named.with_extremes(bad="white")
        if self.is_signed:
            high = max(abs(low), abs(high))
            low = -high
        image = axes.imshow(grid, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        figure.colorbar(image, ax=axes, shrink=0.8)
        return figure

    def save(self, path: str | PathLike[str]) -> None:
        """Write the figure, in the format that the name ends with, atomically.

        Raises OptionError as `plot` does and for a format that matplotlib does not know, and OSError.
        """
        write_atomically(path, self._drawn(as_path(path).suffix[1:]))

    def _repr_png_(self) -> bytes:
        return self._drawn("png")

    def _drawn(self, format: str) -> bytes:
        return picture(self.plot(), format)


def _joined(tiles: Array, columns: int) -> Array:
    count, height, width, *colours = tiles.shape
    rows = -(-count // columns)
    grid = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *colours), np.nan)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (height + 1), column * (width + 1)
        grid[top : top + height, left : left + width] = tile
    return grid


def feature_map_grid(title: str, maps: Array, columns: int | None) -> ImageGrid:
    """Return the channels of one sample's output, [H, W, C], as images."""
    return ImageGrid(title, np.moveaxis(maps, -1, 0), columns or _square(maps.shape[-1]))


def filter_grid(title: str, filters: Array, columns: int | None, *, is_colour: bool) -> ImageGrid:
    """Return filters [k1, k2, C, D] as images: an image per filter where there is one channel or `is_colour`.

    Otherwise there is a row per filter and in it an image per channel.
    """
    channels, count = filters.shape[2:]
    if is_colour:
        return ImageGrid(title, np.moveaxis(filters, -1, 0), columns or _square(count))
    tiles = filters.transpose(3, 2, 0, 1).reshape(count * channels, *filters.shape[:2])
    return ImageGrid(title, tiles, columns or (_square(count) if channels == 1 else channels), is_signed=True)


def _square(count: int) -> int:
    return max(1, math.ceil(math.sqrt(count)))
