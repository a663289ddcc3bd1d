"""Mixup and CutMix: what becomes of images, and of the losses of their targets."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.dsl.layers.mixing import beta_quantiles
from graphcnn.errors import OptionError, ShapeError
from graphcnn.sample_keys import identities

RANDOM = np.random.default_rng(11)
IMAGES = RANDOM.uniform(0.1, 1, (33, 8, 6, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 33)
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])
LAYERS = pytest.mark.parametrize("layer", [gcn.Mixup(0.4), gcn.CutMix()], ids=["mixup", "cutmix"])


def mixed(layer, images=IMAGES, backend="numpy"):
    """Return the mixed images, and each one's share of itself."""
    model = gcn.compile(layer, input_shape=images.shape[1:])
    keys = identities(0, np.arange(len(images)))
    found = load_backend(backend).compile(model.training_graph)(image=images, sample_key=keys)
    return found["output"], found["target_share"]


def classifier(layer, **options):
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "backend": "numpy", **options}
    network = gcn.Sequential(layer, gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(4))
    return gcn.compile(network, input_shape=(8, 6, 3), **options)


# Images


@BACKENDS
def test_mixup_adds_up_an_image_and_another(backend):
    found, share = mixed(gcn.Mixup(0.4), backend=backend)
    weight = share[:, None, None, None]
    np.testing.assert_allclose(found, weight * IMAGES + (1 - weight) * IMAGES[::-1], rtol=1e-5)
    assert 0 <= share.min() < 0.1
    assert 0.9 < share.max() <= 1


@BACKENDS
def test_cutmix_puts_a_box_of_another_image_into_each(backend):
    found, share = mixed(gcn.CutMix(), backend=backend)
    own = (found == IMAGES).all(-1)
    assert (own | (found == IMAGES[::-1]).all(-1)).all()
    for n in {*range(33)} - {16}:
        other = ~own[n]
        np.testing.assert_array_equal(other, other.any(1)[:, None] & other.any(0))  # a box
        assert share[n] == pytest.approx(own[n].mean())
    assert 0.3 < share.mean() < 0.9


@LAYERS
def test_a_share_does_not_depend_on_the_batch(layer):
    _, whole = mixed(layer, backend="native")
    keys, model = identities(0, np.arange(33)), gcn.compile(layer, input_shape=(8, 6, 3))
    run = load_backend("native").compile(model.training_graph)
    found = [run(image=IMAGES[p], sample_key=keys[p])["target_share"] for p in (slice(0, 7), slice(7, 33))]
    np.testing.assert_array_equal(np.concatenate(found), whole)


@pytest.mark.parametrize("kind", [gcn.Mixup, gcn.CutMix])
def test_a_part_of_the_images_is_left_alone(kind):
    images = RANDOM.random((600, 4, 4, 1)).astype(np.float32)
    found, share = mixed(kind(alpha=1.0, rate=0.25), images)
    alone = share == 1
    np.testing.assert_array_equal(found[alone], images[alone])
    assert 0.7 < alone.mean() < 0.85


def test_shares_have_the_distribution_that_alpha_says():
    u = np.arange(9) / 8
    np.testing.assert_allclose(beta_quantiles(0.5, 8), np.sin(np.pi * u / 2) ** 2, atol=1e-7)
    np.testing.assert_allclose(beta_quantiles(1.0, 8), u, atol=1e-12)
    q = beta_quantiles(2.0, 8)
    np.testing.assert_allclose(3 * q**2 - 2 * q**3, u, atol=1e-7)
    _, share = mixed(gcn.Mixup(0.5), np.ones((2000, 1, 1, 1), np.float32))
    expected = np.arcsin(np.sqrt(np.sort(share.astype(float)))) * 2 / np.pi
    distance = np.abs(expected - (np.arange(2000) + 0.5) / 2000).max()
    assert distance < 1.63 / np.sqrt(2000)  # Kolmogorov and Smirnov's test, at 1 in 100


# Losses


def of_samples(logits, labels):
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


@BACKENDS
@LAYERS
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_loss_has_the_shares_of_both_targets(backend, layer, reduction, is_weighted):
    model = classifier(layer, backend=backend, loss=gcn.CrossEntropy(reduction=reduction))
    weights = RANDOM.uniform(0.5, 2, 33).astype(np.float32) if is_weighted else np.ones(33, np.float32)
    images, share = mixed(layer)
    logits = model.predict(images).astype(np.float64)
    own, other = of_samples(logits, LABELS) * weights, of_samples(logits, LABELS[::-1]) * weights[::-1]
    expected = getattr(np, reduction)(share * own + (1 - share) * other)
    given = {"sample_weight": weights} if is_weighted else {}
    assert model.train_step(IMAGES, LABELS, **given)["loss"] == pytest.approx(expected, rel=1e-5)


@LAYERS
def test_shares_of_classes_are_mixed_as_the_loss_is(layer):
    """For shares of classes, the mixed loss is that of the mixed target."""
    shares = RANDOM.dirichlet(np.ones(4), 33).astype(np.float32)
    model = classifier(layer, loss=gcn.CrossEntropy(soft_targets=True))
    images, share = mixed(layer)
    target = share[:, None] * shares + (1 - share[:, None]) * shares[::-1]
    expected = model.evaluate(images, target)["loss"]
    assert model.train_step(IMAGES, shares)["loss"] == pytest.approx(expected, rel=1e-5)


@LAYERS
def test_gradients_are_those_of_the_mixed_loss(layer):
    model = classifier(layer, dtype="float64", optimizer=gcn.SGD(1.0))
    before = model.parameters["dense1.bias"].copy()
    batch = model.as_batch(IMAGES, LABELS)
    run = load_backend("numpy").compile(model.gradient_graph)

    def loss(bias):
        return float(run(**{**model.state(), "dense1.bias": bias}, **batch)["loss"])

    steps = np.eye(4) * 1e-6
    slopes = [(loss(before + step) - loss(before - step)) / 2e-6 for step in steps]
    model.train_step(IMAGES, LABELS)
    np.testing.assert_allclose(before - model.parameters["dense1.bias"], slopes, atol=1e-8)


def test_all_that_is_trained_is_mixed_auxiliary_outputs_too():
    x = gcn.Input((8, 6, 3), "image")
    h = gcn.Conv2d(4, 3)(gcn.Mixup(1.0)(x))
    head, early = gcn.Dense(4)(gcn.Flatten()(gcn.ReLU()(h))), gcn.Dense(4)(gcn.Flatten()(h))
    network = gcn.Network(x, head, auxiliary={"early": early})
    model = gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend="numpy")
    results = model.train_step(IMAGES, LABELS)
    assert results["loss"] == pytest.approx(results["output_loss"] + 0.3 * results["early_loss"], rel=1e-6)
    reversed_mixes = [n.op.name for _, n in model.graph("gradient").items() if n.op.name == "rot180"]
    assert len(reversed_mixes) >= 3


@BACKENDS
@LAYERS
def test_training_learns_and_goes_on_after_a_file(backend, layer, tmp_path):
    models = [classifier(layer, backend=backend) for _ in range(2)]
    models[0].fit(IMAGES, LABELS, epochs=4, batch_size=8, progress=False)
    models[1].fit(IMAGES, LABELS, epochs=2, batch_size=8, progress=False)
    models[1].save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", backend=backend)
    again.fit(IMAGES, LABELS, epochs=2, batch_size=8, progress=False)
    assert again.history["loss"] == models[0].history["loss"]
    assert "target_share" not in again.forward_graph.outputs
    assert again.predict(IMAGES).shape == (33, 4)


# What is refused


def test_targets_are_mixed_once():
    with pytest.raises(OptionError, match="two layers mix the samples"):
        gcn.compile(gcn.Sequential(gcn.Mixup(), gcn.CutMix()), input_shape=(4, 4, 1))


def test_a_share_is_a_number_for_each_sample():
    class Half(gcn.Layer):
        def build(self, build, x):
            build.mix_targets(x)
            return x

    with pytest.raises(ShapeError, match="share of each sample"):
        gcn.compile(Half(), input_shape=(4, 4, 1))


def test_the_name_of_shares_is_not_that_of_an_output():
    x = gcn.Input((4,))
    with pytest.raises(OptionError, match="cannot have the name 'target_share'"):
        gcn.Network(x, {"target_share": gcn.Dense(2)(x)})


@pytest.mark.parametrize(
    "make", [lambda: gcn.Mixup(0.0), lambda: gcn.CutMix(-1.0), lambda: gcn.Mixup(rate=2.0)]
)
def test_arguments_that_are_not_allowed_are_named(make):
    with pytest.raises(OptionError, match="is not a number"):
        make()
