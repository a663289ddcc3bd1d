"""Which rank has which part of the optimiser's state, where that is cut over ranks, and how parts move.

Every rank has all parameters and statistics. Of the state that an optimiser has for a parameter one rank
alone has room: it computes what replaces both, and gives the others the parameter. (Stage 1 of Rajbhandari et
al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", SC 2020.)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from graphcnn.arrays import Array
from graphcnn.ir import Graph
from graphcnn.training.graphs import Graphs
from graphcnn.training.ranks import Ranks


def owners(updates: Graph, ranks: int) -> dict[str, int]:
    """Return which rank computes which parameters and states, of those that one rank alone computes.

    A parameter is dealt out with the states that are named after it, `conv.filters` with
    `conv.filters.velocity`, so that all ranks have about as many bytes of state. What other updates depend on
    is left out, such as a count of steps: all ranks have that. updates: an optimiser's, by themselves, on
    which and on the number of ranks alone it depends.
    """
    bits = {label: 1 << place for place, label in enumerate(updates.updates)}
    reached = dict.fromkeys((key for key, _ in updates.items()), 0)
    for label, value in updates.updates.items():
        reached[value.key] |= bits[label]
    for key, node in reversed(list(updates.items())):
        for operand in node.operands:
            reached[operand.key] |= reached[key]

    parts: dict[str, list[str]] = {name: [] for name in updates.inputs_with_role("parameter")}
    for label in updates.inputs_with_role("state"):
        named = [name for name in parts if label.startswith(f"{name}.")]
        if named:
            parts[max(named, key=len)].append(label)
    for name, states in parts.items():
        has_changed = True
        while has_changed:  # what a state that others read is made of is theirs, too
            inside = sum(bits[label] for label in (name, *states))
            apart = [label for label in states if not reached[updates.inputs[label].key] & ~inside]
            has_changed = len(apart) < len(states)
            states[:] = apart

    sizes = {name: sum(updates.inputs[label].type.bytes(1) for label in part) for name, part in parts.items()}
    loads = [0] * ranks
    found: dict[str, int] = {}
    for name in sorted(filter(sizes.get, parts), key=lambda name: -sizes[name]):
        rank = loads.index(min(loads))
        loads[rank] += sizes[name]
        found |= dict.fromkeys([name, *parts[name]], rank)
    return found


class Shards:
    """The optimiser's state of a model, as one of its ranks has it: whole, unless it is cut over ranks.

    owners: as the function of that name says; nothing where all ranks have all of it.
    """

    def __init__(self, ranks: Ranks, graphs: Graphs) -> None:
        self._ranks: Final = ranks
        self._types: Final = graphs.added_states if ranks.have_parts else {}
        self.owners: Final = owners(graphs.updates, ranks.count) if ranks.have_parts else {}
        self._kept: Final = {name: rank for name, rank in self.owners.items() if name in self._types}

    def has(self, name: str) -> bool:
        """Whether this rank has a parameter or state."""
        return self._kept.get(name, self._ranks.number) == self._ranks.number

    def own(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Return what this rank has of a state."""
        return {name: array for name, array in state.items() if self.has(name)}

    def alike(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Return what every rank has of a state."""
        return {name: array for name, array in state.items() if name not in self._kept}

    @property
    def bytes(self) -> tuple[int, int]:
        """How many bytes the state of the optimiser takes on this rank, and on all together, if it is cut."""
        own, whole = (
            sum(type.bytes(1) for name, type in self._types.items() if is_there(name))
            for is_there in (self.has, lambda _: True)
        )
        return own, whole

    # What follows is to be called by all ranks

    def on_first(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Return on the first rank the whole state, of what each has; on the others what they have."""
        return self._passed_on(state, lambda _: [0])

    def on_all(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Return on every rank the whole state, of what each has."""
        return self._passed_on(state, lambda _: range(self._ranks.count))

    def dealt_anew(self, state: Mapping[str, Array], then: Shards) -> dict[str, Array]:
        """Return what a rank has when other ranks keep other parts."""
        every = range(self._ranks.count)

        def readers(name: str) -> Collection[int]:
            return [then._kept[name]] if name in then._kept else every if name in then._types else []

        return then.own(self._passed_on(state, readers))

    def _passed_on(
        self, state: Mapping[str, Array], readers: Callable[[str], Collection[int]]
    ) -> dict[str, Array]:
        """Return a state with what others give. readers: who needs what one rank keeps."""
        moves = {name: (rank, self._types[name], readers(name)) for name, rank in self._kept.items()}
        return {**state, **self._ranks.passed_on(state, moves)}
