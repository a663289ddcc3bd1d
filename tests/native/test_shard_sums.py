"""What shards have summed is added up in the order of the tree that ranks share."""

import ctypes

import numpy as np
import pytest

from graphcnn.distributed.tree import leaf_count
from graphcnn_native.codegen.shard_sums import add_up
from graphcnn_native.runtime.engine import compile_module
from graphcnn_native.target import host_target

ITEMS = {"float": np.float32, "double": np.float64}


@pytest.fixture(scope="module", params=ITEMS)
def adding(request):
    """Return an element type, and a function that adds up rows of it by machine code."""
    function = add_up(host_target(), request.param)
    library = compile_module("\n".join([*function.declarations, str(function)]), host_target())
    pointers = *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3
    call = ctypes.CFUNCTYPE(None, *pointers)(library.address(function.name))

    def added(array, size, total=None):
        total = array if total is None else total
        call(total.ctypes.data, array.ctypes.data, size, len(array), array.strides[0])
        _ = library

    return ITEMS[request.param], added


def by_the_tree(rows, begin, count):
    if begin >= len(rows):
        return None
    if count == 1:
        return rows[begin]
    left, right = (by_the_tree(rows, first, count // 2) for first in (begin, begin + count // 2))
    return left if right is None else left + right


@pytest.mark.parametrize("count", range(1, 17))
def test_rows_are_added_up_in_pairs_neighbours_first(adding, count):
    dtype, add = adding
    random = np.random.default_rng(count)
    for size in (1, 3, 16, 17, 64, 200):
        rows = (random.standard_normal((count, size + 5)) * 10.0 ** random.integers(-4, 5)).astype(dtype)
        rows[:, 0] = -0.0
        expected = rows.copy()
        expected[0, :size] = by_the_tree(rows[:, :size], 0, leaf_count(count))
        elsewhere = np.zeros_like(rows[0])
        add(rows, size, elsewhere)
        assert elsewhere[:size].tobytes() == expected[0, :size].tobytes()
        add(rows, size)
        assert rows.tobytes() == expected.tobytes()
