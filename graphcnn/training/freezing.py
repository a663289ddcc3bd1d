"""Freezing: parameters that training leaves alone, and statistics that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from graphcnn.errors import OptionError, meant
from graphcnn.ir import Emitter, Graph, Input, Rebuild, Value, users_line
from graphcnn.ops import Add, Constant, InverseDeviation, Multiply
from graphcnn.transform import prune


def layer_of(name: str) -> str:
    """Return the layer that a parameter or state is of; one that belongs to no layer is its own."""
    return name.rpartition(".")[0] or name


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names of parameters and states that a pattern stands for, such as `conv*`.

    A pattern fits a name, or any of the layers that it belongs to: `block1` fits `block1.conv1.filters`.
    """
    return [name for name in names if any(fnmatchcase(part, pattern) for part in _prefixes(name))]


def matching_all(names: Sequence[str], patterns: Iterable[object]) -> set[str]:
    """Return the names that any of the patterns stands for.

    Raises OptionError, at the user's line, for one that fits none.
    """
    found: set[str] = set()
    for pattern in patterns:
        fits = matching(names, pattern) if isinstance(pattern, str) else []
        if not fits:
            layers = list(dict.fromkeys(map(layer_of, names)))
            place = users_line()
            raise OptionError(
                f"{pattern!r:.60} is the name of no layer or parameter",
                facts=[f"there are: {', '.join(layers) or 'none'}"[:400]],
                mend=_meant(pattern, names, layers),
            ).located(file=place.file, line=place.line)
        found.update(fits)
    return found


def _meant(pattern: object, names: Sequence[str], layers: Sequence[str]) -> str:
    """Return what was meant by a pattern that fits nothing."""
    if isinstance(pattern, list | tuple | set | frozenset) and pattern:
        return f"give each by itself: {', '.join(map(_quoted, pattern))}; or *names, where names is the list"
    example = f"give a name, such as {_quoted(layers[0])}" if layers else "there is nothing to name"
    if not isinstance(pattern, str) or not pattern:
        return example
    parts = list(dict.fromkeys(part for name in names for part in _prefixes(name)))
    scopes = list(dict.fromkeys(part for part in parts if matching(_inside(names, part), pattern)))
    if len(scopes) == 1:
        return f"with the name of the layer around it: {_quoted(f'{scopes[0]}.{pattern}')}"
    if scopes:
        return f"with the names of the layers around it: {_quoted(f'*.{pattern}')}"
    ends = {part.rpartition(".")[2]: part for part in reversed(parts)}
    return meant(pattern, parts) or meant(pattern.strip("*."), ends) or example


def _inside(names: Iterable[str], scope: str) -> list[str]:
    """Return the names within a layer, without its own name in front."""
    return [name.removeprefix(f"{scope}.") for name in names if name.startswith(f"{scope}.")]


def _quoted(name: object) -> str:
    return f'"{name}"' if isinstance(name, str) else f"{name!r:.40}"


def _prefixes(name: str) -> list[str]:
    """Return the name, and those of the layers around it, the outermost one first."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


class LayersWord:
    """What a network's layers say of what is to be trained: models ask them once, when they are compiled.

    frozen: returns the names of what layers do not let be trained, as they are now.
    """

    def __init__(self, frozen: Callable[[], frozenset[str]]) -> None:
        self._frozen = frozen
        self._heard = frozen()

    def require_heard(self, frozen: frozenset[str]) -> None:
        """Raise OptionError where `layer.trainable` was set later, and is not how the model has it.

        frozen: the names of what the model does not train.
        """
        now = self._frozen()
        unheard = sorted(name for name in now ^ self._heard if (name in now) != (name in frozen))
        if not unheard:
            self._heard = now
            return
        layers = list(dict.fromkeys(map(layer_of, unheard)))
        is_frozen = unheard[0] in now
        method = "freeze" if is_frozen else "unfreeze"
        names = ", ".join(map(repr, layers))
        raise OptionError(
            f"trainable = {not is_frozen} was set on {', '.join(layers)} after the model was compiled, "
            "which does not change the model",
            mend=f"model.{method}({names}); or compile it anew",
        )


def require_trained(step: Graph, frozen: Collection[str]) -> None:
    """Raise OptionError for a step that trains nothing, since all parameters are frozen."""
    if not frozen or step.inputs_with_role("parameter"):
        return
    held = step.inputs_with_role("frozen")
    last = list(held or frozen)[-1]
    raise OptionError(
        "all parameters are frozen, so that there is nothing to train",
        mend=f"model.unfreeze({layer_of(last)!r}), or model.unfreeze() for all",
    )


def freeze(graph: Graph, labels: Collection[str]) -> Graph:
    """Return the graph for training in which these parameters and states stay as they are.

    Parameters get the role "frozen": they have no gradient. Where a state is a moving average, as batch
    norm's are, it stands wherever the batch's own value stood, as in inference, and is not updated. States
    of other kinds go on: a generator of random numbers counts what is drawn.
    """
    rests = {label: own for label in labels if (own := _averaged(graph, label)) is not None}
    stand_in = {own: graph.inputs[label] for label, own in rests.items()}
    rebuild = Rebuild(graph)
    for key, node in graph.items():
        if isinstance(node.op, Input) and node.op.role == "parameter" and node.op.label in labels:
            frozen = replace(node.op, role="frozen")
            rebuild.replace(key, rebuild.result.add_all(frozen, origin=node.origin))
            continue
        rebuild.copy(key, node.origin.remapped(rebuild.new_key))
        old = graph.results(key)
        if not any(value in stand_in for value in old):
            continue
        new = [rebuild.value(stand_in.get(value, value)) for value in old]
        if isinstance(node.op, InverseDeviation):
            new[0] = node.op.of_variance(Emitter(rebuild.result, node.origin), new[1])
        rebuild.replace(key, tuple(new))
    rebuild.name_roots(updates=False)
    for label, value in graph.updates.items():
        if label not in rests:
            rebuild.result.update(label, rebuild.value(value))
    return prune(rebuild.result)


def _averaged(graph: Graph, label: str) -> Value | None:
    """Return the batch's own value of which a state is the moving average: (1 - m) · state + m · value."""
    update = graph.updates.get(label)
    if update is None or not isinstance(graph.node(update.key).op, Add):
        return None
    factors = [_scaled(graph, term) for term in graph.node(update.key).operands]
    if any(factor is None for factor in factors):
        return None
    (state, kept), (value, share) = factors  # type: ignore[misc]
    if state != graph.inputs[label] or abs(kept + share - 1.0) > 1e-6:
        return None
    return value


def _scaled(graph: Graph, term: Value) -> tuple[Value, float] | None:
    """Return a value and the constant that it is multiplied by."""
    node = graph.node(term.key)
    if not isinstance(node.op, Multiply):
        return None
    value, factor = node.operands
    constant = graph.node(factor.key).op
    return (value, constant.value) if isinstance(constant, Constant) else None
