"""Random numbers: Philox4x32-10 in integers of 64 bits, so that a runtime draws the same bits.

Philox needs BitwiseXor, which ONNX has since opset 18.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from graphcnn import ops
from graphcnn.interchange.onnx.emitters.pointwise import polynomial
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import BATCH, Dim, Node, Value
from graphcnn.ops import RandomNormal
from graphcnn.sample_keys import EPOCH_BITS

ROUNDS: Final = 10
MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS: Final = (0x9E3779B9, 0xBB67AE85)
WORD: Final = 0xFFFFFFFF


def _word(write: Writer, number: int) -> str:
    return write.constant(np.array(number, np.uint64))


def _low(write: Writer, tensor: str) -> str:
    return write("BitwiseAnd", tensor, _word(write, WORD))


def _high(write: Writer, tensor: str) -> str:
    return write("BitShift", tensor, _word(write, 32), direction="RIGHT")


def first_words(write: Writer, counter: Sequence[str], key: tuple[str, str]) -> str:
    """Write Philox4x32-10; return word 0 of each block, as uint64.

    counter: four tensors of 32-bit words in uint64, and key: two, which are repeated to one shape.
    """
    write.require_opset(18, "drawing random numbers")
    words, (k0, k1) = list(counter), key
    for number in range(ROUNDS):
        left, right = (write("Mul", words[2 * a], _word(write, MULTIPLIERS[a])) for a in (0, 1))
        words = [
            write("BitwiseXor", write("BitwiseXor", _high(write, right), words[1]), k0),
            _low(write, right),
            write("BitwiseXor", write("BitwiseXor", _high(write, left), words[3]), k1),
            _low(write, left),
        ]
        if number < ROUNDS - 1:
            k0, k1 = (
                _low(write, write("Add", k, _word(write, step)))
                for k, step in zip((k0, k1), KEY_STEPS, strict=True)
            )
    return words[0]


def _halves(write: Writer, number: str) -> tuple[str, str]:
    """Return the lower and the upper word of integers of 64 bits."""
    bits = write.cast(number, "uint64")
    return _low(write, bits), _high(write, bits)


def uniform(write: Writer, words: str, dtype: str) -> str:
    """Return the upper 24 bits of words, divided by 2^24."""
    upper = write("BitShift", words, _word(write, 8), direction="RIGHT")
    return write("Mul", write.cast(upper, dtype), write.number(2.0**-24, dtype))


def normal(write: Writer, words: str, dtype: str) -> str:
    """Return Φ⁻¹((w + 1/2) / 2^32), computed as `RandomNormal` says."""

    def number(value: float) -> str:
        return write.number(value, "float64")

    q = write("Sub", write.cast(words, "float64"), number(2.0**31 - 0.5))
    q = write("Mul", q, number(2.0**-32))
    size = write("Abs", q)
    r = write("Sub", number(RandomNormal.EDGE**2), write("Mul", q, q))
    above, below = (polynomial(write, each, r) for each in RandomNormal.NEAR)
    near = write("Div", write("Mul", q, above), below)
    logarithm = _logarithm(write, write("Sub", number(0.5), size))
    distance = write("Sub", write("Sqrt", write("Neg", logarithm)), number(1.6))
    above, below = (polynomial(write, each, distance) for each in RandomNormal.FAR)
    far = write("Mul", write("Div", above, below), write("Sign", q))
    chosen = write("Where", write("LessOrEqual", size, number(RandomNormal.EDGE)), near, far)
    return chosen if dtype == "float64" else write.cast(chosen, dtype)


def _logarithm(write: Writer, t: str) -> str:
    """Return ln t of numbers from 2^-33 to 1/2: with t = m 2^k, k ln 2 + s L(s²), s = (m - 1) / (m + 1)."""

    def number(value: float) -> str:
        return write.number(value, "float64")

    m, exponent = t, number(0)
    for bits in (32, 16, 8, 4, 2, 1):  # until 1/2 <= m < 1
        is_small = write("Less", m, number(2.0**-bits))
        m = write("Where", is_small, write("Mul", m, number(2.0**bits)), m)
        exponent = write("Sub", exponent, write("Where", is_small, number(bits), number(0)))
    doubled = write("Mul", m, number(2.0))
    is_large = write("Greater", doubled, number(RandomNormal.ROOT))
    m = write("Where", is_large, m, doubled)
    exponent = write("Sub", exponent, write("Where", is_large, number(0), number(1)))
    one = number(1)
    s = write("Div", write("Sub", m, one), write("Add", m, one))
    rest = write("Mul", s, polynomial(write, RandomNormal.LOGARITHM, write("Mul", s, s)))
    return write("Add", write("Mul", exponent, number(RandomNormal.LN2)), rest)


# Of a generator's state


def random_numbers(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (state, like), op = node.operands, node.op
    generator = write.tensor(state)
    numbers = [write("Gather", generator, write.constant(np.array(place)), axis=0) for place in (0, 1)]
    seed, draw = (_halves(write, each) for each in numbers)
    element = _halves(write, _elements(write, like.type.shape))
    words = write.reshaped(first_words(write, (*element, *draw), seed), like.type.shape)
    draws = uniform if isinstance(op, ops.RandomUniform) else normal
    write.put(results[0], draws(write, words, like.type.dtype))
    write.put(results[1], write("Add", generator, write.integers(0, 1)))


def _elements(write: Writer, shape: tuple[Dim, ...]) -> str:
    """Return 0, 1, ..., a number for each element of a shape."""
    if BATCH not in shape:
        return write.constant(np.arange(math.prod(shape), dtype=np.int64))
    sample = math.prod(size for size in shape if isinstance(size, int))
    count = write("Mul", write.samples(), write.constant(np.array(sample)))
    return write(
        "Range",
        *(each if isinstance(each, str) else write.constant(np.array(each)) for each in (0, count, 1)),
    )


# Of each sample


def _sample_words(write: Writer, node: Node) -> str:
    """Return word 0 of the block of each element of each sample, in the shape of the draw."""
    (keys,), op = node.operands, node.op
    assert isinstance(op, ops.SampleNumbers)
    key = write.unsqueezed(write.cast(write.tensor(keys), "uint64"), 1)
    odd = ""
    if op.alternating:
        odd = write("Mul", write("BitwiseAnd", key, _word(write, 1)), _word(write, WORD))
        kept = (WORD << 32 | WORD) >> EPOCH_BITS << EPOCH_BITS
        key = write("BitwiseAnd", key, _word(write, kept))
    count = math.prod(size for size in op.shape[1:] if isinstance(size, int))
    element = write.constant(np.arange(count, dtype=np.uint64)[None])
    counter = (element, *(_word(write, word) for word in (0, op.stream, 0)))
    words = first_words(write, counter, (_low(write, key), _high(write, key)))
    return write.reshaped(write("BitwiseXor", words, odd) if odd else words, op.shape)


def sample_uniform(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    write.put(results[0], uniform(write, _sample_words(write, node), results[0].type.dtype))


def sample_normal(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    write.put(results[0], normal(write, _sample_words(write, node), results[0].type.dtype))


def sample_integers(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    op = node.op
    assert isinstance(op, ops.SampleIntegers)
    steps = _high(write, write("Mul", _sample_words(write, node), _word(write, op.high - op.low + 1)))
    drawn = write("Add", write.cast(steps, "int64"), write.constant(np.array(op.low)))
    write.put(results[0], write.cast(drawn, "int32"))


EMITTERS = {
    ops.RandomUniform: random_numbers,
    ops.RandomNormal: random_numbers,
    ops.SampleUniform: sample_uniform,
    ops.SampleNormal: sample_normal,
    ops.SampleIntegers: sample_integers,
}
