"""Keys of samples: what all their random numbers follow from, beside the node that draws them.

A key is 64 bits: above, what stands for a sample in every epoch, and in the lowest `EPOCH_BITS` the epoch. So
the numbers of a sample depend on the seed, the epoch and its index alone, however batches are cut, whoever
computes them, and whether training was resumed; and a node can ask for those that all epochs have in common.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np

from graphcnn.arrays import Array

SAMPLE_KEY: Final = "sample_key"
"""The name of the input that holds the keys of a batch, int64 [N]."""

EPOCH_BITS: Final = 24

_GOLDEN: Final = 0x9E3779B97F4A7C15
_ALL: Final = 2**64 - 1


def identities(seed: int, indices: Array) -> Array:
    """Return the keys of samples in epoch 0, int64 [n].

    seed: of 64 bits. indices: integers of at least 0, [n]. The upper bits are those of number `index` of
    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), which
    begins where a mixed seed says.
    """
    states = indices.astype(np.uint64) * np.uint64(_GOLDEN) + _begin(seed)
    upper = _mixed(states) >> np.uint64(EPOCH_BITS) << np.uint64(EPOCH_BITS)
    return upper.view(np.int64)


@functools.cache
def _begin(seed: int) -> np.uint64:
    begin: np.uint64 = _mixed(np.array([(seed + _GOLDEN) & _ALL], np.uint64))[0]
    return begin


def in_epoch(identities: Array, epoch: int) -> Array:
    """Return the keys of samples in an epoch, counted from 0, given those of epoch 0."""
    keys: Array = identities | np.int64(epoch % 2**EPOCH_BITS)
    return keys


def _mixed(z: Array) -> Array:
    """Return 64 bits, each of which depends on all of those given."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = z ^ (z >> np.uint64(31))
    return mixed
