"""`compile(precision="bfloat16")`: what is rounded, that it trains alike everywhere, and that it is saved."""

import copy
import signal

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import FileError, OptionError
from graphcnn.interchange.weights import read_weights, write_weights

RANDOM = np.random.default_rng(11)
IMAGES = RANDOM.random((40, 8, 8, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 40)


def network():
    layers = [gcn.Conv2d(6, 3, name="conv"), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Dropout(0.2), gcn.Flatten()]
    return gcn.Sequential(*layers, gcn.Dense(8, name="hidden"), gcn.Tanh(), gcn.Dense(3))


def compiled(precision="bfloat16", make=network, **options):
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1, momentum=0.9), "seed": 4} | options
    options = {"input_shape": (8, 8, 1)} | options
    return gcn.compile(make(), precision=precision, **options)


def count(graph, kind=ops.RoundBfloat16):
    return sum(isinstance(node.op, kind) for _, node in graph.items())


def fit(model, epochs=2, **options):
    return model.fit(IMAGES, LABELS, epochs=epochs, batch_size=8, progress=False, **options)


def assert_same_bits(model, other):
    assert model.state().keys() == other.state().keys()
    for name, value in model.state().items():
        assert value.tobytes() == other.state()[name].tobytes(), name


# Graphs


def test_what_is_executed_is_rounded_and_what_is_derived_is_not():
    model = compiled()
    assert model.precision == "bfloat16"
    assert count(model.forward_graph) == 6
    assert [count(model.graph(name)) for name in ("evaluation", "weighted_evaluation")] == [6, 6]
    assert [count(model.graph(name)) for name in ("step", "weighted_step")] == [9, 9]
    assert [count(model.graph(name)) for name in ("training", "gradient", "weighted_gradient")] == [0, 0, 0]
    assert "products of bfloat16" in repr(model)


def test_by_default_nothing_is_rounded():
    for precision in (None, "float32"):
        model = compiled(precision)
        assert model.precision == "float32"
        assert [count(model.graph(name)) for name in ("forward", "evaluation", "step")] == [0, 0, 0]
        assert "bfloat16" not in repr(model)
    assert compiled(None).step_graph == compiled("float32").step_graph


def test_the_products_of_an_optimiser_stay_in_float32():
    sgd, muon = (compiled(optimizer=optimizer) for optimizer in (gcn.SGD(0.1), gcn.Muon(0.1)))
    assert count(muon.step_graph, ops.Matmul) > count(sgd.step_graph, ops.Matmul)
    assert count(muon.step_graph) == count(sgd.step_graph)


def test_passes_of_the_step_see_the_roundings():
    seen = []

    def remember(graph):
        seen.append(count(graph))
        return graph.copy()

    model = compiled(passes={"forward": [remember], "gradient": [remember], "step": [remember]})
    assert model.step_graph is not None
    assert seen == [0, 0, 0, 9]


def test_parameters_stay_in_float32():
    model = compiled()
    before = model.parameters["conv.filters"]
    fit(model)
    after = model.parameters["conv.filters"]
    assert before.dtype == after.dtype == np.float32
    for array in (before, after):
        assert (array.view(np.uint32) & 0xFFFF).any(), "bits that a bfloat16 does not have"


def test_freezing_keeps_the_precision():
    model = compiled()
    model.freeze("conv")
    assert model.precision == "bfloat16"
    assert 0 < count(model.step_graph) < 9


# Numbers


NETWORKS = {
    "digits": (gcn.zoo.digits, (8, 8, 1)),
    "lenet5": (gcn.zoo.lenet5, (28, 28, 1)),
    "mnist_cnn": (gcn.zoo.mnist_cnn, (28, 28, 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_the_same_in_both_backends_but_for_few_roundings(name):
    """Sums in another order may round to the neighbour, so what differs is little of what rounding does."""
    make, shape = NETWORKS[name]
    x = np.random.default_rng(1).standard_normal((8, *shape)).astype(np.float32)
    moved, losses = {}, {}
    for backend, precision in (("numpy", "float32"), ("numpy", "bfloat16"), ("native", "bfloat16")):
        model = compiled(precision, make, input_shape=shape, optimizer=gcn.SGD(0.1), backend=backend)
        before = model.state()
        losses[backend, precision] = model.train_step(x, np.arange(8) % 10)["loss"]
        after = model.state()
        moved[backend, precision] = np.concatenate([(after[k] - before[k]).ravel() for k in model.parameters])
    exact, rounded, native = moved.values()
    by_rounding = np.linalg.norm(rounded - exact)
    assert by_rounding > 1e-3 * np.linalg.norm(exact)
    assert np.linalg.norm(native - rounded) < 0.1 * by_rounding
    assert losses["native", "bfloat16"] == pytest.approx(losses["numpy", "bfloat16"], rel=1e-4)
    assert losses["numpy", "float32"] != losses["numpy", "bfloat16"]


def test_predictions_are_the_same_in_both_backends_but_for_few_roundings():
    models = [
        compiled(precision, backend=backend)
        for backend, precision in (("numpy", "float32"), ("numpy", "bfloat16"), ("native", "bfloat16"))
    ]
    exact, rounded, native = (model.predict(IMAGES) for model in models)
    assert np.linalg.norm(native - rounded) < 0.1 * np.linalg.norm(rounded - exact)
    assert models[2].evaluate(IMAGES, LABELS)["loss"] == pytest.approx(
        models[1].evaluate(IMAGES, LABELS)["loss"], rel=1e-4
    )


def test_the_same_bits_on_any_number_of_threads():
    models = [compiled(threads=threads) for threads in (1, 2, 3)]
    for model in models:
        fit(model)
    for model in models[1:]:
        assert_same_bits(model, models[0])
        assert model.predict(IMAGES).tobytes() == models[0].predict(IMAGES).tobytes()
    assert models[0].predict(IMAGES[:1]).tobytes() == models[0].predict(IMAGES)[:1].tobytes()


def test_it_learns():
    digits = gcn.data.load_digits()
    model = compiled(make=gcn.zoo.digits)
    model.fit(digits.images, digits.labels, epochs=4, batch_size=32, progress=False)
    assert model.evaluate(digits.test_images, digits.test_labels)["accuracy"] > 0.95


def test_what_inference_rounds_of_parameters_is_rounded_once():
    model = compiled()
    program = model.executable("forward").program
    rounded = [
        value
        for kernel in program.kernels
        if kernel.stage < program.prepared
        for value in kernel.values
        if program.graph.node(value.key).op.name in ("round_bfloat16", "bfloat16_filters")
    ]
    assert len(rounded) == 3, "filters and weights, but not what depends on images"
    before = model.predict(IMAGES)
    model.parameters["hidden.weights"] = model.parameters["hidden.weights"] * 1.1
    after = model.predict(IMAGES)
    assert not np.array_equal(after, before)
    again = compiled(weights=model.weights)
    assert after.tobytes() == again.predict(IMAGES).tobytes()


# Files


def test_a_saved_model_goes_on_in_its_precision(tmp_path):
    model, path = compiled(), tmp_path / "model.safetensors"
    fit(model, 1)
    model.save(path)
    again = gcn.load(path)
    assert again.precision == "bfloat16"
    assert again.predict(IMAGES).tobytes() == model.predict(IMAGES).tobytes()
    fit(model, 1)
    fit(again, 1)
    assert_same_bits(again, model)
    again.save(tmp_path / "again.safetensors")
    model.save(path)
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert copy.deepcopy(again).precision == "bfloat16"


def test_the_file_of_a_model_in_float32_says_nothing_of_it(tmp_path):
    compiled("float32").save(tmp_path / "model.safetensors")
    assert "precision" not in read_weights(tmp_path / "model.safetensors")[1]
    assert gcn.load(tmp_path / "model.safetensors").precision == "float32"


def test_a_model_can_be_loaded_in_another_precision(tmp_path):
    path = tmp_path / "model.safetensors"
    for given, other in (("bfloat16", "float32"), ("float32", "bfloat16")):
        model = compiled(given)
        model.save(path)
        again = gcn.load(path, precision=other)
        assert again.precision == other
        assert again.predict(IMAGES).tobytes() == compiled(other).predict(IMAGES).tobytes()
        assert again.step_graph == compiled(other).step_graph or count(again.step_graph) in (0, 9)


def test_passes_of_a_loaded_model_leave_its_precision(tmp_path):
    path = tmp_path / "model.safetensors"
    compiled(passes={"step": [gcn.simplify]}).save(path)
    assert gcn.load(path, passes={"step": [gcn.simplify]}).precision == "bfloat16"
    assert gcn.load(path, passes={}).precision == "bfloat16"


class Stop(gcn.Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_step_end(self, model, epoch, step, logs):
        if (epoch, step) == (self.epoch, 3):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("signals_of_a_terminal")
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_training_that_is_resumed_goes_on_in_its_precision(tmp_path, backend):
    whole = compiled(backend=backend)
    fit(whole)
    interrupted = compiled(backend=backend)
    checkpoint = gcn.Checkpoint(tmp_path / "run", every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, callbacks=[Stop(2)], checkpoint=checkpoint)
    resumed = gcn.resume(tmp_path / "run")
    assert resumed.precision == "bfloat16"
    assert resumed.epochs_done == 1
    assert resumed.steps_done == 3
    fit(resumed, callbacks=[Stop(3)])
    assert_same_bits(resumed, whole)


def test_training_can_be_resumed_in_another_precision(tmp_path):
    fit(compiled(), 1, checkpoint=gcn.Checkpoint(tmp_path / "run", every=2))
    resumed = gcn.resume(tmp_path / "run", precision="float32")
    assert resumed.precision == "float32"
    assert count(resumed.step_graph) == 0


def test_a_file_of_no_known_precision_is_damaged(tmp_path):
    path = tmp_path / "model.safetensors"
    compiled().save(path)
    tensors, metadata = read_weights(path)
    write_weights(path, tensors, metadata | {"precision": "float8"})
    with pytest.raises(FileError, match="precision='float8' is neither 'float32' nor 'bfloat16'"):
        gcn.load(path)


# Errors


def test_an_unknown_precision_is_named_with_a_mend():
    for given, mend in (
        ("bf16", 'precision="bfloat16"'),
        ("float64", 'dtype="float64"'),
        (16, 'precision="bfloat16"'),
        (True, 'precision="bfloat16"'),
    ):
        with pytest.raises(OptionError, match=f"precision={given!r} is neither 'float32' nor") as caught:
            compiled(given)
        assert caught.value.mend == mend
        assert (caught.value.file, caught.value.line) == (__file__, compiled.__code__.co_firstlineno + 3)


def test_a_network_in_float64_is_refused_at_its_layer():
    with pytest.raises(OptionError, match="precision='bfloat16' rounds what float32 products") as caught:
        compiled(dtype="float64")
    assert caught.value.layer == "conv"
    assert caught.value.file == __file__
    assert "leave out precision" in caught.value.mend
    assert compiled(None, dtype="float64").precision == "float32"


def test_a_saved_network_in_float64_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    compiled(None, dtype="float64").save(path)
    with pytest.raises(OptionError, match="this correlate2d is of float64"):
        gcn.load(path, precision="bfloat16")


def test_float64_without_products_has_nothing_to_round():
    x = gcn.Input((4,), dtype="float64")
    model = gcn.compile(gcn.Network(x, gcn.tanh(x)), precision="bfloat16")
    assert count(model.forward_graph) == 0


def test_graphs_are_rounded_as_well():
    graph = gcn.Graph("mine")
    x = graph.input("image", gcn.TensorType(("N", 4)))
    weights = graph.input("weights", gcn.TensorType((4, 3)), role="parameter")
    graph.output("output", graph.add(ops.Matmul(), x, weights))
    model = gcn.compile(graph, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), precision="bfloat16")
    assert [count(model.forward_graph), count(model.step_graph)] == [2, 3]
    model.train_step(np.ones((2, 4), np.float32), np.zeros(2, int))
