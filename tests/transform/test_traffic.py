"""The bytes that are said to go between ranks are those that go."""

from __future__ import annotations

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.distributed.in_process import run_ranks
from graphcnn.transform import sent_bytes


class Counted:
    """A transport that counts what its rank sends."""

    def __init__(self, transport):
        self.rank, self.size, self.begun, self.sent = transport.rank, transport.size, transport.begin, 0

    def begin(self, sends, receives):
        self.sent += sum(array.nbytes for _, array in sends)
        return self.begun(sends, receives)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8, 16])
def test_each_rank_sends_so_many_bytes(ranks):
    layers = gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3)
    model = gcn.compile(
        gcn.Sequential(*layers),
        input_shape=(6, 6, 2),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1),
        backend="numpy",
    )
    graph, batch = gcn.distribute(model.step_graph), 32
    state = model.state()
    arrays = {
        label: state[label] if label in state else np.zeros(value.type.concrete(batch), value.type.dtype)
        for label, value in graph.inputs.items()
    }

    def sent(transport):
        counted = Counted(transport)
        load_backend("numpy").compile(graph, ranks=counted)(**arrays)
        return counted.sent

    told = sum(sent_bytes(graph, batch, ranks).values())
    assert set(run_ranks(ranks, sent)) == {told}
    assert bool(told) == (ranks > 1)


def test_of_other_numbers_of_ranks_it_is_the_one_that_sends_most():
    graph = gcn.Graph("sum")
    x = graph.input("x", gcn.TensorType(("N", 5), "float64"))
    graph.output("sum", graph.add(gcn.ops.Sum((0,)), x))
    distributed = gcn.distribute(graph)

    def sent(transport):
        counted = Counted(transport)
        load_backend("numpy").compile(distributed, ranks=counted)(x=[[1.0] * 5] * 48)
        return counted.sent

    for ranks in (3, 5, 6, 7):
        (told,) = sent_bytes(distributed, 48, ranks).values()
        assert max(run_ranks(ranks, sent)) == told
