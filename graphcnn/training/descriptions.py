"""Losses, optimisers and metrics as JSON: the name of a class and its attributes. No file holds code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from graphcnn.errors import FileError, GraphcnnError, OptionError
from graphcnn.scalar import ScalarFunction, by_name
from graphcnn.training.losses import LOSSES, Loss, check_loss
from graphcnn.training.metrics import METRICS, Metric, named_metric, resolve_metrics
from graphcnn.training.metrics.shares import TopAccuracy
from graphcnn.training.objective import Losses
from graphcnn.training.optimizers import OPTIMIZERS, Optimizer, check_optimizer
from graphcnn.training.parts import title

Description: TypeAlias = dict[str, object]
Classes: TypeAlias = Mapping[str, type]

_BUILT_IN: Final[dict[str, type]] = {**LOSSES, **OPTIMIZERS}
_METRICS: Final = (*map(type, METRICS.values()), TopAccuracy)
"""Files have these by the names of metrics, so that classes of the user's own may be called as they are."""

BY_OUTPUT: Final = "by output"
"""The only key of the losses of several outputs."""

_METHODS: Final = ("per_sample", "append_updates", "append")


class Objects:
    """What a model uses of the user's own, as `gcn.load` is given it: functions and classes by name.

    Raises OptionError for two of one name, and for what is neither.
    """

    def __init__(self, objects: Iterable[object] = ()) -> None:
        given = list(objects)
        self.functions = by_name(each for each in given if isinstance(each, ScalarFunction))
        self.classes: dict[str, type] = {}
        for each in given:
            if isinstance(each, ScalarFunction):
                continue
            own = each if isinstance(each, type) else type(each)
            if not _is_own(own):
                raise OptionError(
                    f"objects holds {each!r:.60}, which is no object of your own",
                    mend="objects=[MyLoss, MyOptimizer, MyMetric, swish], where gcn.pointwise has made swish",
                )
            if self.classes.setdefault(own.__name__, own) is not own:
                raise OptionError(
                    f"two objects have the name {own.__name__!r}", mend="give each class a name of its own"
                )


def _is_own(given: type) -> bool:
    """Whether a class is a loss, optimiser or metric of the user's own."""
    is_part = any(callable(getattr(given, method, None)) for method in _METHODS)
    return is_part and given.__module__.partition(".")[0] not in ("builtins", "graphcnn")


def own_parts(given: Iterable[object]) -> list[object]:
    """Return those of the objects that `Objects` takes: classes and functions of the user's own."""
    return [
        each
        for each in given
        if isinstance(each, ScalarFunction) or (isinstance(each, type) and _is_own(each))
    ]


def own_classes(*parts: object) -> list[str]:
    """Return the names of those that are the user's own. Raises OptionError where graphcnn has the name."""
    built_in = (*_BUILT_IN.values(), *_METRICS)
    own = [part for part in parts if part is not None and type(part) not in built_in]
    for part in own:
        if title(part) in _BUILT_IN:
            raise OptionError(
                f"a class of your own has the name of graphcnn's {title(part)}, and a file holds names alone",
                mend=f"call it otherwise: class My{title(part)}",
            )
    return list(dict.fromkeys(map(title, own)))


def _attributes(part: Any) -> dict[str, object]:
    """Return what a part was made with, by name."""
    if dataclasses.is_dataclass(part):
        return {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.init}
    slots = [name for each in type(part).__mro__ for name in getattr(each, "__slots__", ())]
    held = [*getattr(part, "__dict__", ()), *slots]
    if held:
        raise _not_saved(part, f"its attributes {', '.join(held):.100} are not those of a dataclass")
    return {}


def described(part: Loss | Optimizer | Metric) -> Description:
    """Return a loss, optimiser or metric as JSON data.

    Raises OptionError for one of the user's own that would come back as another one.
    """
    attributes = _attributes(part)
    parts = {
        name: value for name, value in attributes.items() if callable(getattr(value, "append_updates", None))
    }
    options = attributes | {name: described(cast("Optimizer", value)) for name, value in parts.items()}
    for name, value in attributes.items():
        if name not in parts and not _is_plain(value):
            raise _not_saved(part, f"{name}={value!r:.60} is no number, text, truth value or tuple of those")
    description: Description = {"name": title(part), "options": options}
    known = {title(each): type(each) for each in (part, *parts.values())}
    if options and _restored(json.loads(json.dumps(description)), known) != part:
        raise _not_saved(part, "made anew with its attributes, it does not equal itself")
    return description


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _not_saved(part: object, reason: str) -> OptionError:
    return OptionError(
        f"a model with the user's own {title(part)} cannot be saved whole",
        facts=[reason],
        mend=f"make {title(part)} a frozen dataclass whose attributes are numbers, texts, truth values or "
        "tuples of those; model.save_weights(path) saves the weights alone",
    )


def described_loss(loss: Losses) -> Description:
    """Return a loss, or those of several outputs, as JSON data."""
    if isinstance(loss, Mapping):
        return {BY_OUTPUT: {output: described(each) for output, each in loss.items()}}
    return described(loss)


def described_metrics(metrics: Sequence[Metric] | Mapping[str, Sequence[Metric]]) -> object:
    """Return metrics, or those of several outputs, as JSON data: graphcnn's own by their names."""
    if isinstance(metrics, Mapping):
        return {output: described_metrics(each) for output, each in metrics.items()}
    return [metric.name if named_metric(metric.name) == metric else described(metric) for metric in metrics]


def restored_loss(text: str | None, classes: Classes) -> Losses | None:
    """Return the loss that a file describes. Raises FileError or OptionError for what is none."""
    if text is None:
        return None
    content, known = json.loads(text), {**LOSSES, **classes}
    by_output = content.get(BY_OUTPUT) if isinstance(content, dict) else None
    if not isinstance(by_output, dict):
        return cast("Loss", _checked(content, known, check_loss))
    return {output: _checked(each, known, check_loss) for output, each in by_output.items()}


def restored_optimizer(text: str | None, classes: Classes) -> Optimizer | None:
    """Return the optimiser that a file describes. Raises FileError or OptionError for what is none."""
    if text is None:
        return None
    return cast("Optimizer", _checked(json.loads(text), {**OPTIMIZERS, **classes}, check_optimizer))


def restored_metrics(text: str, classes: Classes) -> tuple[Metric, ...] | dict[str, tuple[Metric, ...]]:
    """Return the metrics that a file lists. Raises FileError or OptionError for what is none."""
    content = json.loads(text)
    if isinstance(content, dict):
        return {output: _restored_list(each, classes) for output, each in content.items()}
    return _restored_list(content, classes)


def _restored_list(given: object, classes: Classes) -> tuple[Metric, ...]:
    if not isinstance(given, list) or not all(isinstance(each, str | dict) for each in given):
        raise FileError(f"metrics {given!r:.40} is not a list of names and descriptions")
    return resolve_metrics([each if isinstance(each, str) else _restored(each, classes) for each in given])


def _checked(content: object, known: Classes, check: Any) -> Any:
    part = _restored(content, known)
    check(part)
    return part


def _restored(description: object, known: Classes) -> Any:
    if not isinstance(description, dict) or description.keys() != {"name", "options"}:
        raise FileError(f"{description!r:.60} does not describe a loss, optimiser or metric")
    name, options = description["name"], description["options"]
    if not isinstance(name, str) or name not in known:
        raise FileError(f"there is no loss, optimiser or metric {name!r:.60}")
    if not isinstance(options, dict):
        raise FileError(f"the options of {name} are {options!r:.60}")
    try:
        return known[name](**{option: _option(value, known) for option, value in options.items()})
    except GraphcnnError as error:
        error.facts += (f"made anew from a file, as {name}(**{options!r:.100})",)
        raise


def _option(value: object, known: Classes) -> object:
    """Return an attribute of a part; one that is a description is a part itself."""
    return _restored(value, known) if isinstance(value, dict) else _frozen(value)


def _frozen(value: object) -> object:
    """Return lists as the tuples that they were."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
