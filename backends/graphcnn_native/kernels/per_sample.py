"""Kernels that draw random numbers of each sample from its key."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.sample_keys import EPOCH_BITS
from graphcnn_native.codegen.function import INDEX, Function, Ssa, constant, lanes_of
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.movement import fetch
from graphcnn_native.kernels.nest import over_run, over_samples
from graphcnn_native.kernels.philox import WORD, first_word, normal, uniform
from graphcnn_native.kernels.writer import Position, Writer


def sample_numbers(w: Writer) -> None:
    """One number of each sample in every lane, or many of one sample."""
    assert w.kernel.root is not None
    node, f = w.graph.node(w.kernel.root), w.f
    op, (keys,) = node.op, node.operands
    assert isinstance(op, ops.SampleNumbers)
    (value,) = w.graph.results(w.kernel.root)
    type, item = value.type, ITEMS[value.type.dtype]

    def body(position: Position) -> None:
        n, *inner = position.indices
        of_samples = position if not inner else Position((n,))
        key = fetch(w, keys, [n], of_samples, 0)
        within = constant(key.type, 0)
        if inner:
            within = f.counting(w.offset(type, (0, *inner)), position.lanes)
        w.store(position, {value: _drawn(f, op, key, within, item)})

    if type.rank == 1:
        over_run(w, w.begin, w.end, (), body, item)
    else:
        over_samples(w, body, item)


def _drawn(f: Function, op: ops.SampleNumbers, key: Ssa, element: Ssa, item: str) -> Ssa:
    odd = key
    if op.alternating:
        key = f.binary("and", key, constant(key.type, -(2**EPOCH_BITS)))
    word = first_word(f, element, Ssa(INDEX, str(op.stream)), key)
    if op.alternating:
        ones = f.binary("mul", f.binary("and", odd, constant(odd.type, 1)), constant(odd.type, WORD))
        word = f.binary("xor", word, ones if ones.type == word.type else f.splat(ones, lanes_of(word.type)))
    if isinstance(op, ops.SampleNormal):
        return normal(f, word, item)
    if isinstance(op, ops.SampleUniform):
        return uniform(f, word, item)
    assert isinstance(op, ops.SampleIntegers)
    count = constant(word.type, op.high - op.low + 1)
    steps = f.binary("lshr", f.binary("mul", word, count), constant(word.type, 32))
    return f.convert("trunc", f.binary("add", steps, constant(word.type, op.low)), item)
