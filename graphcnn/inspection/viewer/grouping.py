"""Nodes gathered into layers, layers into the blocks that their names tell, and long rows into parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from graphcnn.inspection.viewer.nodes import FORWARD, GRADIENT, Json

_Member = TypeVar("_Member")

MOST_LEVELS = 3
"""Blocks in blocks in blocks: what lies deeper in a layer's name is part of its last name."""

NO_LAYER = ("",)
"""Where nodes stand that no layer made; as long as they follow each other, they are one group."""

MOST_MEMBERS = 80
"""What a group may hold before it is cut into parts, so that each can be laid out within a click's time."""

PART = 40


@dataclass
class Group:
    """A layer with its nodes, or a block of groups."""

    name: str
    path: tuple[str, ...] = ()
    nodes: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)

    def data(self) -> Json:
        if self.groups:
            return {"name": self.name, "groups": [group.data() for group in self.groups]}
        return {"name": self.name, "nodes": self.nodes}


def group_nodes(nodes: Sequence[Json], *, apart: bool = False) -> Json:
    """Return the tree of groups over the nodes, which come in an order in which they can be computed.

    Forward nodes are gathered as long as their layer does not change, so that a layer that is applied twice
    is two groups and the groups have no cycle. A gradient node goes with its forward node.
    apart: whether gradient nodes make groups of their own instead, behind the forward ones.
    """
    leaves: list[Group] = []
    group_of: dict[str, Group] = {}
    latest: dict[tuple[str, ...], Group] = {}
    counts: dict[tuple[str, ...], int] = {}
    for node in nodes:
        path = _path(node)
        gradient = node["side"] != FORWARD
        if apart and gradient:
            path = (*path[:-1], f"{path[-1]} {'gradient' if node['side'] == GRADIENT else 'update'}")
        partner = group_of.get(node.get("of", "")) if gradient and not apart else None
        group = partner or (latest.get(path) if gradient else None)
        if group is None and leaves and leaves[-1].path == path:
            group = leaves[-1]
        if group is None:
            counts[path] = counts.get(path, 0) + 1
            again = f" · {counts[path]}" if counts[path] > 1 and node["layer"] else ""
            group = Group((path[-1] or node["title"]) + again, path)
            leaves.append(group)
            latest[path] = group
        group.nodes.append(node["id"])
        group_of[node["id"]] = group
    for leaf in leaves:
        if leaf.path == NO_LAYER and len(leaf.nodes) > 1:
            leaf.name = _part_of_nodes(leaf.nodes).name
        if len(leaf.nodes) > MOST_MEMBERS:
            leaf.groups = _parts(leaf.nodes, _part_of_nodes)
    return Group("", groups=_nested(leaves, 0)).data()


def _path(node: Json) -> tuple[str, ...]:
    """Return the names of blocks and layer that a node stands in; inputs without a layer stand alone."""
    if not node["layer"]:
        return (node["title"],) if node["op"] == "input" else NO_LAYER
    parts = node["layer"].split(".")
    if len(parts) > MOST_LEVELS:
        parts = [*parts[: MOST_LEVELS - 1], ".".join(parts[MOST_LEVELS - 1 :])]
    return tuple(parts)


def _nested(leaves: Sequence[Group], level: int) -> list[Group]:
    """Return the groups of one level: consecutive leaves whose names agree so far become one block."""
    result: list[Group] = []
    run: list[Group] = []
    for leaf in [*leaves, None]:
        if run and (leaf is None or leaf.path[: level + 1] != run[0].path[: level + 1]):
            result += _block(run, level)
            run = []
        if leaf is not None:
            run.append(leaf)
    return _parts(result, _part_of_groups) if len(result) > 4 * MOST_MEMBERS else result


def _block(run: list[Group], level: int) -> list[Group]:
    if all(len(leaf.path) == level + 1 for leaf in run):
        return run
    if len(run) == 1:  # no block around a single layer, which its whole name tells from others
        (leaf,) = run
        leaf.name = ".".join((*leaf.path[level:-1], leaf.name))
        return run
    return [Group(run[0].path[level], groups=_nested([_deep(leaf, level) for leaf in run], level + 1))]


def _deep(leaf: Group, level: int) -> Group:
    """Return the leaf with a path that reaches one level further than `level`."""
    if len(leaf.path) == level + 1:
        leaf.path = (*leaf.path, leaf.path[-1])
    return leaf


def _parts(members: Sequence[_Member], make: Callable[[Sequence[_Member]], Group]) -> list[Group]:
    return [make(members[start : start + PART]) for start in range(0, len(members), PART)]


def _part_of_nodes(nodes: Sequence[str]) -> Group:
    return Group(f"%{nodes[0]} to %{nodes[-1]}", nodes=list(nodes))


def _part_of_groups(groups: Sequence[Group]) -> Group:
    return Group(f"{groups[0].name} to {groups[-1].name}", groups=list(groups))
