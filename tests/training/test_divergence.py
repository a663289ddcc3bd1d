"""A loss that is no longer a number is blamed on the first node that made it so."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import TrainingError
from graphcnn.training import trail as trails
from graphcnn.training.loop import Loop

HERE = Path(__file__).name
RANDOM = np.random.default_rng(5)
X = RANDOM.random((96, 6, 6, 1), np.float32)
Y = np.arange(96) % 3
BACKENDS = pytest.mark.parametrize("backend", ["native", "numpy"])


def line_of(text: str, function: Callable[..., Any]) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


def failure(model: gcn.Model, x: Any = X, y: Any = Y, **options: Any) -> TrainingError:
    options = {"batch_size": 8, "progress": False} | options
    with np.errstate(all="ignore"), pytest.raises(TrainingError) as caught:
        model.fit(x, y, **options)
    return caught.value


def compiled(network: gcn.Network | gcn.Layer, rate: float = 0.1, **options: Any) -> gcn.Model:
    shape = None if isinstance(network, gcn.Network) else (6, 6, 1)
    return gcn.compile(
        network,
        input_shape=shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(rate, momentum=0.9),
        **options,
    )


def exploding() -> gcn.Network:
    image = gcn.Input((6, 6, 1), name="image")
    h = gcn.Conv2d(4, 3, name="first")(image)
    h = gcn.exp(h * 100.0)  # the exponent outgrows float32
    return gcn.Network(image, gcn.Dense(3)(gcn.Flatten()(h)))


@BACKENDS
def test_the_line_that_explodes_is_named(backend: str) -> None:
    model = compiled(exploding(), 1e-4, backend=backend)
    model.parameters["first.bias"] = np.full(4, 10, "f4")
    error = failure(model)
    assert (Path(error.file).name, error.line) == (HERE, line_of("outgrows", exploding))
    text = str(error)
    assert "the loss became" in text
    assert "in step 1 of epoch 1" in text
    assert "the first infinity comes from %" in text
    assert "exp, in the forward pass" in text
    assert "h = gcn.exp(h * 100.0)" in text
    assert "Mend: the exponent is too large" in text


def growing() -> gcn.Sequential:
    return gcn.Sequential(gcn.Conv2d(4, 3), gcn.Conv2d(4, 3), gcn.Flatten(), gcn.Dense(3))


@BACKENDS
def test_a_learning_rate_that_is_too_high_is_traced_to_a_layer(backend: str) -> None:
    error = failure(compiled(growing(), 1e3, backend=backend), epochs=3)
    assert error.layer in ("conv1", "conv2", "dense1", "loss")
    assert Path(error.file).name == HERE
    assert "learning rate 1000" in str(error)
    assert "Mend: compile with a lower learning rate" in str(error)


def rooted() -> gcn.Network:
    image = gcn.Input((6, 6, 1), name="image")
    h = gcn.Dense(3)(gcn.Flatten()(image))
    return gcn.Network(image, gcn.sqrt(gcn.relu(h) * 0.0))  # the slope at 0 is infinite


@BACKENDS
def test_a_gradient_that_is_infinite_is_blamed_though_the_loss_is_finite_at_first(backend: str) -> None:
    error = failure(compiled(rooted(), backend=backend))
    assert "in step 2 of epoch 1" in error.problem
    assert error.facts[0].startswith("in step 1 the first ")
    assert "in the backward pass" in error.facts[0]
    assert error.line == line_of("the slope at 0", rooted)


@BACKENDS
def test_an_update_that_overflows_is_blamed_though_its_gradient_is_finite(backend: str) -> None:
    model = compiled(growing(), 1e38, backend=backend)
    model.parameters["dense1.weights"] = model.parameters["dense1.weights"] * 1e3
    error = failure(model)
    assert "in step 1 the first infinity comes from" in error.facts[0]
    assert "(SGD)" in error.facts[0]


def test_a_parameter_that_was_given_as_nan_is_named() -> None:
    model = compiled(growing())
    model.parameters["conv2.bias"] = np.array([0, np.nan, 0, 0], "f4")
    error = failure(model)
    assert "'conv2.bias' holds NaN" in str(error)
    assert "1 of 4 elements, at first at [1]" in str(error)
    assert error.layer == "conv2"


class FallsApart(gcn.Callback):
    """Makes the learning rate far too high at one step of an epoch, so that there is a way to go again."""

    def __init__(self, epoch: int, step: int) -> None:
        self.moment = epoch, step

    def on_step_begin(self, model: gcn.Model, epoch: int, step: int, batch: Any) -> None:
        model.learning_rate = 1e30 if (epoch, step) == self.moment else 0.01


def batches(shuffled: bool = False) -> Iterator[tuple[Any, Any]]:
    order = np.random.default_rng().permutation(len(X)) if shuffled else np.arange(len(X))
    for start in range(0, len(X), 8):
        chosen = order[start : start + 8]
        yield X[chosen], Y[chosen]


class Augmented:
    """Batches that are others each time."""

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return batches(shuffled=True)


@pytest.mark.parametrize("kind", ["arrays", "list", "generator", "others each time"])
def test_the_way_to_the_failing_step_is_gone_again(kind: str) -> None:
    data: Any = {
        "arrays": lambda: X,
        "list": lambda: [*batches()],
        "generator": batches,
        "others each time": Augmented,
    }[kind]()
    epoch = 1 if kind == "generator" else 2
    error = failure(
        compiled(growing()), data, Y if kind == "arrays" else None, epochs=2, callbacks=[FallsApart(epoch, 7)]
    )
    assert f"in step 8 of epoch {epoch}" in error.problem
    assert error.file
    assert "elements" in error.facts[1]
    assert "does not happen again" not in str(error)


@pytest.mark.parametrize("limit", ["SECONDS", "BYTES"])
def test_a_long_way_begins_anew_again_and_again(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trails, limit, -1)
    error = failure(compiled(growing()), [*batches()], None, callbacks=[FallsApart(1, 7)])
    assert "in step 8 of epoch 1" in error.problem
    assert "elements" in error.facts[1]


def test_dropout_is_the_same_when_a_step_is_taken_again() -> None:
    network = gcn.Sequential(gcn.Dropout(0.5), gcn.Flatten(), gcn.Dense(9), gcn.ReLU(), gcn.Dense(3))
    error = failure(compiled(network), callbacks=[FallsApart(1, 5)])
    assert "elements" in error.facts[1]


def test_what_cannot_be_repeated_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((8, 6, 6, 1), np.float32)

    class Changing:
        """Hands out one array again and again, with other contents."""

        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            image[...] = 0
            yield image, Y[:8]
            image[...] = 3e38
            yield image, Y[:8]
            image[...] = 0

    model = compiled(growing())
    original = Loop._diverged

    def after_the_array_has_changed(*arguments: Any) -> TrainingError:
        image[...] = 0
        return original(*arguments)

    monkeypatch.setattr(Loop, "_diverged", after_the_array_has_changed)
    error = failure(model, Changing(), None, prefetch=0)  # a thread would change it before its step
    assert "it does not happen again with the same batches" in str(error)
    assert "Mend: compile with a lower learning rate" in str(error)
