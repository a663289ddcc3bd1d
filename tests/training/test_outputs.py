"""Networks with several outputs: a loss and targets for each, results by name, one step for all."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, OptionError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((20, 5, 5, 1)).astype(np.float32)
LABELS = np.arange(20) % 3
ANGLES = RANDOM.standard_normal((20, 2)).astype(np.float32)
TARGETS = {"digit": LABELS, "angle": ANGLES}
LOSSES = {"digit": gcn.CrossEntropy(), "angle": gcn.SquaredError("mean")}


def heads():
    image = gcn.Input((5, 5, 1), name="image")
    stem = gcn.Flatten()(gcn.ReLU()(gcn.Conv2d(4, 3, name="stem")(image)))
    return image, {"digit": gcn.Dense(3, name="digits")(stem), "angle": gcn.Dense(2, name="angles")(stem)}


def compiled(**options):
    return gcn.compile(
        gcn.Network(*heads()), **{"loss": LOSSES, "optimizer": gcn.SGD(0.05, momentum=0.9), **options}
    )


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_all_outputs_are_trained_and_predicted_by_name(backend):
    model = compiled(backend=backend, dtype="float64")
    first = model.train_step(IMAGES, TARGETS)
    assert list(first) == ["loss", "digit_loss", "angle_loss", "digit_accuracy"]
    assert first["loss"] == pytest.approx(first["digit_loss"] + first["angle_loss"])
    history = model.fit(
        IMAGES, TARGETS, epochs=30, batch_size=7, validation_data=(IMAGES, TARGETS), progress=False
    )
    assert history.epochs[-1]["loss"] < 0.5 * first["loss"]
    assert {"val_loss", "val_digit_loss", "val_angle_loss", "val_digit_accuracy"} <= history.epochs[-1].keys()
    outputs = model.predict(IMAGES, batch_size=6)
    assert list(outputs) == ["digit", "angle"]
    assert outputs["digit"].shape == (20, 3)
    assert outputs["angle"].shape == (20, 2)
    results = model.evaluate(IMAGES, TARGETS)
    assert results["digit_accuracy"] == np.mean(outputs["digit"].argmax(axis=1) == LABELS)
    squared = 0.5 * np.sum((outputs["angle"] - ANGLES) ** 2, axis=1).mean()
    assert results["angle_loss"] == pytest.approx(squared)
    assert {name: array.shape for name, array in model.predict([]).items()} == {
        "digit": (0, 3),
        "angle": (0, 2),
    }


def test_losses_are_added_up_by_their_weights():
    def weights(targets=TARGETS, **options):
        model = compiled(dtype="float64", optimizer=gcn.SGD(0.1), **options)
        before = dict(model.weights)
        model.train_step(IMAGES, targets)
        return {name: model.weights[name] - before[name] for name in before}

    digit = weights(LABELS, loss={"digit": gcn.CrossEntropy()})
    angle = weights(ANGLES, loss={"angle": gcn.SquaredError("mean")})
    both = weights(loss_weights={"digit": 0.25, "angle": 3.0})
    for name, step in both.items():
        np.testing.assert_allclose(step, 0.25 * digit[name] + 3.0 * angle[name], rtol=1e-9, atol=1e-12)


def test_an_output_without_a_loss_is_predicted_and_not_trained():
    model = compiled(loss={"digit": gcn.CrossEntropy()})
    before = model.weights["angles.weights"].copy()
    assert list(model.train_step(IMAGES, {"digit": LABELS})) == ["loss", "digit_accuracy"]
    assert list(model.train_step(IMAGES, LABELS)) == ["loss", "digit_accuracy"]
    np.testing.assert_array_equal(model.weights["angles.weights"], before)
    assert list(model.predict(IMAGES)) == ["digit", "angle"]


def test_targets_in_the_order_of_the_outputs():
    by_name, in_order = compiled(), compiled()
    assert by_name.train_step(IMAGES, TARGETS) == in_order.train_step(IMAGES, [LABELS, ANGLES])
    batches = [(IMAGES[:10], (LABELS[:10], ANGLES[:10])), (IMAGES[10:], (LABELS[10:], ANGLES[10:]))]
    in_order.fit(batches, progress=False)


def test_one_loss_for_every_output_and_outputs_in_a_sequence():
    image, outputs = heads()
    model = gcn.compile(
        gcn.Network(image, list(outputs.values())), loss=gcn.SquaredError(), optimizer=gcn.Adam()
    )
    targets = {"output1": np.zeros((20, 3)), "output2": ANGLES}
    assert list(model.train_step(IMAGES, targets)) == ["loss", "output1_loss", "output2_loss"]


def test_metrics_by_output():
    model = compiled(metrics={"digit": ["accuracy"]})
    assert "digit_accuracy" in model.evaluate(IMAGES, TARGETS)
    assert "digit_accuracy" not in compiled(metrics={"digit": []}).evaluate(IMAGES, TARGETS)


def test_a_file_holds_all_of_it(tmp_path):
    model = compiled(loss_weights={"angle": 0.5}, metrics={"digit": ["accuracy"]})
    model.fit(IMAGES, TARGETS, progress=False)
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = gcn.load(path)
    assert again.loss == LOSSES
    assert again.evaluate(IMAGES, TARGETS) == model.evaluate(IMAGES, TARGETS)
    assert again.train_step(IMAGES, TARGETS) == model.train_step(IMAGES, TARGETS)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, again.state()[name])


def test_auxiliary_outputs_are_there_in_training_alone(tmp_path):
    image, outputs = heads()
    middle = gcn.Dense(3, name="helper")(gcn.Flatten()(image))
    network = gcn.Network(image, outputs["digit"], auxiliary={"middle": middle})
    model = gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), dtype="float64")
    before = model.weights["helper.weights"].copy()
    results = model.train_step(IMAGES, LABELS)
    assert list(results) == ["loss", "output_loss", "middle_loss", "accuracy"]
    assert results["loss"] == pytest.approx(results["output_loss"] + 0.3 * results["middle_loss"])
    assert not np.array_equal(model.weights["helper.weights"], before)
    assert model.predict(IMAGES).shape == (20, 3)
    assert list(model.evaluate(IMAGES, LABELS)) == ["loss", "accuracy"]
    assert "helper.weights" not in model.forward_graph.inputs
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors")
    assert again.train_step(IMAGES, LABELS) == model.train_step(IMAGES, LABELS)


def test_all_views_of_the_model_show_every_output(tmp_path):
    model = compiled()
    assert "digits" in str(model.summary())
    assert "digit: float32[N, 3], angle: float32[N, 2]" in repr(model)
    recording = model.inspect(IMAGES, TARGETS)
    assert recording.gradient("stem").shape[0] == 20
    model.show(tmp_path / "model.html", open=False)
    assert "target.angle" in (tmp_path / "model.html").read_text()
    assert model._repr_svg_()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"loss": {"digits": gcn.CrossEntropy()}}, "loss names 'digits', which is no output"),
        ({"loss": {}}, "loss={} names no output"),
        ({"loss": {"digit": 3}}, "loss['digit'] is 3, not an object"),
        ({"loss_weights": {"digit": -1}}, "not a finite number of at least 0"),
        ({"loss_weights": {"angel": 1}}, "loss_weights names 'angel'"),
        ({"loss_weights": 0.5}, "is no dictionary"),
        ({"metrics": {"digit": "accuracy"}}, "is not a sequence"),
        ({"metrics": {"angel": ["accuracy"]}}, "metrics names 'angel'"),
        ({"loss": {"digit": gcn.CrossEntropy(), "angle": gcn.SquaredError()}}, "cannot be added up"),
    ],
)
def test_what_does_not_fit_the_outputs_is_refused(options, problem):
    with pytest.raises(OptionError) as caught:
        compiled(**options)
    assert problem in str(caught.value)
    assert "Mend" in str(caught.value)


def test_a_loss_that_does_not_fit_one_of_the_outputs_names_it():
    image, outputs = heads()
    outputs["digit"] = gcn.mean(outputs["digit"], (1,))
    with pytest.raises(gcn.ShapeError, match="it is the loss of the output 'digit'"):
        gcn.compile(gcn.Network(image, outputs), loss=LOSSES)


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        (LABELS, "the network is trained on 2 outputs: digit, angle"),
        ({"digit": LABELS}, "targets are given for digit, not digit, angle"),
        ({"digit": LABELS, "angle": ANGLES[:5]}, "there are not as many of each"),
        ({"digit": LABELS + 1, "angle": ANGLES}, "they are for the output 'digit'"),
    ],
)
def test_targets_that_do_not_fit(targets, problem):
    model = compiled()
    for call in (model.train_step, model.fit, model.evaluate):
        with pytest.raises(DataError) as caught:
            call(IMAGES, targets)
        assert problem in str(caught.value)


def test_names_of_outputs():
    image, outputs = heads()
    for name in ("loss", "", 3):
        with pytest.raises(OptionError, match="an output cannot have the name"):
            gcn.Network(image, {name: outputs["digit"]})
    with pytest.raises(OptionError, match="a network goes from values to one value, or to several by name"):
        gcn.Network(image, {})
    with pytest.raises(OptionError, match="auxiliary outputs help to train one output"):
        gcn.Network(image, outputs, auxiliary={"more": outputs["digit"]})
    with pytest.raises(OptionError, match="this network has several outputs"):
        _ = gcn.Network(image, outputs).output


def test_the_name_of_an_input_that_the_model_needs():
    image = gcn.Input((3,), name="target.a")
    network = gcn.Network(image, {"a": gcn.Dense(2)(image), "b": gcn.Dense(2)(image)})
    with pytest.raises(OptionError, match=r"the name 'target.a' of an input or parameter is taken"):
        gcn.compile(network, loss=gcn.SquaredError())
