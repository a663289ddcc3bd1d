"""Views of images at test time: which there are, and that answers, losses and metrics are of the mean."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, OptionError

RANDOM = np.random.default_rng(6)
IMAGES = RANDOM.random((11, 6, 5, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 11)


def classifier(loss=None, metrics=None, backend="native", **outputs):
    image = gcn.Input((6, 5, 2), name="image")
    features = gcn.Flatten()(gcn.relu(gcn.Conv2d(4, 3)(image)))
    y = {name: gcn.Dense(units)(features) for name, units in outputs.items()} or gcn.Dense(3)(features)
    return gcn.compile(gcn.Network(image, y), loss=loss, metrics=metrics, backend=backend)


def moved(first):
    framed = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    return framed[:, first : first + 6, first : first + 5]


@pytest.mark.parametrize("size", [1, 4, 256])
def test_outputs_of_all_views_are_averaged(size):
    model = classifier()
    mirrored = (model.predict(IMAGES) + model.predict(IMAGES[:, :, ::-1])) / 2
    found = model.predict(IMAGES, views=gcn.Views(), batch_size=size)
    np.testing.assert_allclose(found, mirrored, atol=1e-6)
    assert found.dtype == np.float32
    shifted = model.predict(IMAGES) / 2 + sum(model.predict(moved(first)) for first in (0, 2)) / 4
    found = model.predict(IMAGES, views=gcn.Views(mirror=False, shift=1), batch_size=size)
    np.testing.assert_allclose(found, shifted, atol=1e-6)
    six = gcn.Views(shift=1).weighted()
    assert len(six) == 6
    assert sum(weight for weight, _ in six) == 1


def test_views_of_ones_own_count_alike():
    model = classifier()
    found = model.predict(IMAGES, views=[lambda images: images, lambda images: 1 - images])
    np.testing.assert_allclose(found, (model.predict(IMAGES) + model.predict(1 - IMAGES)) / 2, atol=1e-6)


def test_each_of_several_outputs_is_averaged():
    model = classifier(kind=3, size=1)
    found = model.predict(IMAGES, views=gcn.Views())
    assert list(found) == ["kind", "size"]
    for name, array in found.items():
        expected = (model.predict(IMAGES)[name] + model.predict(IMAGES[:, :, ::-1])[name]) / 2
        np.testing.assert_allclose(array, expected, atol=1e-6)


def test_no_samples_have_no_outputs():
    assert classifier().predict(IMAGES[:0], views=gcn.Views()).shape == (0, 3)


def test_what_is_no_image_or_no_view_is_refused():
    model = classifier()
    with pytest.raises(OptionError, match=r"neither gcn.Views nor a list(.*\n)+  Mend: "):
        model.predict(IMAGES, views=3)
    rows = gcn.compile(gcn.Dense(2), input_shape=(4,))
    with pytest.raises(OptionError, match=r"views are of images(.*\n)+  Mend: leave out views"):
        rows.predict(np.zeros((2, 4), np.float32), views=gcn.Views())
    maps = gcn.compile(gcn.Conv2d(2, 3), input_shape=(6, 5, 2))
    with pytest.raises(OptionError, match="has a place for each pixel"):
        maps.predict(IMAGES, views=gcn.Views())
    for options in ({"mirror": 1}, {"shift": -1}, {"shift": 0.5}):
        with pytest.raises(OptionError, match=r"is n(ot|either)"):
            gcn.Views(**options)


def cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]


@pytest.mark.parametrize("size", [4, 256])
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_loss_and_metrics_are_those_of_the_mean_over_views(backend, size):
    model = classifier(loss=gcn.CrossEntropy(), metrics=["accuracy", "f1"], backend=backend)
    views = gcn.Views(shift=1)
    logits = model.predict(IMAGES, views=views)
    found = model.evaluate(IMAGES, LABELS, views=views, batch_size=size)
    assert list(found) == ["loss", "accuracy", "f1"]
    assert found["loss"] == pytest.approx(cross_entropy(logits, LABELS).mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(logits.argmax(1) == LABELS))
    assert found["loss"] != pytest.approx(model.evaluate(IMAGES, LABELS)["loss"], rel=1e-4)
    weights = np.linspace(0, 2, 11)
    found = model.evaluate(IMAGES, LABELS, sample_weight=weights, views=views, batch_size=size)
    assert found["loss"] == pytest.approx((weights * cross_entropy(logits, LABELS)).mean(), rel=1e-5)


def test_a_report_is_on_the_mean_over_views():
    model = classifier(loss=gcn.CrossEntropy())
    found = model.evaluate(IMAGES, LABELS, views=gcn.Views(), report=True)
    said = model.predict(IMAGES, views=gcn.Views()).argmax(1)
    np.testing.assert_array_equal(found.confusion.sum(0), np.bincount(said, minlength=3))
    assert dict(found.results) == model.evaluate(IMAGES, LABELS, views=gcn.Views())


def test_of_several_outputs_those_with_a_loss_are_evaluated_over_views():
    model = classifier(kind=3, size=1, loss={"kind": gcn.CrossEntropy()})
    logits = model.predict(IMAGES, views=gcn.Views())["kind"]
    found = model.evaluate(IMAGES, {"kind": LABELS}, views=gcn.Views())
    assert found["loss"] == pytest.approx(cross_entropy(logits, LABELS).mean(), rel=1e-5)


def test_views_see_bytes_as_the_network_does():
    model = classifier(loss=gcn.CrossEntropy())
    pixels = np.rint(IMAGES * 255).astype(np.uint8)
    views = [lambda images: images, lambda images: 1 - images]
    for found, expected in (
        (model.predict(pixels, views=views), model.predict(pixels / 255, views=views)),
        (
            list(model.evaluate(pixels, LABELS, views=views).values()),
            list(model.evaluate(pixels / 255, LABELS, views=views).values()),
        ),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_view_that_makes_something_else_of_images_says_so():
    with pytest.raises(DataError, match=r"\[N, 6, 5, 2\]"):
        classifier().predict(IMAGES, views=[lambda images: images[:, :3]])
