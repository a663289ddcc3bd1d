"""Steps of many ranks are predicted from one that runs alone."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.cli import main
from graphcnn.distributed.in_process import run_ranks
from graphcnn.distributed.transport import Transport
from graphcnn.inspection.benchmark import random_batch
from graphcnn.inspection.scaling import Interconnect, scaling


@pytest.fixture(params=["native", "numpy"])
def model(request: pytest.FixtureRequest) -> gcn.Model:
    network = gcn.Sequential(
        *(gcn.Conv2d(8, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Flatten()),
        *(gcn.Dense(20), gcn.ReLU(), gcn.Dense(3)),
    )
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "backend": request.param}
    return gcn.compile(network, input_shape=(8, 8, 3), **options)


class Counted:
    """A transport that counts what it sends."""

    def __init__(self, transport: Transport) -> None:
        self.rank, self.size, self._transport = transport.rank, transport.size, transport
        self.messages = self.sent = 0

    def begin(self, sends, receives):
        self.messages += len(sends)
        self.sent += sum(array.nbytes for _, array in sends)
        return self._transport.begin(sends, receives)


def test_messages_are_those_that_ranks_send(model: gcn.Model) -> None:
    predicted = scaling(model, [1, 2, 4], batch=32, repeats=1).predicted
    inputs = random_batch(model, model.step_graph, 32)
    settings = dict.fromkeys(model.step_graph.inputs_with_role("setting"), 0.0)

    def step(transport: Transport) -> tuple[int, int]:
        counted = Counted(transport)
        model.executable_of_rank("step", counted).step(model.state(), **inputs, **settings)
        return counted.messages, counted.sent

    assert (predicted[0].messages, predicted[0].sent, predicted[0].waiting) == (0, 0, 0)
    for each in predicted[1:]:
        assert (each.messages, each.sent) == run_ranks(each.ranks, step)[0]
        assert each.messages > 0


def test_slower_networks_take_longer(model: gcn.Model) -> None:
    def waiting(latency: float, bandwidth: float) -> float:
        network = Interconnect(latency, bandwidth)
        (found,) = scaling(model, [4], batch=32, interconnect=network, repeats=1).predicted
        assert found.seconds == found.computing + found.waiting
        return found.waiting

    assert waiting(0.0, 1e15) < 0.001
    rounds = 2
    assert waiting(0.1, 1e15) >= rounds * 0.099  # those of the batch norm's sums alone
    assert waiting(0.0, 1e5) > 0.01


@pytest.mark.parametrize("network", [(-1.0, 1e9), (0.0, 0.0), (float("nan"), 1.0)])
def test_impossible_networks_are_refused(network: tuple[float, float]) -> None:
    with pytest.raises(gcn.OptionError, match="no network has"):
        Interconnect(*network)


def test_numbers_are_checked(model: gcn.Model) -> None:
    with pytest.raises(gcn.OptionError, match="not an integer"):
        scaling(model, [0], batch=32)


def test_the_state_stays_as_it_is(model: gcn.Model) -> None:
    before = {name: array.copy() for name, array in model.state().items()}
    scaling(model, [2], batch=16, repeats=1)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_command_line_shows_a_row_per_number_of_ranks() -> None:
    arguments = ["bench", "lenet5", "--ranks", "4", "--batch-size", "16", "--repeats", "1", "--latency", "50"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "16 samples in all, backend native, 50 µs and 10 Gbit/s" in result.output
    rows = [line.split("│")[1].strip() for line in result.output.splitlines() if line.startswith("│")]
    assert rows == ["1", "2", "4"]
