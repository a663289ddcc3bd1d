"""Ranks that share batches: the bits of one process, by their own samples alone."""

from __future__ import annotations

import itertools
import signal
from functools import partial

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import bind_inputs
from graphcnn.distributed.in_process import run_ranks
from graphcnn.errors import DataError, GraphError, OptionError, RankError
from graphcnn.sample_keys import SAMPLE_KEY
from graphcnn.testing import backend_cases, random_step
from graphcnn.testing.cases import build_case
from graphcnn.transform import whole_inputs
from graphcnn_native import NativeBackend
from graphcnn_native.lowering import placing
from graphcnn_native.lowering.program import Domain
from graphcnn_native.runtime.call_log import FIELDS

BATCHES = (1, 3, 7, 64, 100, 128, 300)
RANKS = (2, 3, 4, 8, 16)
CLASSES = 3


def lenet():
    layers = [gcn.Conv2d(6, 3, padding="same"), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Conv2d(16, 3), gcn.ReLU()]
    return [*layers, gcn.Flatten(), gcn.Dense(20), gcn.ReLU(), gcn.Dense(CLASSES)], {}


def vgg():
    layers = [gcn.Conv2d(32, 3, padding="same"), gcn.ReLU(), gcn.Conv2d(32, 3, padding="same"), gcn.ReLU()]
    layers += [gcn.MaxPool2d(2), gcn.Flatten(), gcn.Dense(16), gcn.ReLU(), gcn.Dense(CLASSES)]
    return layers, {"optimizer": gcn.Adam(0.01), "average": 0.9}


def with_batch_norm():
    layers = [gcn.Conv2d(8, 3, padding="same"), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Conv2d(16, 3, stride=2)]
    layers += [gcn.BatchNorm2d(), gcn.ReLU(), gcn.GlobalAvgPool2d(), gcn.Dense(CLASSES)]
    return layers, {"metrics": ["accuracy", "f1"], "clip_norm": 1.0}


def mobile():
    layers = [gcn.Conv2d(12, 1), gcn.BatchNorm2d(), gcn.ReLU6(), gcn.DepthwiseConv2d(3, stride=2)]
    layers += [gcn.BatchNorm2d(), gcn.ReLU6(), gcn.Conv2d(8, 1), gcn.GlobalAvgPool2d(), gcn.Dense(CLASSES)]
    return layers, {}


def dense():
    layers = [gcn.Flatten(), gcn.Dense(20), gcn.BatchNorm1d(), gcn.Tanh(), gcn.Dense(30), gcn.Dense(CLASSES)]
    return layers, {"optimizer": gcn.Muon(0.01), "accumulate": 3}


def with_dropout():
    layers = [
        gcn.Conv2d(5, 3),
        gcn.Tanh(),
        gcn.Dropout(0.3),
        gcn.AvgPool2d(2),
        gcn.Flatten(),
        gcn.Dropout(0.5),
    ]
    return [*layers, gcn.Dense(CLASSES)], {}


def augmented():
    layers = [gcn.RandomFlip(), gcn.RandomCrop(padding=1), gcn.RandomAffine(degrees=10), gcn.Mixup(0.4)]
    return [*layers, gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Flatten(), gcn.Dense(CLASSES)], {}


def mixed_first():
    layers = [gcn.CutMix(1.0), gcn.Conv2d(4, 3), gcn.StochasticDepth(0.2), gcn.ReLU(), gcn.Flatten()]
    return [*layers, gcn.Dense(CLASSES)], {"loss": gcn.CrossEntropy(label_smoothing=0.1)}


def of_images():
    layers = [gcn.Conv2d(4, 2, stride=2), gcn.ReLU(), gcn.ConvTranspose2d(1, 2, stride=2), gcn.Sigmoid()]
    return layers, {"loss": gcn.SquaredError(), "metrics": ["mse", "mae"], "lookahead": (2, 0.5)}


def in_bfloat16():
    layers, options = vgg()
    return layers, {**options, "precision": "bfloat16"}


NETWORKS = (
    *(lenet, vgg, with_batch_norm, mobile, dense, with_dropout, augmented, mixed_first, of_images),
    in_bfloat16,
)


def model_of(network):
    layers, options = network()
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1, momentum=0.9), **options}
    return gcn.compile(gcn.Sequential(*layers), input_shape=(8, 8, 3), seed=1, **options)


def given(graph, state, batch):
    """Return a batch for a step, in the order of the labels."""
    random, found = np.random.default_rng(batch), {}
    for label, value in graph.inputs.items():
        shape = value.type.concrete(batch)
        if label not in state and value.type.is_float:
            found[label] = np.asarray(random.uniform(0.1, 1.0, shape), value.type.dtype)
        elif label not in state:
            high = 1 << 40 if label == SAMPLE_KEY else CLASSES
            found[label] = random.integers(0, high, shape, value.type.dtype)
    return found


def own_part(executable, inputs, batch):
    """Return inputs with NaN and labels out of range in place of the samples of other ranks."""
    whole, found = whole_inputs(executable.graph), {}
    for label, array in inputs.items():
        if not executable.graph.inputs[label].type.has_batch or label in whole:
            found[label] = array
            continue
        found[label] = np.full_like(array, np.nan if array.dtype.kind == "f" else 99)
        for own in executable.own_samples(batch):
            found[label][own.start : own.stop] = array[own.start : own.stop]
    return found


def trained(transport, graph, state, *, threads, batches=BATCHES):
    """Return all that steps give back and leave behind, as bytes by name."""
    executable = NativeBackend().compile(graph, threads=threads, ranks=transport)
    state, found = {label: array.copy() for label, array in state.items()}, {}
    for batch in batches:
        inputs = own_part(executable, given(graph, state, batch), batch)
        results = executable.step(state, **inputs)
        found |= {f"{label} of {batch}": array.tobytes() for label, array in results.items()}
    return found | {label: array.tobytes() for label, array in state.items()}


def require_same(network, ranks_and_threads, batches=BATCHES):
    model = model_of(network)
    plain, state = model.step_graph, model.state()
    expected = trained(None, plain, state, threads=2, batches=batches)
    assert any(not np.isnan(np.frombuffer(each, np.float32)).any() for each in expected.values())
    graph = gcn.distribute(plain)
    for count, threads in ranks_and_threads:
        of_rank = partial(trained, graph=graph, state=state, threads=threads, batches=batches)
        for found in run_ranks(count, of_rank):
            different = [label for label, value in expected.items() if found[label] != value]
            assert not different, f"{different} on {count} ranks of {threads} threads"


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_training_has_the_bits_of_one_process(network):
    require_same(network, [(2, 1), (3, 2), (16, 1)], batches=(3, 100, 300))


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_training_has_the_bits_of_one_process_on_any_number_of_ranks(network):
    require_same(network, itertools.product((1, 2, 3, 4, 5, 7, 8, 16, 19), (1, 2, 3)))


@pytest.fixture
def small_buckets(monkeypatch, tmp_path):
    """Sums go as soon as there are any, also those of small networks."""
    monkeypatch.setattr(placing, "BUCKET", 64)
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path))  # which knows code by the files that it comes from


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize("network", [lenet, with_batch_norm], ids=lambda n: n.__name__)
def test_bits_do_not_depend_on_when_sums_go(network):
    require_same(network, [(2, 1), (5, 2), (8, 3)], batches=(3, 100, 300))


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize(("batch", "threads"), [(128, 1), (128, 3), (16, 2), (64, 16)])
def test_sums_go_while_later_kernels_run(batch, threads):
    model = model_of(vgg)
    graph, state = gcn.distribute(model.step_graph), model.state()

    class Noting(Failing):
        """Notes how many calls of kernels of samples there have been whenever sums go."""

        executable, found = None, ()

        def begin(self, sends, receives):
            if sum(array.nbytes for _, array in sends) > 64:
                self.found += (self.calls(),)
            return super().begin(sends, receives)

        def calls(self):
            log, kernels = self.executable._workspace.log, self.executable.program.kernels
            noted = zip(log._rows, log._counts, strict=True)
            numbers = np.concatenate([row[1 : 1 + count * FIELDS : FIELDS] for row, count in noted])
            return sum(kernels[number].domain is Domain.SAMPLES for number in numbers)

    def calls(transport):
        noting = Noting(transport, 0)
        executable = noting.executable = NativeBackend().compile(graph, threads=threads, ranks=noting)
        executable.profile(True)
        inputs = own_part(executable, given(graph, state, batch), batch)
        executable.step({label: array.copy() for label, array in state.items()}, **inputs)
        return noting.found[0], noting.calls()

    for when, count in run_ranks(2, calls):
        assert 0 < when < count


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_evaluation_has_the_bits_of_one_process(network):
    model = model_of(network)
    plain, state = model.graph("evaluation"), model.state()
    inputs = given(plain, state, 300) | {label: state[label] for label in plain.inputs if label in state}
    expected = NativeBackend().compile(plain)(**inputs)

    def evaluated(transport):
        executable = NativeBackend().compile(gcn.distribute(plain), ranks=transport)
        return [executable(**own_part(executable, inputs, 300)) for _ in range(2)]

    for found in itertools.chain(*run_ranks(2, evaluated), *run_ranks(5, evaluated)):
        assert {label: array.tobytes() for label, array in found.items()} == {
            label: array.tobytes() for label, array in expected.items()
        }


def check_case(case):
    arrays, batch = bind_inputs(case.graph, case.inputs)
    expected = NativeBackend().compile(case.graph)(**arrays)
    graph = gcn.distribute(case.graph)

    def computed(transport):
        executable = NativeBackend().compile(graph, ranks=transport)
        return executable(**own_part(executable, arrays, batch))

    for count in (2, 5, 16):
        for found in run_ranks(count, computed):
            different = [k for k, array in expected.items() if found[k].tobytes() != array.tobytes()]
            assert not different, f"{case.name}: {different} on {count} ranks"


@pytest.mark.parametrize("name", [n for n in backend_cases() if n.endswith("float32")][::9])
def test_cases_of_the_conformance_suite(name):
    check_case(build_case(name))


@pytest.mark.parametrize("seed", range(6))
def test_random_steps(seed):
    check_case(random_step(seed))


@pytest.mark.slow
def test_all_cases_and_many_random_steps():
    for case in itertools.chain(map(build_case, backend_cases()), map(random_step, range(6, 500))):
        check_case(case)


def test_a_rank_has_its_own_samples():
    graph = gcn.distribute(model_of(lenet).step_graph)

    def owned(transport):
        executable = NativeBackend().compile(graph, ranks=transport)
        return [executable.own_samples(batch) for batch in (1, 64, 300)]

    found = run_ranks(3, owned)
    for place, batch in enumerate((1, 64, 300)):
        rows = sorted(n for of_rank in found for own in of_rank[place] for n in own)
        assert rows == list(range(batch))
    assert [len(own) for own in found[2]] == [0, 1, 1]
    assert run_ranks(1, owned) == [[[range(1)], [range(64)], [range(300)]]]


def test_a_graph_that_is_not_distributed_is_refused():
    graph = model_of(dense).step_graph
    with pytest.raises(RankError, match="ranks cannot share a batch like this") as caught:
        run_ranks(2, lambda transport: NativeBackend().compile(graph, ranks=transport))
    assert isinstance(caught.value.__cause__, GraphError)


def test_labels_that_do_not_fit_are_told_by_all_ranks():
    model = model_of(with_batch_norm)
    graph, state = gcn.distribute(model.step_graph), model.state()
    inputs = given(graph, state, 64)
    inputs["target"][60] = 77

    def refused(transport):
        executable = NativeBackend().compile(graph, ranks=transport)
        before = {label: array.copy() for label, array in state.items()}
        with pytest.raises(DataError, match="do not fit the classes"):
            executable.step(before, **own_part(executable, inputs, 64))
        return trained(transport, graph, before, threads=1, batches=(64,))

    expected = trained(None, model.step_graph, state, threads=1, batches=(64,))
    assert all(found == expected for found in run_ranks(2, refused))


class Failing:
    """A transport that raises an error when it begins messages for the nth time."""

    def __init__(self, transport, place):
        self._transport, self._left = transport, place
        self.rank, self.size = transport.rank, transport.size

    def begin(self, sends, receives):
        self._left -= 1
        if self._left == 0:
            raise ConnectionError("the cable is out")
        return self._transport.begin(sends, receives)


def test_an_error_between_stages_leaves_the_state_and_ends_all_calls():
    """Running statistics are written long before the last message; they are not to be seen either."""
    model = model_of(with_batch_norm)
    graph, state = gcn.distribute(model.step_graph), model.state()
    inputs = given(graph, state, 64)
    kept, messages = [], []

    class Counting(Failing):
        def begin(self, sends, receives):
            messages.append(self.rank)
            return super().begin(sends, receives)

    def one_step(transport, place):
        executable = NativeBackend().compile(graph, ranks=Counting(transport, place if transport.rank else 0))
        own = {label: array.copy() for label, array in state.items()}
        part = own_part(executable, inputs, 64)
        try:
            executable.step(own, **part)
        except BaseException:
            kept.append(all(np.array_equal(own[label], array) for label, array in state.items()))
            with pytest.raises(RankError, match="an earlier step has not ended"):
                executable.step(own, **part)
            raise

    run_ranks(2, partial(one_step, place=0))
    count = messages.count(1)
    assert count > 5
    for place in range(1, count + 1):
        with pytest.raises(
            RankError, match="rank 1 has failed, and all ranks end: ConnectionError: the cable"
        ):
            run_ranks(2, partial(one_step, place=place))
    assert len(kept) == 2 * count
    assert all(kept)


def test_no_function_for_numba_shares_a_batch():
    model = model_of(lenet)
    graph = gcn.distribute(model.graph("forward"))
    with pytest.raises(RankError, match="compile the graph without ranks") as caught:
        run_ranks(2, lambda ranks: NativeBackend().compile(graph, ranks=ranks).numba_function(model.state()))
    assert isinstance(caught.value.__cause__, OptionError)


def test_what_ranks_exchange_costs_no_second_program():
    """The code of a graph with messages between ranks is that of the graph without."""
    for network in NETWORKS:
        plain = model_of(network).step_graph
        with_messages = gcn.distribute(plain)
        assert any(isinstance(node.op, ops.AllReduce) for _, node in with_messages.items())
        codes = [NativeBackend().compile(graph).llvm_ir() for graph in (plain, with_messages)]
        assert codes[0] == codes[1], network.__name__


@pytest.mark.usefixtures("signals_of_a_terminal")
def test_an_interrupt_while_a_rank_waits_ends_the_step():
    """Ctrl-C comes in the main thread alone; the other rank of this one never answers."""

    class Silent:
        rank, size = 0, 2

        def begin(self, sends, receives):
            return self

        def wait(self):
            signal.raise_signal(signal.SIGINT)
            pytest.fail("the interrupt had no effect")

    model = model_of(with_batch_norm)
    state = model.state()
    executable = NativeBackend().compile(gcn.distribute(model.step_graph), ranks=Silent())
    own = {label: array.copy() for label, array in state.items()}
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        executable.step(own, **given(executable.graph, state, 64))
    assert signal.getsignal(signal.SIGINT) is handler
    assert all(np.array_equal(own[label], array) for label, array in state.items())
