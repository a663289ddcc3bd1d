"""Optimisers beside their published formulas in NumPy, and beside PyTorch's, step by step."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import OptionError

RANDOM = np.random.default_rng(3)
X, T = RANDOM.normal(size=(8, 4, 4, 2)), RANDOM.integers(0, 3, 8)
RATE = 0.02


def compiled(optimizer, backend="numpy", **options):
    network = gcn.Sequential(
        gcn.Conv2d(5, 3), gcn.Tanh(), gcn.DepthwiseConv2d(2), gcn.Flatten(), gcn.Dense(3)
    )
    given = {"loss": gcn.CrossEntropy(), "dtype": "float64", "backend": backend, "seed": 4} | options
    return gcn.compile(network, input_shape=(4, 4, 2), optimizer=optimizer, **given)


def gradients(model):
    recording = model.inspect(X, T)
    return {name: recording.gradient(name) for name in model.parameters}


# Each reference is a generator that is sent gradients, and yields what to subtract from the weights.


def rmsprop(w, alpha=0.99, epsilon=1e-8, momentum=0.0, centered=False, decay=0.0):
    square, mean, velocity = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    while True:
        g = (yield w) + decay * w
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        velocity = momentum * velocity + g / (np.sqrt(square - mean**2 * centered) + epsilon)
        w = w - RATE * velocity


def adagrad(w, initial=0.0, decay=0.0):
    total = np.full_like(w, initial)
    while True:
        g = (yield w) + decay * w
        total = total + g**2
        w = w - RATE * g / (np.sqrt(total) + 1e-10)


def lion(w, beta1=0.9, beta2=0.99, decay=0.0):
    mean = np.zeros_like(w)
    while True:
        g = yield w
        w = w - RATE * (np.sign(beta1 * mean + (1 - beta1) * g) + decay * w)
        mean = beta2 * mean + (1 - beta2) * g


def adamw(w, rate, beta1, beta2, epsilon, decay):
    mean, square, step = np.zeros_like(w), np.zeros_like(w), 0
    while True:
        g = yield w
        step += 1
        mean, square = beta1 * mean + (1 - beta1) * g, beta2 * square + (1 - beta2) * g**2
        root = np.sqrt(square / (1 - beta2**step)) + epsilon
        w = w - rate * decay * w - rate * mean / (1 - beta1**step) / root


def orthogonal(matrix, iterations):
    """Return what `zeropower_via_newtonschulz` does, in the precision of the matrix."""
    x = matrix / max(np.linalg.norm(matrix), 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def muon(w, momentum=0.95, nesterov=True, decay=0.0, iterations=5):
    if w.ndim < 2:
        yield from adamw(w, 3e-4, 0.9, 0.95, 1e-10, decay)
    velocity = np.zeros_like(w)
    while True:
        g = yield w
        velocity = momentum * velocity + (1 - momentum) * g
        direction = (1 - momentum) * g + momentum * velocity if nesterov else velocity
        rows = direction.reshape(-1, w.shape[-1]).T  # a row for each filter, as PyTorch has them
        step = orthogonal(rows, iterations).T.reshape(w.shape)
        w = w - RATE * decay * w - RATE * max(1, rows.shape[0] / rows.shape[1]) ** 0.5 * step


OPTIMIZERS = {
    "RMSprop": (gcn.RMSprop(RATE), rmsprop, {}),
    "RMSprop, all": (
        gcn.RMSprop(RATE, 0.9, 1e-6, momentum=0.8, centered=True, weight_decay=0.1),
        rmsprop,
        {"alpha": 0.9, "epsilon": 1e-6, "momentum": 0.8, "centered": True, "decay": 0.1},
    ),
    "Adagrad": (gcn.Adagrad(RATE), adagrad, {}),
    "Adagrad, all": (
        gcn.Adagrad(RATE, initial=0.1, weight_decay=0.1),
        adagrad,
        {"initial": 0.1, "decay": 0.1},
    ),
    "Lion": (gcn.Lion(RATE), lion, {}),
    "Lion, all": (
        gcn.Lion(RATE, 0.8, 0.95, weight_decay=0.5),
        lion,
        {"beta1": 0.8, "beta2": 0.95, "decay": 0.5},
    ),
    "Muon": (gcn.Muon(RATE), muon, {}),
    "Muon, all": (
        gcn.Muon(RATE, 0.8, nesterov=False, weight_decay=0.3, iterations=3),
        muon,
        {"momentum": 0.8, "nesterov": False, "decay": 0.3, "iterations": 3},
    ),
}


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize(("optimizer", "reference", "options"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_follow_their_definition(optimizer, reference, options, backend):
    model = compiled(optimizer, backend)
    expected = {name: reference(w.copy(), **options) for name, w in model.parameters.items()}
    for course in expected.values():
        next(course)
    for _ in range(6):
        found = gradients(model)
        model.train_step(X, T)
        for name, course in expected.items():
            np.testing.assert_allclose(
                model.parameters[name], course.send(found[name]), rtol=0, atol=1e-10, err_msg=name
            )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_a_file_with_the_same_bits(tmp_path, name):
    optimizer, *_ = OPTIMIZERS[name]
    whole, half = (compiled(optimizer, "native") for _ in range(2))
    for _ in range(4):
        whole.train_step(X, T)
    for _ in range(2):
        half.train_step(X, T)
    half.save(tmp_path / "half.safetensors")
    again = gcn.load(tmp_path / "half.safetensors")
    assert again.optimizer == optimizer
    for _ in range(2):
        again.train_step(X, T)
    for label, value in whole.state().items():
        assert value.tobytes() == again.state()[label].tobytes(), label


def test_muon_makes_steps_whose_directions_are_alike():
    model = compiled(gcn.Muon(1.0, momentum=0.0))
    before = model.parameters["conv1.filters"]
    model.train_step(X, T)
    step = (before - model.parameters["conv1.filters"]).reshape(18, 5)
    sizes = np.linalg.svd(step, compute_uv=False)
    assert 0.6 < sizes.min() <= sizes.max() < 1.3


def test_muon_multiplies_on_the_smaller_side():
    graph = compiled(gcn.Muon()).step_graph
    products = [node for _, node in graph.items() if isinstance(node.op, ops.Matmul)]
    own = [node for node in products if node.origin.layer == "conv1" and node.origin.rule == "Muon"]
    assert [node.types[0].shape for node in own] == [(5, 5), (5, 5), (5, 18)] * 5


@pytest.mark.parametrize("make", [
    lambda: gcn.RMSprop(0),
    lambda: gcn.RMSprop(alpha=1),
    lambda: gcn.RMSprop(centered=1),
    lambda: gcn.Adagrad(initial=-1),
    lambda: gcn.Adagrad(epsilon=0),
    lambda: gcn.Lion(beta2=1.5),
    lambda: gcn.Lion(weight_decay=-1),
    lambda: gcn.Muon(iterations=0),
    lambda: gcn.Muon(momentum=1),
    lambda: gcn.Muon(adam_learning_rate=float("nan")),
])  # fmt: skip
def test_arguments_that_make_no_sense(make):
    with pytest.raises(OptionError) as caught:
        make()
    assert str(caught.value).startswith("test_optimizers.py:")
    assert "Mend:" in str(caught.value)


TORCH = {
    "RMSprop": lambda o, p: o.RMSprop(p, RATE),
    "RMSprop, all": lambda o, p: o.RMSprop(
        p, RATE, alpha=0.9, eps=1e-6, weight_decay=0.1, momentum=0.8, centered=True
    ),
    "Adagrad": lambda o, p: o.Adagrad(p, RATE),
    "Adagrad, all": lambda o, p: o.Adagrad(p, RATE, initial_accumulator_value=0.1, weight_decay=0.1),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", TORCH)
def test_optimizers_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    model = compiled(OPTIMIZERS[name][0])
    weights = {label: torch.tensor(w, requires_grad=True) for label, w in model.parameters.items()}
    optimizer = TORCH[name](torch.optim, list(weights.values()))
    for _ in range(6):
        for label, gradient in gradients(model).items():
            weights[label].grad = torch.tensor(gradient)
        model.train_step(X, T)
        optimizer.step()
        for label, weight in weights.items():
            np.testing.assert_allclose(model.parameters[label], weight.detach(), rtol=0, atol=1e-10)


@pytest.mark.torch
def test_muon_agrees_with_pytorch(monkeypatch):
    """PyTorch's iterates in bfloat16; here it is made to do so in float64."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.double)
    model = compiled(gcn.Muon(RATE, weight_decay=0.1))
    name = "dense1.weights"
    weight = torch.tensor(model.parameters[name].T.copy(), requires_grad=True)
    optimizer = torch.optim.Muon([weight], RATE, weight_decay=0.1)
    for _ in range(4):
        weight.grad = torch.tensor(gradients(model)[name].T.copy())
        model.train_step(X, T)
        optimizer.step()
        np.testing.assert_allclose(model.parameters[name].T, weight.detach(), rtol=0, atol=1e-10)
