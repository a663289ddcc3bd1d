"""Targets that do not fit are refused with a mend that works: each one is tried here."""

import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, OptionError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((6, 8, 8, 2)).astype(np.float32)
MASKS = RANDOM.integers(0, 2, (6, 8, 8, 1)).astype(np.float32)
PIXELS = RANDOM.integers(0, 3, (6, 8, 8))
ANSWERS = RANDOM.integers(0, 2, (6, 4)).astype(np.float32)


def compiled(loss, *layers, **options):
    network = gcn.Sequential(*layers)
    return gcn.compile(network, input_shape=(8, 8, 2), loss=loss, optimizer=gcn.SGD(0.01), **options)


def masks(loss=None, count=1):
    return compiled(loss or gcn.BinaryCrossEntropy(), gcn.Conv2d(count, 3, padding="same"))


def answers(loss=None, count=4):
    return compiled(loss or gcn.BinaryCrossEntropy(), gcn.Flatten(), gcn.Dense(count))


def refused(model, targets, **arguments):
    """Return the message of the error that every way to train on these targets raises."""
    said = set()
    for train in (
        lambda: model.fit(IMAGES, targets, progress=False, **arguments),
        lambda: model.fit([(IMAGES, targets, *arguments.values())], progress=False),
        lambda: model.train_step(IMAGES, targets, *arguments.values()),
    ):
        with pytest.raises(DataError) as caught:
            train()
        place, _, *rest = str(caught.value).splitlines()
        assert re.match(r"test_targets\.py:\d+: ", place)
        said.add("\n".join([place.partition(": ")[2], *rest]))
    assert len(said) == 1
    return said.pop()


def mended(message, **arrays):
    """Return what the code in an error's mend makes of these arrays."""
    code = re.search(r"Mend: (?:[a-z0-9., ]+: )?([^\n]*)", message)[1]
    code = re.split(r", (?:where|or)|; ", code)[0]
    return eval(code, {"np": np, **arrays})


@pytest.mark.parametrize(
    "targets",
    [MASKS * 255, MASKS * 2 - 1, MASKS + 1, MASKS * 254 + RANDOM.random(MASKS.shape).astype(np.float32),
     MASKS * 6 + RANDOM.random(MASKS.shape).astype(np.float32), 5 * MASKS - RANDOM.random(MASKS.shape)],
    ids=["0 or 255", "-1 or 1", "1 or 2", "0 to 255", "0 to 7", "of both signs"],
)  # fmt: skip
@pytest.mark.parametrize("loss", [gcn.BinaryCrossEntropy(), gcn.Focal(), gcn.Dice()], ids=repr)
def test_shares_that_are_not_from_0_to_1(loss, targets):
    model, targets = masks(loss), targets.astype(np.float32)
    message = refused(model, targets)
    assert f"targets of {type(loss).__name__} are from 0 to 1, but sample" in message
    better = mended(message, targets=targets)
    assert better.min() >= 0
    assert better.max() <= 1
    model.train_step(IMAGES, better)


@pytest.mark.parametrize("loss", [gcn.KLDivergence(), gcn.CrossEntropy(soft_targets=True)], ids=repr)
def test_logits_in_the_place_of_shares(loss):
    assert "are from 0 to 1" in refused(answers(loss), RANDOM.standard_normal((6, 4)).astype(np.float32))


def test_numbers_of_classes_in_the_place_of_shares():
    message = refused(masks(), PIXELS[..., None].astype(np.float32))
    assert "numbers of classes: gcn.CrossEntropy()" in message
    masks(gcn.CrossEntropy(), 3).train_step(IMAGES, PIXELS)


def test_shares_that_are_not_finite():
    targets = ANSWERS.copy()
    targets[2, 1] = np.nan
    message = refused(answers(), targets)
    assert "targets hold NaN or infinity in 1 of 6 samples" in message
    assert "the first is sample 2" in message


def test_a_loss_of_ones_own_says_its_range():
    class Bounded(gcn.SquaredError):
        target_range = (-1.0, 1.0)

    model = answers(Bounded())
    model.train_step(IMAGES, -ANSWERS)
    assert "targets of Bounded are from -1 to 1, but sample" in refused(model, 3 * ANSWERS)


@pytest.mark.parametrize(
    ("model", "name", "given"),
    [
        (masks(gcn.CrossEntropy(), 3), "labels", PIXELS[:, None]),
        (masks(gcn.CrossEntropy(), 3), "labels", PIXELS[..., None]),
        (masks(), "targets", MASKS[..., 0]),
        (masks(), "targets", MASKS.transpose(0, 3, 1, 2)),
        (masks(gcn.Dice(), 3), "labels", PIXELS),
        (masks(gcn.Dice(), 3), "labels", PIXELS[..., None]),
        (masks(), "targets", MASKS.astype(bool)),
        (masks(), "targets", MASKS.astype(np.int64)),
        (masks(), "targets", MASKS.astype(np.uint8)),
        (masks(), "targets", (MASKS * 255).astype(np.uint8)),
        (answers(), "targets", ANSWERS.astype(int)),
        (answers(gcn.SquaredError(), 3), "labels", np.arange(6) % 3),
    ],
)
def test_targets_that_a_conversion_makes_fit(model, name, given):
    better = mended(refused(model, given), **{name: given})
    model.train_step(IMAGES, better)


def test_an_output_of_half_the_size():
    layers = [gcn.Conv2d(3, 3, padding="same", name="head"), gcn.MaxPool2d(2)]
    message = refused(compiled(gcn.CrossEntropy(), *layers), PIXELS)
    assert "labels have the shape [6, 8, 8], but [N, 4, 4] is needed" in message
    assert "the output is [N, 4, 4, 3], made by pool1, test_targets.py" in message
    assert "gcn.Upsample2d(2)" in message
    compiled(gcn.CrossEntropy(), *layers, gcn.Upsample2d(2)).train_step(IMAGES, PIXELS)


def test_an_output_without_its_edge():
    model = compiled(gcn.CrossEntropy(), gcn.Conv2d(3, 3), gcn.Conv2d(3, 2))
    message = refused(model, PIXELS)
    assert 'padding="same"' in message
    model.train_step(IMAGES, eval(message.rpartition("cut the edge off: ")[2], {"labels": PIXELS}))


def test_another_number_of_answers():
    message = refused(answers(count=5), ANSWERS)
    assert "[6, 4], but [N, 5] is needed" in message
    assert "made by dense1, test_targets.py" in message
    assert "gcn.Dense(4)" in message
    assert "gcn.Conv2d(1, 1)" in refused(masks(count=2), MASKS)


def test_targets_of_a_name_that_no_output_has():
    image = gcn.Input((8, 8, 2), name="image")
    features = gcn.Flatten()(image)
    network = gcn.Network(image, {"digit": gcn.Dense(3)(features), "centre": gcn.Dense(2)(features)})
    loss = {"digit": gcn.CrossEntropy(), "centre": gcn.Huber()}
    model = gcn.compile(network, loss=loss, optimizer=gcn.SGD(0.1))
    with pytest.raises(DataError, match="did you mean 'centre'"):
        model.train_step(IMAGES, {"digit": PIXELS[:, 0, 0], "center": ANSWERS[:, :2]})
    with pytest.raises(OptionError, match="a dictionary by output") as caught:
        gcn.compile(network, loss=[gcn.CrossEntropy(), gcn.SquaredError()])
    assert "does not say what each is for" in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"digit": np.ones(6)}, "sample_weight is a dictionary"),
        (np.ones((6, 8, 8)), "sample_weight has the shape [6, 8, 8], but [N] is needed"),
        (np.ones((6, 1)), "sample_weight has the shape [6, 1]"),
    ],
)
def test_weights_that_are_not_one_for_each_sample(weights, said):
    model = masks(gcn.CrossEntropy(), 3)
    message = refused(model, PIXELS, sample_weight=weights)
    assert said in message
    if not isinstance(weights, dict):
        model.train_step(IMAGES, PIXELS, mended(message, sample_weight=weights))


def test_one_output_for_classes():
    with pytest.raises(gcn.ShapeError, match="has one only") as caught:
        answers(gcn.CrossEntropy(), 1)
    assert "BinaryCrossEntropy()" in str(caught.value)


# A last activation that the loss has itself


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (gcn.Softmax, gcn.CrossEntropy()),
        (gcn.Softmax, gcn.KLDivergence()),
        (gcn.Sigmoid, gcn.BinaryCrossEntropy()),
        (gcn.Sigmoid, gcn.Focal()),
    ],
)
def test_an_activation_that_the_loss_applies_itself(last, loss):
    message = f"applies the {last.__name__.lower()} itself"
    with pytest.warns(gcn.GraphcnnWarning, match=message) as caught:
        compiled(loss, gcn.Flatten(), gcn.Dense(3), last(), gcn.Reshape((3,)))
    assert f"{last.__name__.lower()}1 (test_targets.py:" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("last", [gcn.ReLU, gcn.Sigmoid, gcn.Tanh])
def test_an_activation_that_bounds_what_the_loss_takes(last):
    with pytest.warns(gcn.GraphcnnWarning, match="takes numbers of any size and sign"):
        compiled(gcn.CrossEntropy(), gcn.Flatten(), gcn.Dense(3), last())


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_dice_has_an_activation(activation):
    with pytest.warns(gcn.GraphcnnWarning, match="Dice"):
        compiled(gcn.Dice(activation), gcn.Conv2d(2, 1), gcn.Sigmoid())


def test_distances_take_any_activation():
    compiled(gcn.SquaredError(), gcn.Flatten(), gcn.Dense(3), gcn.Sigmoid())


# What the advice used to be wrong about


@pytest.mark.parametrize("loss", [gcn.CrossEntropy(), gcn.Hinge()], ids=repr)
def test_rows_that_are_no_shares_are_not_called_one_hot(loss):
    several = np.tile(np.array([1.0, 1.0, 0.0, 1.0], np.float32), (6, 1))
    assert "BinaryCrossEntropy()" in refused(answers(loss), several)
    assert "BinaryCrossEntropy()" in refused(answers(loss), several.astype(int))
    assert "SquaredError()" in refused(answers(loss), 9 * several - 3)
    assert "look one-hot" in refused(answers(loss), np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]])


@pytest.mark.parametrize("loss", [gcn.KLDivergence(), gcn.CrossEntropy(soft_targets=True)], ids=repr)
def test_shares_that_are_more_than_a_whole(loss):
    several = np.ones((6, 4), np.float32)
    message = refused(answers(loss), several)
    assert "they sum to up to 4" in message
    better = eval(message.rpartition("or ")[2], {"targets": several})
    answers(loss).train_step(IMAGES, better)
    answers(loss).train_step(IMAGES, 0 * several)


def test_masks_of_0_and_255_as_labels():
    message = refused(masks(gcn.CrossEntropy(), 2), PIXELS // 2 * 255)
    better = mended(message, labels=PIXELS // 2 * 255)
    assert {*np.unique(better)} == {0, 1}
    assert "ignore=255" in message


def test_a_single_class_for_dice_with_softmax():
    with pytest.raises(gcn.ShapeError, match="has one only") as caught:
        masks(gcn.Dice("softmax"))
    assert 'Dice("sigmoid")' in str(caught.value)


def test_a_loss_of_one_of_several_outputs_is_named():
    image = gcn.Input((8, 8, 2), name="image")
    features = gcn.Flatten()(image)
    network = gcn.Network(image, {"digit": gcn.Dense(3)(features), "centre": gcn.Dense(2)(features)})
    for wrong in (None, "mse", gcn.SquaredError):
        with pytest.raises(OptionError, match=r"loss\['centre'\] is") as caught:
            gcn.compile(network, loss={"digit": gcn.CrossEntropy(), "centre": wrong})
        assert "Mend: loss['centre']=gcn." in str(caught.value)
    with pytest.raises(OptionError, match=r"loss=\{'digit': gcn.CrossEntropy\(...\), 'centre': gcn.Huber"):
        gcn.compile(network, loss=[gcn.CrossEntropy(), gcn.Huber()])


def test_what_a_model_was_compiled_without():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    model = gcn.compile(network, input_shape=(8, 8, 2), loss=gcn.CrossEntropy())
    with pytest.raises(
        OptionError, match=r"without an optimizer\n.*\n  Mend: .*\(..., optimizer=gcn.SGD\(0.05\)\)"
    ):
        model.train_step(IMAGES, PIXELS[:, 0, 0])
    with pytest.raises(OptionError, match=r"without a loss and an optimizer"):
        gcn.compile(network, input_shape=(8, 8, 2)).train_step(IMAGES, PIXELS[:, 0, 0])
