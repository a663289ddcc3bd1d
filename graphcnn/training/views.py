"""Views of images that a trained network is asked about: mirrored and shifted, and the answers averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


WeightedViews = Sequence[tuple[float, View]]


def weighted_views(
    views: object, inputs: Mapping[str, TensorType], outputs: Mapping[str, TensorType]
) -> WeightedViews:
    """Return what a user gives as `views=`, with weights that sum to 1.

    inputs, outputs: the types of the network's. Raises OptionError for what are no views, and for a network
    that takes something else than images, or returns maps, which views would move.
    """
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
    if isinstance(views, Views):
        return views.weighted()
    if isinstance(views, list | tuple) and views and all(map(callable, views)):
        return [(1 / len(views), view) for view in views]
    raise OptionError(
        f"views={views!r:.60} are neither gcn.Views nor a list of functions of images",
        mend="views=gcn.Views(mirror=True, shift=1); or views=[lambda images: images, my_view]",
    )


def averaged(
    outputs_of: Callable[[Array], Mapping[str, Array]], images: Array, views: WeightedViews
) -> dict[str, Array]:
    """Return the weighted mean of the outputs, by name, for each view of a batch of images."""
    mean: dict[str, Array] = {}
    for weight, view in views:
        for name, output in outputs_of(np.ascontiguousarray(view(images))).items():
            part = output * output.dtype.type(weight)
            mean[name] = mean[name] + part if name in mean else part
    return mean
