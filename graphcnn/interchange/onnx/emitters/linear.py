"""Matrix products: MatMul, or Gemm where it takes a bias or a matrix as it is transposed."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import Node, Value

OWN, TURNED = (0, 1), (1, 0)


def matmul(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    if node.operands[0].type.rank == 2 and any(_is_turned(write, each) for each in node.operands):
        write.put(results[0], _gemm(write, node))
    else:
        write.put(results[0], write("MatMul", *map(write.tensor, node.operands)))


def with_bias(write: Writer, node: Node, result: Value, bias: Value) -> bool:
    """Write the product of two matrices and a bias; return whether they are that, and no stacks of them."""
    if result.type.rank != 2:
        return False
    write.put(result, _gemm(write, node, write.tensor(bias)))
    return True


def _gemm(write: Writer, node: Node, *bias: str) -> str:
    turned = [_is_turned(write, each) for each in node.operands]
    tensors = [
        write.tensor(each, TURNED if is_turned else OWN)
        for each, is_turned in zip(node.operands, turned, strict=True)
    ]
    flags = {name: 1 for name, is_turned in zip(("transA", "transB"), turned, strict=True) if is_turned}
    return write("Gemm", *tensors, *bias, **flags)


def _is_turned(write: Writer, value: Value) -> bool:
    """Return whether a matrix is held transposed alone."""
    return write.layouts(value) == [TURNED]


EMITTERS = {ops.Matmul: matmul}
