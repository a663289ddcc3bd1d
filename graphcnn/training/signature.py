"""The arrays that a model takes and gives: what becomes of those that users hand over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.data.batches import Batches
from graphcnn.errors import DataError
from graphcnn.ir import TensorType
from graphcnn.training.feeding import (
    Form,
    are_labels,
    as_inputs,
    as_targets,
    labels_fit,
    require_finite,
)

BatchesOf: TypeAlias = Iterable[tuple[Any, Any]]
"""An iterable of batches `(images, labels)`, to be gone through once per epoch."""


class Signature:
    """Of which types a model's inputs, output and targets are.

    inputs: by name. target: None for a model without a loss. only_input: the name of the input, "" where
    there are several; form: what its arrays are like.
    """

    def __init__(
        self, inputs: Mapping[str, TensorType], output: TensorType, target: TensorType | None
    ) -> None:
        self.inputs: Final = inputs
        self.output: Final = output
        self.target: Final = target
        self.only_input: Final = next(iter(inputs)) if len(inputs) == 1 else ""
        self.form: Final = Form(inputs[self.only_input]) if self.only_input else None
        self._target_form: Final = Form(target) if target is not None else None
        has_labels = target is not None and are_labels(target, output)
        self._classes: Final = output.static(1) if has_labels else 0

    def takes(self, x: object, y: object) -> bool:
        """Whether a batch can go to the backend as it is."""
        form, target = self.form, self._target_form
        if form is None or target is None or not form.fits(x) or not target.fits(y) or len(x) != len(y):
            return False
        return not self._classes or labels_fit(self._classes, y)

    def samples(self, inputs: Mapping[str, Array]) -> int:
        """Return how many samples a batch of inputs holds."""
        return next(len(array) for name, array in inputs.items() if self.inputs[name].has_batch)

    def as_targets(self, inputs: Mapping[str, Array], y: object) -> Array:
        """Return the targets of these inputs. Raises DataError where they do not fit."""
        assert self.target is not None
        return as_targets(self.target, self.output, y, self.samples(inputs))

    def source(self, x: object, y: object, batch_size: int, seed: int | None) -> Batches | BatchesOf:
        """Return arrays as checked batches, or the iterable of batches that was given.

        seed: of their order in each epoch; None keeps the order.
        """
        if y is None:
            if isinstance(x, np.ndarray) or not isinstance(x, Iterable):
                raise DataError(
                    "labels are missing", mend="pass images and labels, or an iterable of batches"
                )
            return x
        inputs = as_inputs(self.inputs, x)
        targets = self.as_targets(inputs, y)
        for name, array in inputs.items():
            require_finite(f"inputs {name!r}", array)
        require_finite("targets", targets)
        return Batches(*inputs.values(), targets, size=batch_size, seed=seed)

    def validation(
        self, data: tuple[object, object] | BatchesOf | None, batch_size: int
    ) -> Batches | BatchesOf | None:
        """Return the source of what `fit` takes as `validation_data`, if it is given any."""
        if data is None:
            return None
        if isinstance(data, tuple | list) and len(data) == 2:
            x, y = data
            if isinstance(data, tuple) or isinstance(x, np.ndarray | Mapping):
                return self.source(x, y, batch_size, None)
        return self.source(data, None, batch_size, None)

    def batches(self, source: Batches | BatchesOf, epoch: int) -> Iterator[tuple[dict[str, Array], Array]]:
        """Yield checked inputs and targets of each batch."""
        if isinstance(source, Batches):
            for *inputs, targets in source.epoch(epoch):
                yield dict(zip(self.inputs, inputs, strict=True)), targets
            return
        for batch in source:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise DataError(
                    "a batch is not a pair (images, labels)",
                    facts=[f"it is {type(batch).__name__}"],
                    mend="yield images, labels",
                )
            inputs_by_name = as_inputs(self.inputs, batch[0])
            for name, array in inputs_by_name.items():
                require_finite(f"inputs {name!r}", array)
            yield inputs_by_name, self.as_targets(inputs_by_name, batch[1])
