"""The NumPy backend on several ranks: the same bits on any number of them, by their own samples alone."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

import graphcnn as gcn
import graphcnn_numpy
from graphcnn import ops
from graphcnn.backend import bind_inputs, load_backend
from graphcnn.distributed.in_process import run_ranks
from graphcnn.errors import BackendError, GraphError, RankError
from graphcnn.testing import backend_cases, random_step
from graphcnn.testing.cases import build_case
from graphcnn.transform import whole_inputs
from graphcnn.transform.distribute import Held, held

RANKS = (2, 3, 4, 8, 16)
TOLERANCES = {"float32": 2e-4, "float64": 1e-10}


def of_rank(transport, graph, inputs):
    """Return what a rank computes; of the samples of other ranks it is given NaN and numbers out of range."""
    executable = load_backend("numpy").compile(graph, ranks=transport)
    arrays, batch = bind_inputs(graph, inputs)
    (own,) = executable.own_samples(batch)
    whole = whole_inputs(graph)
    for label, value in graph.inputs.items():
        if value.type.has_batch and label not in whole:
            rows = np.full_like(arrays[label], np.nan if value.type.is_float else 99)
            rows[own.start : own.stop] = arrays[label][own.start : own.stop]
            arrays[label] = rows
    return {label: array.tobytes() for label, array in executable(**arrays).items()}


def same_bits(graph, inputs, ranks=RANKS):
    """Assert that any number of ranks computes the same as one, and about the same as one process does."""
    distributed = gcn.distribute(graph)
    (wanted,) = run_ranks(1, partial(of_rank, graph=distributed, inputs=inputs))
    for count in ranks:
        for found in run_ranks(count, partial(of_rank, graph=distributed, inputs=inputs)):
            different = [label for label in wanted if found[label] != wanted[label]]
            assert not different, f"{different} on {count} ranks"
    return wanted


def close(plain, found):
    for label, array in plain.items():
        of_ranks = np.frombuffer(found[label], array.dtype).reshape(array.shape)
        if array.dtype.kind != "f":
            assert np.array_equal(array, of_ranks), label
            continue
        finite = np.isfinite(array)
        assert np.array_equal(finite, np.isfinite(of_ranks)), label
        scale = max(1.0, float(np.abs(array[finite]).max(initial=0)))
        difference = np.abs(array[finite] - of_ranks[finite]).max(initial=0)
        assert difference <= TOLERANCES[str(array.dtype)] * scale, (label, difference)


def dense():
    return [gcn.Flatten(), gcn.Dense(20), gcn.BatchNorm1d(), gcn.Tanh(), gcn.Dense(3)], {}


def convolutional():
    layers = [
        *(
            gcn.Conv2d(8, 3, padding="same"),
            gcn.BatchNorm2d(),
            gcn.ReLU(),
            gcn.MaxPool2d(2),
            gcn.Dropout(0.3),
        ),
        *(gcn.Conv2d(6, 3, groups=2, stride=2), gcn.LeakyReLU(), gcn.GlobalAvgPool2d(), gcn.Dense(3)),
    ]
    return layers, {"metrics": ["accuracy", "f1", "mean_iou"], "clip_norm": 1.0}


def normalised():
    layers = [
        *(gcn.Conv2d(8, 3), gcn.GroupNorm(2), gcn.SiLU(), gcn.InstanceNorm2d(), gcn.LocalResponseNorm(3)),
        *(gcn.AvgPool2d(2), gcn.Dropout2d(0.2), gcn.GaussianNoise(0.1), gcn.Flatten(), gcn.LayerNorm()),
        *(gcn.PReLU(), gcn.Dense(3)),
    ]
    return layers, {"optimizer": gcn.Adam(0.01), "accumulate": 3, "average": 0.9}


def augmented():
    layers = [
        *(
            gcn.RandomFlip(),
            gcn.RandomCrop(padding=1),
            gcn.RandomAffine(degrees=10),
            gcn.ColorJitter(0.2, 0.2),
        ),
        *(gcn.RandomErasing(), gcn.Mixup(0.4), gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3)),
    ]
    return layers, {"optimizer": gcn.Muon(0.01)}


def mixed_first():
    layers = [
        gcn.CutMix(1.0),
        gcn.Conv2d(4, 3),
        gcn.StochasticDepth(0.2),
        gcn.ReLU(),
        gcn.Flatten(),
        gcn.Dense(3),
    ]
    return layers, {"loss": gcn.CrossEntropy(label_smoothing=0.1), "optimizer": gcn.RMSprop(0.01)}


def transposed():
    layers = [gcn.Conv2d(4, 2, stride=2), gcn.ReLU(), gcn.ConvTranspose2d(1, 2, stride=2), gcn.Sigmoid()]
    return layers, {"loss": gcn.SquaredError(), "metrics": ["mse", "r2", "mae"], "optimizer": gcn.Lion(0.01)}


def in_bfloat16():
    layers = [gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3)]
    return layers, {"precision": "bfloat16", "loss": gcn.Focal(), "lookahead": (2, 0.5)}


NETWORKS = (dense, convolutional, normalised, augmented, mixed_first, transposed, in_bfloat16)


def model_of(network):
    layers, options = network()
    options = {
        "loss": gcn.CrossEntropy(),
        "optimizer": gcn.SGD(0.1, momentum=0.9, weight_decay=1e-3),
        **options,
    }
    return gcn.compile(gcn.Sequential(*layers), input_shape=(8, 8, 2), backend="numpy", **options)


def inputs_of(model, samples):
    graph, rng = model.step_graph, np.random.default_rng(samples)
    state, found = model.state(), {}
    for label, value in graph.inputs.items():
        shape = value.type.concrete(samples)
        if label in state:
            found[label] = state[label]
        elif not value.type.is_float:
            found[label] = rng.integers(0, 3, shape)
        else:
            found[label] = np.asarray(rng.uniform(0.1, 1.0, shape), value.type.dtype)
    return graph, found


@pytest.mark.parametrize("samples", [1, 5, 16, 37])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_steps_have_the_same_bits_on_any_number_of_ranks(network, samples):
    graph, inputs = inputs_of(model_of(network), samples)
    found = same_bits(graph, inputs)
    if network is not in_bfloat16:
        close(gcn.evaluate(graph, **inputs), found)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_evaluation_has_the_same_bits_on_any_number_of_ranks(network):
    model = model_of(network)
    graph, inputs = model.graph("evaluation"), inputs_of(model, 21)[1]
    given = {label: inputs[label] for label in graph.inputs}
    close(gcn.evaluate(graph, **given), same_bits(graph, given, (2, 5)))


def test_training_goes_on_in_step():
    graph, inputs = inputs_of(model_of(convolutional), 12)
    distributed = gcn.distribute(graph)

    def three_steps(transport):
        executable = load_backend("numpy").compile(distributed, ranks=transport)
        state = {label: np.array(inputs[label]) for label in graph.updates}
        others = {label: array for label, array in inputs.items() if label not in state}
        losses = [executable.step(state, **others)["loss"].item() for _ in range(3)]
        return losses, {label: array.tobytes() for label, array in state.items()}

    wanted = run_ranks(1, three_steps)[0]
    assert len(set(wanted[0])) == 3
    for count in (2, 3, 8):
        assert all(found == wanted for found in run_ranks(count, three_steps))


SAMPLE = [name for name in backend_cases() if name.endswith("float32")][::9]


@pytest.mark.parametrize("name", SAMPLE)
def test_cases_of_the_conformance_suite(name):
    check_case_on_ranks(build_case(name))


@pytest.mark.parametrize("seed", range(30))
def test_random_steps(seed):
    check_case_on_ranks(random_step(seed))


@pytest.mark.slow
def test_all_cases_and_many_random_steps():
    for case in itertools.chain(map(build_case, backend_cases()), map(random_step, range(30, 1000))):
        check_case_on_ranks(case)


def check_case_on_ranks(case):
    found = same_bits(case.graph, case.inputs, (3, 16))
    close(gcn.evaluate(case.graph, **case.inputs), found)


def test_sums_are_added_up_before_they_are_rounded():
    """Of the sum of 1, 2^-24 and so on, rounded at each step, nothing but 1 would be left."""
    graph = gcn.Graph("sums")
    x = graph.input("x", gcn.TensorType(("N",)))
    graph.output("sum", graph.add(ops.Sum((0,)), x))
    graph.output("mean", graph.add(ops.Mean((0,)), x))
    numbers = np.array([1.0, *[2.0**-24] * 15], np.float32)
    found = same_bits(graph, {"x": numbers})
    assert np.frombuffer(found["sum"], np.float32)[0] == np.float32(1 + 15 * 2.0**-24) > 1
    assert np.frombuffer(found["mean"], np.float32)[0] == np.float32((1 + 15 * 2.0**-24) / 16)


def test_a_graph_that_is_not_distributed_is_refused():
    graph, _ = inputs_of(model_of(dense), 3)
    with pytest.raises(RankError, match="ranks cannot share a batch like this") as caught:
        run_ranks(2, lambda transport: load_backend("numpy").compile(graph, ranks=transport))
    assert isinstance(caught.value.__cause__, GraphError)


def test_a_kernel_of_ones_own_cannot_be_added_up():
    graphcnn_numpy.register(ops.Sum, graphcnn_numpy.kernels.KERNELS[ops.Sum])
    graph = gcn.Graph("sum")
    graph.output("sum", graph.add(ops.Sum((0,)), graph.input("x", gcn.TensorType(("N",)))))
    distributed = gcn.distribute(graph)
    assert load_backend("numpy").compile(distributed)(x=[1.0, 2.0])["sum"] == 3
    with pytest.raises(RankError, match="cannot add up sum of several ranks") as caught:
        run_ranks(2, lambda transport: load_backend("numpy").compile(distributed, ranks=transport))
    assert isinstance(caught.value.__cause__, BackendError)


def test_a_rank_whose_kernel_fails_ends_the_others():
    graph, inputs = inputs_of(model_of(convolutional), 9)
    (labels,) = [
        label
        for label, value in graph.inputs.items()
        if held(graph.node(value.key)) is Held.OWN and value.type.dtype == "int64" and label != "sample_key"
    ]
    inputs[labels][-1] = 77
    distributed = gcn.distribute(graph)
    with pytest.raises(
        RankError, match=r"rank 2 has failed, and all ranks end: DataError: .*do not fit 3 classes"
    ):
        run_ranks(3, partial(of_rank, graph=distributed, inputs=inputs))


def test_reports_count_the_messages():
    graph = gcn.distribute(inputs_of(model_of(dense), 3)[0])

    def report(transport):
        executable = load_backend("numpy").compile(graph, ranks=transport)
        executable.profile(True)
        inputs = inputs_of(model_of(dense), 40)[1]
        executable(**inputs)
        return executable.report()

    for found in run_ranks(2, report):
        messages = [kernel for kernel in found.kernels if kernel.name in ("all_reduce", "all_gather")]
        assert len(messages) >= 6
        assert all(kernel.bytes and not kernel.flops and kernel.seconds > 0 for kernel in messages)
