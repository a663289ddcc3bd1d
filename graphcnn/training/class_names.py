"""The names of the classes that a network tells apart, as a model has them."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.data.dataset import Dataset
from graphcnn.errors import OptionError
from graphcnn.ir import format_shape
from graphcnn.warned import warn


def checked_classes(names: object, outputs: Sequence[tuple[int | str, ...]]) -> tuple[str, ...]:
    """Return names of classes. outputs: the shapes of a network's outputs.

    Raises OptionError unless they are text, as many as an output has numbers; there may be none.
    """
    counts = [shape[-1] for shape in outputs if len(shape) > 1]
    is_list = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not is_list or (names and len(names) not in counts):  # type: ignore[arg-type] # it is a list there
        raise OptionError(
            f"classes={names!r:.80} are no names for the outputs {', '.join(map(format_shape, outputs))}",
            mend=f"a list of {counts[0] if counts else 'as many'} names, in the order of the labels",
        )
    return tuple(names)  # type: ignore[arg-type]


def classes_to_train(data: object, outputs: Sequence[tuple[int | str, ...]]) -> tuple[str, ...]:
    """Return the names of classes of a Dataset that a network is trained on, or () where it says none.

    Warns of a network with more outputs than there are classes, and of images that are all of one class.
    """
    if not isinstance(data, Dataset) or len(outputs) != 1 or len(outputs[0]) < 2:
        return ()
    count, names = outputs[0][-1], data.classes
    if isinstance(count, int) and 1 < len(names) < count:
        _warn(
            f"the network has {count:,} outputs, and there are {len(names):,} classes",
            f"make it with {len(names)}: gcn.zoo.resnet20(classes={len(names)}), gcn.Dense({len(names)})",
        )
    if len(names) == 1 and count != 1:
        _warn(
            f"all images are of one class, {names[0]!r:.60}: there is nothing to tell apart",
            "put the images of each class into a folder of its own",
        )
    return names if len(names) == count else ()


def _warn(said: str, mend: str) -> None:
    warn(f"{said}\n  Mend: {mend}")
