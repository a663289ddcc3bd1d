"""The optimiser's state, cut over ranks: each has a part of it, and all come to the bits of one process."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
from small_training import (
    BACKENDS,
    IMAGES,
    LABELS,
    TESTS,
    Fails,
    fit,
    model,
    numbers,
    same_of_all,
)

import graphcnn as gcn
from graphcnn.distributed.in_process import run_ranks
from graphcnn.errors import OptionError, RankError, TrainingError
from graphcnn.training.sharding import owners
from graphcnn.training.stopping import Stopping

OPTIMIZERS = {
    "momentum": {"optimizer": gcn.SGD(0.05, momentum=0.9)},
    "adam": {"optimizer": gcn.Adam(0.01)},
    "clipped": {"optimizer": gcn.AdamW(0.01), "clip_norm": 0.5},
    "all at once": {
        "optimizer": gcn.RMSprop(0.01, momentum=0.5, centered=True),
        "clip_norm": 0.5,
        "accumulate": 2,
        "lookahead": (2, 0.5),
        "average": 0.9,
    },
    "groups": {
        "optimizer": gcn.SGD(0.05, momentum=0.9),
        "groups": {"conv*": {"learning_rate": 0.5}, "dense1.bias": {"frozen": True}},
    },
    "muon": {"optimizer": gcn.Muon(0.02)},
    "nothing to cut": {"optimizer": gcn.SGD(0.05)},
}


OFTEN = ("momentum", "all at once")
"""Optimisers that are tried on the slower backend in every run of the tests."""


def whole(trained):
    """Return the bits of the whole state, which all ranks tell one another."""
    return bits(trained.whole_state(trained.state()))


def bits(state):
    return {name: array.tobytes() for name, array in state.items()}


def states_of(trained):
    """Return the names of the optimiser's states that a rank has."""
    return set(trained.state()) - set(trained.weights)


# Who has what


def updates_of(**compiled):
    return model(None, "numpy", **compiled)._graphs.updates


def test_states_are_dealt_out_by_their_bytes():
    found = owners(updates_of(), 3)
    assert {name: rank for name, rank in found.items() if "velocity" not in name} == {
        "dense1.weights": 0,
        "conv1.filters": 1,
        **dict.fromkeys(["conv1.bias", "batchnorm1.scale", "batchnorm1.shift", "dense1.bias"], 2),
    }
    assert all(found[f"{name}.velocity"] == found[name] for name in found if "velocity" not in name)
    assert set(owners(updates_of(), 16).values()) == set(range(6))


def test_what_other_updates_depend_on_is_left_out():
    adam = owners(updates_of(optimizer=gcn.Adam(0.01)), 2)
    assert "conv1.filters.mean" in adam and "adam.beta1_power" not in adam
    own = {"optimizer": gcn.SGD(0.05, momentum=0.9), "accumulate": 2}
    assert "conv1.filters.accumulated" in owners(updates_of(**own), 2)
    clipped = owners(updates_of(**own, clip_norm=1.0), 2)  # by the norm of all of them
    assert "conv1.filters.accumulated" not in clipped and "conv1.filters.velocity" in clipped


# The same bits


@pytest.mark.parametrize(
    ("optimizer", "backend"),
    [
        *((name, "native") for name in OPTIMIZERS),
        *(pytest.param(name, "numpy", marks=[pytest.mark.slow] * (name not in OFTEN)) for name in OPTIMIZERS),
    ],
)
def test_bits_are_those_of_one_process(optimizer, backend):
    def train(transport):
        cut = transport is not None and transport.size > 1
        found = model(transport, backend, shard_optimizer=cut, **OPTIMIZERS[optimizer])
        history = fit(found, validation_data=TESTS)
        return whole(found), numbers(history)

    expected = same_of_all(1, train)
    for ranks in (2, 3, 4):
        assert same_of_all(ranks, train) == expected
    if backend == "native":
        assert train(None) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_rank_has_a_part_of_the_state_alone(backend):
    compiled = {"optimizer": gcn.Adam(0.01)}
    every = states_of(model(None, backend, **compiled))

    def part(transport):
        found = model(transport, backend, shard_optimizer=True, **compiled)
        fit(found, epochs=1)
        sizes = {name: array.nbytes for name, array in found.state().items() if name in states_of(found)}
        return sizes, repr(found)

    parts = run_ranks(3, part)
    shared = {"adam.beta1_power", "adam.beta2_power"}
    assert set.union(*(set(sizes) for sizes, _ in parts)) == every
    for number, (sizes, text) in enumerate(parts):
        others = set.union(*(set(sizes) for sizes, _ in parts[:number] + parts[number + 1 :]))
        assert others & set(sizes) == shared
        assert f"{sum(sizes.values()):,} of the 4,560 bytes of the optimizer's state" in text
    assert "bytes of the optimizer's state" not in repr(model(None, backend, **compiled))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rank_computes_its_own_parameters_alone(backend):
    def measured(transport):
        found = model(transport, backend, shard_optimizer=True)
        executable = found.executable("step")
        executable.profile(True)
        executable.step(found.state(), **found.as_batch(IMAGES, LABELS), learning_rate=0.1)
        return executable

    def computed(executable):
        graph = executable.graph
        done = {key for kernel in executable.report().kernels if kernel.seconds for key in kernel.nodes}
        new = {label: graph.node(value.key).operands for label, value in graph.updates.items()}
        return {
            label for label, (value, *_) in new.items() if label + ".velocity" in new and value.key in done
        }

    parts = list(map(computed, run_ranks(3, measured)))
    for label, owner in {"dense1.weights": 0, "conv1.filters": 1, "conv1.bias": 2, "dense1.bias": 2}.items():
        assert [label in part for part in parts] == [rank == owner for rank in range(3)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_scalars_whose_updates_share_a_kernel(backend):
    def train(transport, **options):
        x = gcn.Input((4, 4, 1))
        slopes = [gcn.Parameter((), name=f"slope{number}") for number in range(3)]
        y = gcn.Dense(3)(gcn.flatten(x * slopes[0] + slopes[1] * slopes[2]))
        found = gcn.compile(
            gcn.Network(x, y),
            loss=gcn.CrossEntropy(),
            optimizer=gcn.Adam(0.01),
            clip_norm=0.1,
            **{"backend": backend, "ranks": transport, **options},
        )
        fit(found, IMAGES[:, :4, :4, :1], LABELS % 3)
        return whole(found)

    expected = run_ranks(1, train)[0]
    assert same_of_all(3, lambda transport: train(transport, shard_optimizer=True)) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_steps_averages_and_rates(backend):
    def use(transport):
        cut = transport.size > 1
        found = model(transport, backend, average=0.9, optimizer=gcn.Adam(0.01), shard_optimizer=cut)
        results = [found.train_step(IMAGES[:9], LABELS[:9]) for _ in range(3)]
        curve = gcn.find_learning_rate(found, IMAGES, LABELS, steps=30)
        averaged = found.averaged()
        fit(averaged, epochs=1)
        return results, curve.losses, whole(averaged), whole(found)

    assert same_of_all(4, use) == same_of_all(1, use)


@pytest.mark.parametrize("backend", BACKENDS)
def test_freezing_deals_out_anew(backend):
    def use(transport):
        found = model(transport, backend, optimizer=gcn.Adam(0.01), shard_optimizer=transport.size > 1)
        fit(found, epochs=1)
        found.freeze("dense1.weights")
        fit(found, epochs=1)
        assert transport.size == 1 or "conv1.filters.mean" in found.state() or transport.rank != 0
        found.unfreeze()
        fit(found, epochs=1)
        return whole(found)

    assert same_of_all(3, use) == same_of_all(1, use)


# Files


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_saved_model_holds_what_all_ranks_have(backend, tmp_path):
    def train(transport):
        found = model(transport, backend, shard_optimizer=transport.size > 1)
        best = gcn.ModelCheckpoint(tmp_path / f"best of {transport.size}.safetensors")
        fit(found, epochs=2, callbacks=[best])
        found.save(tmp_path / f"{transport.size}.safetensors")

    for ranks in (1, 3):
        run_ranks(ranks, train)
    for name in ("", "best of "):
        one, three = ((tmp_path / f"{name}{ranks}.safetensors").read_bytes() for ranks in (1, 3))
        assert one == three

    def go_on(transport):
        path = tmp_path / f"{4 - transport.size}.safetensors"
        given = {"backend": backend, "ranks": transport, "shard_optimizer": transport.size > 1}
        found = gcn.load(path, **given)
        assert transport.size == 1 or len(states_of(found)) < 6
        fit(found, epochs=1)
        return whole(found)

    assert same_of_all(3, go_on) == same_of_all(1, go_on)


def trained_with(folder, ranks, backend, begin, *, cut, callbacks=()):
    """Train on a number of ranks, 0 for one process without any, with checkpoints; return the bits."""
    options = {"threads": 1} if backend == "native" else {}

    def train(transport):
        if begin:
            compiled = {"optimizer": gcn.Adam(0.01), "average": 0.9}
            found = model(transport, backend, shard_optimizer=cut, **compiled)
        else:
            found = gcn.resume(folder, ranks=transport, shard_optimizer=cut, **options)
        kept = [gcn.BestWeights("loss"), *callbacks]
        checkpoint = gcn.Checkpoint(folder, every=2)
        history = fit(found, checkpoint=checkpoint, validation_data=TESTS, callbacks=kept)
        return whole(found), numbers(history)

    return train(None) if not ranks else same_of_all(ranks, train)


@pytest.mark.parametrize(
    ("backend", "first", "then"),
    [
        ("numpy", (3, True), (2, True)),
        *(("native", first, then) for first, then in (((4, True), (2, True)), ((2, True), (0, True)))),
        *(("native", first, then) for first, then in (((3, False), (3, True)), ((3, True), (4, False)))),
    ],
)
def test_a_run_goes_on_with_other_ranks_and_with_or_without_a_cut(backend, first, then, tmp_path):
    expected = trained_with(tmp_path / "whole", 1, backend, True, cut=False)
    folder = tmp_path / "parted"
    with pytest.raises((ZeroDivisionError, RankError), match="the power is gone"):
        trained_with(folder, first[0], backend, True, cut=first[1], callbacks=[Fails(1, 2, 4)])
    assert trained_with(folder, then[0], backend, False, cut=then[1]) == expected


@pytest.mark.parametrize("rank", [0, 2])
def test_an_error_of_one_rank_leaves_the_latest_checkpoint(rank, tmp_path):
    with pytest.raises(RankError, match=f"rank {rank} has failed"):
        trained_with(tmp_path, 3, "native", True, cut=True, callbacks=[Fails(rank, 2, 4)])
    found = gcn.resume(tmp_path)  # from after a step: nobody has waited for parts of a rank that is gone
    assert (found.epochs_done, found.steps_done) <= (1, 3)
    assert "conv1.filters.square" in found.state() and "dense1.weights.square" in found.state()


def test_one_process_has_all_of_it_and_saves_when_it_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        trained_with(tmp_path, 0, "numpy", True, cut=True, callbacks=[Fails(0, 2, 4)])
    found = gcn.resume(tmp_path, shard_optimizer=True)
    assert (found.epochs_done, found.steps_done) == (1, 3)


def test_a_signal_saves_the_whole(tmp_path, monkeypatch, capsys):
    listening = {}
    monkeypatch.setattr(
        Stopping, "listen", lambda self: listening.__setitem__(threading.current_thread().name, self)
    )

    class Signalled(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            if (model.rank, epoch, step) == (1, 2, 3):
                listening[threading.current_thread().name].number = 15

    def train(transport):
        found = model(transport, "numpy", shard_optimizer=True)
        with pytest.raises(SystemExit):
            fit(found, checkpoint=gcn.Checkpoint(tmp_path), callbacks=[Signalled()])
        return whole(found)

    expected = same_of_all(3, train)
    found = gcn.resume(tmp_path)
    assert (found.epochs_done, found.steps_done) == (1, 3)
    assert bits(found.state()) == expected
    assert capsys.readouterr().err.count("Training ended by SIGTERM") == 1


# What goes wrong


class Breaking:
    """The way to other ranks, which breaks when it is asked for the last time in the second step."""

    def __init__(self, transport):
        self.rank, self.size, self._begin = transport.rank, transport.size, transport.begin
        self.count, self.last = 0, None

    def begin(self, sends, receives):
        self.count += 1
        if self.count == self.last:
            raise OSError("the cable is out")
        return self._begin(sends, receives)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rank_that_fails_while_it_gives_parameters_ends_all(backend):
    def train(transport):
        breaking = Breaking(transport)
        found = model(breaking, backend, shard_optimizer=True)
        counts = []
        for step in range(4):
            if step == 3 and transport.rank == 1:
                breaking.last = breaking.count + counts[2] - counts[1]
            found.train_step(IMAGES[:16], LABELS[:16])
            counts.append(breaking.count)

    with pytest.raises(RankError, match="rank 1 has failed, and all ranks end: OSError: the cable is out"):
        run_ranks(3, train)


def test_ranks_of_which_one_would_cut_the_state_are_told():
    def train(transport):
        with pytest.raises(RankError) as caught:
            fit(model(transport, "numpy", shard_optimizer=transport.rank == 1))
        return str(caught.value)

    assert "shard_optimizer: False on ranks 0, 2, True on rank 1" in same_of_all(3, train)


def test_a_loss_that_is_no_number_is_explained():
    def train(transport):
        optimizer = gcn.SGD(1e25, momentum=0.9)
        found = model(transport, "numpy", optimizer=optimizer, shard_optimizer=transport.size > 1)
        with pytest.raises(TrainingError) as caught, np.errstate(all="ignore"):
            fit(found)
        return str(caught.value)

    assert same_of_all(3, train) == same_of_all(1, train)


def test_a_part_of_a_model_is_not_pickled():
    def use(transport):
        with pytest.raises(OptionError, match="cut over ranks, so that no rank could pickle"):
            pickle.dumps(model(transport, "numpy", shard_optimizer=True))

    run_ranks(2, use)
    found = pickle.loads(pickle.dumps(model(None, "numpy", shard_optimizer=True)))
    fit(found, epochs=1)


def test_a_step_of_which_a_rank_has_a_part_is_not_exported(tmp_path):
    def use(transport):
        found = model(transport, "numpy", shard_optimizer=True)
        with pytest.raises(OptionError, match="none has what a file of the step holds"):
            found.export_onnx(tmp_path / "step.onnx", "step")

    run_ranks(2, use)


def test_the_option_is_true_or_false():
    with pytest.raises(OptionError, match="shard_optimizer=2 is neither True nor False"):
        model(None, "numpy", shard_optimizer=2)
