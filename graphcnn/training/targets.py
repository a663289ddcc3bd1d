"""Checks of the targets that users hand to fit and evaluate, and mends of what is usually given instead."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import DataError
from graphcnn.inputs import as_input, converts, fitting, is_text
from graphcnn.ir import TensorType, format_shape
from graphcnn.training.feeding import Form, as_array, require_equal_lengths, require_finite
from graphcnn.training.losses import CrossEntropy, KLDivergence
from graphcnn.training.objective import Head

_UNSIGNED = np.dtype(np.uint64)
_GREATEST_BYTE = 255
MOST = 1.001
"""Shares of classes sum to 1, but for rounding; to less where a sample counts less."""


class TargetForm(Form):
    """What an array has to be like to be the targets of an output as it is."""

    def __init__(self, head: Head) -> None:
        super().__init__(head.target_type)
        self._classes = head.classes if head.has_labels else 0
        self._range = head.target_range
        self._has_shares = _takes_shares(head)

    def holds(self, targets: Array) -> bool:
        """Return whether numbers that fit this form are such as the loss takes."""
        if self._range is not None:
            return _is_within(targets, self._range) and not (self._has_shares and _exceed_one(targets))
        if not self._classes:
            return True
        # seen as unsigned, negative labels are huge
        return bool(0 <= targets.item(targets.view(_UNSIGNED).argmax()) < self._classes)


def as_targets(head: Head, targets: object, samples: int) -> Array:
    """Return the targets of an output as an array of the type that its loss takes; labels in any integers.

    Raises DataError for a wrong shape, element type or number of samples, and for numbers that the loss does
    not take: labels of no class, shares that are not from 0 to 1.
    """
    type = head.target_type
    name = "labels" if head.has_labels else "targets"
    given = as_array(name, targets)
    if head.has_labels:
        _require_labels(head, given)
    if not _fits(type, given) and not is_text(given):
        raise DataError(
            f"{name} have the shape {format_shape(given.shape)}, but {format_shape(type.shape)} is needed",
            facts=_facts(head, given),
            mend=_mend(head, name, given),
        )
    if given.ndim:
        require_equal_lengths({"inputs": samples, name: len(given)})
    checked = fitting if head.has_labels else as_input
    array = checked(f"input {name!r}", type, given, called=name)
    if head.has_labels:
        _require_label_range(array, head.classes, getattr(head.loss, "ignore", None))
    elif head.target_range is not None:
        _require_range(head, array, head.target_range)
        _require_shares(head, array)
    return array


def _fits(type: TensorType, given: Array) -> bool:
    return given.ndim == type.rank and given.shape[1:] == type.shape[1:]


# Labels


def _require_labels(head: Head, given: Array) -> None:
    """Raise DataError for an array that holds no labels."""
    output, type = head.type, head.target_type
    if given.ndim == output.rank and given.shape[1:] == output.shape[1:]:
        _refuse_rows(given, "sample" if type.rank == 1 else "pixel")
    if given.dtype.kind not in "iu" and given.size:
        _refuse_labels(given, type)


def _refuse_rows(given: Array, each: str) -> NoReturn:
    """Raise DataError for an array with a number for each class, where a label is needed."""
    shape, needed = format_shape(given.shape), f"but one integer for each {each} is needed"
    is_number = given.dtype.kind in "biuf"
    if is_number and np.allclose(given.sum(axis=-1), 1, atol=MOST - 1):
        is_float = given.dtype.kind == "f"
        raise DataError(
            f"labels {shape} look one-hot, {needed}",
            facts=["gcn.CrossEntropy(soft_targets=True) takes shares of classes"] if is_float else [],
            mend=f"labels.argmax(axis={given.ndim - 1})",
        )
    is_share = is_number and given.size and given.min() >= 0 and given.max() <= 1
    raise DataError(
        f"labels have the shape {shape}, {needed}",
        facts=["their rows do not sum to 1, so that they are no shares of classes"],
        mend="loss=gcn.BinaryCrossEntropy(), for several answers at once"
        if is_share
        else "loss=gcn.SquaredError(), to predict numbers",
    )


def _refuse_labels(labels: Array, type: TensorType) -> None:
    """Raise DataError for labels that are no integers, with advice that works for them."""
    name = "text" if is_text(labels) else str(labels.dtype)
    problem = f"labels are {name}, but integers are needed"
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.trunc(labels)):
        raise DataError(
            problem,
            facts=["they are not whole numbers"],
            mend="number the classes from 0; to predict numbers, compile with loss=gcn.SquaredError()",
        )
    if converts(labels, type.dtype):
        raise DataError(problem, mend=f"labels.astype({type.dtype!r})")
    try:
        classes = np.unique(labels)
    except TypeError:  # values that cannot be put in order, such as None beside text
        raise DataError(problem, mend="give every sample the number of its class, from 0") from None
    raise DataError(
        problem,
        facts=[f"{len(classes)} classes: {', '.join(map(str, classes[:8]))}"[:200]],
        mend="number the classes: classes, labels = np.unique(labels, return_inverse=True)",
    )


def _require_label_range(labels: Array, classes: int, ignore: int | None) -> None:
    wrong = (labels < 0) | (labels >= classes)
    if ignore is not None:
        wrong &= labels != ignore
    if not wrong.any():
        return
    first = np.unravel_index(int(wrong.argmax()), labels.shape)
    held = np.unique(labels if ignore is None else labels[labels != ignore])
    unknown = held[(held < 0) | (held >= classes)]
    least, greatest = int(held[0]), int(held[-1])
    of = f"sample {first[0]}" + (f", pixel {tuple(map(int, first[1:]))}" if labels.ndim > 1 else "")
    if least >= 1 and greatest <= classes:
        mend = "renumber the labels from 0: labels - 1"
    elif len(held) == 2 and len(unknown) == 1 and least == 0:
        mend = (
            f"(labels == {unknown[0]}).astype('int64'), where {unknown[0]} is the second class; "
            f"gcn.CrossEntropy(ignore={unknown[0]}), where it is none"
        )
    elif labels.ndim > 1 and len(unknown) == 1:
        mend = f"gcn.CrossEntropy(ignore={unknown[0]}), where that is no class"
    elif len(unknown) == 1 and least < 0:
        mend = (
            f"leave out the samples without a class: known = labels != {least}; images[known], labels[known]"
        )
    elif len(held) <= classes:
        mend = "renumber the labels from 0: classes, labels = np.unique(labels, return_inverse=True)"
    else:
        last = f"Dense layer {len(held)} units" if labels.ndim == 1 else f"layer {len(held)} filters"
        mend = f"renumber the labels from 0, and give the last {last}"
    raise DataError(
        f"label {labels[first]} of {of} is out of range",
        facts=[
            f"the network has {classes} outputs, so labels are 0 to {classes - 1}",
            f"they are {least} to {greatest}",
        ],
        mend=mend,
    )


# Shapes


def _facts(head: Head, given: Array) -> list[str]:
    """Return what is known of the output, and of what was given for it."""
    if head.has_labels and head.target_type.rank == 1 and given.ndim > 1 and given.shape[1:] != (1,):
        return [f"the network gives {head.classes} numbers for each sample, one for each class"]
    made = f", made by {head.maker}" if head.maker else ""
    return [f"the output is {format_shape(head.type.shape)}{made}"]


def _mend(head: Head, name: str, given: Array) -> str:
    """Return what makes targets fit, or the output fit them, as far as the shapes tell."""
    wanted, found = head.target_type.shape, given.shape
    rank, axes = len(wanted), given.ndim
    if axes == rank + 1 and found[-1] == 1:
        return f"drop the last axis: {name}[..., 0]"
    if axes == rank + 1 and axes > 2 and found[1] == 1 and found[2:] == wanted[1:]:
        return f"drop the axis of channels: {name}[:, 0]"
    if axes == rank - 1 and wanted[-1] == 1 and found[1:] == wanted[1:-1]:
        return f"add the last axis: {name}[..., None]"
    if rank == axes == 4 and (*found[2:], found[1]) == wanted[1:]:
        return f"move the channels last: {name}.transpose(0, 2, 3, 1)"
    if not head.has_labels and (labels := _class_numbers(head, given)):
        one_hot = f"np.eye({head.classes}, dtype={head.target_type.dtype!r})[{labels}]"
        return f"{one_hot}, or a loss of labels, gcn.CrossEntropy()"
    if head.has_labels and rank == 1:
        return "give one number of a class for each sample: [3, 0, 1]"
    if axes == rank and axes > 2 and found[1:3] != wanted[1:3]:
        return _mend_of_size(name, found[1:3], (int(wanted[1]), int(wanted[2])))
    if axes == rank and found[1:-1] == wanted[1:-1]:
        count = f"gcn.Dense({found[-1]})" if rank == 2 else f"gcn.Conv2d({found[-1]}, 1)"
        return f"end the network with {count}, if each target has {found[-1]} numbers"
    return f"give an array of the shape {format_shape(wanted)}"


def _class_numbers(head: Head, given: Array) -> str:
    """Return how numbers of classes stand in an array that is given where each class has a place, or ""."""
    wanted, found = head.target_type.shape, given.shape
    if given.dtype.kind not in "iu" or not given.size or len(wanted) < 2:
        return ""
    if given.min() < 0 or given.max() >= head.classes:
        return ""
    if found[1:] == wanted[1:-1]:
        return "labels"
    return "labels[..., 0]" if found[1:] == (*wanted[1:-1], 1) else ""


def _mend_of_size(name: str, target: tuple[int, ...], output: tuple[int, ...]) -> str:
    """Return what brings the heights and widths of targets and output together."""
    (height, width), (rows, columns) = target, output
    factor = height // rows
    if factor > 1 and (height, width) == (factor * rows, factor * columns):
        return f"end the network with gcn.Upsample2d({factor}): its output is then as large as the targets"
    top, left = (height - rows) // 2, (width - columns) // 2
    if min(top, left) < 0 or 2 * max(top, left) >= max(height, width) // 2:
        return "give targets of the size of the output"
    return (
        'padding="same" in the convolutions keeps the size; or cut the edge off: '
        f"{name}[:, {top}:{top + rows}, {left}:{left + columns}]"
    )


# Numbers


def _is_within(targets: Array, range: tuple[float, float]) -> bool:
    return bool(targets.min() >= range[0] and targets.max() <= range[1])


def _require_range(head: Head, targets: Array, range: tuple[float, float]) -> None:
    """Raise DataError for targets beyond what the loss takes; those that are not finite have an error too."""
    if _is_within(targets, range):
        return
    require_finite("targets", targets)
    least, greatest = float(targets.min()), float(targets.max())
    first = np.unravel_index(int(((targets < range[0]) | (targets > range[1])).argmax()), targets.shape)
    raise DataError(
        f"targets of {type(head.loss).__name__} are from {range[0]:g} to {range[1]:g}, "
        f"but sample {int(first[0])} has {targets[first]:g}",
        facts=[f"they are {least:g} to {greatest:g}"],
        mend=_mend_of_range(targets, least, greatest),
    )


def _takes_shares(head: Head) -> bool:
    """Whether the targets of an output are shares of classes, which sum to 1."""
    return isinstance(head.loss, CrossEntropy | KLDivergence) and not head.has_labels


def _exceed_one(targets: Array) -> bool:
    return bool(targets.sum(axis=-1).max() > MOST)


def _require_shares(head: Head, targets: Array) -> None:
    """Raise DataError for shares of classes that are more than a whole."""
    if not _takes_shares(head) or not _exceed_one(targets):
        return
    sums = targets.sum(axis=-1)
    raise DataError(
        f"targets of {type(head.loss).__name__} are shares of classes, but they sum to up to {sums.max():g}",
        mend="gcn.BinaryCrossEntropy(), where several classes hold at once; or "
        "targets / targets.sum(axis=-1, keepdims=True)",
    )


def _mend_of_range(targets: Array, least: float, greatest: float) -> str:
    """Return what makes shares from 0 to 1 of the numbers that are usually given instead."""
    held = np.unique(targets)
    if len(held) <= 2:
        return f"(targets == {greatest:g}).astype({str(targets.dtype)!r}), where {greatest:g} means yes"
    if np.array_equal(held, np.trunc(held)) and least >= 0 and greatest < len(held) + 1:
        return "these look like numbers of classes: gcn.CrossEntropy() with an output for each class"
    if least >= 0:
        return f"targets / {_GREATEST_BYTE if 100 < greatest <= _GREATEST_BYTE else 'targets.max()'}"
    return "(targets - targets.min()) / (targets.max() - targets.min()); for any numbers, gcn.SquaredError()"
