"""Names of other frameworks say what they are called here, and the advice is followed: its code is run."""

import copy
import math
import pickle

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import GraphcnnError
from graphcnn.foreign_names import FOREIGN, OF_DATA, OF_TEXT, OF_VALUES
from graphcnn.training.losses.loss import check_loss
from graphcnn.training.optimizers import check_optimizer

IMAGES = np.zeros((4, 8, 8, 1), np.float32)
LABELS = np.array([0, 1, 0, 1])


def classifier():
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.Flatten(), gcn.Dense(2))
    return gcn.compile(
        network, input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend="numpy"
    )


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What code in advice speaks of."""
    monkeypatch.chdir(tmp_path)
    model = classifier()
    model.save("model.safetensors")
    x, y = gcn.Input((8, 8, 2), name="left"), gcn.Input((8, 8, 2), name="right")
    return {
        "gcn": gcn,
        "x": x,
        "y": y,
        "model": model,
        "images": IMAGES,
        "dataset": gcn.data.load_digits(),
        "labels": LABELS,
        "filters": gcn.Parameter((3, 3, 2, 2), "filters"),
        "network": gcn.Network(x, gcn.Dense(2)(gcn.Flatten()(x))),
    }


def run(advice, names):
    """Compute the code of advice; without the rest that a note or a matrix product asks for."""
    code = advice.partition("; ")[0]
    if code == "gcn.matmul(x, y)":
        code = "gcn.matmul(x, gcn.transpose(y))"
    return eval(code, names)


@pytest.mark.parametrize("name", FOREIGN)
def test_names_of_the_namespace_say_what_exists(names, name):
    assert name not in gcn.__all__
    with pytest.raises(AttributeError, match=f"no attribute '{name}': ") as caught:
        getattr(gcn, name)
    run(str(caught.value).partition(f"{name!r}: ")[2], names)


@pytest.mark.parametrize("name", OF_DATA)
def test_names_of_data_sets_say_how_they_are_loaded(names, name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}': ") as caught:
        getattr(gcn.data, name)
    advice = str(caught.value).partition(f"{name!r}: ")[2]
    if "gcn.data" in advice:
        with pytest.raises(GraphcnnError, match="there is no such"):  # folder or file here
            run(advice, names)
    else:
        run(advice, names)


@pytest.mark.parametrize("name", OF_VALUES)
def test_methods_of_arrays_say_what_exists(names, name):
    with pytest.raises(AttributeError, match=f"a value of a network has no attribute '{name}': ") as caught:
        getattr(names["x"], name)
    run(str(caught.value).partition(f"{name!r}: ")[2], names)


@pytest.mark.parametrize(
    "function",
    [
        "exp",
        "log",
        "sqrt",
        "abs",
        "mean",
        "sum",
        "max",
        "maximum",
        "concatenate",
        "where",
        "reshape",
        "square",
    ],
)
def test_functions_of_numpy_say_what_exists(names, function):
    x = names["x"]
    given = {"concatenate": ([x, x],), "where": (x > 0, x, x), "reshape": (x, (4, -1)), "maximum": (x, 0.0)}
    with pytest.raises(GraphcnnError, match=r"test_foreign_names\.py:\d+: np\.\w+ computes with") as caught:
        getattr(np, function)(*given.get(function, (x,)))
    assert isinstance(run(caught.value.mend, names), gcn.Tensor)
    with pytest.raises(GraphcnnError, match="no number"):
        math.exp(x)


def test_arrays_and_numbers_of_numpy_meet_the_operators():
    x = gcn.Input((3,))
    for left, right in ((np.float64(2), x), (x, np.float64(2))):
        values = (
            *(left + right, left - right, left * right, left / right, left > right),
            *(left >= right, left < right, left <= right),
        )
        assert all(isinstance(value, gcn.Tensor) for value in values)
    network = gcn.Network(x, np.float64(3) - x)
    np.testing.assert_array_equal(
        gcn.compile(network, backend="numpy").predict([[1.0, 2.0, 5.0]]), [[2, 1, -2]]
    )
    larger = gcn.Network(x, gcn.where(np.float64(3) > x, 1.0, x))
    np.testing.assert_array_equal(
        gcn.compile(larger, backend="numpy").predict([[1.0, 2.0, 5.0]]), [[1, 1, 5]]
    )
    assert isinstance(np.float64(2) ** x, gcn.Tensor)
    assert isinstance(abs(x), gcn.Tensor)
    assert (np.float64(2) == x, np.float64(2) != x) == (False, True)
    with pytest.raises(GraphcnnError, match="neither a value of the network nor a number"):
        np.ones(3) * x
    with pytest.raises(GraphcnnError, match=r"np\.add computes with arrays"):
        np.add.reduce(x)


def test_values_are_still_copied():
    x = gcn.Input((3,))
    assert copy.copy(x).type == pickle.loads(pickle.dumps(x)).type == x.type
    assert not hasattr(x, "__len__")
    with pytest.raises(AttributeError, match="did you mean 'shape'"):
        _ = x.shap
    with pytest.raises(AttributeError, match=r"no attribute 'zzzzzz'$"):
        _ = x.zzzzzz


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, known in OF_TEXT.items() for text in known]
)
def test_losses_and_optimisers_by_text_say_what_exists(kind, text):
    with pytest.raises(GraphcnnError, match=rf"test_foreign_names\.py:\d+\D.*{kind} is '") as caught:
        gcn.compile(gcn.Dense(2), input_shape=(3,), backend="numpy", **{kind: text})
    part = run(caught.value.mend.removeprefix(f"{kind}="), {"gcn": gcn})
    (check_loss if kind == "loss" else check_optimizer)(part)


def test_texts_are_read_as_they_are_written():
    for text, meant in (
        ("MSE", "SquaredError"),
        ("Cross-Entropy", "CrossEntropy"),
        ("crossentrpy", "CrossEntropy"),
    ):
        with pytest.raises(GraphcnnError) as caught:
            gcn.compile(gcn.Dense(2), input_shape=(3,), loss=text)
        assert caught.value.mend.startswith(f"loss=gcn.{meant}(")
    with pytest.raises(GraphcnnError) as caught:
        gcn.compile(gcn.Dense(2), input_shape=(3,), loss="zzzzzz")
    assert caught.value.mend == "loss=gcn.CrossEntropy()"


def test_parameters_are_a_mapping_and_are_not_called():
    model = classifier()
    for held in ("parameters", "weights"):
        with pytest.raises(
            GraphcnnError, match=rf"test_foreign_names\.py:\d+: model\.{held} is a mapping"
        ) as caught:
            getattr(model, held)()
        for code in caught.value.mend.split(", or "):
            assert list(eval(code, {"model": model}))


def test_a_model_and_a_network_take_no_attributes_that_are_never_read():
    model = classifier()
    with pytest.raises(AttributeError, match="no attribute 'learning_rat': did you mean 'learning_rate'"):
        model.learning_rat = 0.1
    with pytest.raises(AttributeError, match="no attribute 'epoch_done': did you mean 'epochs_done'"):
        model.epoch_done = 3
    model.learning_rate, model.epochs_done = 0.3, 2
    assert (model.learning_rate, model.epochs_done) == (0.3, 2)
    x = gcn.Input((3,))
    network = gcn.Network(x, gcn.Dense(2)(x))
    for name, mend in (
        ("trainable", 'layer.trainable = False before gcn.compile, or model.freeze("conv*")'),
        ("nam", "did you mean 'name'?"),
    ):
        with pytest.raises(GraphcnnError, match=r"test_foreign_names\.py:\d+: a Network has no") as caught:
            setattr(network, name, False)
        assert caught.value.mend == mend
    network.name = "other"
    assert copy.deepcopy(network).name == "other"
