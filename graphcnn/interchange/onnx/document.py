"""A written graph as ONNX's protobuf: checked by ONNX's own checker, and one file with all that it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import PurePath
from types import ModuleType
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import ExportError, OptionError
from graphcnn.interchange.files import require_place, write_atomically
from graphcnn.interchange.onnx.export import Options, Plug, Written, written
from graphcnn.interchange.onnx.layouts import IMAGES, turned
from graphcnn.interchange.onnx.writer import OnnxNode
from graphcnn.ir import Graph, TensorType
from graphcnn.ir.text import format_op
from graphcnn.visible import visible

OPSET: Final = 21
"""The opset by default: the first one whose files hold metadata of nodes; runtimes since 2024 read it."""
LEAST_OPSET: Final = 17
MOST_BYTES: Final = 2**31 - 1
"""How long a file of ONNX can be, which is a single message of protobuf."""
SPARE: Final = 2**20
"""Bytes that a file has beside arrays and nodes, at most."""


def write_onnx(
    path: str | PathLike[str],
    graph: Graph,
    options: Options,
    *,
    gradients: Mapping[str, str] | None = None,
    title: str = "",
) -> None:
    """Write a graph as a file of ONNX, atomically.

    gradients: the outputs that have the layout of an input, with its name. title: what the graph is.
    Raises ExportError for nodes that ONNX has no operators for and for what is too large, OptionError where
    the package `onnx` is missing or does not know the opset, and OSError where the file cannot be written.
    """
    require_place(path)
    write_atomically(path, document(graph, options, gradients=gradients, title=title).SerializeToString())


def document(
    graph: Graph, options: Options, *, gradients: Mapping[str, str] | None = None, title: str = ""
) -> Any:
    """Return a graph as ONNX's `ModelProto`; errors are those of `write_onnx`."""
    onnx = onnx_package()
    _check_opset(onnx, options.opset)
    if options.images not in IMAGES:
        raise OptionError(
            f"layout={options.images!r:.60} is neither {' nor '.join(map(repr, IMAGES))}",
            mend='layout="NCHW"',
        )
    found = written(graph, options, gradients)
    _require_text(found)
    proto = _proto(onnx, found, title or graph.name)
    _check(onnx, proto)
    _store(onnx, proto, found, options)
    return proto


def onnx_package() -> ModuleType:
    """Return the package `onnx`. Raises OptionError where it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise OptionError(
            "files of ONNX need the package onnx", mend="pip install 'graphcnn[onnx]'"
        ) from None
    return onnx


def _require_text(found: Written) -> None:
    """Raise ExportError for names that UTF-8 cannot hold: halves of characters, which Python lets pass."""
    for name in (
        *(plug.name for plug in (*found.inputs, *found.outputs)),
        *(node.path for node in found.nodes),
    ):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ExportError(
                f"the name {name!r:.60} is no text that a file can hold", mend="give it another name"
            ) from None


def _check_opset(onnx: ModuleType, opset: object) -> None:
    newest = onnx.defs.onnx_opset_version()
    if not isinstance(opset, int) or isinstance(opset, bool) or not LEAST_OPSET <= opset <= newest:
        raise OptionError(
            f"opset={opset!r:.60} is none that can be written",
            facts=[f"{LEAST_OPSET} to {newest}, the newest that onnx {onnx.__version__} knows"],
            mend=f"opset={OPSET}",
        )


def _check(onnx: ModuleType, proto: Any) -> None:
    """Raise ExportError where ONNX's checker finds fault, as it may with what a user's own op writes."""
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            "what was written is no valid ONNX",
            facts=str(error).strip().splitlines()[:8],
            mend="look at what an op of your own writes; of graphcnn's ops, this is a fault of graphcnn",
        ) from None


# Parts of the protobuf


def _proto(onnx: ModuleType, found: Written, title: str) -> Any:
    """Return the model without the values of its parameters, which are its inputs."""
    helper = onnx.helper
    opset = helper.make_opsetid("", found.opset)
    version = max(8, helper.find_min_ir_version_for([opset]))
    has_metadata = version >= 10
    named = {plug.name for plug in (*found.inputs, *found.outputs)}
    graph = helper.make_graph(
        [_node(helper, node, has_metadata) for node in found.nodes],
        title,
        [_plug(helper, plug, has_metadata) for plug in found.inputs],
        [_plug(helper, plug, has_metadata) for plug in found.outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in found.constants.items()],
        value_info=[
            _value_info(helper, name, type) for name, type in found.types.items() if name not in named
        ],
    )
    return helper.make_model(
        graph,
        opset_imports=[opset],
        ir_version=version,
        producer_name="graphcnn",
        producer_version=_version(),
    )


def _version() -> str:
    from graphcnn import __version__

    return __version__


def _value_info(helper: Any, name: str, type: TensorType) -> Any:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(type.dtype))
    return helper.make_tensor_value_info(name, element, list(type.shape))


def _plug(helper: Any, plug: Plug, has_metadata: bool) -> Any:
    info = _value_info(helper, plug.name, plug.type.with_shape(turned(plug.type.shape, plug.layout)))
    info.doc_string = f"{plug.role} {plug.label}: {plug.type}".strip()
    if has_metadata and plug.role:
        _add(info, {"graphcnn.role": plug.role})
    return info


def _node(helper: Any, node: OnnxNode, has_metadata: bool) -> Any:
    attributes = {name: _attribute(helper, given) for name, given in node.attributes.items()}
    if node.kind == "Cast":
        attributes["to"] = _element(helper, node.attributes["to"])
    proto = helper.make_node(node.kind, node.inputs, node.outputs, name=node.path, **attributes)
    told = _told(node)
    proto.doc_string = "; ".join(told.values())
    if has_metadata:
        _add(proto, {f"graphcnn.{key}": text for key, text in told.items()})
    return proto


def _attribute(helper: Any, given: object) -> object:
    return helper.make_tensor("value", *_parts(helper, given)) if isinstance(given, np.ndarray) else given


def _parts(helper: Any, array: Array) -> tuple[int, list[int], list[Any]]:
    return helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape), array.tolist()


def _element(helper: Any, dtype: str) -> int:
    from onnx import TensorProto

    if dtype == "bfloat16":
        return int(TensorProto.BFLOAT16)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _told(node: OnnxNode) -> dict[str, str]:
    """Return what the graph knows of a node: its layer, the user's line, the rule that made it, the op."""
    origin, op = node.source.origin, node.source.op
    told = {
        "layer": origin.layer,
        "line": f"{PurePath(origin.file).name}:{origin.line}" if origin.file else "",
        "rule": origin.rule,
        "op": format_op(op),
        "equation": op.equation,
    }
    return {key: visible(text) for key, text in told.items() if text}


def _add(proto: Any, texts: Mapping[str, str]) -> None:
    for key, text in texts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text


# Values


def _store(onnx: ModuleType, proto: Any, found: Written, options: Options) -> None:
    """Put the values of inputs into the file; where they are fixed, those are inputs no longer."""
    held = [plug for plug in found.inputs if plug.label in options.stored]
    _require_room(proto, (options.stored[plug.label] for plug in held))
    for plug in held:
        array = np.array(options.stored[plug.label].transpose(plug.layout), order="C")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, plug.name))
    if options.is_fixed:
        names = {plug.name for plug in held}
        kept = [info for info in proto.graph.input if info.name not in names]
        del proto.graph.input[:]
        proto.graph.input.extend(kept)


def _require_room(proto: Any, arrays: Iterable[Array]) -> None:
    size = proto.ByteSize() + SPARE + sum(array.nbytes for array in arrays)
    if size > MOST_BYTES:
        raise ExportError(
            f"the file would take {size / 1e9:.1f} GB, more than ONNX's {MOST_BYTES / 1e9:.1f}",
            mend='make the network narrower, or compile it with dtype="float32"; model.save has no limit',
        )
