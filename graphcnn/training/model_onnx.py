"""A model's graphs as files of ONNX: which graph it is, and which values the file holds."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import meant
from graphcnn.ir import Graph
from graphcnn.training.graphs import gradient_name
from graphcnn.training.options import refuse, require_flag
from graphcnn.transform import simplify

if TYPE_CHECKING:
    from graphcnn.interchange.onnx.layouts import Images

OnnxGraph: TypeAlias = Literal["forward", "gradient", "step"]
ONNX_GRAPHS: Final[tuple[OnnxGraph, ...]] = get_args(OnnxGraph)


def known_onnx_graph(graph: object, fold: object) -> OnnxGraph:
    """Return which graph is meant. Raises OptionError for none, and for one in which nothing is folded."""
    require_flag("fold", fold)
    found = next((known for known in ONNX_GRAPHS if graph == known), None)
    if found is None:
        refuse(f"graph={graph!r:.60} is none that is exported", meant(graph, ONNX_GRAPHS, 'graph="forward"'))
    if fold and found != "forward":
        refuse(f"the {found} graph trains what folding would remove", "leave out fold=True")
    return found


def write_model_onnx(
    path: str | PathLike[str],
    kind: OnnxGraph,
    graph: Graph,
    held: Mapping[str, Array],
    *,
    opset: int | None,
    layout: Images,
    fold: bool,
) -> None:
    """Write one of a model's graphs. held: the values of parameters, states and settings by name.

    Raises as `Model.export_onnx` does.
    """
    from graphcnn.interchange.onnx.document import OPSET, write_onnx
    from graphcnn.interchange.onnx.export import Options

    stored = {
        label: np.asarray(held[label], value.type.dtype)
        for label, value in graph.inputs.items()
        if label in held
    }
    is_fixed = kind == "forward"
    if not is_fixed:
        graph = simplify(graph.copy(updates=kind == "step"))
    gradients = {gradient_name(label): label for label in graph.inputs_with_role("parameter")}
    options = Options(OPSET if opset is None else opset, layout, stored, is_fixed, fold)
    write_onnx(path, graph, options, gradients=gradients, title=kind)
