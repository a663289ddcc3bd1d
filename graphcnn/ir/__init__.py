"""What a graph is: types, nodes, origins, the text form, and the rules of validity."""

from graphcnn.ir.graph import SAMPLE_KEYS, Emitter, Graph, Input, Node, Role, Value, batch_inputs
from graphcnn.ir.liveness import last_reads, live_bytes, needed_nodes, use_counts
from graphcnn.ir.op import (
    NO_RULE,
    OPERAND_LETTERS,
    Cost,
    Gradients,
    Op,
    Values,
    are_samples,
    arguments_of,
    require_op,
)
from graphcnn.ir.parser import parse_graph
from graphcnn.ir.rebuild import Rebuild
from graphcnn.ir.text import format_call, format_graph
from graphcnn.ir.types import BATCH, Dim, DType, TensorType, concrete_shape, format_shape
from graphcnn.ir.verify import verify
from graphcnn.origin import Origin, users_line, users_line_of

__all__ = [
    "BATCH",
    "NO_RULE",
    "OPERAND_LETTERS",
    "SAMPLE_KEYS",
    "Cost",
    "DType",
    "Dim",
    "Emitter",
    "Gradients",
    "Graph",
    "Input",
    "Node",
    "Op",
    "Origin",
    "Rebuild",
    "Role",
    "TensorType",
    "Value",
    "Values",
    "are_samples",
    "arguments_of",
    "batch_inputs",
    "concrete_shape",
    "format_call",
    "format_graph",
    "format_shape",
    "last_reads",
    "live_bytes",
    "needed_nodes",
    "parse_graph",
    "require_op",
    "use_counts",
    "users_line",
    "users_line_of",
    "verify",
]
