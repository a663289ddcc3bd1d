"""Philox4x32-10 on whole arrays: element e of draw `counter` is one block of the generator."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn_numpy.kernels.kernel import Kernels

ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox4x32(counter: list[Array], key: tuple[int, int]) -> list[Array]:
    """Return the four 32-bit words of each block, held in uint64 arrays.

    counter: four arrays of 32-bit words in uint64. key: two 32-bit words.
    """
    words = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        left, right = MULTIPLIERS[0] * words[0], MULTIPLIERS[1] * words[2]
        words = [
            (right >> HALF) ^ words[1] ^ np.uint64(k0),
            right & WORD,
            (left >> HALF) ^ words[3] ^ np.uint64(k1),
            left & WORD,
        ]
        k0, k1 = (k0 + KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return words


def random_uniform(op: ops.RandomUniform, operands: list[Array], batch: int) -> tuple[Array, Array]:
    state, like = operands
    seed, draw = (int(number) & 0xFFFFFFFFFFFFFFFF for number in state)
    element = np.arange(like.size, dtype=np.uint64)
    fixed = [np.full(like.size, word, np.uint64) for word in (draw & 0xFFFFFFFF, draw >> 32)]
    blocks = philox4x32([element & WORD, element >> HALF, *fixed], (seed & 0xFFFFFFFF, seed >> 32))
    uniform = (blocks[0] >> np.uint64(8)).astype(like.dtype) * like.dtype.type(2.0**-24)
    return uniform.reshape(like.shape), state + np.array([0, 1], np.int64)


KERNELS: Kernels = {ops.RandomUniform: random_uniform}
