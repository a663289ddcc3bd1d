"""Losses, optimisers and the like keep the settings that they were made with: what to do to have others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, NoReturn

from graphcnn.errors import ArgumentError, SettingError, meant
from graphcnn.foreign_arguments import foreign, written
from graphcnn.foreign_names import OF_LOSSES, OF_OPTIMIZERS
from graphcnn.origin import is_internal, users_line
from graphcnn.visible import visible

_KINDS: Final[tuple[tuple[str, str, Mapping[str, str]], ...]] = (
    ("append_updates", "optimizer", OF_OPTIMIZERS),
    ("per_sample", "loss", OF_LOSSES),
)
"""The method by which a kind is known, what `gcn.compile` calls it, and what it has elsewhere."""


def answer_for_settings(cls: type) -> None:
    """Let a frozen dataclass say, where an attribute of it is set or unknown, how it is had instead."""
    if not is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return
    names = {each.name for each in fields(cls)}

    def set_attribute(self: Any, name: str, value: object) -> None:
        if type(self) is cls or name in names:
            raise _not_set(self, name, value)
        super(cls, self).__setattr__(name, value)  # a class of the user's own has attributes of its own

    for name, method in (("__setattr__", set_attribute), ("__getattr__", _refuse_to_get)):
        setattr(cls, name, method)
    if hasattr(cls, "per_sample"):
        setattr(cls, "__call__", _refuse_to_compute)  # noqa: B010 - type checkers would take losses for functions


def _refuse_to_compute(self: Any, *_: object, **__: object) -> NoReturn:
    place = users_line()
    error = ArgumentError(
        f"{type(self).__name__} is part of a model, and is not called on arrays",
        mend='gcn.compile(network, loss=...) takes it; model.evaluate(images, labels)["loss"] computes it',
    )
    error.located(file=place.file, line=place.line)
    raise error


def _not_set(self: Any, name: str, value: object) -> SettingError:
    title, known = type(self).__name__, [each.name for each in fields(self) if each.init]
    if name not in known:
        translated = foreign(title, name, value, known).partition("=")[0]
        name = translated if translated in known else name
    place = users_line()
    if name not in known:
        error = SettingError(
            f"{title} has no attribute {visible(name)!r}",
            facts=[f"it has: {', '.join(known)}"],
            mend=meant(name, known, f"leave it out; {title} keeps the settings that it was made with"),
        )
    else:
        error = SettingError(
            f"{title} keeps the settings that it was made with, and {name} is one",
            mend=_anew(self, name, value),
        )
    error.located(file=place.file, line=place.line)
    return error


def _anew(part: Any, name: str, value: object) -> str:
    """Return what to write for one setting to be another."""
    given = {each.name: getattr(part, each.name) for each in fields(part) if each.init}
    new = {
        each.name: value if each.name == name else given[each.name]
        for each in fields(part)
        if each.name == name or (each.name in given and given[each.name] != each.default)
    }
    home = "gcn." if is_internal(type(part).__module__) else ""
    made = f"{home}{type(part).__name__}({', '.join(f'{k}={written(k, v)}' for k, v in new.items())})"
    kind = next((kind for method, kind, _ in _KINDS if hasattr(type(part), method)), "")
    if kind == "optimizer" and name == "learning_rate":
        return f"model.learning_rate = {written(name, value)}; or, before gcn.compile, {made}"
    return f"gcn.compile(network, ..., {kind}={made}, weights=model.weights)" if kind else made


def _refuse_to_get(self: Any, name: str) -> object:
    title = type(self).__name__
    said = f"{title!r} object has no attribute {name!r}"
    for method, _, elsewhere in _KINDS:
        if hasattr(type(self), method) and name in elsewhere:
            said = f"{title} has no attribute {name!r}: {elsewhere[name]}"
    raise AttributeError(said)
