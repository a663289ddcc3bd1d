"""Where a call of `fit` is: what another process needs to go on with the next step, as JSON and tensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeVar

import numpy as np

from graphcnn.arrays import Array
from graphcnn.data.fingerprint import Fingerprint
from graphcnn.errors import DataError, FileError, OptionError
from graphcnn.ops.attributes import is_int
from graphcnn.training.callbacks import Callback

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """The state of a callback. name: of its class. values: of JSON. arrays: by name, or groups of them."""

    name: str
    values: Mapping[str, object]
    arrays: Mapping[str, Array | Mapping[str, Array]] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """A call of `fit`, and where it is.

    first, last: the numbers of its epochs. options: its arguments that decide which steps are taken, by name.
    backend, backend_options, processor: what decides how they round. data: the fingerprints of all arrays by
    name. every, keep: of its checkpoints.

    steps_done: of the epoch after the last one that is done. totals: of these steps, as `Totals.state` says.
    batch: the fingerprints of the latest batch, where batches cannot be had again. scheduled_rate: the rate
    that a schedule has set. has_ended: whether a callback has ended training. callbacks: what they keep.
    """

    first: int
    last: int
    options: Mapping[str, object]
    backend: str
    backend_options: Mapping[str, object]
    processor: str
    data: Mapping[str, Fingerprint]
    every: int | str
    keep: int
    steps_done: int = 0
    totals: Mapping[str, object] = field(default_factory=dict)
    batch: Mapping[str, Fingerprint] = field(default_factory=dict)
    scheduled_rate: float | None = None
    has_ended: bool = False
    callbacks: tuple[Kept, ...] = ()

    def remaining(self, numbers: range, epochs_done: int) -> range:
        """Return which of the epochs of a call that goes on with this one are left, from the first on."""
        if numbers.start != self.first:
            raise OptionError(
                f"initial_epoch={numbers.start - 1}, but the training that goes on began with epoch "
                f"{self.first}",
                mend=f"leave it out, or initial_epoch={self.first - 1}",
            )
        under_way = epochs_done + (self.steps_done > 0)
        if numbers[-1] < under_way:
            raise OptionError(
                f"epochs={len(numbers)}, but the training that goes on has come to epoch {under_way}",
                mend=f"epochs={self.last - self.first + 1}, as when it began, or more",
            )
        if self.has_ended and numbers[-1] <= self.last:
            return range(0)
        return range(epochs_done + 1, numbers.stop)


CONSTANT: Final = tuple(each.name for each in fields(Training))
"""The fields that a file has as they are, but for `callbacks`."""


def chosen_options(
    given: Mapping[str, object], defaults: Mapping[str, object], begun: Training | None
) -> dict[str, Any]:
    """Return arguments of `fit` by name: what is given, or else what the training that goes on has.

    given: None for what is not given. Raises OptionError where both are there and differ.
    """
    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
    if begun is None:
        return {name: defaults[name] if value is None else value for name, value in given.items()}
    before = {**defaults, **begun.options}
    for name, value in given.items():
        if value is not None and value != before[name]:
            raise OptionError(
                f"{name}={value!r:.60}, but the training that goes on has {name}={before[name]!r:.60}",
                facts=["with another one, its steps would be others"],
                mend=f"leave it out, or {name}={before[name]!r:.60}",
            )
    return {name: before[name] for name in given}


def require_same_data(
    before: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint], otherwise: str
) -> None:
    """Raise DataError unless these are the data that the training has begun with.

    otherwise: how to train on other data.
    """
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) == now.get(name):
            continue
        old, new = _shown(before.get(name)), _shown(now.get(name))
        said = f"now {new}, and then {old}" if old != new else f"{new}, as then, but with other values"
        raise DataError(
            f"the data are not those that the training has begun with: {name}",
            facts=[f"{name}: {said}"],
            mend=f"give fit what it was given at first; {otherwise}",
        )


def _shown(found: Fingerprint | None) -> str:
    if found is None:
        return "not given"
    return f"{found.get('dtype')!s:.20}{found.get('shape')!s:.100}"


# Callbacks


def kept_by(callbacks: Sequence[Callback]) -> tuple[Kept, ...]:
    """Return the states of the callbacks that have one. Raises OptionError for what no file can hold."""
    return tuple(kept for kept in map(_kept, callbacks) if kept.values or kept.arrays)


def _kept(callback: Callback) -> Kept:
    # of the class, since an object may have an attribute of its own that is called `state`
    name, state = type(callback).__name__, type(callback).state(callback)
    if not isinstance(state, dict):
        raise OptionError(f"{name}.state returned {type(state).__name__}, not a dictionary", mend="return {}")
    arrays = {key: value for key, value in state.items() if _is_array(value)}
    values = {key: value for key, value in state.items() if key not in arrays}
    try:
        return Kept(name, json.loads(json.dumps(values, default=_as_number)), arrays)
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(
            f"{name}.state returned what a file cannot hold: {error}",
            mend="numbers, text, lists and dictionaries of them, arrays, and dictionaries of arrays",
        ) from None


def _is_array(value: object) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(isinstance(each, np.ndarray) for each in value.values())
    return isinstance(value, np.ndarray)


def _as_number(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r:.60} is {type(value).__name__}")


def hand_over(kept: Sequence[Kept], callbacks: Sequence[Callback]) -> list[str]:
    """Give callbacks the states that those of the same classes had; return the names of those missing."""
    missing: list[str] = []
    left = list(callbacks)
    for each in kept:
        callback = next((one for one in left if type(one).__name__ == each.name), None)
        if callback is None:
            missing.append(each.name)
            continue
        left.remove(callback)
        arrays = {
            key: dict(value) if isinstance(value, Mapping) else value for key, value in each.arrays.items()
        }
        type(callback).set_state(callback, {**each.values, **arrays})
    return missing


def with_states(
    training: Training,
    state: Mapping[str, Array],
    change: Callable[[Mapping[str, Array]], Mapping[str, Array]],
) -> Training:
    """Return a training with what callbacks keep of the model's state changed by a function.

    state: the model's, by whose names these are known.
    """

    def changed(kept: Kept) -> Kept:
        arrays = {
            key: change(value) if isinstance(value, Mapping) and value.keys() == state.keys() else value
            for key, value in kept.arrays.items()
        }
        return replace(kept, arrays=arrays)

    return replace(training, callbacks=tuple(changed(kept) for kept in training.callbacks))


# Files

PREFIX: Final = "callback"


def training_text(training: Training, state: Mapping[str, Array]) -> tuple[str, dict[str, Array]]:
    """Return the JSON of a training, and the arrays that its callbacks keep by the names of tensors.

    state: that of the model, among whose names those are not.
    """
    prefix = PREFIX
    while any(name.startswith(prefix) for name in state):
        prefix = f"_{prefix}"
    written = {name: getattr(training, name) for name in CONSTANT if name != "callbacks"}
    tensors: dict[str, Array] = {}
    callbacks: list[object] = []
    for number, kept in enumerate(training.callbacks):
        keys: dict[str, list[str] | None] = {}
        for place, (key, value) in enumerate(kept.arrays.items()):
            tensor = f"{prefix}{number}.{place}"
            if isinstance(value, Mapping):
                keys[key] = list(value)
                tensors |= {f"{tensor}.{name}": array for name, array in value.items()}
            else:
                keys[key] = None
                tensors[tensor] = value
        callbacks.append({"name": kept.name, "values": kept.values, "arrays": keys})
    return json.dumps({**written, "callbacks": callbacks, "prefix": prefix}), tensors


def restored_training(
    text: str | None, tensors: Mapping[str, Any], taken: Mapping[str, object]
) -> tuple[Training | None, set[str]]:
    """Return the training that a file holds, if it does, and the names of its tensors.

    taken: the names of the model's own tensors. Raises FileError, KeyError or TypeError where it is damaged.
    """
    if text is None:
        return None, set()
    held = _of(dict, json.loads(text), "training")
    prefix, names = _of(str, held.pop("prefix"), "prefix"), set[str]()

    def tensor(name: str) -> Array:
        if name in taken or name in names:
            raise FileError(f"the tensor {name!r:.80} is there for two things")
        names.add(name)
        found: Array = tensors[name]
        return found

    callbacks: list[Kept] = []
    for number, each in enumerate(_of(list, held.pop("callbacks"), "callbacks")):
        arrays: dict[str, Array | dict[str, Array]] = {}
        for place, (key, inner) in enumerate(_of(dict, each["arrays"], "arrays").items()):
            base = f"{prefix}{number}.{place}"
            arrays[key] = (
                tensor(base)
                if inner is None
                else {name: tensor(f"{base}.{_of(str, name, 'name')}") for name in _of(list, inner, key)}
            )
        callbacks.append(Kept(_of(str, each["name"], "name"), _of(dict, each["values"], "values"), arrays))
    training = Training(**held, callbacks=tuple(callbacks))
    _check(training)
    return training, names


def _check(training: Training) -> None:
    """Raise FileError for fields of other types than they have."""
    fields_by_check: tuple[tuple[Callable[[Any], bool], tuple[str, ...]], ...] = (
        (lambda value: is_int(value, 1), ("first", "last", "keep")),
        (lambda value: is_int(value, 0), ("steps_done",)),
        (lambda value: isinstance(value, bool), ("has_ended",)),
        (lambda value: isinstance(value, str), ("backend", "processor")),
        (lambda value: isinstance(value, str | int), ("every",)),
        (lambda value: value is None or (isinstance(value, float) and value >= 0), ("scheduled_rate",)),
        (lambda value: isinstance(value, dict), ("options", "backend_options", "totals")),
        (
            lambda value: isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()),
            ("data", "batch"),
        ),
    )
    for is_right, names in fields_by_check:
        for name in names:
            if not is_right(getattr(training, name)):
                raise FileError(f"{name} of the training is {getattr(training, name)!r:.60}")


def _of(type: type[T], value: object, name: str) -> T:
    if not isinstance(value, type):
        raise FileError(f"{name!r:.60} of the training is {value!r:.60}")
    return value
