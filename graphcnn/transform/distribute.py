"""What ranks that share the samples of a batch have to tell one another, as nodes of the graph: a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Final

from graphcnn.arguments import known_arguments
from graphcnn.errors import GraphError
from graphcnn.ir import Graph, Input, Node, Origin, Rebuild, Value, use_counts, verify
from graphcnn.ops import AllGather, AllReduce, BroadcastFrom, KeepOn
from graphcnn.ops.collective import Collective, OfOneRank

RULE: Final = "of all ranks"
EVERY_RANK: Final = -1
"""A set of ranks is a number with a bit for each of them: this is the one of all."""


class Held(Enum):
    """What a rank has of a value before any message."""

    ALIKE = "all of it, as every rank has"
    OWN = "its own samples"
    PART = "the sum over its own samples"


@known_arguments
def distribute(graph: Graph, owners: Mapping[str, int] | None = None) -> Graph:
    """Return the graph with the messages between ranks that share the samples of every batch.

    Each sum over the batch is followed by an `all_reduce`, which alone reads it. What reads several samples
    at once, as the product of all samples with all errors in a dense layer's gradient, and what leaves the
    graph, reads samples by way of an `all_gather`. Everything without a batch is computed by each rank alike,
    but for what `owners` names: parameters and states of which one rank alone computes the new value. That of
    a parameter goes to all, by a `broadcast_from`; a state stays there, which a `keep_on` says.
    Inputs are not gathered: `whole_inputs` says of which each rank needs all samples.

    The graph means the same as before, and gradients are to be in it already: those of a distributed graph
    would have to be distributed anew, which this does: messages that are there are put in afresh.

    Raises GraphError where ranks need a state that another one keeps.
    """
    made = verify(_Distribution(without_collectives(graph), owners or {}).run())
    computing_ranks(made)
    return made


def without_collectives(graph: Graph) -> Graph:
    """Return the graph without messages between ranks; the graph itself where it has none."""
    if not has_collectives(graph):
        return graph
    rebuild = Rebuild(graph)
    for key, node in graph.items():
        if isinstance(node.op, Collective):
            rebuild.replace(key, rebuild.operands(key))
        else:
            rebuild.copy(key, node.origin.remapped(rebuild.new_key))
    rebuild.name_roots()
    return rebuild.result


def has_collectives(graph: Graph) -> bool:
    """Whether a graph has messages between ranks."""
    return any(isinstance(node.op, Collective) for _, node in graph.items())


def whole_inputs(graph: Graph) -> frozenset[str]:
    """Return the names of the inputs with a batch of which every rank needs all samples.

    These are the keys of samples and numbers of each sample, such as labels, [N], which are small; and what
    is read by an op that reads several samples at once, or leaves the graph.
    """
    read = {value.key for value in graph.roots()}
    for _, node in graph.items():
        if isinstance(node.op, AllGather) or held(node) is Held.ALIKE:
            read.update(operand.key for operand in node.operands_read)
    return frozenset(
        label
        for label, value in graph.inputs.items()
        if value.type.has_batch and (value.type.rank == 1 or value.key in read)
    )


def owners_of(graph: Graph) -> dict[str, int]:
    """Return of each update that one rank alone computes the number of that rank."""
    ops = {label: graph.node(value.key).op for label, value in graph.updates.items()}
    return {label: op.rank for label, op in ops.items() if isinstance(op, OfOneRank)}


def kept_elsewhere(graph: Graph, rank: int) -> frozenset[str]:
    """Return the states that other ranks keep, and this one does not have."""
    kept = [label for label, v in graph.updates.items() if isinstance(graph.node(v.key).op, KeepOn)]
    return frozenset(label for label in kept if owners_of(graph)[label] != rank)


def computing_ranks(graph: Graph) -> dict[int, int]:
    """Return by which ranks the results of each node are needed: a number with a bit for each of them.

    Ranks take part in all messages. Raises GraphError where one needs a state that another one keeps.
    """
    found = dict.fromkeys((key for key, _ in graph.items()), 0)
    for value in graph.roots():
        op = graph.node(value.key).op
        found[value.key] |= 1 << op.rank if isinstance(op, KeepOn) else EVERY_RANK
    for key, node in reversed(list(graph.items())):
        if isinstance(node.op, AllReduce | AllGather):
            found[key] = EVERY_RANK
        needing = found[key]
        if isinstance(node.op, OfOneRank):
            needing &= 1 << node.op.rank
        for operand in node.operands:
            found[operand.key] |= needing
    for label, rank in owners_of(graph).items():
        if isinstance(graph.node(graph.updates[label].key).op, KeepOn):
            made = graph.inputs[label]
            if found[made.key] & ~(1 << rank):
                raise GraphError(
                    f"rank {rank} alone keeps the state {label!r}, and other ranks compute with it",
                    mend="leave it out of owners: all ranks keep it then",
                )
    return found


def held(node: Node) -> Held:
    """Return what a rank has of the results of a node, once it has what the node reads."""
    if isinstance(node.op, Input):
        return Held.OWN if node.types[0].has_batch else Held.ALIKE
    if node.sums_samples:
        return Held.PART
    return Held.OWN if node.is_by_sample else Held.ALIKE


def require_distributed(graph: Graph, ranks: int) -> Graph:
    """Return the graph. Raises GraphError, at the user's line, where ranks would not tell what others need.

    That is a sum over the batch that something else than an `all_reduce` reads, and a rank's own samples
    that are read by an op that reads several at once, or leave the graph. Of so many ranks there is the one
    that computes something alone, too.
    """
    most = max(owners_of(graph).values(), default=0)
    if most >= ranks:
        raise GraphError(
            f"the graph was distributed over more ranks than these {ranks}: rank {most} computes alone",
            mend="gcn.distribute(graph, owners), of the ranks that there are",
        )
    kinds = {key: held(node) for key, node in graph.items()}
    for key, node in graph.items():
        if isinstance(node.op, AllReduce):
            (operand,) = node.operands
            if kinds[operand.key] is not Held.PART:
                raise _not_distributed(node, f"%{key} adds up %{operand.key}, which is no sum over the batch")
            continue
        gathers = isinstance(node.op, AllGather)
        for operand in node.operands_read:
            made = graph.node(operand.key)
            if kinds[operand.key] is Held.PART:
                raise _not_distributed(made, f"the sum %{operand.key} is read before ranks have added it up")
            is_own = kinds[operand.key] is Held.OWN and not isinstance(made.op, Input)
            if is_own and kinds[key] is Held.ALIKE and not gathers:
                raise _not_distributed(
                    node, f"{node.op.name} reads several samples of %{operand.key}, of which a rank has some"
                )
    for label, value in (*graph.outputs.items(), *graph.updates.items()):
        made = graph.node(value.key)
        if kinds[value.key] is Held.PART or (kinds[value.key] is Held.OWN and not isinstance(made.op, Input)):
            raise _not_distributed(
                made, f"{label!r} leaves the graph, and a rank has {kinds[value.key].value}"
            )
    return graph


def _not_distributed(node: Node, problem: str) -> GraphError:
    error = GraphError(f"{problem}: ranks cannot share a batch like this", mend="gcn.distribute(graph)")
    error.located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)
    return error


class _Distribution:
    """The graph under construction. Values are those of the source, but for what `_whole` returns."""

    def __init__(self, graph: Graph, owners: Mapping[str, int]) -> None:
        self._graph = graph
        self._owners = owners
        self._rebuild = Rebuild(graph)
        self._uses = use_counts(graph, range(len(graph)))
        self._gathered: dict[Value, Value] = {}

    def run(self) -> Graph:
        graph, rebuild = self._graph, self._rebuild
        for key, node in graph.items():
            origin = node.origin.remapped(rebuild.new_key)
            kind = held(node)
            if kind is Held.ALIKE and not isinstance(node.op, Input):
                read = {*node.operands_read}
                operands = tuple(
                    self._whole(each) if each in read else rebuild.value(each) for each in node.operands
                )
                rebuild.replace(key, rebuild.result.add_like(node, operands, origin))
            else:
                rebuild.copy(key, origin)
            if kind is Held.PART:
                rebuild.replace(key, tuple(self._reduced(each, origin) for each in graph.results(key)))
        for label, value in graph.outputs.items():
            rebuild.result.output(label, self._whole(value))
        for label, value in graph.updates.items():
            rebuild.result.update(label, self._owned(label, self._whole(value)))
        return rebuild.result

    def _owned(self, label: str, new: Value) -> Value:
        """Return what replaces a parameter or state, as one rank alone computes it."""
        rank = self._owners.get(label)
        if rank is None:
            return new
        origin = replace(self._rebuild.result.node(new.key).origin, rule=RULE)
        op = BroadcastFrom(rank) if self._graph.role(label) == "parameter" else KeepOn(rank)
        return self._rebuild.result.add(op, new, origin=origin)

    def _reduced(self, part: Value, origin: Origin) -> Value:
        """Return the sum of all ranks; a result that nobody reads stays as it is."""
        value = self._rebuild.value(part)
        if not self._uses[part.key, part.index]:
            return value
        return self._rebuild.result.add(AllReduce(), value, origin=replace(origin, rule=RULE))

    def _whole(self, value: Value) -> Value:
        """Return what stands for the samples of all ranks."""
        node = self._graph.node(value.key)
        if isinstance(node.op, Input) or held(node) is not Held.OWN:
            return self._rebuild.value(value)
        if value not in self._gathered:
            origin = replace(node.origin.remapped(self._rebuild.new_key), rule=RULE)
            gathered = self._rebuild.result.add(AllGather(), self._rebuild.value(value), origin=origin)
            self._gathered[value] = gathered
        return self._gathered[value]
