"""Ranks that would not compute the same are told before the first step: what differs, where, and the mend."""

from __future__ import annotations

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.distributed.agreement import Stated, greatest, ranks_text, require_agreement
from graphcnn.distributed.in_process import run_ranks
from graphcnn.errors import RankError

IMAGES = np.random.default_rng(0).standard_normal((24, 6, 6, 1)).astype("float32")
LABELS = np.arange(24) % 3


def errors_of(ranks, function):
    """Return the error that each rank ends with."""

    def caught(transport):
        with pytest.raises(RankError) as found:
            function(transport)
        return str(found.value)

    return run_ranks(ranks, caught)


def compiled(transport, **options):
    network = gcn.Sequential(gcn.Conv2d(2, 3, name="conv"), gcn.Flatten(), gcn.Dense(3))
    given = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.05), "input_shape": (6, 6, 1), **options}
    return gcn.compile(network, ranks=transport, **given)


def fitted(transport, model=None, images=IMAGES, labels=LABELS, **options):
    model = compiled(transport) if model is None else model
    model.fit(images, labels, progress=False, **options)


def test_ranks_that_state_the_same_go_on():
    stated = {"seed": Stated("0", ""), "graph": Stated("a\nb", "")}
    run_ranks(5, lambda transport: require_agreement(transport, stated))


def test_every_rank_is_told_what_differs_where_and_what_mends_it():
    def state(transport):
        rank = transport.rank
        require_agreement(
            transport,
            {
                "seed": Stated(str(rank // 3), "give the same seed"),
                "same": Stated("1", "never said"),
                "graph": Stated(f"one\ntwo {'x' * 100}{rank % 2} and so on\nthree", "compile the same"),
            },
        )

    told = errors_of(5, state)
    assert len(set(told)) == 1
    assert "differ in seed and graph" in told[0]
    assert "seed: 0 on ranks 0 to 2, 1 on ranks 3, 4" in told[0]
    assert "graph: line 2 is ..." in told[0] and "x0 and so on on ranks 0, 2, 4" in told[0]
    assert "Mend: give the same seed; compile the same" in told[0]


def test_what_one_rank_alone_states_is_told():
    told = errors_of(
        2, lambda ranks: require_agreement(ranks, {f"only {ranks.rank}": Stated("here", "do not")})
    )
    assert "only 0: here on rank 0, not there on rank 1" in told[1]


def test_long_lists_are_cut():
    def state(transport):
        require_agreement(
            transport, {f"value {n}": Stated(str(transport.rank), "same mend") for n in range(100)}
        )

    told = errors_of(2, state)[0]
    assert "value 0, value 1, value 2 and 97 more" in told
    assert "and 92 more" in told
    assert told.count("same mend") == 1


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ([3], "rank 3"),
        ([0, 1], "ranks 0, 1"),
        ([0, 1, 2], "ranks 0 to 2"),
        ([0, 2, 3, 4, 9], "ranks 0, 2 to 4, 9"),
    ],
)
def test_ranks_are_written_short(ranks, text):
    assert ranks_text(ranks) == text


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8])
def test_all_ranks_know_the_greatest_number(ranks):
    for best in range(ranks):
        found = run_ranks(
            ranks, lambda transport, best=best: greatest(transport, 7 * (transport.rank == best))
        )
        assert found == [7] * ranks


# Models


@pytest.mark.parametrize(
    ("differ", "told"),
    [
        (
            lambda t: fitted(t, compiled(t, seed=t.rank)),
            ["the seed: 0 on rank 0, 1 on rank 1", "conv.filters"],
        ),
        (lambda t: fitted(t, batch_size=4 + t.rank), ["batch_size: 4 on rank 0, 5 on rank 1"]),
        (lambda t: fitted(t, epochs=1 + t.rank), ["epochs: '1 to 1' on rank 0, '1 to 2' on rank 1"]),
        (lambda t: fitted(t, images=IMAGES + t.rank), ["the data "]),
        (lambda t: fitted(t, labels=(LABELS + t.rank) % 3), ["the data "]),
        (
            lambda t: fitted(t, callbacks=[gcn.BestWeights("loss")] * t.rank),
            ["callbacks: none on rank 0, Best"],
        ),
        (
            lambda t: fitted(t, compiled(t, optimizer=gcn.SGD(0.1 + 0.1 * t.rank))),
            ["the learning rate: 0.1 on"],
        ),
        (
            lambda t: fitted(t, compiled(t, optimizer=[gcn.SGD(0.1), gcn.Adam(0.1)][t.rank])),
            ["the step graph"],
        ),
        (lambda t: fitted(t, compiled(t, backend=["native", "numpy"][t.rank])), ["the backend: native"]),
        (lambda t: compiled(t, seed=t.rank).train_step(IMAGES, LABELS), ["the seed: 0 on rank 0"]),
        (lambda t: compiled(t, seed=t.rank).evaluate(IMAGES, LABELS), ["the seed: 0 on rank 0"]),
    ],
)
def test_models_that_differ_are_told_before_the_first_step(differ, told):
    found = errors_of(2, differ)
    assert found[0] == found[1]
    assert "the 2 ranks would not compute the same" in found[0]
    assert "Mend: " in found[0]
    for each in told:
        assert each in found[0]


@pytest.mark.parametrize("name", ["graphcnn", "numpy", "llvmlite"])
def test_other_versions_are_told(monkeypatch, name):
    from graphcnn.training import stated

    taken = []

    def version(package):
        if package == name:
            taken.append(package)
            return f"1.{len(taken)}"
        return "1"

    monkeypatch.setattr(stated, "version", version)
    told = errors_of(2, fitted)[0]
    assert f"the version of {name}: 1." in told
    assert f"install the same {name} on every machine" in told


def test_another_processor_is_told(monkeypatch):
    from graphcnn.training import stated

    numbers = iter(range(2))
    monkeypatch.setattr(stated, "processor_of", lambda backend: f"kind {next(numbers)}")
    assert "the processor: kind " in errors_of(2, fitted)[0]


def test_given_batches_that_differ_are_told():
    def fit(transport):
        batches = [(IMAGES[:8], LABELS[:8]), (IMAGES[8:16] * (1 + transport.rank), LABELS[8:16])]
        compiled(transport).fit(batches, progress=False)

    told = errors_of(2, fit)
    assert "in batch 2 of epoch 1" in told[0]
    assert "the same batches" in told[1]


def test_one_that_has_fewer_batches_is_told():
    def fit(transport):
        compiled(transport).fit([(IMAGES, LABELS)] * (2 - transport.rank), progress=False)

    assert "batch 2 of epoch 1: " in errors_of(2, fit)[0]


def test_callbacks_that_decide_by_chance_are_told():
    class Chance(gcn.Callback):
        def on_epoch_begin(self, model, epoch):
            model.learning_rate = 0.01 * (1 + model.rank * (epoch == 2))

    told = errors_of(2, lambda transport: fitted(transport, epochs=3, callbacks=[Chance()]))
    assert "the learning rate of epoch 2: 0.01 on rank 0, 0.02 on rank 1" in told[0]


def test_what_is_neither_an_engine_nor_a_transport_is_refused():
    with pytest.raises(gcn.OptionError, match="ranks='gloo' is neither"):
        compiled("gloo")
    with pytest.raises(gcn.OptionError, match=r"ranks=4 is neither(.*\n)+  Mend: ranks=\"mpi\""):
        compiled(4)
