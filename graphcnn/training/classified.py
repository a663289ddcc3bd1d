"""`model.classify(photographs)`: what a network takes images for, in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphcnn.arguments import known_methods
from graphcnn.arrays import Array
from graphcnn.data.decoding import require_pillow
from graphcnn.data.image_folder import wanted_images
from graphcnn.data.image_list import decoded_images, image_paths
from graphcnn.errors import FileError, OptionError
from graphcnn.interchange.files import write_atomically
from graphcnn.ir import format_shape
from graphcnn.rendering import as_html
from graphcnn.training.losses import BinaryCrossEntropy, CrossEntropy, Focal
from graphcnn.visible import visible
from graphcnn.warned import warn

if TYPE_CHECKING:
    from graphcnn.training.model_use import ModelUse

SHOWN: Final = 3
"""So many of the classes of an image are printed."""
LISTED: Final = 8


@known_methods()
@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """What images are taken for. It prints itself, a line for each image.

    classes: their names. probabilities: of each image and class  # float64 [n, classes]
    files: the path of each image, () of arrays. left_out: files that could not be loaded, with the reason.
    `found[0]` is the probabilities of the first image by class, the greatest first; `found.best` the names of
    what each is taken for.
    """

    classes: tuple[str, ...]
    probabilities: Array
    files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def best(self) -> tuple[str, ...]:
        """The class that each image is taken for."""
        return tuple(self.classes[number] for number in self.probabilities.argmax(axis=1))

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> dict[str, float]:
        """Return the probabilities of an image by class, the greatest first."""
        row = self.probabilities[index]
        order = np.argsort(-row, kind="stable")
        return {self.classes[number]: float(row[number]) for number in order}

    def __iter__(self) -> Iterator[dict[str, float]]:
        return (self[index] for index in range(len(self)))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write a row for each image, atomically: its file, its class, and the probabilities of all classes.

        Raises OSError where the file cannot be written.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["file", "class", *self.classes])
        for name, best, row in zip(self._names(), self.best, self.probabilities, strict=True):
            writer.writerow([name, best, *(f"{share:.6f}" for share in row)])
        write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))

    def _names(self) -> Sequence[str]:
        return self.files or [f"#{number}" for number in range(len(self))]

    def __str__(self) -> str:
        names = [visible(name) for name in self._names()]
        width = max(map(len, names), default=0)
        lines = []
        for name, found in zip(names, self, strict=True):
            said = (f"{visible(label)} {share:.1%}" for label, share in list(found.items())[:SHOWN])
            lines.append(f"{name:{width}}  {'   '.join(said)}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(str(self))


def classified(model: ModelUse, images: object, *, resize: str, views: Any = None) -> Classified:
    """Return what a model takes images for; see `Model.classify`."""
    names, is_one_of_them = _classes_of(model)
    shares = _shares if is_one_of_them else _answers
    many = images if isinstance(images, list | tuple) and images else [images]
    if all(isinstance(each, np.ndarray) for each in many):
        return Classified(names, shares(model.predict(images, views=views)))
    require_pillow()
    height, width, channels = _shape_of_images(model)
    wanted = wanted_images((height, width), resize, channels)
    files: list[str] = []
    left_out: list[str] = []
    found: list[Array] = []
    paths = image_paths(images)  # type: ignore[arg-type] # which is checked there
    for some in decoded_images(paths, wanted):
        files += map(str, some.files)
        left_out += [f"{path}: {reason}" for path, reason in some.left_out]
        if some.images:
            found.append(shares(model.predict(np.stack(some.images), views=views)))
    if not found:
        only = len(paths) == 1
        raise FileError(
            f"{left_out[0]}." if only else f"none of the {len(paths):,} files can be loaded.",
            facts=[] if only else left_out[:LISTED],
            mend="check that these are images.",
        )
    if left_out:
        _warn(left_out, len(paths))
    return Classified(names, np.concatenate(found), tuple(files), tuple(left_out))


def _classes_of(model: ModelUse) -> tuple[tuple[str, ...], bool]:
    """Return the names of the classes, and whether an image is of one of them alone."""
    types = list(model.forward_graph.outputs.values())
    losses = [head.loss for head in model.heads if head.output in model.forward_graph.outputs]
    known = [None, *(type(loss) for loss in losses)][-1]
    is_known = known is None or issubclass(known, CrossEntropy | BinaryCrossEntropy | Focal)
    if len(types) != 1 or types[0].type.rank != 2 or not is_known:
        raise OptionError(
            "classify is for networks of one output, [N, classes], that a loss of classes has trained",
            facts=[f"outputs: {', '.join(str(each.type) for each in types)}"],
            mend="model.predict(images)",
        )
    names = model.classes or tuple(map(str, range(types[0].type.static(1))))
    return names, known is None or issubclass(known, CrossEntropy)


def _shape_of_images(model: ModelUse) -> tuple[int, int, int]:
    inputs = [value.type.shape for value in model.forward_graph.inputs_with_role("data").values()]
    if len(inputs) == 1 and len(inputs[0]) == 4 and inputs[0][3] in (1, 3):
        height, width, channels = map(int, inputs[0][1:])
        return height, width, channels
    raise OptionError(
        "the network takes no images, grey or RGB, so that files cannot be loaded for it",
        facts=[f"it takes {', '.join(map(format_shape, inputs))}"],
        mend="model.classify(arrays)",
    )


def _shares(outputs: Array) -> Array:
    """Return the softmax of each row."""
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True), dtype=np.float64)
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _answers(outputs: Array) -> Array:
    """Return the sigmoid of each output."""
    answers: Array = 0.5 * (1.0 + np.tanh(0.5 * outputs.astype(np.float64)))
    return answers


def _warn(left_out: Sequence[str], count: int) -> None:
    more = [f"and {len(left_out) - LISTED} more"] if len(left_out) > LISTED else []
    said = [f"{len(left_out):,} of {count:,} files are left out", *left_out[:LISTED], *more]
    warn("\n  ".join(map(visible, said)))
