"""What is given where a layer, a value or a network belongs: what it is, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from graphcnn.dsl.tensor import Tensor
from graphcnn.origin import is_internal
from graphcnn.scalar import ScalarFunction


def in_sequential(item: object) -> tuple[str, str]:
    """Return what an item is that is no layer, and what to write instead."""
    name = getattr(item, "__name__", "")
    if is_model(item):
        return "a Model", of_model("gcn.Sequential(network, gcn.Dense(10))")
    if isinstance(item, Tensor):
        return (
            "a value of a network",
            "gcn.Input(shape) comes first, or not at all; layers are called on values: "
            "gcn.Sequential(gcn.Dense(10))(x)",
        )
    if isinstance(item, ScalarFunction):
        return f"the function {item.name}", f"make a layer of it: gcn.Activation({item.name})"
    if isinstance(item, type):
        home = "gcn." if item.__module__.partition(".")[0] == "graphcnn" else ""
        return f"the class {name}", f"make a layer of it: {home}{name}(...)"
    if callable(item) and is_internal(getattr(item, "__module__", "") or ""):
        return f"the function {name}", "use the layer classes, for example gcn.ReLU() rather than gcn.relu"
    if callable(item) and name:
        return f"the function {name}", f"call it, if it makes a layer: {name}(); or gcn.ReLU(), for example"
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        return "a pair of name and layer", f"name the layer: {type(item[1]).__name__}(..., name={item[0]!r})"
    if isinstance(item, Mapping):
        return (
            f"a {type(item).__name__}",
            "unpack it: gcn.Sequential(*layers.values()); layers are named where they are made: name=",
        )
    if isinstance(item, list | tuple | Iterator):
        return f"a {type(item).__name__}", "unpack it: gcn.Sequential(*layers)"
    return f"{item!r:.60}", "use the layer classes, for example gcn.ReLU()"


def applied_to(operand: object, layer: str) -> str:
    """Return what to write where a layer, of this title, is applied to no value of a network."""
    if is_model(operand):
        return (
            f"{layer} goes on from a value, network(x), where x = gcn.Input(shape) and the model is network's"
        )
    if isinstance(operand, np.ndarray) and operand.ndim > 1:
        shape = tuple(operand.shape[1:])
        return f"gcn.compile(network, input_shape={shape}).predict(images), where network is this {layer}"
    return "begin with x = gcn.Input(shape); to run a network on arrays, compile it"


def as_a_network(given: object) -> tuple[str, str]:
    """Return what is given to `gcn.compile` that is no network, and what to write instead."""
    name = getattr(given, "__name__", "")
    if is_model(given):
        return "a Model is compiled already", of_model("network")
    if isinstance(given, Tensor):
        return (
            "a value is not a network",
            "gcn.compile(gcn.Network(x, y)), from values that gcn.Input made to what layers made of them",
        )
    if isinstance(given, list | tuple):
        return f"a {type(given).__name__} is not a network", "gcn.compile(gcn.Sequential(*layers))"
    if isinstance(given, type):
        return f"the class {name} is not a network", "make one: gcn.Sequential(gcn.Flatten(), gcn.Dense(10))"
    if callable(given) and name:
        return f"the function {name} is not a network", f"call it, if it makes one: gcn.compile({name}())"
    if isinstance(given, str):
        return f"{given!r:.60} is not a network", "gcn.compile(gcn.zoo.lenet5(), ...), for one of the zoo"
    return f"{given!r:.80} is not a network", "use gcn.Sequential(...) or gcn.Network(x, y)"


def is_model(given: object) -> bool:
    """Whether this is a `Model`, which this part of the package is not to know."""
    return type(given).__name__ == "Model" and is_internal(type(given).__module__)


def of_model(network: str) -> str:
    """Return what to write instead of a model. network: the code of what is compiled instead."""
    return (
        f"gcn.compile({network}, ..., weights=model.weights), where network is what the model was compiled "
        "of; so it begins with what the model has learnt"
    )
