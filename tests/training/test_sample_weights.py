"""Weights of samples and of classes: what each sample's loss is multiplied by."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, OptionError, TrainingError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((12, 4, 4, 1)).astype(np.float32)
LABELS = np.arange(12) % 3
WEIGHTS = RANDOM.random(12)


def compiled(**options):
    return gcn.compile(
        gcn.Sequential(gcn.Conv2d(2, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3)),
        **{
            "input_shape": (4, 4, 1),
            "loss": gcn.CrossEntropy(),
            "optimizer": gcn.SGD(0.1, momentum=0.9),
            "dtype": "float64",
            **options,
        },
    )


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_weight_of_two_is_the_sample_twice(backend, reduction):
    weighted, repeated = (compiled(backend=backend, loss=gcn.CrossEntropy(reduction)) for _ in range(2))
    weights = np.ones(12)
    weights[:4] = 2
    again = np.concatenate([IMAGES, IMAGES[:4]]), np.concatenate([LABELS, LABELS[:4]])
    scale = 12 / 16 if reduction == "mean" else 1
    repeated.learning_rate /= scale
    first = weighted.train_step(IMAGES, LABELS, sample_weight=weights)
    assert first["loss"] * scale == pytest.approx(repeated.train_step(*again)["loss"])
    for name, array in weighted.weights.items():
        np.testing.assert_allclose(array, repeated.weights[name], rtol=1e-9)


def test_weights_go_with_their_samples_through_shuffling_and_batches():
    whole, batched = compiled(optimizer=gcn.SGD(1e-9)), compiled(optimizer=gcn.SGD(1e-9))
    expected = whole.fit(IMAGES, LABELS, batch_size=12, sample_weight=WEIGHTS, progress=False)
    found = batched.fit(IMAGES, LABELS, batch_size=5, sample_weight=WEIGHTS, progress=False)
    assert found.epochs[0]["loss"] == pytest.approx(expected.epochs[0]["loss"], rel=1e-6)
    assert found.epochs[0]["accuracy"] == expected.epochs[0]["accuracy"]
    of_all = compiled().evaluate(IMAGES, LABELS)["loss"]
    assert compiled().evaluate(IMAGES, LABELS, sample_weight=np.full(12, 0.5))["loss"] == pytest.approx(
        of_all / 2
    )


def test_batches_bring_their_own_weights():
    arrays, batches = compiled(), compiled()
    arrays.fit(IMAGES, LABELS, batch_size=6, shuffle=False, sample_weight=WEIGHTS, progress=False)
    parts = [(IMAGES[s], LABELS[s], WEIGHTS[s]) for s in (slice(0, 6), slice(6, 12))]
    batches.fit(parts, progress=False)
    for name, array in arrays.state().items():
        np.testing.assert_array_equal(array, batches.state()[name])


def test_class_weights_are_weights_of_the_samples_of_a_class():
    by_class, by_sample, listed = compiled(), compiled(), compiled()
    by_class.fit(IMAGES, LABELS, class_weight={1: 5.0}, progress=False)
    by_sample.fit(IMAGES, LABELS, sample_weight=np.where(LABELS == 1, 5.0, 1.0), progress=False)
    listed.fit(IMAGES, LABELS, class_weight=[1, 5, 1], progress=False)
    for name, array in by_class.state().items():
        np.testing.assert_array_equal(array, by_sample.state()[name])
        np.testing.assert_array_equal(array, listed.state()[name])


def test_validation_with_weights():
    model = compiled()
    history = model.fit(IMAGES, LABELS, validation_data=(IMAGES, LABELS, np.zeros(12)), progress=False)
    assert history.epochs[0]["val_loss"] == 0
    assert history.epochs[0]["val_accuracy"] == model.evaluate(IMAGES, LABELS)["accuracy"]


def test_a_weighted_step_that_goes_wrong_is_explained():
    model = compiled(optimizer=gcn.SGD(1e200))
    with pytest.raises(TrainingError, match="the loss became"):
        model.fit(IMAGES, LABELS, epochs=5, sample_weight=WEIGHTS, progress=False)


def test_the_gradient_log_sees_weighted_gradients():
    log = gcn.GradientLog()
    compiled().fit(IMAGES, LABELS, sample_weight=np.zeros(12), callbacks=[log], progress=False)
    assert log.steps


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        (WEIGHTS[:5], "there are 12 samples, but 5 weights"),
        (-WEIGHTS, "finite numbers of at least 0"),
        (np.full(12, np.nan), "finite numbers of at least 0"),
        (np.array(["a"] * 12), "sample_weight"),
        (WEIGHTS[:, None], "sample_weight"),
        ("balanced", "sample_weight"),
    ],
)
def test_weights_that_do_not_fit(weights, problem):
    model = compiled()
    before = model.state()
    for call in (model.train_step, model.fit, model.evaluate):
        with pytest.raises(DataError) as caught:
            call(IMAGES, LABELS, sample_weight=weights)
        assert problem in str(caught.value)
    assert all(np.array_equal(array, before[name]) for name, array in model.state().items())


@pytest.mark.parametrize("given", [{3: 1.0}, {"a": 1.0}, [1.0, 2.0], "equal", {1: "much"}])
def test_class_weights_that_do_not_fit(given):
    with pytest.raises(OptionError, match="class_weight"):
        compiled().fit(IMAGES, LABELS, class_weight=given)


def test_class_weights_need_classes():
    model = compiled(loss=gcn.SquaredError())
    with pytest.raises(OptionError, match="class_weight needs one output that is trained on labels"):
        model.fit(IMAGES, np.zeros((12, 3)), class_weight={1: 2.0})


def test_weights_beside_batches_are_refused():
    with pytest.raises(OptionError, match="sample_weight is for arrays"):
        compiled().fit([(IMAGES, LABELS)], sample_weight=WEIGHTS)
