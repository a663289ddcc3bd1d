"""Views of images that a trained network is asked about: mirrored and shifted, and the answers averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.ir import TensorType
from graphcnn.ops.attributes import is_int
from graphcnn.training.options import refuse, require_flag

View = Callable[[Array], Array]


@known_arguments
@dataclass(frozen=True, slots=True)
class Views:
    """Images as they are, mirrored left to right, and shifted: `model.predict(images, views=gcn.Views())`.

    mirror: whether each is seen mirrored, too. shift: by so many pixels images are moved to the upper left
    and to the lower right, and what comes in at the border is reflected; 0 moves none. Both together count
    as much as what is not moved, and what is mirrored as much as what is not.
    """

    mirror: bool = True
    shift: int = 0

    def __post_init__(self) -> None:
        require_flag("mirror", self.mirror)
        if not is_int(self.shift, 0):
            refuse(f"shift={self.shift!r:.60} is not a number of pixels of at least 0", "shift=1")

    def weighted(self) -> list[tuple[float, View]]:
        """Return views with their weights, which sum to 1. A view is a function of images [N, H, W, C]."""
        moved: list[tuple[float, View]] = [(1.0, _as_it_is)]
        if self.shift:
            moved = [(0.5, _as_it_is), *((0.25, self._moved(first)) for first in (0, 2 * self.shift))]
        if not self.mirror:
            return moved
        return [(weight / 2, view) for weight, view in moved] + [
            (weight / 2, _mirrored(view)) for weight, view in moved
        ]

    def _moved(self, first: int) -> View:
        """Return the view that begins at this pixel, in both directions, of images with a border around."""
        width = self.shift

        def move(images: Array) -> Array:
            framed = np.pad(images, ((0, 0), (width, width), (width, width), (0, 0)), "reflect")
            rows, columns = images.shape[1:3]
            return framed[:, first : first + rows, first : first + columns]

        return move


def _as_it_is(images: Array) -> Array:
    return images


def _mirrored(view: View) -> View:
    return lambda images: view(images)[:, :, ::-1]


def averaged(
    predict: Callable[[Array], Any],
    inputs: Mapping[str, TensorType],
    outputs: Mapping[str, TensorType],
    x: object,
    views: Views | Sequence[View],
    size: int,
) -> Any:
    """Return the weighted mean of what a network says of each view, by batches of so many samples.

    predict: from images to outputs. inputs, outputs: their types. x: images [N, H, W, C], or as a dictionary.
    Raises OptionError for a network that takes something else, or returns maps, which views would move.
    """
    weighted = _checked(views)
    types = list(inputs.values())
    if len(types) != 1 or types[0].rank != 4:
        raise OptionError(
            "views are of images [N, H, W, C], and this network takes something else",
            facts=[f"inputs: {', '.join(map(str, types))}"],
            mend="leave out views",
        )
    maps = [name for name, type in outputs.items() if type.rank != 2]
    if maps:
        raise OptionError(
            f"the output {maps[0]!r} has a place for each pixel, which views would move",
            facts=[f"it is {outputs[maps[0]]}"],
            mend="leave out views; move the outputs of each view back, and average them, in NumPy",
        )
    images = np.asarray(next(iter(x.values())) if isinstance(x, Mapping) and len(x) == 1 else x)
    if images.ndim != 4:
        return predict(images)  # which says what is wrong with them
    parts = [
        _mean(predict, images[begin : begin + size], weighted)
        for begin in range(0, max(len(images), 1), size)
    ]
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def _mean(predict: Callable[[Array], Any], images: Array, weighted: Sequence[tuple[float, View]]) -> Any:
    """Return the weighted mean of what a network says of each view of a batch."""
    mean: Any = None
    for weight, view in weighted:
        said = predict(np.ascontiguousarray(view(images)))
        part = (
            {name: array * array.dtype.type(weight) for name, array in said.items()}
            if isinstance(said, dict)
            else said * said.dtype.type(weight)
        )
        if mean is None:
            mean = part
        elif isinstance(part, dict):
            mean = {name: mean[name] + array for name, array in part.items()}
        else:
            mean = mean + part
    return mean


def _checked(views: object) -> list[tuple[float, View]]:
    if isinstance(views, Views):
        return views.weighted()
    if isinstance(views, list | tuple) and views and all(map(callable, views)):
        return [(1 / len(views), view) for view in views]
    raise OptionError(
        f"views={views!r:.60} are neither gcn.Views nor a list of functions of images",
        mend="views=gcn.Views(mirror=True, shift=1); or views=[lambda images: images, my_view]",
    )
