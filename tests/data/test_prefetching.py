"""Batches that a thread draws ahead: the same batches, errors where they belong, no thread left behind."""

import collections
import contextlib
import gc
import itertools
import threading

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.data import mapping, prefetching
from graphcnn.data.batches import gather
from graphcnn.data.prefetching import prefetched
from graphcnn.errors import DataError, OptionError
from graphcnn.training import feed
from graphcnn.training.callbacks import StopTraining

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 1), dtype=np.uint8)
LABELS = np.arange(24) % 3


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def made():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    return gcn.compile(
        network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend="numpy"
    )


class Batches:
    """Batches that begin anew, and say on which thread they were drawn."""

    def __init__(self, size=8):
        self.size, self.threads, self.drawn = size, set(), 0

    def __iter__(self):
        for start in range(0, len(IMAGES), self.size):
            self.threads.add(threading.current_thread())
            self.drawn += 1
            yield IMAGES[start : start + self.size], LABELS[start : start + self.size]


@pytest.mark.parametrize("ahead", [1, 2, 100])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_items_come_in_their_order(ahead, count):
    assert list(prefetched(range(count), ahead)) == list(range(count))


def test_no_more_is_drawn_than_is_allowed():
    drawn = []
    arrived = threading.Semaphore(0)

    def items():
        for number in range(10):
            drawn.append(number)
            yield number
            arrived.release()

    with contextlib.closing(prefetched(items(), 2)) as found:
        assert next(found) == 0
        arrived.acquire()  # asked for the one after 0 ...
        arrived.acquire()  # ... and for the one after 1
        assert drawn == [0, 1, 2]


def numbers(count):
    yield from range(count)


KINDS = {
    "generator": numbers,
    "iterator of a list": lambda count: iter(list(range(count))),
    "zip": lambda count: map(lambda pair: pair[0], zip(range(count), range(count))),  # noqa: B905, C417
}
KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@KIND
@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
@pytest.mark.parametrize("later", [0, 1, 2, 5])
def test_what_was_drawn_and_not_used_comes_first_the_next_time(kind, ahead, later):
    items, found = kind(12), []
    for size in (1, 0, 2, 1):
        with contextlib.closing(prefetched(items, ahead)) as drawn:
            found += [next(drawn) for _ in range(size)]
        ahead = later
    assert found + list(prefetched(items, later)) == list(range(12))
    assert not prefetching._drawn_before._found


@KIND
def test_no_more_than_so_many_are_used_with_those_from_before(kind):
    items = kind(12)
    with contextlib.closing(prefetched(items, 5)) as drawn:
        found = [next(drawn)]
    for most in (2, 0, 4):
        found += list(prefetched(items, 3, most))
    assert found == list(range(7))
    assert [*prefetched(items, 0, 1), *prefetched(items, 2)] == list(range(7, 12))


def test_an_error_that_was_met_ahead_is_raised_when_its_turn_comes():
    def items():
        yield 1
        yield 2
        raise KeyError("third")

    given = items()
    with contextlib.closing(prefetched(given, 5)) as drawn:
        assert next(drawn) == 1
    with contextlib.closing(prefetched(given, 5)) as drawn:
        assert next(drawn) == 2
    with pytest.raises(KeyError, match="third"):
        list(prefetched(given, 5))
    assert list(prefetched(given, 5)) == []


def test_what_was_not_used_is_held_no_longer_than_its_iterator():
    class Large:
        pass

    made = threading.Semaphore(0)

    def items():
        while True:
            made.release()
            yield Large()

    def held():
        gc.collect()
        return sum(isinstance(each, Large) for each in gc.get_objects())

    def use_one(given):
        with contextlib.closing(prefetched(given, 3)) as drawn:
            next(drawn)
            for _ in range(4):
                made.acquire()

    given = items()
    use_one(given)
    assert held() == 3
    del given
    assert held() == 0
    for _ in range(4):
        use_one(itertools.chain(items()))
    assert held() == 3  # of the latest alone
    prefetching._drawn_before.keep(iter([]), collections.deque([1]))
    assert held() == 0


def test_an_error_comes_after_what_was_drawn_before_it():
    def items():
        yield 1
        yield 2
        raise KeyError("third")

    found = []
    with pytest.raises(KeyError, match="third"):
        found.extend(prefetched(items()))
    assert found == [1, 2]


def test_what_cannot_be_gone_through_says_so():
    with pytest.raises(TypeError, match="not iterable"):
        next(prefetched(3))


def test_numpy_treats_errors_as_where_the_batches_are_asked_for():
    def items():
        yield np.array([1.0]) / 0

    with np.errstate(divide="ignore"):
        assert np.isinf(next(prefetched(items())))


def test_without_a_thread_items_are_drawn_when_they_are_needed(monkeypatch):
    class Refused(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(prefetching.threading, "Thread", Refused)
    assert list(prefetched(range(3))) == [0, 1, 2]


def test_batches_of_an_iterable_are_drawn_by_a_thread_and_train_alike():
    batches, model, expected = Batches(), made(), made()
    model.fit(batches, epochs=2, progress=False)
    expected.fit(list(batches), epochs=2, progress=False)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, expected.state()[name])
    assert len(batches.threads - {threading.main_thread()}) >= 1
    assert model.evaluate(Batches()) == expected.evaluate(list(Batches()))


def test_batches_are_drawn_where_they_are_used_where_nothing_is_to_be_ahead():
    batches = Batches()
    made().fit(batches, prefetch=0, progress=False)
    assert batches.threads == {threading.main_thread()}
    for prefetch in (-1, 1.5, True):
        with pytest.raises(OptionError, match="prefetch="):
            made().fit(batches, prefetch=prefetch, progress=False)


def test_training_that_ends_within_an_epoch_ends_the_thread():
    class Stop(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            raise StopIteration if step == 1 else AssertionError

    batches = Batches(size=1)
    with pytest.raises((StopIteration, RuntimeError)):
        made().fit(batches, callbacks=[Stop()], progress=False)
    assert batches.drawn < 6


class Stops(gcn.Callback):
    """Ends training after so many steps, in one of the ways it can end."""

    def __init__(self, step, error):
        self.step, self.error = step, error

    def on_step_end(self, model, epoch, step, logs):
        if step == self.step:
            raise self.error


def endless():
    number = 0
    while True:
        yield IMAGES[number % 24 : number % 24 + 1], LABELS[number % 24 : number % 24 + 1]
        number += 1


@pytest.mark.parametrize("error", [StopTraining(), ZeroDivisionError(), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 30}], ids=["pass", "steps"])
def test_the_next_fit_goes_on_with_the_batch_after_the_last_that_was_used(error, options):
    """Also while the traceback of the first one is held, as a notebook does."""
    batches, held = endless(), []
    try:
        made().fit(batches, callbacks=[Stops(5, error)], progress=False, **options)
    except (ZeroDivisionError, KeyboardInterrupt) as raised:
        held.append(raised)
    seen = Seen()
    made().fit(batches, steps_per_epoch=4, epochs=2, progress=False, callbacks=[seen])
    np.testing.assert_array_equal(np.concatenate(seen.images), IMAGES[5:13] / np.float32(255))
    np.testing.assert_array_equal(next(batches)[0], IMAGES[13:14])


class Seen(gcn.Callback):
    def __init__(self):
        self.images = []

    def on_step_begin(self, model, epoch, step, batch):
        self.images.append(batch["image"])


def test_a_rate_finder_and_an_evaluation_leave_the_other_batches():
    batches, seen = endless(), Seen()
    gcn.find_learning_rate(made(), batches, steps=20)
    made().fit(batches, steps_per_epoch=1, progress=False, callbacks=[seen])
    np.testing.assert_array_equal(seen.images[0], IMAGES[20:21] / np.float32(255))


def test_a_wrong_batch_is_named_at_the_users_line():
    def batches():
        yield IMAGES, LABELS
        yield IMAGES, LABELS + 9

    with pytest.raises(DataError, match=r"test_prefetching\.py:\d+: label 9 of sample 0 is out of range"):
        made().fit(batches(), progress=False)


@pytest.mark.parametrize("large", [0, mapping.LARGE])
def test_large_arrays_in_files_are_read_ahead_and_train_alike(tmp_path, monkeypatch, large):
    monkeypatch.setattr(mapping, "LARGE", large)
    threads = set()

    def counted(array, rows, out):
        threads.add(threading.current_thread())
        gather(array, rows, out)

    monkeypatch.setattr(feed, "gather", counted)
    np.save(tmp_path / "images.npy", IMAGES)
    model, expected = made(), made()
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    model.fit(mapped, LABELS, batch_size=5, epochs=2, progress=False)
    expected.fit(IMAGES, LABELS, batch_size=5, epochs=2, progress=False)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, expected.state()[name])
    np.testing.assert_array_equal(model.predict(mapped, batch_size=7), expected.predict(IMAGES))
    assert bool(threads) == (large == 0)
    assert threading.main_thread() not in threads
