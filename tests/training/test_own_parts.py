"""Losses, optimisers and metrics of the user's own: checked where they are given, and saved by name."""

import inspect
import json
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import FileError, OptionError, ShapeError

RANDOM = np.random.default_rng(5)
X = RANDOM.standard_normal((8, 3))
T = RANDOM.standard_normal((8, 2))


@dataclass(frozen=True)
class Quartic:
    """scale · Σ (y - t)^4."""

    scale: float = 1.0
    reduction: str = "mean"

    def target_type(self, output):
        return output

    def per_sample(self, emit, output, target):
        fourth = emit(ops.Power(4.0), emit(ops.Subtract(), output, target))
        scale = ops.constant(emit, self.scale, output.type)
        return emit(ops.Multiply(), scale, emit(ops.Sum((1,)), fourth))


@dataclass(frozen=True)
class Heavy:
    """Gradient descent through a velocity, whose first value is an array."""

    learning_rate: float = 0.1
    start: tuple[float, ...] = (0.5, 0.25)

    def append_updates(self, graph, parameters, gradients, rate):
        first = {}
        for name, parameter in parameters.items():
            emit = gcn.Emitter(graph, gcn.Origin(rule="heavy", layer=name))
            velocity = graph.input(f"{name}.velocity", parameter.type, role="state")
            first[f"{name}.velocity"] = np.broadcast_to(self.start, parameter.type.shape)
            half = emit(ops.Multiply(), ops.constant(emit, 0.5, parameter.type), velocity)
            new = emit(ops.Add(), half, gradients[name])
            graph.update(f"{name}.velocity", new)
            graph.update(name, emit(ops.Subtract(), parameter, emit(ops.Multiply(), rate, new)))
        return first


@dataclass(frozen=True)
class Largest:
    """The mean of the first output."""

    name = "largest"

    def append(self, emit, output, target):
        return emit(ops.Mean((0, 1)), emit(ops.Maximum(), output, target))


def compiled(**options):
    given = {"loss": Quartic(), "optimizer": gcn.SGD(0.1), "dtype": "float64", "backend": "numpy"}
    return gcn.compile(gcn.Dense(2), input_shape=(3,), **(given | options))


def refused(**options):
    """Return the message of the error, which names this file and the line that compiles."""
    with pytest.raises(OptionError) as caught:
        compiled(**options)
    return str(caught.value)


def line_of(method):
    return f"{__file__.rpartition('/')[2]}:{inspect.getsourcelines(method)[1]}"


def plain(**methods):
    """Return an object of a class of its own with these attributes."""
    return type("Mine", (), methods)()


# What they compute


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_all_three_train_as_written(backend):
    model = compiled(loss=Quartic(0.5), optimizer=Heavy(), metrics=[Largest()], backend=backend)
    weights, bias = model.parameters["dense1.weights"].copy(), model.parameters["dense1.bias"].copy()
    output = X @ weights + bias
    result = model.train_step(X, T)
    assert result["loss"] == pytest.approx((0.5 * (output - T) ** 4).sum(1).mean())
    assert result["largest"] == pytest.approx(np.maximum(output, T).mean())
    delta = 0.5 * 4 * (output - T) ** 3 / len(X)
    velocity = 0.5 * np.broadcast_to([0.5, 0.25], (3, 2)) + X.T @ delta
    np.testing.assert_allclose(model.parameters["dense1.weights"], weights - 0.1 * velocity)
    np.testing.assert_allclose(model.state()["dense1.weights.velocity"], velocity)


def test_a_first_value_is_copied():
    start = np.zeros((3, 2))

    class Kept(Heavy):
        def append_updates(self, graph, parameters, gradients, rate):
            return {
                **super().append_updates(graph, parameters, gradients, rate),
                "dense1.weights.velocity": start,
            }

    model = compiled(optimizer=Kept())
    model.train_step(X, T)
    assert not start.any()


def test_whole_numbers_that_are_no_labels_are_targets_like_others():
    class Counts(Quartic):
        def target_type(self, output):
            return gcn.TensorType(output.shape, "int64")

        def per_sample(self, emit, output, target):
            return super().per_sample(emit, output, emit(ops.Cast(output.type.dtype), target))

    model = compiled(loss=Counts())
    targets = np.array([[7, 1]] * 8)
    expected = ((model.predict(X) - targets) ** 4).sum(1).mean()
    assert model.train_step(X, targets)["loss"] == pytest.approx(expected)


def test_a_state_that_is_never_replaced_is_refused():
    class Still(Heavy):
        def append_updates(self, graph, parameters, gradients, rate):
            graph.input("count", gcn.TensorType((), "float32"), role="state")
            return {**super().append_updates(graph, parameters, gradients, rate), "count": 0.0}

    message = refused(optimizer=Still())
    assert "Still.append_updates never replaces the state 'count', which would stay as it is" in message
    assert "graph.update('count', value)" in message.partition("Mend: ")[2]


# What each must be


def of_rank_two(self, emit, output, target):
    return output


@pytest.mark.parametrize(
    ("part", "problem", "mend"),
    [
        (
            {
                "loss": plain(
                    reduction="mean", target_type=Quartic.target_type, per_sample=lambda self, y, t: y
                )
            },
            "Mine.per_sample takes (y, t), but is called with (emit, output, target",
            "def per_sample(self, emit, output, target",
        ),
        (
            {"optimizer": plain(learning_rate=0.1, append_updates=lambda self, parameters, gradients: {})},
            "Mine.append_updates takes (parameters, gradients), but is called with",
            "def append_updates(self, graph, parameters, gradients, rate)",
        ),
        (
            {"metrics": [plain(name="mine", append=lambda self, output: output)]},
            "Mine.append takes (output), but is called with (emit, output, target",
            "def append(self, emit, output, target",
        ),
    ],
)
def test_methods_that_take_something_else(part, problem, mend):
    message = refused(**part)
    assert problem in message
    assert mend in message.partition("Mend: ")[2]


def test_losses_that_are_none():
    own = {"target_type": Quartic.target_type, "per_sample": Quartic.per_sample}
    for loss, problem, mend in (
        (plain(**own), "the loss Mine does not say how the losses of the samples", 'reduction = "mean"'),
        (plain(**own, reduction="max"), "Mine.reduction='max' is neither 'mean' nor 'sum'", '"mean"'),
        (
            plain(reduction="sum", target_type=own["target_type"]),
            "has no method per_sample",
            "def per_sample",
        ),
        (Quartic, "loss is the class Quartic, not an object", "loss=Quartic()"),
        (gcn.SquaredError, "loss is the class SquaredError, not an object", "loss=gcn.SquaredError()"),
        (3, "loss is 3, not an object such as gcn.CrossEntropy()", "loss=gcn.CrossEntropy()"),
        (
            plain(**own | {"per_sample": of_rank_two}, reduction="mean"),
            "Mine.per_sample returned float64[N, 2], not one number for each sample: float64[N]",
            "emit(gcn.ops.Sum((1,)), each)",
        ),
        (
            plain(**own | {"per_sample": lambda *_: None}, reduction="mean"),
            "Mine.per_sample returned None, not one number for each sample",
            "return the value that the last emit gives",
        ),
        (
            plain(
                **own | {"per_sample": lambda self, emit, *y: emit(ops.Mean((0, 1)), y[0])}, reduction="sum"
            ),
            "Mine.per_sample returned float64[], not one number for each sample",
            "leave axis 0, the samples, alone",
        ),
        (
            plain(**own | {"target_type": lambda self, output: gcn.TensorType((3,))}, reduction="mean"),
            "Mine.target_type returned float32[3], not the type of a batch of targets",
            'gcn.TensorType(("N",), "int64")',
        ),
        (
            plain(**own | {"target_type": lambda self, output: "labels"}, reduction="mean"),
            "Mine.target_type returned 'labels', not the type of a batch of targets",
            "return output",
        ),
    ):
        message = refused(loss=loss)
        assert problem in message
        assert mend in message.partition("Mend:")[2]
        assert message.startswith("test_own_parts.py:"), "the user's line"


def test_where_the_fault_is_defined_is_said():
    own = {"target_type": Quartic.target_type, "per_sample": of_rank_two, "reduction": "mean"}
    assert f"Mine.per_sample is defined at {line_of(of_rank_two)}" in refused(loss=plain(**own))


def test_an_error_inside_is_at_the_line_that_ran():
    class Mismatched(Quartic):
        def per_sample(self, emit, output, target):
            turned = emit(ops.Transpose((1, 0)), target)
            return emit(ops.Subtract(), output, turned)

    with pytest.raises(ShapeError) as caught:
        compiled(loss=Mismatched())
    error = caught.value
    assert (error.layer, error.file) == ("Mismatched", __file__)
    assert "return emit(ops.Subtract(), output, turned)" in str(error)


def updating(returned=None, update=True, role="state", batch=False):
    """Return an optimiser that does what it does wrong."""

    def append_updates(self, graph, parameters, gradients, rate):
        for name, parameter in parameters.items():
            emit = gcn.Emitter(graph)
            type = gcn.TensorType(("N", 2), "float64") if batch else parameter.type
            old = graph.input(f"{name}.old", type, role=role)
            if role == "state":
                graph.update(f"{name}.old", old if batch else gradients[name])
            if update:
                graph.update(name, emit(ops.Subtract(), parameter, gradients[name]))
        return returned

    return plain(learning_rate=0.1, append_updates=append_updates)


GOOD = {"dense1.weights.old": 0.0, "dense1.bias.old": 1}


@pytest.mark.parametrize(
    ("optimizer", "problem", "mend"),
    [
        (updating(), "returned None, not the first values of its states", "return {}"),
        (updating(GOOD, update=False), "has no update of the parameter 'dense1.weights'", "graph.update("),
        (updating({}), "gives no first value of the state 'dense1.weights.old'", "return {"),
        (updating(GOOD | {"x": 0.0}), "a first value of 'x', which is no state that it added", "role="),
        (updating(GOOD, role="data"), "added the input 'dense1.weights.old' as data", 'role="state"'),
        (updating(GOOD, batch=True), "as state float64[N, 2]", "without the batch axis N"),
        (updating(GOOD | {"dense1.bias.old": np.zeros(3)}), "gives float64[3] as first", "the state's shape"),
        (updating(GOOD | {"dense1.bias.old": "zero"}), "gives 'zero' as first value", "a number"),
        (updating(GOOD | {"dense1.bias.old": [[1], [1, 2]]}), "as first value", "a number"),
        (plain(append_updates=Heavy.append_updates), "Mine.learning_rate=None is not a finite", "= 0.01"),
        (plain(append_updates=Heavy.append_updates, learning_rate="fast"), "learning_rate='fast'", "= 0.01"),
        (Heavy, "optimizer is the class Heavy, not an object", "optimizer=Heavy()"),
        ("sgd", "optimizer is 'sgd', not an object such as gcn.SGD(0.05)", "gcn.SGD(0.05)"),
    ],
)  # fmt: skip
def test_optimisers_that_are_none(optimizer, problem, mend):
    message = refused(optimizer=optimizer)
    assert problem in message
    assert mend in message.partition("Mend:")[2]
    assert message.startswith("test_own_parts.py:")


def test_an_optimiser_may_keep_a_parameter():
    class Frozen(Heavy):
        def append_updates(self, graph, parameters, gradients, rate):
            for name, parameter in parameters.items():
                graph.update(name, parameter)
            return {}

    model = compiled(optimizer=Frozen())
    before = model.state()
    model.train_step(X, T)
    assert all(np.array_equal(before[name], array) for name, array in model.state().items())


@pytest.mark.parametrize(
    ("metric", "problem", "mend"),
    [
        (plain(name="mine", append=lambda *_: None), "Mine.append returned None, not a number", "ops.Mean"),
        (
            plain(name="mine", append=of_rank_two),
            "Mine.append returned float64[N, 2], not a number",
            "ops.Mean",
        ),
        (plain(append=Largest.append), "Mine.name=None is not a word", "name ="),
        (plain(name="a b", append=Largest.append), "Mine.name='a b' is not a word", "name ="),
        (
            plain(name="loss", append=Largest.append),
            "the name 'loss' of the metric Mine is taken",
            "of its own",
        ),
        (Largest, "metric is the class Largest, not an object", "metric=Largest()"),
        (7, 'metric is 7, not an object such as "accuracy"', "accuracy"),
    ],
)
def test_metrics_that_are_none(metric, problem, mend):
    message = refused(metrics=[metric])
    assert problem in message
    assert mend in message.partition("Mend:")[2]
    assert "the name 'largest' of the metric Largest is taken" in refused(metrics=[Largest(), Largest()])


# Saved by name


def own_model(**options):
    return compiled(
        loss=Quartic(0.5, "sum"), optimizer=Heavy(0.01, (0.5, 1.5)), metrics=[Largest()], **options
    )


def test_all_three_come_back(tmp_path):
    path = tmp_path / "model.safetensors"
    model = own_model()
    model.train_step(X, T)
    model.save(path)
    again = gcn.load(path, objects=[Quartic, Heavy, Largest()], backend="numpy")
    assert (again.loss, again.optimizer) == (Quartic(0.5, "sum"), Heavy(0.01, (0.5, 1.5)))
    assert again.metrics == (Largest(),)
    for _ in range(3):
        assert again.train_step(X, T) == model.train_step(X, T)


def test_what_is_missing_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    own_model().save(path)
    with pytest.raises(OptionError) as caught:
        gcn.load(path, objects=[Heavy])
    assert "uses classes of its writer's own: Quartic, Largest" in str(caught.value)
    assert "gcn.load(path, objects=[Quartic, Largest])" in str(caught.value)


def test_what_is_no_object_of_ones_own(tmp_path):
    path = tmp_path / "model.safetensors"
    own_model().save(path)
    for wrong in (3, gcn.SGD, np.sin, lambda x: x):
        with pytest.raises(OptionError, match="is no object of your own"):
            gcn.load(path, objects=[Quartic, Heavy, Largest, wrong])
    other = type("Heavy", (Heavy,), {})
    with pytest.raises(OptionError, match="two objects have the name 'Heavy'"):
        gcn.load(path, objects=[Quartic, Heavy, other])


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        ("loss", '{"name": "Heavy", "options": {}}', "not an object such as gcn.CrossEntropy()"),
        ("optimizer", '{"name": "Quartic", "options": {}}', "optimizer"),
        ("optimizer", '{"name": "Heavy", "options": 3}', "the options of Heavy are 3"),
        ("optimizer", '{"name": "os.system", "options": {"command": "true"}}', "'os.system'"),
        ("metrics", '[{"name": "eval", "options": {}}]', "there is no loss, optimiser or metric 'eval'"),
        ("metrics", '["largest"]', "unknown metric 'largest'"),
    ],
)
def test_a_damaged_file_makes_nothing_else(tmp_path, field, text, reason):
    path = tmp_path / "model.safetensors"
    own_model().save(path)
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert json.loads(metadata["objects"]) == ["Quartic", "Heavy", "Largest"]
    save_file(tensors, path, metadata | {field: text})
    with pytest.raises(FileError, match=r"the metadata of .* is damaged") as caught:
        gcn.load(path, objects=[Quartic, Heavy, Largest])
    assert reason in str(caught.value)


class Loose:
    name = "loose"

    def __init__(self):
        self.weights = np.ones(3)

    append = Largest.append


@dataclass(frozen=True)
class Arrays(Quartic):
    weights: object = None


def test_attributes_that_a_file_cannot_hold(tmp_path):
    for options, reason in (
        ({"metrics": [Loose()]}, "its attributes weights are not those of a dataclass"),
        ({"loss": Arrays(weights=np.ones(2))}, "weights=array([1., 1.]) is no number"),
        ({"loss": Arrays(weights=[1, 2])}, "weights=[1, 2] is no number"),
    ):
        model = compiled(**options)
        with pytest.raises(OptionError, match="cannot be saved whole") as caught:
            model.save(tmp_path / "model.safetensors")
        assert reason in str(caught.value)
        assert "model.save_weights(path) saves the weights alone" in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_a_class_of_ones_own_under_a_name_of_graphcnns(tmp_path):
    twin = type("SGD", (Heavy,), {})
    with pytest.raises(OptionError, match="has the name of graphcnn's SGD") as caught:
        compiled(optimizer=twin()).save(tmp_path / "model.safetensors")
    assert "class MySGD" in str(caught.value)
