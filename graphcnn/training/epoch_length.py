"""Epochs of a number of steps that is chosen, whatever a pass through the data takes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np

from graphcnn.errors import DataError, OptionError
from graphcnn.ops.attributes import is_int
from graphcnn.training.feed import Drawn, Source


def of_steps(source: Source, steps: int, *, is_iterator: bool) -> Source:
    """Return a source whose epochs take so many steps: each goes on where the one before it has left off.

    Where a pass through the data ends, the next one begins, in another order where it is shuffled. So the
    batches of an epoch follow from its number alone. is_iterator: whether the source's batches come once, and
    begin with those of the epoch that is asked for first.
    """
    if source.steps is None:
        endless = _Endless(source, steps, is_iterator)
        return replace(source, epoch=endless.epoch, steps=steps, close=endless.close)
    length = source.steps

    def epoch(number: int, begin: int) -> Drawn:
        place, end = number * steps + begin, (number + 1) * steps
        while place < end:
            which, first = divmod(place, length)
            with closing(source.epoch(which, first)) as batches:
                yield from islice(batches, min(end - place, length - first))
            place = min(end, (which + 1) * length)

    return replace(source, epoch=epoch, steps=steps)


class _Endless:
    """Batches of an unknown number, gone through again and again, in epochs of so many steps."""

    def __init__(self, source: Source, steps: int, is_iterator: bool) -> None:
        self._source = source
        self._steps = steps
        self._is_iterator = is_iterator
        self._batches: Drawn | None = None
        self._place = -1

    def close(self) -> None:
        """Draw no more."""
        if self._batches is not None:
            self._batches.close()

    def epoch(self, number: int, begin: int) -> Drawn:
        wanted = number * self._steps + begin
        if self._batches is None or not 0 <= self._place <= wanted:
            self.close()
            self._batches = self._passes()
            self._place = number * self._steps if self._is_iterator else 0
        while self._place < (number + 1) * self._steps:
            batch = next(self._batches, None)
            if batch is None:
                raise DataError(
                    f"the batches ended after {self._place - number * self._steps} of {self._steps} steps of "
                    f"epoch {number + 1}",
                    mend="pass a list, or another iterable that begins anew; or fewer steps_per_epoch",
                )
            self._place += 1
            if self._place > wanted:
                yield batch

    def _passes(self) -> Drawn:
        """Yield batches, pass by pass, as long as there are any."""
        number, is_empty = 0, False
        while not is_empty:
            is_empty = True
            with closing(self._source.epoch(number, 0)) as batches:
                for batch in batches:
                    is_empty = False
                    yield batch
            is_empty = is_empty or self._is_iterator
            number += 1


def check_steps(name: str, steps: object) -> None:
    """Raise OptionError unless this is a number of steps of at least 1."""
    if not is_int(steps, 1):
        raise OptionError(f"{name}={steps!r:.60} is not a number of steps of at least 1", mend=f"{name}=100")


def check_validation(data: object, split: object, every: object) -> None:
    """Raise OptionError for what `fit` is told of validation, where it does not fit together."""
    if split is not None and data is not None:
        raise OptionError("validation_data and validation_split are both given", mend="leave out one of them")
    is_number = isinstance(split, float | int | np.floating) and not isinstance(split, bool)
    if split is not None and not (is_number and 0 < split < 1):  # type: ignore[operator]
        raise OptionError(
            f"validation_split={split!r:.60} is not a share above 0 and below 1", mend="validation_split=0.1"
        )
    if every is None:
        return
    check_steps("validate_every", every)
    if data is None and split is None:
        raise OptionError(
            "validate_every evaluates within epochs, but there are no validation data",
            mend="validation_data=(images, labels), or validation_split=0.1",
        )
