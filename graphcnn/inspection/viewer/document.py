"""The document of the viewer: the graphs of a model as one piece of plain JSON data.

    {"title", "batch", "views": [view, ...], "equations", "sources", "totals"}

A view is one way to look at the model, with up to three columns (forward, gradient, update):
{"id", "name", "about", "columns", "nodes", "groups", "outputs", "values"}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from graphcnn.arrays import Array
from graphcnn.backend import KernelReport
from graphcnn.inspection.viewer.grouping import group_nodes
from graphcnn.inspection.viewer.nodes import Json, Tables, graph_nodes, kernel_nodes, require_showable
from graphcnn.inspection.viewer.values import node_values
from graphcnn.ir import Graph

if TYPE_CHECKING:
    from graphcnn.inspection.difference import GraphDifference
    from graphcnn.inspection.profile import KernelTime, Profile
    from graphcnn.training.model import Model

COLUMNS = ("forward", "gradient", "update")


def graph_document(graph: Graph, *, batch: int = 1, values: Mapping[int, Array] | None = None) -> Json:
    """Return the document of one graph. Costs are for `batch` samples; values are per key, of one batch.

    Raises GraphError for a graph that is empty, has no shapes or breaks the rules, such as one with a cycle.
    """
    tables = Tables()
    view = _view(graph, "graph", graph.name, "", batch, tables)
    view["values"] = node_values(graph, values or {}, {})
    return _document(graph.name, batch, [view], tables)


def model_document(
    model: Model,
    *,
    batch: int = 1,
    profile: Profile | None = None,
    kernels: Sequence[KernelReport | KernelTime] = (),
    values: Mapping[int, Array] | None = None,
    ranks: int | None = None,
) -> Json:
    """Return the document of a model: its gradient graph as derived, its step simplified, and the kernels.

    batch: samples for costs. profile: times of the step; kernels: of the step, where there is no profile;
    without either that view is left out. values: per key of the gradient graph, of one batch.
    Without a loss there is the forward graph alone. ranks: of how many the step is shown as well.
    """
    tables = Tables()
    if profile is not None:
        batch, kernels = profile.batch, profile.kernels
    parameters = dict(model.parameters)
    derived = model.forward_graph if model.loss is None else model.gradient_graph
    views = [
        _view(derived, "derived", "As derived", "the rules of the article, as they stand", batch, tables)
    ]
    views[0]["values"] = node_values(derived, values or {}, parameters)
    if model.loss is not None and model.optimizer is not None:
        step = model.step_graph
        about = "what is compiled: the same after simplification, with the optimiser's updates"
        simplified = _view(
            step, "simplified", "Simplified", about, batch, tables, profile.nodes if profile else {}
        )
        simplified["values"] = node_values(step, {}, parameters)
        views.append(simplified)
        if kernels:
            views.append(_kernel_view(step, simplified, kernels))
        if ranks is not None:
            views.append(_view_of_ranks(model.graph_of_ranks("step", ranks), batch, tables, ranks))
    document = _document(model.forward_graph.name, batch, views, tables)
    document["totals"]["parameters"] = model.parameters.count
    if profile is not None:
        document["totals"]["seconds"] = profile.seconds
    return document


def difference_document(before: Graph, after: Graph, difference: GraphDifference, *, batch: int = 1) -> Json:
    """Return the document of two graphs beside each other, with what was removed, added and changed."""
    tables = Tables()
    nodes: list[Json] = []
    matched = [*difference.common, *difference.changed]
    status = {(0, key): "removed" for key in difference.removed}
    status |= {(1, key): "added" for key in difference.added}
    status |= {(side, key): "changed" for pair in difference.changed for side, key in enumerate(pair)}
    partner = {(0, a): f"1/{b}" for a, b in matched} | {(1, b): f"0/{a}" for a, b in matched}
    trees = []
    for side, graph in enumerate((before, after)):
        require_showable(graph)
        own = graph_nodes(graph, batch, tables, {})
        trees.append((own, group_nodes(own, apart=True)))
        for node in own:
            key = int(node["id"])
            node["status"] = status.get((side, key), "common")
            node["partner"] = partner.get((side, key))
    merged = _side_by_side(trees)
    for side, (own, _) in enumerate(trees):
        for node in own:
            node.pop("of", None)
            node["id"] = f"{side}/{node['id']}"
            node["operands"] = [[f"{side}/{operand}", index] for operand, index in node["operands"]]
            node["phase"], node["side"] = node["side"], side
            nodes.append(node)
    view = {
        "id": "difference",
        "name": "Difference",
        "about": "",
        "columns": [f"before · {before.name}", f"after · {after.name}"],
        "nodes": nodes,
        "groups": merged,
        "outputs": {
            **{f"{label} (before)": f"0/{value.key}" for label, value in before.outputs.items()},
            **{f"{label} (after)": f"1/{value.key}" for label, value in after.outputs.items()},
        },
        "values": {},
    }
    return _document(f"{before.name} → {after.name}", batch, [view], tables)


def _side_by_side(trees: Sequence[tuple[list[Json], Json]]) -> Json:
    """Return one tree of layers out of two: layers of one name stand in one row, others between them."""
    flat = [_leaves(tree) for _, tree in trees]
    after_names = [name for name, _ in flat[1]]
    rows: list[Json] = []
    done = 0
    for name, ids in flat[0]:
        inside = [f"0/{id}" for id in ids]
        if name in after_names[done:]:
            place = after_names.index(name, done)
            rows += [_row(*each) for each in flat[1][done:place]]
            inside += [f"1/{id}" for id in flat[1][place][1]]
            done = place + 1
        rows.append({"name": name, "nodes": inside})
    rows += [_row(*each) for each in flat[1][done:]]
    return {"name": "", "groups": rows}


def _row(name: str, ids: Sequence[str]) -> Json:
    return {"name": name, "nodes": [f"1/{id}" for id in ids]}


def _leaves(group: Json, prefix: str = "") -> list[tuple[str, list[str]]]:
    name = f"{prefix}.{group['name']}" if prefix else group["name"]
    if "nodes" in group:
        return [(name, group["nodes"])]
    return [leaf for child in group["groups"] for leaf in _leaves(child, name)]


def _view(
    graph: Graph,
    id: str,
    name: str,
    about: str,
    batch: int,
    tables: Tables,
    seconds: Mapping[int, float] | None = None,
    ranks: int | None = None,
) -> Json:
    require_showable(graph)
    nodes = graph_nodes(graph, batch, tables, seconds or {}, ranks)
    outputs = {label: str(value.key) for label, value in graph.outputs.items()}
    outputs |= {f"new {label}": str(value.key) for label, value in graph.updates.items()}
    return {
        "id": id,
        "name": name,
        "about": about,
        "columns": list(COLUMNS),
        "nodes": nodes,
        "groups": group_nodes(nodes),
        "outputs": outputs,
        "values": {},
    }


def _view_of_ranks(step: Graph, batch: int, tables: Tables, ranks: int) -> Json:
    about = "the step of each rank: all_reduce, all_gather and broadcast_from are what it tells the others"
    return _view(step, "ranks", f"Of {ranks} ranks", about, batch, tables, ranks=ranks)


def _kernel_view(step: Graph, simplified: Json, kernels: Sequence[KernelReport | KernelTime]) -> Json:
    facts = [
        (
            kernel.name,
            kernel.nodes,
            {"flops": kernel.flops, "bytes": kernel.bytes, "details": kernel.details}
            | ({} if kernel.seconds is None else {"seconds": kernel.seconds}),
        )
        for kernel in kernels
    ]
    nodes = kernel_nodes(simplified["nodes"], facts)
    kernel_of = {member: node["id"] for node in nodes for member in node.get("members", ())}
    for node in simplified["nodes"]:
        if node["id"] in kernel_of:
            node["kernel"] = kernel_of[node["id"]]
    return simplified | {
        "id": "kernels",
        "name": "Kernels",
        "about": "what the backend made of it: each box is one kernel, with the nodes that were fused in it",
        "nodes": nodes,
        "groups": _kept(simplified["groups"], nodes),
        "outputs": {},
        "values": {},
    }


def _kept(groups: Json, nodes: Sequence[Json]) -> Json:
    """Return the groups with kernels where their main nodes were, and with nothing else but inputs."""
    at: dict[str, list[str]] = {}
    for node in nodes:
        at.setdefault(str(node.get("main", node["id"])), []).append(node["id"])

    def kept(group: Json) -> Json | None:
        if "nodes" in group:
            inside = [id for member in group["nodes"] for id in at.get(member, ())]
            return {"name": group["name"], "nodes": inside} if inside else None
        children = [child for each in group["groups"] if (child := kept(each))]
        return {"name": group["name"], "groups": children} if children else None

    return kept(groups) or {"name": "", "groups": []}


def _document(title: str, batch: int, views: list[Json], tables: Tables) -> Json:
    first = views[0]["nodes"]
    return {
        "title": title,
        "batch": batch,
        "views": views,
        "equations": tables.equations,
        "sources": tables.sources,
        "totals": {
            "parameters": sum(node.get("parameters", 0) for node in first),
            "flops": sum(node["flops"] for node in first),
            "nodes": len(first),
        },
    }
