"""A model as a function for code that Numba compiles."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError

RANDOM = np.random.default_rng(8)


def small_model(dtype="float32", **options):
    network = gcn.Sequential(
        gcn.Conv2d(3, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Flatten(), gcn.Dense(4)
    )
    return gcn.compile(
        network,
        input_shape=(8, 8, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1),
        dtype=dtype,
        **options,
    )


def images(n, dtype="float32"):
    return RANDOM.random((n, 8, 8, 1)).astype(dtype)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def predict(model):
    return model.numba_function()


@pytest.mark.parametrize("n", [1, 5, 64, 300])
def test_it_predicts_what_the_model_predicts(model, predict, n):
    x = images(n)
    assert predict(x).tobytes() == model.predict(x, batch_size=n).tobytes()


def test_code_of_the_users_own_calls_it(model, predict):
    @numba.njit
    def most_certain(x):
        """The image, of which each is looked at on its own, whose best class stands out most."""
        best, place = -np.inf, -1
        for number in range(len(x)):
            scores = np.sort(predict(x[number : number + 1])[0])
            if scores[-1] - scores[-2] > best:
                best, place = scores[-1] - scores[-2], number
        return place

    x = images(20)
    ordered = np.sort(model.predict(x), axis=1)
    assert most_certain(x) == np.argmax(ordered[:, -1] - ordered[:, -2])


def test_calls_from_several_threads_do_not_disturb_each_other(model, predict):
    batches = [images(3 + number) for number in range(12)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            results = list(threads.map(predict, batches))
            for x, result in zip(batches, results, strict=True):
                assert result.tobytes() == model.predict(x).tobytes()


def test_it_computes_with_the_parameters_of_the_moment():
    model = small_model("float64")
    predict = model.numba_function()
    x, labels = images(10, "float64"), RANDOM.integers(0, 4, 10)
    before = predict(x)
    model.train_step(x, labels)
    after = predict(x)
    assert not np.array_equal(before, after)
    assert after.tobytes() == model.predict(x).tobytes()
    model.parameters["dense1.bias"] = model.parameters["dense1.bias"] + 1.0
    np.testing.assert_allclose(predict(x), after + 1.0)


def test_it_outlives_its_model():
    model = small_model()
    x = images(4)
    predict, expected = model.numba_function(), model.predict(x)
    del model
    gc.collect()
    assert np.array_equal(predict(x), expected)


def test_a_parameter_that_is_a_number():
    x = gcn.Input((3,))
    scale = gcn.Parameter((), "scale", initializer=gcn.Constant(2.5))
    predict = gcn.compile(gcn.Network(x, x * scale)).numba_function()
    assert predict(np.ones((2, 3), np.float32)).tolist() == [[2.5, 2.5, 2.5]] * 2


def test_arrays_that_do_not_fit(predict):
    assert predict(images(0)).shape == (0, 4)
    with pytest.raises(ValueError, match=r"the network takes arrays of the shape \[n, 8, 8, 1\]"):
        predict(np.zeros((2, 8, 8, 3), np.float32))
    for unfit in (images(2, "float64"), images(2)[:, ::2], images(1)[0]):
        with pytest.raises(TypeError, match="No matching definition"):
            predict(unfit)


def test_models_that_have_no_such_function():
    with pytest.raises(OptionError, match="backend 'numpy' generates no code that Numba could call"):
        small_model(backend="numpy").numba_function()
    left, right = gcn.Input((3,), "left"), gcn.Input((3,), "right")
    with pytest.raises(OptionError, match="but this network has several"):
        gcn.compile(gcn.Network((left, right), left + right)).numba_function()
