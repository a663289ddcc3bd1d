"""Callbacks: what `fit` calls between steps and epochs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from graphcnn.arrays import Array
from graphcnn.errors import OptionError, meant
from graphcnn.origin import is_internal

if TYPE_CHECKING:
    from graphcnn.training.model import Model


class StopTraining(Exception):  # noqa: N818 - it is a signal, like StopIteration
    """Raised by a callback to end `fit`: at once, or from `on_epoch_end` with the epoch counted."""


class Callback:
    """Base of callbacks: `fit` calls these methods, and there are no others whose name begins with `on_`.

    Epochs count from 1 through all training of the model, steps from 1 in each epoch. `logs` maps names to
    numbers. `model.learning_rate` may be set in any method, and is that of the next step.

    Of a model that several ranks train, each calls its own callbacks, so what they do follows from what they
    are told alone; `model.rank == 0` says something once. StopTraining of one rank ends training on all.

    A callback that must know what was before has `state` and `set_state`, so that training can go on from a
    checkpoint in another process as if it had never stopped.
    """

    sets_rate: ClassVar[bool] = False
    """Whether it decides on the learning rate, which one callback alone can do."""

    only_writes: ClassVar[bool] = False
    """Whether it writes for others to read, and changes nothing: of several ranks, one alone calls it."""

    def require(self, recorded: Sequence[str]) -> None:
        """Raise OptionError where it needs a number that `fit` does not record of each epoch."""

    def state(self) -> dict[str, Any]:
        """Return what it needs to go on, by name: values of JSON, arrays, and dictionaries of arrays by name.

        Called between steps. Arrays that are written into later on have to be copies.
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned in another process; called after `on_train_begin`."""

    def on_train_begin(self, model: Model) -> None:
        """Called once before the first epoch, and again, by each process, where training goes on."""

    def on_epoch_begin(self, model: Model, epoch: int) -> None:
        """Called before each epoch."""

    def on_step_begin(self, model: Model, epoch: int, step: int, batch: Mapping[str, Array]) -> None:
        """Called before each step of an epoch. batch: inputs and "target" by name."""

    def on_step_end(self, model: Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        """Called after each step. logs: loss and metrics of its batch, as they were before the step."""

    def on_validation_end(self, model: Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        """Called after each validation within an epoch, which `fit(validate_every=)` asks for.

        step: after which it was made. logs: with val_, loss and metrics of the validation data.
        """

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        """Called after each epoch, once it counts: what is saved here goes on with the next.

        logs: loss and metrics over the epoch, with val_ those of the validation data; learning_rate, seconds
        and images_per_second.
        """

    def on_train_end(self, model: Model) -> None:
        """Called once at the end, after an error or an interruption too."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
"""The methods of a callback that `fit` calls."""

_WORDS_OF_OTHERS = (
    ("train_batch", "step"),
    ("train_epoch", "epoch"),
    ("batch", "step"),
    ("before", "begin"),
    ("start", "begin"),
    ("after", "end"),
    ("fit", "train"),
    ("training", "train"),
)
"""What other libraries call the parts of a hook's name."""


def check_callbacks(callbacks: object, recorded: Sequence[str]) -> None:
    """Raise OptionError unless this is a sequence of callbacks, each method of which `fit` can call.

    recorded: the names of the numbers that they are told of each epoch. One that is watched has to be among
    them, unless there is a callback of the user's own, which may add more.
    """
    if not isinstance(callbacks, list | tuple):
        is_one = isinstance(callbacks, Callback)
        raise OptionError(
            f"callbacks is {type(callbacks).__name__}, not a sequence",
            mend="callbacks=[callback], in a list" if is_one else "callbacks=[gcn.EarlyStopping()]",
        )
    for callback in callbacks:
        if not isinstance(callback, Callback):
            shown = f"the class {callback.__name__}" if isinstance(callback, type) else repr(callback)
            made = "gcn.EarlyStopping()"
            if isinstance(callback, type) and issubclass(callback, Callback):
                made = f"{'gcn.' * is_internal(callback.__module__)}{callback.__name__}(...)"
            elif inspect.isroutine(callback):
                made = "gcn.LearningRateSchedule(function)"
            raise OptionError(f"{shown} is not a callback", mend=f"callbacks=[{made}]")
        for name in dir(callback):
            if name.startswith("on_") and callable(method := getattr(callback, name)):
                _check_hook(type(callback).__name__, name, method)
    setters = [type(callback).__name__ for callback in callbacks if callback.sets_rate]
    if len(setters) > 1:
        raise OptionError(
            " and ".join(setters) + " both set the learning rate", mend="callbacks with one of them alone"
        )
    if all(is_internal(type(callback).__module__) for callback in callbacks):
        for callback in callbacks:
            callback.require(recorded)


def _check_hook(owner: str, name: str, method: Callable[..., object]) -> None:
    """Raise OptionError for a method that `fit` never calls, or cannot call with what it hands over."""
    if name not in HOOKS:
        ours = name
        for word, our_word in _WORDS_OF_OTHERS:
            ours = ours.replace(word, our_word)
        raise OptionError(
            f"{owner}.{name} is never called: there is no such hook",
            facts=[f"hooks: {', '.join(HOOKS)}"],
            mend=meant(ours, HOOKS, "give it another name, and call it from a hook"),
        )
    given = list(inspect.signature(getattr(Callback, name)).parameters)[1:]
    try:
        inspect.signature(method).bind(*given)
    except TypeError:
        raise OptionError(
            f"{owner}.{name}{inspect.signature(method)} cannot be called: fit hands over {', '.join(given)}",
            mend=f"def {name}(self, {', '.join(given)}):",
        ) from None
    except ValueError:
        return  # it has no signature to be known


def hears(callback: Callback, hook: str) -> bool:
    """Return whether a callback does something in a hook: in each step, which may be short, most do not."""
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
