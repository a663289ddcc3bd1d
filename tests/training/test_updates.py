"""What is said beside an optimiser: clipping, groups, accumulation, lookahead and averages of weights."""

import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError

RANDOM = np.random.default_rng(8)
X, T = RANDOM.normal(size=(8, 4)), RANDOM.normal(size=(8, 2))
RATE = 0.1
BACKENDS = ("numpy", "native")


def compiled(optimizer=None, backend="numpy", **options):
    network = gcn.Sequential(gcn.Dense(3, name="stem"), gcn.Tanh(), gcn.Dense(2, name="head"))
    loss, chosen = gcn.SquaredError("mean"), optimizer or gcn.SGD(RATE)
    given = {"dtype": "float64", "seed": 2, "backend": backend} | options
    return gcn.compile(network, input_shape=(4,), loss=loss, optimizer=chosen, **given)


def gradients(model, x=X, t=T):
    recording = model.inspect(x, t)
    return {name: recording.gradient(name) for name in model.parameters}


def assert_close(model, expected):
    for name, weights in model.parameters.items():
        np.testing.assert_allclose(weights, expected[name], rtol=0, atol=1e-12, err_msg=name)


def clipped(found, **limits):
    """Return gradients as PyTorch's clip_grad_value_ and clip_grad_norm_ leave them."""
    if "clip_value" in limits:
        found = {k: np.clip(g, -limits["clip_value"], limits["clip_value"]) for k, g in found.items()}
    if "clip_parameter_norm" in limits:
        limit = limits["clip_parameter_norm"]
        found = {k: g * min(1, limit / (np.linalg.norm(g) + 1e-6)) for k, g in found.items()}
    if "clip_norm" in limits:
        norm = np.sqrt(sum((g**2).sum() for g in found.values()))
        found = {k: g * min(1, limits["clip_norm"] / (norm + 1e-6)) for k, g in found.items()}
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("limits", [
    {"clip_norm": 0.3}, {"clip_norm": 1e6}, {"clip_value": 0.1}, {"clip_parameter_norm": 0.2},
    {"clip_value": 0.4, "clip_parameter_norm": 0.5, "clip_norm": 0.6},
])  # fmt: skip
def test_gradients_are_clipped(limits, backend):
    model = compiled(backend=backend, **limits)
    before, found = dict(model.parameters.items()), clipped(gradients(model), **limits)
    model.train_step(X, T)
    assert_close(model, {name: before[name] - RATE * found[name] for name in before})


def test_a_norm_whose_square_float32_cannot_hold_is_clipped():
    model = compiled(clip_norm=1.0, dtype="float32")
    before = dict(model.parameters.items())
    model.train_step(X.astype("f") * np.float32(1e10), T.astype("f") * np.float32(1e30))
    moved = np.sqrt(sum(((model.parameters[k] - w) ** 2).sum() for k, w in before.items()))
    assert moved == pytest.approx(RATE, rel=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", [gcn.SGD(RATE, momentum=0.5, weight_decay=0.1), gcn.AdamW(RATE)])
def test_groups_have_a_rate_and_a_decay_of_their_own(optimizer, backend):
    groups = {"stem": {"learning_rate": 0.25, "weight_decay": 0.0}, "head.bias": {"learning_rate": 0.0}}
    kind = type(optimizer)
    whole = compiled(optimizer, backend, groups=groups)
    options = {"momentum": 0.5} if kind is gcn.SGD else {}
    stem = compiled(kind(RATE * 0.25, weight_decay=0.0, **options), backend)
    before = whole.parameters["head.bias"]
    found = compiled(optimizer, backend)
    for model in (whole, stem, found):
        model.train_step(X, T)
    for name, expected in (("stem.weights", stem), ("stem.bias", stem), ("head.weights", found)):
        np.testing.assert_allclose(whole.parameters[name], expected.parameters[name], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(whole.parameters["head.bias"], before)


def test_biases_do_not_decay_unless_a_group_says_so():
    options = {"no_decay": True, "groups": {"head": {"weight_decay": 0.5}}}
    model = compiled(gcn.SGD(RATE, weight_decay=0.2), **options)
    model.parameters["stem.bias"] = np.ones(3)
    model.parameters["head.bias"] = np.ones(2)
    before, found = dict(model.parameters.items()), gradients(model)
    decay = {"stem.weights": 0.2, "stem.bias": 0.0, "head.weights": 0.5, "head.bias": 0.5}
    model.train_step(X, T)
    assert_close(model, {k: w - RATE * (found[k] + decay[k] * w) for k, w in before.items()})


def test_a_frozen_group_stays_and_has_no_gradient():
    model = compiled(groups={"stem*": {"frozen": True}})
    before = model.parameters["stem.weights"]
    model.train_step(X, T)
    np.testing.assert_array_equal(model.parameters["stem.weights"], before)
    assert "gradient(stem.weights)" not in model.gradient_graph.outputs


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", [gcn.SGD(RATE, momentum=0.9), gcn.Adam(RATE)])
def test_accumulated_batches_are_one_step_of_their_mean(optimizer, backend):
    whole, parts = compiled(optimizer, backend), compiled(optimizer, backend, accumulate=4)
    for _ in range(3):
        whole.train_step(X, T)
        for n in range(0, 8, 2):
            before = parts.parameters["stem.weights"]
            parts.train_step(X[n : n + 2], T[n : n + 2])
            assert np.array_equal(before, parts.parameters["stem.weights"]) == (n < 6)
    assert_close(parts, dict(whole.parameters.items()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_lookahead_goes_back_a_share_of_the_way(backend):
    """Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", NeurIPS 2019, algorithm 1."""
    model, fast = compiled(backend=backend, lookahead=(3, 0.4)), compiled()
    slow = dict(model.parameters.items())
    for step in range(1, 8):
        model.train_step(X, T)
        fast.train_step(X, T)
        if step % 3 == 0:
            slow = {k: w + 0.4 * (fast.parameters[k] - w) for k, w in slow.items()}
            fast.parameters.update(slow)
        assert_close(model, dict(fast.parameters.items()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_averages_predict_when_asked(backend):
    model = compiled(backend=backend, average=0.75)
    assert_close(model.averaged(), dict(model.parameters.items()))
    average = None
    for _ in range(4):
        model.train_step(X, T)
        new = dict(model.parameters.items())
        average = new if average is None else {k: a + 0.25 * (new[k] - a) for k, a in average.items()}
    found = model.averaged()
    assert_close(found, average)
    assert_close(model, new)
    hidden = np.tanh(X @ average["stem.weights"] + average["stem.bias"])
    np.testing.assert_allclose(
        found.predict(X), hidden @ average["head.weights"] + average["head.bias"], atol=1e-12
    )
    assert found.evaluate(X, T) != model.evaluate(X, T)


def test_all_together_go_on_from_a_file_with_the_same_bits(tmp_path):
    options = {"clip_norm": 0.5, "clip_value": 0.4, "groups": {"stem": {"learning_rate": 0.5}}}
    options |= {"no_decay": True, "accumulate": 2, "lookahead": (2, 0.5), "average": 0.9}
    whole, half = (compiled(gcn.AdamW(RATE), "native", **options) for _ in range(2))
    for _ in range(10):
        whole.train_step(X, T)
    for _ in range(5):
        half.train_step(X, T)
    half.save(tmp_path / "half.safetensors")
    again = gcn.load(tmp_path / "half.safetensors")
    assert again.optimizer == gcn.AdamW(RATE)
    for _ in range(5):
        again.train_step(X, T)
    for label, value in whole.state().items():
        assert value.tobytes() == again.state()[label].tobytes(), label
    assert str(again.step_graph).count("clip_norm") == str(whole.step_graph).count("clip_norm") > 0


@pytest.mark.parametrize(
    ("options", "problem", "mend"),
    [
        ({"clip_norm": 0}, "clip_norm=0 is not a number above 0", "clip_norm above 0"),
        ({"clip_value": "1"}, "clip_value='1' is not a number above 0", ""),
        ({"accumulate": 0}, "accumulate=0 is no number of batches", "accumulate=4"),
        ({"lookahead": 5}, "lookahead=5 is not (steps, share)", "lookahead=(5, 0.5)"),
        ({"lookahead": (5, 2)}, "the share of lookahead=2", ""),
        ({"average": 1.0}, "average=1.0 is not a number", ""),
        ({"groups": {"conv*": {"learning_rate": 0.1}}}, "'conv*' is the name of no layer", 'such as "stem"'),
        ({"groups": {"stem": {"momentum": 0.1}}}, "groups['stem'] says 'momentum'", ""),
        ({"groups": {"stem": {"learningrate": 0.1}}}, "says 'learningrate'", "learning_rate"),
        ({"groups": {"stem": {"learning_rate": -1}}}, "groups['stem']['learning_rate']=-1 is not", ""),
        ({"groups": {"stem": {"frozen": 1}}}, "['frozen']=1 is neither True nor False", ""),
        ({"groups": ["stem"]}, "is no dictionary by pattern", "groups={"),
        ({"no_decay": 1}, "no_decay=1 is neither True nor False", "no_decay=True"),
        ({"no_decay": True, "optimizer": gcn.Adagrad(0.1)}, None, None),
    ],
)
def test_what_makes_no_sense(options, problem, mend):
    if problem is None:
        compiled(**options)
        return
    with pytest.raises(OptionError, match=re.escape(problem)) as caught:
        compiled(**options)
    assert mend in str(caught.value).partition("Mend:")[2]


def test_options_without_an_optimizer():
    with pytest.raises(OptionError, match="clip_norm needs an optimizer"):
        gcn.compile(gcn.Dense(2), input_shape=(3,), loss=gcn.SquaredError(), clip_norm=1.0)


def test_a_model_without_averages():
    with pytest.raises(OptionError, match=re.escape("average=0.999")):
        compiled().averaged()
