"""One kernel on one node's operands; what it returns is checked, and errors name the node's place."""

from __future__ import annotations

import numpy as np

from graphcnn.arrays import Array
from graphcnn.calls import described
from graphcnn.errors import BackendError, GraphcnnError, OutOfMemoryError
from graphcnn.ir import Node
from graphcnn_numpy.kernels import KERNELS, Kernel


def apply(node: Node, operands: list[Array], batch: int) -> tuple[Array, ...]:
    """Return the results of a node.

    Raises BackendError where they are of other types than the op's shape rule says, at this batch size, and
    OutOfMemoryError where there is no memory for them.
    """
    kernel = KERNELS[type(node.op)]
    try:
        result = kernel(node.op, operands, batch)
    except MemoryError as error:
        raise no_memory(node, batch, error) from None
    results = result if isinstance(result, tuple) else (result,)
    if not _fit(results, node, batch):
        raise _another_type(kernel, result, node, batch)
    return results


def _fit(results: tuple[Array, ...], node: Node, batch: int) -> bool:
    """Return whether a kernel's results are of the types that the op's shape rule says."""
    if len(results) != len(node.types):
        return False
    for result, type in zip(results, node.types, strict=True):
        if getattr(result, "dtype", None) != type.dtype or result.shape != type.concrete(batch):
            return False
    return True


def _another_type(kernel: Kernel, result: object, node: Node, batch: int) -> GraphcnnError:
    """Return the error of a kernel whose results are of other types than the op's shape rule says."""
    found = result if isinstance(result, tuple) else (result,)
    wanted = [type.with_shape(type.concrete(batch)) for type in node.types]
    return BackendError(
        f"the kernel of {node.op.name}, {described(kernel)}, returned {', '.join(map(_shown, found))}; "
        f"the shape rule says {', '.join(map(str, wanted))}",
        mend="np.asarray(result, operands[0].dtype) in the kernel, or other types from result_types",
    ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)


def _shown(result: object) -> str:
    if not isinstance(result, np.ndarray | np.generic):
        return f"{type(result).__name__}, no array"
    return f"{result.dtype}[{', '.join(map(str, result.shape))}]"


def no_memory(node: Node, batch: int, error: MemoryError) -> GraphcnnError:
    """Return the error of a node that needs more memory than there is."""
    smaller = "make this layer smaller"
    return OutOfMemoryError(
        f"there is no memory for {node.op.name}: {', '.join(map(str, node.types))}, a batch of {batch}",
        facts=[str(error)],
        mend=f"take smaller batches, or {smaller}" if batch > 1 else smaller,
    ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)
