"""Philox4x32-10 gives the numbers of the Random123 distribution, and uniform and normal ones."""

from statistics import NormalDist

import numpy as np
import pytest

from graphcnn.backend import evaluate
from graphcnn.ir import Graph, TensorType
from graphcnn.ops import GENERATOR_STATE, RandomNormal, RandomUniform
from graphcnn_numpy.kernels.random import normal_quantile, philox4x32

ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def drawn(op, seed, counter, shape, dtype):
    graph = Graph("random")
    state = graph.input("state", GENERATOR_STATE, role="state")
    numbers, following = graph.add_all(op, state, graph.input("like", TensorType(("N", *shape[1:]), dtype)))
    graph.output("numbers", numbers)
    graph.update("state", following)
    results = evaluate(graph, state=np.array([seed, counter], np.int64), like=np.zeros(shape, dtype))
    return results["numbers"], results["state"]


def uniform(seed, counter, shape, dtype="float64"):
    return drawn(RandomUniform(), seed, counter, shape, dtype)


WORDS = (0, 1, 2**28, 0x13333332, 0x13333333, 2**31 - 1, 2**31, 0xECCCCCCC, 0xECCCCCCD, 0xF0000000, ONES)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_becomes_the_normal_number_at_its_place(word):
    """Up to the ends, and on both sides of the places where one formula takes over from another."""
    found = normal_quantile(np.array([word], np.uint64)).item()
    assert found == pytest.approx(NormalDist().inv_cdf((word + 0.5) / 2**32), rel=1e-9, abs=1e-15)
    assert found == -normal_quantile(np.array([ONES - word], np.uint64)).item()


def test_normal_numbers_come_from_the_words_that_uniform_ones_come_from():
    normal, state = drawn(RandomNormal(), 7, 3, (50, 4), "float64")
    numbers, following = uniform(7, 3, (50, 4))
    assert state.tolist() == following.tolist() == [7, 4]
    shares = np.array([NormalDist().cdf(z) for z in normal.ravel()])
    np.testing.assert_array_equal(np.floor(shares * 2**24), numbers.ravel() * 2**24)
    in_single = drawn(RandomNormal(), 7, 3, (50, 4), "float32")[0]
    np.testing.assert_array_equal(in_single, normal.astype("float32"))


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers_of_random123(counter, key, expected):
    words = philox4x32([np.array([word], np.uint64) for word in counter], key)
    assert [int(word[0]) for word in words] == list(expected)


def test_the_first_number_is_the_upper_24_bits_of_the_first_word():
    numbers, _ = uniform(0, 0, (1, 1))
    assert numbers.item() == (0x6627E8D5 >> 8) / 2**24


def test_seed_counter_and_element_enter_the_block_as_documented():
    seed, draw = 0x299F31D0A4093822, 0x0370734413198A2E
    numbers, _ = uniform(seed, draw, (7, 3))
    words = philox4x32(
        [np.array([word], np.uint64) for word in (20, 0, 0x13198A2E, 0x03707344)], (0xA4093822, 0x299F31D0)
    )
    assert numbers[6, 2] == (int(words[0][0]) >> 8) / 2**24


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_uniform_in_the_half_open_interval(dtype):
    numbers, _ = uniform(7, 3, (100, 1000), dtype)
    assert numbers.dtype == dtype
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 5 / np.sqrt(12 * numbers.size)
    assert abs(numbers.var() - 1 / 12) < 0.002
    counts, _ = np.histogram(numbers, 100, (0, 1))
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert 50 < chi_square < 160  # 99 degrees of freedom


def test_neighbours_and_draws_are_not_correlated():
    first, state = uniform(1, 0, (100, 100))
    second, _ = uniform(*map(int, state), (100, 100))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(first.ravel()[1:], first.ravel()[:-1])[0, 1]) < 0.05


def test_the_same_state_gives_the_same_bits_for_every_shape_and_precision():
    numbers, state = uniform(5, 9, (6, 4))
    assert state.tolist() == [5, 10]
    assert np.array_equal(numbers.ravel(), uniform(5, 9, (2, 12), "float32")[0].ravel())
    assert not np.array_equal(numbers, uniform(6, 9, (6, 4))[0])
