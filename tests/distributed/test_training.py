"""Ranks that train one model: the bits of one, whoever does what; one speaks, and all end together."""

from __future__ import annotations

import hashlib
import signal
import sys
import threading

import numpy as np
import pytest
from small_training import (
    BACKENDS,
    IMAGES,
    LABELS,
    RANKS,
    TESTS,
    Fails,
    digest,
    fit,
    model,
    numbers,
    same_of_all,
    trained_on,
)

import graphcnn as gcn
from graphcnn.data.batches import gather
from graphcnn.distributed.in_process import run_ranks
from graphcnn.errors import DataError, FileError, RankError, TrainingError
from graphcnn.training import saving
from graphcnn.training.callbacks import StopTraining
from graphcnn.training.stopping import Stopping

# The same bits


@pytest.mark.parametrize(("backend", "threads"), [("numpy", 1), ("native", 1), ("native", 2)])
def test_weights_are_the_same_on_any_number_of_ranks_and_threads(backend, threads):
    compiled = {} if backend == "numpy" else {"threads": threads}
    expected = trained_on(1, backend, validation_data=TESTS)
    if backend == "native":  # of which one process without ranks computes the very same
        assert trained_on_one(backend, validation_data=TESTS) == expected
    for ranks in RANKS[threads == 1 :]:
        assert trained_on(ranks, backend, compiled, validation_data=TESTS) == expected


def trained_on_one(backend, compiled=None, **options):
    found = model(None, backend, **(compiled or {}))
    history = fit(found, **{name: make() if callable(make) else make for name, make in options.items()})
    return digest(found), numbers(history)


@pytest.mark.parametrize("ranks", [3, 5, 7])
def test_numbers_of_ranks_that_are_no_powers_of_two_make_no_difference(ranks):
    assert trained_on(ranks, "numpy") == trained_on(1, "numpy")


WAYS = {
    "early stopping": (
        {},
        {
            "callbacks": lambda: [gcn.EarlyStopping("loss", patience=0, min_delta=10.0)],
            "validation_data": TESTS,
        },
    ),
    "schedule": ({}, {"callbacks": lambda: [gcn.one_cycle(0.1, 3)]}),
    "plateau": ({}, {"callbacks": lambda: [gcn.ReduceOnPlateau("loss", patience=0, min_delta=10.0)]}),
    "best weights": (
        {},
        {"callbacks": lambda: [gcn.BestWeights()], "validation_data": TESTS, "validate_every": 2},
    ),
    "split": ({}, {"validation_split": 0.2}),
    "class weights": ({}, {"class_weight": {0: 2.0, 3: 0.5}}),
    "balanced": ({}, {"class_weight": "balanced"}),
    "sample weights": ({}, {"sample_weight": np.linspace(0.0, 2.0, 90)}),
    "steps": ({}, {"steps_per_epoch": 3}),
    "in order": ({}, {"shuffle": False}),
    "pixels": ({}, {"images": np.uint8(IMAGES * 255)}),
    "one sample": ({}, {"images": IMAGES[:41], "labels": LABELS[:41]}),
    "gradients": ({}, {"callbacks": lambda: [gcn.GradientLog(every=2)]}),
    "accumulate": ({"accumulate": 2}, {}),
    "average": ({"average": 0.9, "lookahead": (2, 0.5)}, {}),
    "adam": ({"optimizer": gcn.AdamW(0.01), "clip_norm": 0.5}, {}),
    "float64": ({"dtype": "float64"}, {}),
    "frozen": ({"groups": {"conv*": {"frozen": True}}}, {}),
    "metrics": ({"metrics": ["accuracy", "f1", "top2_accuracy"]}, {"validation_data": TESTS}),
}


OFTEN = ("early stopping", "split", "sample weights", "gradients", "accumulate")
"""Ways that are tried on the slower backend in every run of the tests."""


@pytest.mark.parametrize(
    ("way", "backend"),
    [
        *((way, "native") for way in WAYS),
        *(pytest.param(way, "numpy", marks=[pytest.mark.slow] * (way not in OFTEN)) for way in WAYS),
    ],
)
def test_whatever_fit_is_told_ranks_do_alike(way, backend):
    compiled, options = WAYS[way]
    alone = trained_on(1, backend, compiled, **options)
    assert trained_on(3, backend, compiled, **options) == alone
    if backend == "native":
        assert trained_on_one(backend, compiled, **options) == alone


@pytest.mark.parametrize("backend", BACKENDS)
def test_given_batches_are_shared_too(backend):
    batches = [(IMAGES[n : n + 15], LABELS[n : n + 15]) for n in range(0, 90, 15)]
    one, three = (
        same_of_all(ranks, lambda transport: digest_of_batches(model(transport, backend), batches))
        for ranks in (1, 3)
    )
    assert one == three


def digest_of_batches(trained, batches):
    trained.fit(iter(batches), progress=False)
    trained.fit(batches, validation_data=batches[:2], progress=False)
    return digest(trained)


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_steps_evaluation_and_predictions(backend):
    def use(transport):
        found = model(transport, backend)
        results = [found.train_step(IMAGES[:9], LABELS[:9]) for _ in range(3)]
        results.append(found.evaluate(*TESTS, batch_size=8))
        predicted = found.predict(TESTS[0]) if found.rank == 0 else None  # one rank alone can do so
        assert predicted is None or predicted.shape == (21, 4)
        curve = gcn.find_learning_rate(found, IMAGES, LABELS, steps=30)
        averaged = found.evaluate(*TESTS, views=gcn.Views())
        return results, digest(found), curve.losses, averaged

    assert same_of_all(4, use) == same_of_all(1, use)


def test_a_copy_trains_with_the_same_ranks():
    def use(transport):
        found = model(transport, "numpy", average=0.9)
        fit(found, epochs=1)
        other = found.averaged()
        fit(other, epochs=1)
        assert (other.rank, other.ranks) == (transport.rank, transport.size)
        return digest(other)

    assert same_of_all(2, use) == same_of_all(1, use)


def test_a_model_of_one_process_is_rank_0_of_1():
    found = model(None, "numpy")
    assert (found.rank, found.ranks) == (0, 1)


# What is read


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rank_reads_its_own_samples_alone(backend, shuffle, monkeypatch):
    images = np.uint8(IMAGES * 255)
    numbered = np.repeat(np.arange(90, dtype=np.uint8), 8 * 8 * 3).reshape(
        images.shape
    )  # its own number each
    lock, read = threading.Lock(), {rank: [] for rank in range(4)}

    def counting(backend, options):
        rank = int(threading.current_thread().name.split()[-1])

        def gathered(array, rows, out):
            if array.ndim == 4:
                with lock:
                    read[rank] += (array if rows is None else array[rows])[:, 0, 0, 0].tolist()
            gather(array, rows, out)

        return gathered

    monkeypatch.setattr("graphcnn.training.model_use.gathering", counting)
    same_of_all(
        4,
        lambda transport: len(
            fit(model(transport, backend), numbered, epochs=2, batch_size=90, shuffle=shuffle)
        ),
    )
    for rank in read:
        assert len(read[rank]) < 0.5 * 180
    assert sorted(each for rows in read.values() for each in rows) == sorted([*range(90)] * 2)


def test_labels_that_do_not_fit_and_pixels_that_are_no_numbers_end_all():
    images = IMAGES.copy()
    images[80] = np.nan
    with pytest.raises(RankError, match=r"rank 3 has failed(.*\n)+.*the first is sample 80") as caught:
        run_ranks(4, lambda transport: fit(model(transport, "numpy"), images))
    assert isinstance(caught.value.__cause__, DataError)


# Who speaks


class Watched(gcn.Callback):
    """Notes what each rank is told."""

    def __init__(self):
        self.told = []

    def on_train_begin(self, model):
        self.told.append("begin")

    def on_step_begin(self, model, epoch, step, batch):
        self.told.append((epoch, step, hashlib.sha256(batch[next(iter(batch))].tobytes()).hexdigest()))

    def on_step_end(self, model, epoch, step, logs):
        self.told.append((epoch, step, logs))

    def on_epoch_end(self, model, epoch, logs):
        self.told.append((epoch, logs))

    def on_train_end(self, model):
        self.told.append("end")


def test_callbacks_of_all_ranks_are_told_the_same_and_see_whole_batches():
    def train(transport):
        watched = Watched()
        fit(model(transport, "numpy"), callbacks=[watched], validation_data=TESTS)
        return watched.told

    told = same_of_all(3, train)
    assert told[0] == "begin" and told[-1] == "end"
    steps = batches_of(told)
    assert len(steps) == 15
    assert steps == batches_of(run_ranks(1, train)[0])


def batches_of(told):
    """Return the digests of the batches that a callback was told of."""
    return [each[2] for each in told if isinstance(each, tuple) and isinstance(each[-1], str)]


def test_the_first_rank_alone_prints_warns_and_writes(tmp_path, capsys, recwarn):
    def train(transport):
        folder = tmp_path / f"{transport.rank}"
        callbacks = [
            gcn.CSVLog(folder / "log.csv"),
            gcn.ModelCheckpoint(tmp_path / f"{transport.rank}.safetensors"),
            gcn.TensorBoard(folder / "board", every=2),
            gcn.LivePlot(tmp_path / f"{transport.rank}.png"),
        ]
        checkpoint = gcn.Checkpoint(folder / "checkpoints", every=2)
        found = model(transport, "numpy")
        found.learning_rate = 0.0
        fit(found, callbacks=callbacks, checkpoint=checkpoint, progress=True, epochs=2)

    run_ranks(4, train)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "0.png", "0.safetensors"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    assert [str(each.message)[:40] for each in recwarn] == ["the learning rate of epoch 1 is 0: its s"]


def test_stopping_on_one_rank_stops_all():
    class Stops(gcn.Callback):
        """Stops training on rank 1 in epoch 2, from step 3 on where there is one."""

        def stop(self, model, epoch, step=3, *others):
            if (model.rank, epoch) == (1, 2) and (not isinstance(step, int) or step >= 3):
                raise StopTraining

    def train(transport, hook):
        callback = type("Stopped", (Stops,), {hook: Stops.stop})()
        found = model(transport, "numpy")
        fit(found, callbacks=[callback], validation_data=TESTS, validate_every=3)
        return found.epochs_done, found.steps_done, digest(found)

    for hook, place in {
        "on_epoch_begin": (1, 0),
        "on_step_begin": (1, 2),
        "on_step_end": (1, 3),
        "on_validation_end": (1, 3),
        "on_epoch_end": (2, 0),
    }.items():
        assert same_of_all(3, lambda transport, hook=hook: train(transport, hook))[:2] == place


# Checkpoints


def trained_with(folder, ranks, backend, begin, **options):
    """Train on a number of ranks, 0 for one process without any, with checkpoints; return the bits."""
    given = {"threads": 1} if backend == "native" else {}

    def train(transport):
        found = model(transport, backend) if begin else gcn.resume(folder, ranks=transport, **given)
        history = fit(found, checkpoint=gcn.Checkpoint(folder, every=2), validation_data=TESTS, **options)
        return digest(found), numbers(history)

    return train(None) if not ranks else same_of_all(ranks, train)


@pytest.mark.parametrize(
    ("backend", "first", "then"),
    [
        *(("numpy", first, then) for first, then in ((1, 3), (4, 2), (2, 16))),
        *(("native", first, then) for first, then in ((0, 4), (4, 0), (4, 2), (3, 8), (1, 2))),
    ],
)
def test_a_run_goes_on_with_any_number_of_ranks(backend, first, then, tmp_path):
    expected = trained_with(tmp_path / "whole", 1, backend, True)
    folder = tmp_path / "cut"
    callbacks = [Fails(1, 2, 4)]
    with pytest.raises((ZeroDivisionError, RankError), match="the power is gone"):
        trained_with(folder, first, backend, True, callbacks=callbacks)
    assert trained_with(folder, then, backend, False) == expected


def test_the_message_of_a_failed_rank_says_how_to_go_on(tmp_path):
    with pytest.raises(RankError, match="rank 2 has failed"):
        trained_with(tmp_path, 4, "numpy", True, callbacks=[Fails(2, 2, 4)])
    found = []

    def train(transport):
        try:
            fit(gcn.resume(tmp_path, ranks=transport), callbacks=[Fails(2, 2, 5)], validation_data=TESTS)
        except RankError as error:
            found.append((transport.rank, str(error)))
            raise

    with pytest.raises(RankError):
        run_ranks(3, train)
    said = dict(found)
    assert "the latest checkpoint is" in said[0] and "gcn.resume(" in said[0]
    assert "gcn.resume(" not in said[1]


@pytest.mark.parametrize(("rank", "hook"), [(0, "step"), (2, "step"), (1, "evaluation"), (0, "evaluation")])
def test_a_signal_to_any_rank_ends_all_after_the_same_step(rank, hook, tmp_path, monkeypatch, capsys):
    listening = {}
    monkeypatch.setattr(
        Stopping, "listen", lambda self: listening.__setitem__(threading.current_thread().name, self)
    )

    class Signalled(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            if hook == "step" and (model.rank, epoch, step) == (rank, 2, 2):
                listening[threading.current_thread().name].number = signal.SIGTERM

        def on_epoch_begin(self, model, epoch):
            if hook == "evaluation" and (model.rank, epoch) == (rank, 2):
                evaluate = model.evaluate_batches

                def interrupted(*given, **options):
                    listening[threading.current_thread().name].number = signal.SIGTERM
                    return evaluate(*given, **options)

                monkeypatch.setattr(model, "evaluate_batches", interrupted, raising=False)

    ended = {}

    def train(transport):
        found = model(transport, "numpy")
        with pytest.raises(SystemExit) as caught:
            fit(
                found,
                callbacks=[Signalled()],
                checkpoint=gcn.Checkpoint(tmp_path / "cut"),
                validation_data=TESTS,
            )
        ended[transport.rank] = (caught.value.code, found.epochs_done, found.steps_done)

    run_ranks(3, train)
    place = (1, 2) if hook == "step" else (2, 0)
    assert ended == dict.fromkeys(range(3), (128 + signal.SIGTERM, *place))
    said = capsys.readouterr().err
    assert said.count("Training ended by SIGTERM") == 1
    expected = trained_with(tmp_path / "whole", 1, "numpy", True)
    assert trained_with(tmp_path / "cut", 2, "numpy", False) == expected


def test_none_leaves_before_the_last_checkpoint_is_written(tmp_path, monkeypatch):
    order = []
    written = saving.write_model_file

    def slowly(path, *given):
        threading.Event().wait(0.2)
        written(path, *given)
        order.append("written")

    monkeypatch.setattr(saving, "write_model_file", slowly)

    def train(transport):
        fit(model(transport, "numpy"), epochs=1, checkpoint=gcn.Checkpoint(tmp_path))
        order.append("left")

    run_ranks(3, train)
    assert order == ["written", "written", "left", "left", "left"]


def test_the_first_rank_reads_a_model_for_all(tmp_path):
    found = model(None, "numpy")
    fit(found, epochs=1)
    found.save(tmp_path / "model.safetensors")

    def load(transport):
        name = "model.safetensors" if transport.rank == 0 else "nothing there"
        loaded = gcn.load(tmp_path / name, backend="numpy", ranks=transport)
        assert digest(loaded) == digest(found)
        fit(loaded, epochs=1)
        return digest(loaded)

    assert same_of_all(3, load) == same_of_all(1, load)


def test_what_the_first_rank_cannot_read_is_an_error_of_all(tmp_path):
    def begin(transport):
        with pytest.raises(FileError, match="there is no checkpoint in") as caught:
            gcn.resume(tmp_path, ranks=transport)
        assert "Mend: check the path" in str(caught.value)
        return fit(model(transport, "numpy"), epochs=1)["loss"]  # and all go on, as scripts do

    same_of_all(3, begin)


def test_a_loss_that_is_no_number_is_explained_on_every_rank():
    def train(transport):
        found = model(transport, "numpy", optimizer=gcn.SGD(1e30))
        with pytest.raises(TrainingError) as caught, np.errstate(all="ignore"):
            fit(found)
        return str(caught.value)

    assert same_of_all(3, train) == same_of_all(1, train)
    assert "the loss became" in same_of_all(2, train)


def test_ranks_do_not_depend_on_the_module_of_mpi():
    same_of_all(2, lambda transport: fit(model(transport, "numpy"), epochs=1)["loss"])
    assert "mpi4py" not in sys.modules
