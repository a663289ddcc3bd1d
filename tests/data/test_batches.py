"""Rows of arrays as batches: their order, their element types, and the code that gathers them."""

import sys

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import gathering, load_backend
from graphcnn.data.batches import AT_ONCE, ROOMS, Batches, converted, gather, permutation
from graphcnn_native.gathering import written
from graphcnn_native.runtime.engine import assembly
from graphcnn_native.target import named_target

BACKENDS = ["numpy", "native"]
SHAPES = [(1,), (7,), (15,), (16,), (17,), (63,), (64,), (65,), (28, 28, 1), (9, 5, 3), (0,)]


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def guarded(shape, dtype):
    """Return an array with others before and behind it, which nobody may write to."""
    size = int(np.prod(shape))
    room = np.full(size + 64, 77, dtype)
    return room, room[32 : 32 + size].reshape(shape)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_byte_becomes_what_division_by_255_gives(backend, dtype):
    every = np.arange(256, dtype=np.uint8).reshape(4, 64)
    found = converted(every, dtype, gathering(load_backend(backend)))
    expected = every.astype(dtype) / np.dtype(dtype).type(255)
    assert found.dtype == dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("backend", "begins"), [("numpy", False), ("native", False), ("native", True)], ids=str
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_rows_are_gathered_and_nothing_beside_them_is_written(backend, begins, shape, dtype):
    array, rows = pixels(11, *shape), np.array([3, 0, 10, 10, 7])
    room, out = guarded((len(rows), *shape), dtype)
    take = gathering(load_backend(backend))
    take.ahead(array, rows, out.dtype)(0, out)() if begins else take(array, rows, out)
    chosen = array[rows]
    expected = chosen if dtype == "uint8" else chosen.astype(dtype) / np.dtype(dtype).type(255)
    np.testing.assert_array_equal(out, expected)
    assert (room[:32] == 77).all()
    assert (room[len(room) - 32 :] == 77).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "array",
    [
        pixels(6, 8, 5).transpose(0, 2, 1),
        pixels(12, 5, 8)[::2],
        np.asfortranarray(pixels(6, 5, 8)),
        pixels(6, 5, 8).astype(">f4"),
        np.arange(240, dtype=np.int16).reshape(6, 5, 8),
    ],
    ids=["transposed", "every second", "by columns", "another byte order", "integers"],
)
def test_arrays_of_any_layout_are_gathered(backend, array):
    take = gathering(load_backend(backend))
    for rows in (np.array([5, 1, 1]), None):
        out = np.empty((3 if rows is not None else 6, 5, 8), np.float32)
        take(array, rows, out)
        chosen = array if rows is None else array[rows]
        expected = converted(np.ascontiguousarray(chosen), "float32")
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 5, 16, 33])
def test_any_number_of_threads_shares_the_rows(threads, count):
    array, rows = pixels(40, 40, 40, 3), np.arange(count)[::-1] % 40
    take = gathering(load_backend("native"), {"threads": threads})
    for act in (take, lambda array, rows, out: take.ahead(array, rows, out.dtype)(0, out)()):
        room, out = guarded((count, 40, 40, 3), "float32")
        act(array, rows, out)
        np.testing.assert_array_equal(out, array[rows].astype(np.float32) / np.float32(255))
        assert (room[:32] == 77).all()
        assert (room[len(room) - 32 :] == 77).all()


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32", "complex128", "bool", ">f4", "S3"])
def test_rows_that_stay_as_they_are_are_copied(dtype):
    array, rows = pixels(50, 300).astype(dtype), np.arange(200) * 7 % 50
    take = gathering(load_backend("native"))
    for act in (take, lambda array, rows, out: take.ahead(array, rows, out.dtype)(0, out)()):
        room, out = guarded((200, 300), dtype)
        act(array, rows, out)
        assert out.tobytes() == array[rows].tobytes()
        assert room[:32].tobytes() == room[len(room) - 32 :].tobytes() == np.full(32, 77, dtype).tobytes()


def test_read_only_arrays_are_gathered():
    array = pixels(6, 5)
    array.flags.writeable = False
    out = np.empty((2, 5), np.float32)
    gathering(load_backend("native"))(array, np.array([1, 4]), out)
    np.testing.assert_array_equal(out, array[[1, 4]].astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("target", ["avx512", "avx2", "baseline", "neon"])
def test_the_code_that_gathers_compiles_for_every_processor(target):
    target = named_target(target)
    text = assembly(written(target), target)
    assert "divide" in text


def test_a_backend_without_a_way_of_its_own_gathers_by_numpy():
    class Plain:
        name, ops = "plain", frozenset()

        def compile(self, graph):
            raise NotImplementedError

    assert gathering(Plain()) is gather


def test_a_backend_of_ones_own_gathers_the_batches():
    seen = []

    class Own:
        name, ops = "own", load_backend("numpy").ops
        compile = staticmethod(load_backend("numpy").compile)

        @staticmethod
        def gathering():
            def counted(array, rows, out):
                seen.append(len(out))
                gather(array, rows, out)

            return counted

    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(2))
    model = gcn.compile(
        network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend=Own()
    )
    model.fit(pixels(6, 4, 4, 1), np.zeros(6, np.int8), batch_size=4, progress=False)
    assert seen == [4, 4, 2, 2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_batches_that_are_gathered_together_are_those_of_the_arrays(backend, seed, dtype):
    images, labels = pixels(700, 28, 28, 1), np.arange(700)
    take = gathering(load_backend(backend), {"threads": 2} if backend == "native" else {})
    batches = Batches(images, labels, size=64, seed=seed, dtypes=[dtype, "int64"], gather=take)
    sizes = []
    for found, rows in batches.epoch(1):
        sizes.append(len(rows))
        assert found.flags.c_contiguous
        assert found.tobytes() == converted(images[rows], dtype).tobytes()
    assert sizes == [64] * 10 + [60]


def test_a_batch_larger_than_what_is_gathered_at_once_comes_alone():
    images = pixels(5, 400, 400, 3)
    assert images[:2].size * 4 > AT_ONCE
    sizes = [len(found) for (found,) in Batches(images, size=2, seed=0, dtypes=["float32"]).epoch(0)]
    assert sizes == [2, 2, 1]


def test_two_epochs_under_way_do_not_disturb_each_other():
    take = gathering(load_backend("native"), {"threads": 2})
    images, labels = pixels(600, 28, 28, 1), np.arange(600)
    epochs = [
        Batches(images, labels, size=64, seed=seed, dtypes=["float32", "int64"], gather=take).epoch(0)
        for seed in (1, 2, 3)
    ]
    for batches in zip(*epochs, strict=True):
        for found, rows in batches:
            np.testing.assert_array_equal(found, converted(images[rows], "float32"))


def test_batches_that_somebody_keeps_stay_as_they_are():
    take = gathering(load_backend("native"), {"threads": 2})
    images, labels = pixels(2000, 28, 28, 1), np.arange(2000)
    batches = Batches(images, labels, size=64, seed=1, dtypes=["float32", "int64"], gather=take)
    kept = [
        (memoryview(found) if number % 2 else found[5:, 3:], rows)
        for epoch in range(3)
        for number, (found, rows) in enumerate(batches.epoch(epoch))
        if number % 3 == 0
    ]
    for found, rows in kept:
        expected = converted(images[rows], "float32")
        np.testing.assert_array_equal(found, expected if isinstance(found, memoryview) else expected[5:, 3:])


def test_memory_that_nobody_uses_is_used_again():
    batches = Batches(pixels(6000, 28, 28, 1), size=64, seed=1, dtypes=["float32"])
    places = {found.base.ctypes.data for epoch in range(3) for (found,) in batches.epoch(epoch)}
    assert len(places) <= ROOMS


def test_an_epoch_that_is_left_gives_the_arrays_back():
    take = gathering(load_backend("native"), {"threads": 2})
    images = pixels(600, 28, 28, 1)
    batches = Batches(images, size=64, seed=1, dtypes=["float32"], gather=take).epoch(0)
    next(batches)
    before = sys.getrefcount(images)
    batches.close()
    del batches
    assert sys.getrefcount(images) < before


@pytest.mark.parametrize("seed", [None, 3])
def test_an_epoch_can_begin_at_any_batch(seed):
    arrays = np.arange(23), pixels(23, 4)
    batches = Batches(*arrays, size=5, seed=seed, dtypes=["int64", "float32"])
    whole = list(batches.epoch(2))
    assert [len(labels) for labels, _ in whole] == [5, 5, 5, 5, 3]
    assert len(batches) == 5
    for begin in range(6):
        rest = list(batches.epoch(2, begin))
        assert len(rest) == max(0, 5 - begin)
        for found, expected in zip(rest, whole[begin:], strict=True):
            for one, other in zip(found, expected, strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)


def test_every_row_comes_once_in_an_order_of_the_seed_and_the_epoch():
    batches = Batches(np.arange(100), size=7, seed=5)
    orders = [np.concatenate([rows for (rows,) in batches.epoch(number)]) for number in (0, 1, 0)]
    assert sorted(orders[0]) == list(range(100))
    np.testing.assert_array_equal(orders[0], orders[2])
    assert (orders[0] != orders[1]).any()
    assert (permutation(100, 6, 0) != orders[0]).any()


def test_rows_in_order_are_views_where_they_need_no_conversion():
    array = np.zeros((6, 2), np.float32)
    first, *_ = Batches(array, size=4).epoch(0)
    assert np.shares_memory(first[0], array)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("size", [7, 100])
def test_rows_that_are_not_needed_are_not_gathered(backend, seed, size):
    images, labels = pixels(100, 40), np.arange(100)
    take = gathering(load_backend(backend), {"threads": 2} if backend == "native" else {})

    def needed(samples):
        return [range(1, samples // 2), range(samples, samples), range(samples - 1, samples)]

    options = {"size": size, "seed": seed, "dtypes": ["float32", "int64"], "gather": take}
    part = Batches(images, labels, needed=[needed, None], **options)
    for batch, whole in zip(part.epoch(2), Batches(images, labels, **options).epoch(2), strict=True):
        rows = [row for own in needed(len(batch[0])) for row in own]
        assert batch[0].shape == whole[0].shape
        assert batch[0][rows].tobytes() == whole[0][rows].tobytes()
        assert batch[1].tolist() == whole[1].tolist()
    read = []
    recorded = Batches(
        images,
        size=size,
        seed=3,
        dtypes=["float32"],
        gather=lambda array, rows, out: read.extend(rows.tolist()),
        needed=[needed],
    )
    for _ in recorded.epoch(0):
        pass
    counts = [len(batch[0]) for batch in Batches(images, size=size).epoch(0)]
    assert len(set(read)) == len(read) == sum(len(own) for count in counts for own in needed(count))
