"""What is said where nothing is learnt, and how little data and odd options are taken."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, OptionError
from graphcnn.training.hints import Course, hint

DIGITS = gcn.data.load_digits()


def digits(optimizer, **options):
    return gcn.compile(
        gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=optimizer, **options
    )


def said(capsys, model, images, labels=DIGITS.labels, **options):
    try:
        model.fit(images, labels, **{"epochs": 2, **options})
    except gcn.GraphcnnError as error:
        return str(error)
    return capsys.readouterr().out


def test_a_well_going_run_hears_nothing(capsys):
    for optimizer in (gcn.SGD(0.05, momentum=0.9), gcn.Adam()):
        assert "Hint" not in said(capsys, digits(optimizer), DIGITS.images)


def test_a_slow_run_that_learns_hears_nothing(capsys):
    for rate in (0.003, 0.01):
        assert "Hint" not in said(capsys, digits(gcn.SGD(rate)), DIGITS.images)


def course_of(losses):
    course = Course()
    for loss in losses:
        course.add(loss)
    return course


def test_a_loss_that_falls_is_no_trouble_and_one_that_only_varies_is():
    model, noise = digits(gcn.SGD(0.05)), np.random.default_rng(0).normal(0, 0.05, 200)
    guessing = np.log(10)
    assert hint(model, course_of(guessing + noise), ())
    assert hint(model, course_of(np.full(200, guessing)), ())
    assert not hint(model, course_of(guessing + np.linspace(0, -0.04, 200) + noise), ())
    assert not hint(model, course_of(np.linspace(100, 60, 200)), ())
    assert hint(model, course_of(np.linspace(60, 100, 200)), ())


def test_a_loss_that_is_high_after_a_few_steps_is_given_time():
    model, guessing = digits(gcn.SGD(0.05)), np.log(10)
    assert not hint(model, course_of(np.full(9, 3 * guessing)), ())
    assert hint(model, course_of(np.full(9, 11 * guessing)), ())
    assert hint(model, course_of(np.full(20, 3 * guessing)), ())


def test_a_loss_that_falls_no_further_than_guessing_is_named_in_a_later_epoch(capsys):
    labels = np.random.default_rng(0).permutation(DIGITS.labels)
    text = said(capsys, digits(gcn.SGD(0.02)), DIGITS.images, labels, epochs=6)
    first, _, rest = text.partition("epoch 2/6")
    assert "Hint" not in first
    assert rest.count("Hint: the loss is still that of guessing") == 1


def test_a_rate_that_is_far_too_high_is_named_once(capsys):
    text = said(capsys, digits(gcn.Adam(3.0)), DIGITS.images)
    assert text.count("Hint: ") == 1
    assert "The learning rate is 3. Mend: compile anew with gcn.Adam(0.001)" in text


def test_images_up_to_255_are_named(capsys):
    text = said(capsys, digits(gcn.SGD(0.05, momentum=0.9)), DIGITS.images * 255)
    assert "Hint: the loss is still that of guessing among 10 classes: 2.303" in text
    assert "hold values from 0 to 255. Mend: compile anew, and train with images / 255" in text


def test_labels_that_belong_to_no_image_leave_the_loss_at_that_of_guessing(capsys):
    labels = np.random.default_rng(0).permutation(DIGITS.labels)
    text = said(capsys, digits(gcn.SGD(0.001)), DIGITS.images, labels)
    assert "see that labels belong to their images" in text


def test_a_quiet_run_shows_nothing(capsys):
    assert said(capsys, digits(gcn.Adam(3.0)), DIGITS.images, progress=False) == ""


def test_a_loss_without_classes_that_grows_is_named():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(1))
    model = gcn.compile(network, input_shape=(2, 2, 1), loss=gcn.SquaredError(), optimizer=gcn.SGD(2.0))
    course = course_of([1.0, 10.0, 100.0, 1000.0])
    assert hint(model, course, ()).startswith("the loss has grown from 1 to ")
    assert "gcn.SGD(0.05)" in hint(model, course, ())


# No samples


@pytest.mark.parametrize("none", [DIGITS.images[:0], [], np.zeros((0, 8, 8, 1))])
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_no_samples_have_no_outputs(none, backend):
    outputs = digits(gcn.SGD(0.1), backend=backend).predict(none)
    assert outputs.shape == (0, 10)
    assert outputs.dtype == np.float32


def test_no_samples_of_another_shape_are_refused():
    with pytest.raises(DataError, match="is needed"):
        digits(gcn.SGD(0.1)).predict(np.zeros((0, 8, 8, 3), np.float32))


@pytest.mark.parametrize("method", ["evaluate", "train_step", "fit"])
def test_no_samples_teach_nothing_and_say_so(method):
    with pytest.raises(DataError, match="empty"):
        getattr(digits(gcn.SGD(0.1)), method)(DIGITS.images[:0], DIGITS.labels[:0])


# Threads


@pytest.mark.parametrize("threads", [0, -1, "2", 2.0, True])
def test_numbers_of_threads_that_are_none_are_refused_where_they_are_given(threads, tmp_path):
    with pytest.raises(
        OptionError, match=r"test_hints.py:\d+\): the argument threads is|test_hints.py:\d+: the arg"
    ):
        digits(gcn.SGD(0.1), threads=threads)
    digits(gcn.SGD(0.1)).save(tmp_path / "model.safetensors")
    with pytest.raises(OptionError, match="the argument threads is"):
        gcn.load(tmp_path / "model.safetensors", threads=threads)


def test_an_environment_variable_that_is_no_number_is_refused_by_its_name(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_THREADS", "many")
    with pytest.raises(OptionError, match="the environment variable GRAPHCNN_THREADS is 'many'"):
        digits(gcn.SGD(0.1))
