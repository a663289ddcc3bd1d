"""Philox4x32-10 on whole arrays: element e of draw `counter` is one block of the generator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.ir import concrete_shape
from graphcnn.ops import RandomNormal
from graphcnn.sample_keys import EPOCH_BITS
from graphcnn_numpy.kernels.kernel import Kernels

ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox4x32(counter: list[Array], key: tuple[int | Array, int | Array]) -> list[Array]:
    """Return the four 32-bit words of each block, held in uint64 arrays.

    counter: four arrays of 32-bit words in uint64. key: two 32-bit words, for all blocks or for each.
    """
    words = counter
    k0, k1 = (np.asarray(word, np.uint64) for word in key)
    for _ in range(ROUNDS):
        left, right = MULTIPLIERS[0] * words[0], MULTIPLIERS[1] * words[2]
        words = [
            (right >> HALF) ^ words[1] ^ k0,
            right & WORD,
            (left >> HALF) ^ words[3] ^ k1,
            left & WORD,
        ]
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return words


def _first_words(state: Array, like: Array) -> tuple[Array, Array]:
    """Return word 0 of the block of each element of `like`, in order, and the generator's next state."""
    seed, draw = (int(number) & 0xFFFFFFFFFFFFFFFF for number in state)
    element = np.arange(like.size, dtype=np.uint64)
    fixed = [np.full(like.size, word, np.uint64) for word in (draw & 0xFFFFFFFF, draw >> 32)]
    blocks = philox4x32([element & WORD, element >> HALF, *fixed], (seed & 0xFFFFFFFF, seed >> 32))
    return blocks[0], state + np.array([0, 1], np.int64)


def random_uniform(op: ops.RandomUniform, operands: list[Array], batch: int) -> tuple[Array, Array]:
    state, like = operands
    words, following = _first_words(state, like)
    return _uniform(words, like.dtype).reshape(like.shape), following


def _uniform(words: Array, dtype: object) -> Array:
    type = np.dtype(dtype)  # type: ignore[call-overload]
    uniform: Array = (words >> np.uint64(8)).astype(type) * type.type(2.0**-24)
    return uniform


def random_normal(op: ops.RandomNormal, operands: list[Array], batch: int) -> tuple[Array, Array]:
    state, like = operands
    words, following = _first_words(state, like)
    return normal_quantile(words).astype(like.dtype).reshape(like.shape), following


def normal_quantile(words: Array) -> Array:
    """Return Φ⁻¹((w + 1/2) / 2^32) of words w of 32 bits, held in uint64."""
    q = (words.astype(np.float64) - (2.0**31 - 0.5)) * 2.0**-32
    size = np.abs(q)
    numerator, denominator = (_polynomial(each, RandomNormal.EDGE**2 - q * q) for each in RandomNormal.NEAR)
    near = q * numerator / denominator
    distance = np.sqrt(-_logarithm(0.5 - size)) - 1.6
    numerator, denominator = (_polynomial(each, distance) for each in RandomNormal.FAR)
    far = np.copysign(numerator / denominator, q)
    normal: Array = np.where(size <= RandomNormal.EDGE, near, far)
    return normal


def _logarithm(t: Array) -> Array:
    mantissa, exponent = np.frexp(t)
    mantissa, exponent = 2.0 * mantissa, exponent - 1
    is_large = mantissa > RandomNormal.ROOT
    m = np.where(is_large, 0.5 * mantissa, mantissa)
    s = (m - 1.0) / (m + 1.0)
    found: Array = (exponent + is_large) * RandomNormal.LN2 + s * _polynomial(RandomNormal.LOGARITHM, s * s)
    return found


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


# Of each sample


def _sample_words(op: ops.SampleNumbers, keys: Array, batch: int) -> Array:
    """Return word 0 of the block of each element of each sample, in the shape of the draw."""
    shape = concrete_shape(op.shape, batch)
    key = keys.view(np.uint64)[:, None]
    ones = np.zeros_like(key)
    if op.alternating:
        ones = (key & np.uint64(1)) * WORD
        key = key >> np.uint64(EPOCH_BITS) << np.uint64(EPOCH_BITS)
    element = np.arange(math.prod(shape[1:]), dtype=np.uint64)[None]
    fixed = [np.full((1, 1), word, np.uint64) for word in (0, op.stream, 0)]
    return (philox4x32([element, *fixed], (key & WORD, key >> HALF))[0] ^ ones).reshape(shape)


def sample_uniform(op: ops.SampleUniform, operands: list[Array], batch: int) -> Array:
    return _uniform(_sample_words(op, operands[0], batch), op.dtype)


def sample_normal(op: ops.SampleNormal, operands: list[Array], batch: int) -> Array:
    return normal_quantile(_sample_words(op, operands[0], batch)).astype(op.dtype)


def sample_integers(op: ops.SampleIntegers, operands: list[Array], batch: int) -> Array:
    count = np.uint64(op.high - op.low + 1)
    steps = _sample_words(op, operands[0], batch) * count >> HALF
    return (steps.astype(np.int64) + op.low).astype(np.int32)


KERNELS: Kernels = {
    ops.RandomUniform: random_uniform,
    ops.RandomNormal: random_normal,
    ops.SampleUniform: sample_uniform,
    ops.SampleNormal: sample_normal,
    ops.SampleIntegers: sample_integers,
}
