"""Arguments that do not fit are refused at the user's line, and the advice is followed: its code is run."""

import inspect
import pickle
import re
from dataclasses import dataclass

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import GraphcnnError
from graphcnn.foreign_arguments import ACTIVATIONS, INSTEAD, SAME
from graphcnn.training.model_graphs import OF_EVERY_BATCH

OUTSIDE = {"Backend", "Executable", "Loss", "Metric", "Optimizer"}
"""Protocols, which nobody calls."""
OF_GRAPHS = {
    "Builder",
    "Emitter",
    "Graph",
    "Match",
    "Model",
    "Op",
    "Origin",
    "Report",
    "Tensor",
    "TensorType",
}
OF_GRAPHS |= {"Value", "verify", "History", "Callback"}
"""What other code makes, or has no arguments of a user's."""


def called():
    """Return what the public namespace has to call, with its signature, by name."""
    found = {name: getattr(gcn, name) for name in gcn.__all__ if name not in OUTSIDE | OF_GRAPHS}
    found |= {name: getattr(gcn.zoo, name) for name in gcn.zoo.PUBLISHED}
    return {
        name: (each, inspect.signature(each))
        for name, each in found.items()
        if callable(each) and not (isinstance(each, type) and issubclass(each, Exception | Warning))
    }


CALLED = called()
KNOWN = {
    name: [each.name for each in signature.parameters.values() if each.kind is not each.VAR_POSITIONAL]
    for name, (_, signature) in CALLED.items()
}


@pytest.mark.parametrize("name", [name for name in CALLED if name not in ("evaluate", "Layer")])
def test_unknown_arguments_are_refused_at_the_users_line(name):
    with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+") as caught:
        CALLED[name][0](qqqqqq=1)
    assert isinstance(caught.value, TypeError)
    assert f"{name} has no argument 'qqqqqq'" in str(caught.value)
    assert caught.value.mend == "leave it out"


@pytest.mark.parametrize("name", [name for name in CALLED if name not in ("evaluate", "Layer")])
def test_missing_arguments_and_too_many_are_refused_at_the_users_line(name):
    function, signature = CALLED[name]
    kinds = [each.kind for each in signature.parameters.values()]
    if any(each.default is each.empty and each.kind != 2 for each in signature.parameters.values()):
        with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+.* lacks '"):
            function()
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+.* by position, not 30"):
            function(*range(30))


@pytest.mark.parametrize("name", SAME)
def test_names_of_other_frameworks_are_translated(name):
    named = [title for title, known in KNOWN.items() if name not in known and set(SAME[name]) & set(known)]
    for title in named:
        with pytest.raises(GraphcnnError) as caught:
            CALLED[title][0](**{name: 0.5})
        assert caught.value.mend.partition("=")[0] in KNOWN[title] or f"{title}.{name}" in INSTEAD
    assert named, "no function has what this name is translated to"


WRITTEN = {
    "Conv2d(16, 3, pading=1)": None,
    "Conv2d(16, kernel_size=3)": "gcn.Conv2d(16, kernel=3)",
    "Conv2d(out_channels=16, kernel=3)": "gcn.Conv2d(filters=16, kernel=3)",
    "Conv2d(16, 3, strides=2)": "gcn.Conv2d(16, 3, stride=2)",
    "Conv2d(16, 3, kernel_initializer='glorot_uniform')": "gcn.Conv2d(16, 3, initializer=gcn.Glorot())",
    "MaxPool2d(kernel_size=2)": "gcn.MaxPool2d(size=2)",
    "MaxPool2d(pool_size=2)": "gcn.MaxPool2d(size=2)",
    "Dropout(p=0.5)": "gcn.Dropout(rate=0.5)",
    "Upsample2d(scale_factor=2)": "gcn.Upsample2d(scale=2)",
    "Dense(out_features=3)": "gcn.Dense(units=3)",
    "Dense(3, use_bias=False)": "gcn.Dense(3, bias=False)",
    "BatchNorm2d(eps=0.001)": "gcn.BatchNorm2d(epsilon=0.001)",
    "LeakyReLU(alpha=0.2)": "gcn.LeakyReLU(negative_slope=0.2)",
    "Softmax(dim=1)": "gcn.Softmax(axis=1)",
    "Adam(lr=0.1)": "gcn.Adam(learning_rate=0.1)",
    "Adam(betas=(0.9, 0.999))": "gcn.Adam(beta1=0.9, beta2=0.999)",
    "RMSprop(rho=0.9)": "gcn.RMSprop(alpha=0.9)",
    "BinaryCrossEntropy(pos_weight=[2.0])": "gcn.BinaryCrossEntropy(positive_weights=[2.0])",
    "CrossEntropy(weight=[1.0, 2.0])": "gcn.CrossEntropy(class_weights=[1.0, 2.0])",
    "CrossEntropy(ignore_index=255)": "gcn.CrossEntropy(ignore=255)",
    "EarlyStopping(restore_best_weights=True)": "gcn.EarlyStopping(restore_best=True)",
    "concatenate(x, x, dim=1)": "gcn.concatenate(x, x, axis=1)",
    "mean(x, dim=1)": "gcn.mean(x, axes=1)",
    "mean(x, axis=1)": "gcn.mean(x, axes=1)",
    "sum(x, keepdim=True)": "gcn.sum(x, keepdims=True)",
    "clip(x, a_min=0.0)": "gcn.clip(x, low=0.0)",
    "var(x, unbiased=True)": "gcn.var(x, correction=1)",
}


@pytest.mark.parametrize(("given", "mended"), WRITTEN.items(), ids=WRITTEN)
def test_calls_are_mended_as_advised(given, mended):
    names = {"gcn": gcn, "x": gcn.Input((8, 8, 3))}
    with pytest.raises(GraphcnnError) as caught:
        eval(f"gcn.{given}", names)
    if mended is None:
        assert caught.value.mend == "did you mean 'padding'?"
        return
    assert caught.value.mend in mended
    assert eval(mended, names) is not None


@pytest.mark.parametrize(
    "given",
    ["ReLU(x)", "MaxPool2d(x, 2)", "Conv2d(x, 8, 3, padding='same')", "Dropout(x, rate=0.5)", "Flatten(x)"],
)
def test_a_class_of_layers_called_on_a_value_makes_a_layer_first(given):
    names = {"gcn": gcn, "x": gcn.Input((8, 8, 3))}
    with pytest.raises(GraphcnnError, match="it makes a layer first") as caught:
        eval(f"gcn.{given}", names)
    assert isinstance(eval(caught.value.mend, names), gcn.Tensor)
    with pytest.raises(GraphcnnError, match="is given an array"):
        gcn.ReLU(np.zeros((3, 4)))
    with pytest.raises(GraphcnnError, match="size=array"):
        gcn.MaxPool2d(np.array([2, 2]))


def test_layers_of_the_users_own_are_checked_alike():
    @dataclass(eq=False)
    class Squeeze(gcn.Layer):
        ratio: int = 4

        def build(self, build, x):
            return build(gcn.ops.Relu(), x)

    with pytest.raises(
        GraphcnnError, match=r"test_arguments\.py.*Squeeze has no argument 'ration'"
    ) as caught:
        Squeeze(ration=4)
    assert caught.value.mend == "did you mean 'ratio'?"
    with pytest.raises(GraphcnnError, match="it makes a layer first") as caught:
        Squeeze(gcn.Input((3,)), 1)
    assert caught.value.mend == "Squeeze(1)(x)"


def test_errors_within_a_constructor_of_the_users_own_pass():
    class Own(gcn.Layer):
        def __init__(self, units):
            super().__init__()
            self.units = len(units)

        def build(self, build, x):
            return x

    with pytest.raises(TypeError, match=r"has no len\(\)") as caught:
        Own(3)
    assert not isinstance(caught.value, GraphcnnError)


def test_what_is_given_by_position_is_named_as_advised():
    x = gcn.Input((4, 4, 2))
    with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+: concatenate is given 1") as caught:
        gcn.concatenate(x, x, 1)
    assert eval(caught.value.mend, {"gcn": gcn, "x": x, "y": x}).shape == ("N", 8, 4, 2)
    with pytest.raises(GraphcnnError) as caught:
        gcn.concatenate([x, x], 1)
    assert eval(caught.value.mend, {"gcn": gcn, "values": [x, x]}).shape == ("N", 8, 4, 2)
    for function, given in ((gcn.Input, (8, 8, 3)), (gcn.Reshape, (8, 2, 2))):
        with pytest.raises(GraphcnnError) as caught:
            function(*given)
        assert eval(caught.value.mend.partition(": ")[2], {"gcn": gcn}) is not None
    with pytest.raises(GraphcnnError) as caught:
        gcn.compile(gcn.Dense(2), "adam", "mse")
    assert "by name: optimizer=gcn.Adam(), loss=gcn.SquaredError" in caught.value.mend
    with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+: Conv2d has no argument 'training'"):
        gcn.Conv2d(2, 3)(x, training=True)


def test_an_optimiser_is_not_given_what_it_trains():
    model = gcn.compile(gcn.Dense(2), input_shape=(3,), backend="numpy")
    for parameters in (model.parameters, iter([1])):
        with pytest.raises(GraphcnnError, match="not given what it trains") as caught:
            gcn.Adam(parameters, 0.1)
        assert caught.value.mend == "gcn.compile(network, ..., optimizer=gcn.Adam(0.05))"
    with pytest.raises(GraphcnnError) as caught:
        gcn.Adam(0.1, (0.8, 0.99))
    assert eval(f"gcn.Adam(0.1, {caught.value.mend})", {"gcn": gcn}) == gcn.Adam(0.1, 0.8, 0.99)


@pytest.mark.parametrize("name", [*gcn.zoo.ZOO, *gcn.zoo.PUBLISHED])
def test_networks_of_the_zoo_are_checked_alike(name):
    make = getattr(gcn.zoo, name)
    with pytest.raises(GraphcnnError, match=rf"test_arguments\.py:\d+: {name} has no argument") as caught:
        make(pretrained=True)
    assert 'model.load_weights(path, layout="torchvision")' in caught.value.mend
    if "classes" in inspect.signature(make).parameters:
        with pytest.raises(GraphcnnError) as caught:
            make(num_classes=3)
        assert caught.value.mend == "classes=3"


def test_layers_with_the_channels_that_come_in_are_mended_as_advised():
    with pytest.raises(GraphcnnError, match="by position and by name") as caught:
        gcn.ConvTranspose2d(32, 16, 2, stride=2)
    layer = eval(caught.value.mend.rpartition(": ")[2], {"gcn": gcn})
    assert (layer.filters, layer.kernel, layer.stride) == (16, 2, 2)
    with pytest.raises(GraphcnnError) as caught:
        gcn.Conv2d(in_channels=3, out_channels=8, kernel_size=3)
    assert "for out_channels: filters=8; for kernel_size: kernel=3" in caught.value.mend
    for wrong in (
        gcn.LayerNorm,
        gcn.RMSNorm,
        gcn.InstanceNorm2d,
        lambda channels: gcn.GroupNorm(8, channels),
    ):
        with pytest.raises(GraphcnnError, match="the number of channels is not given"):
            wrong(64)


def test_the_arguments_of_a_model_are_checked_at_the_users_line():
    model = gcn.compile(gcn.Sequential(gcn.Flatten(), gcn.Dense(2)), input_shape=(8, 8, 1), backend="numpy")
    with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+: show has no argument 'opn'") as caught:
        model.show(opn=False)
    assert caught.value.mend == "did you mean 'open'?"
    with pytest.raises(GraphcnnError) as caught:
        model.summary(2)
    assert caught.value.mend == "give what follows by name: batch_size=2"
    recording = model.inspect(np.zeros((1, 8, 8, 1), np.float32))
    with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+: show has no argument 'opn'"):
        model.forward_graph.show(opn=False)
    for load in (getattr(gcn.data, name) for name in gcn.data.__all__ if name.startswith("load")):
        with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+: load\w* has no argument"):
            load(qqqqqq=1)
    for each in (model, recording, gcn.History()):
        for name, method in inspect.getmembers(type(each), inspect.isfunction):
            if not name.startswith("_") and name not in OF_EVERY_BATCH:
                with pytest.raises(GraphcnnError, match=f"{name} has no argument 'qqqqqq'"):
                    method(each, qqqqqq=1)
    with pytest.raises(GraphcnnError) as caught:
        gcn.Model(inputs=1, outputs=2)
    assert "gcn.Network(x, y)" in caught.value.mend


def test_scale_and_shift_are_kept_as_advised():
    with pytest.raises(GraphcnnError) as caught:
        gcn.BatchNorm2d(affine=False)
    layers = (gcn.Conv2d(2, 3, bias=False), gcn.BatchNorm2d(), gcn.Flatten(), gcn.Dense(2))
    model = gcn.compile(
        gcn.Sequential(*layers), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1)
    )
    eval(re.search(r"model\.freeze\(.*?\)", caught.value.mend)[0], {"model": model})
    images = np.random.default_rng(1).random((4, 8, 8, 1), np.float32)
    before = dict(model.weights)
    model.train_step(images, np.array([0, 1, 0, 1]))
    same = {name for name, array in model.weights.items() if np.array_equal(array, before[name])}
    assert same == {"batchnorm1.scale", "batchnorm1.shift"}


def test_advice_names_what_there_is():
    for said in INSTEAD.values():
        for name in re.findall(r"\bgcn\.(\w+)", said):
            assert getattr(gcn, name)
        for name in re.findall(r"\bmodel\.(\w+)", said):
            assert hasattr(gcn.Model, name)
    for layer in ACTIVATIONS.values():
        with pytest.raises(GraphcnnError, match=r"a layer of its own, behind Dense: gcn\.") as caught:
            gcn.Dense(3, activation=next(name for name, each in ACTIVATIONS.items() if each == layer))
        assert isinstance(eval(caught.value.mend.rpartition(": ")[2], {"gcn": gcn}), gcn.Layer)


def test_what_is_checked_keeps_its_signature_and_can_be_copied():
    assert list(inspect.signature(gcn.Conv2d).parameters)[:2] == ["filters", "kernel"]
    assert next(iter(inspect.signature(gcn.Adam).parameters)) == "learning_rate"
    for each in (gcn.concatenate, gcn.Adam(0.1), gcn.CrossEntropy(ignore=3), gcn.He()):
        assert pickle.loads(pickle.dumps(each)) == each


ELSEWHERE = {
    "BatchNorm2d(8)": "gcn.BatchNorm2d()",
    "BatchNorm2d(1)": "gcn.BatchNorm2d()",
    "BatchNorm1d(64)": "gcn.BatchNorm1d()",
    "BatchNorm2d(8, 1e-3)": "gcn.BatchNorm2d(epsilon=0.001)",
    "BatchNorm2d(8, 1e-5, 0.2)": "gcn.BatchNorm2d(epsilon=1e-05, momentum=0.2)",
    "BatchNorm2d(8, momentum=0.2)": "gcn.BatchNorm2d(momentum=0.2)",
    "BatchNorm2d(8, eps=0.001)": "gcn.BatchNorm2d(epsilon=0.001)",
    "GroupNorm(8, 32, 1e-3)": "gcn.GroupNorm(groups=8, epsilon=0.001)",
    "Conv2d(3, 16, kernel_size=5)": "gcn.Conv2d(16, kernel=5)",
    "Adam(model.parameters, lr=0.1)": "gcn.Adam(learning_rate=0.1)",
    "SGD(model, lr=0.1, momentum=0.9)": "gcn.SGD(momentum=0.9, learning_rate=0.1)",
    "EarlyStopping(3)": "gcn.EarlyStopping(patience=3)",
    "EarlyStopping('val_loss', 'min')": 'gcn.EarlyStopping("val_loss", mode="min")',
}


@pytest.mark.parametrize(("given", "mended"), ELSEWHERE.items(), ids=ELSEWHERE)
def test_orders_of_other_frameworks_are_mended_as_advised(given, mended):
    model = gcn.compile(gcn.Dense(2), input_shape=(3,), backend="numpy")
    with pytest.raises(GraphcnnError, match=r"<string>:1|number") as caught:
        eval(f"gcn.{given}", {"gcn": gcn, "model": model})
    assert mended in caught.value.mend
    made = eval(mended, {"gcn": gcn})
    if "momentum=0.2" in mended:
        assert made.momentum == 0.2
    if "0.001" in mended:
        assert made.epsilon == 0.001


def test_momentum_is_explained_to_users_of_other_frameworks():
    with pytest.raises(GraphcnnError, match="as in PyTorch; Keras has it reversed"):
        gcn.BatchNorm2d(16)
    assert gcn.BatchNorm2d(momentum=0.1).momentum == 0.1
    assert gcn.BatchNorm2d(momentum=1.0).momentum == 1
    for momentum in (0.9, 0.99, 0.999):
        with pytest.warns(gcn.GraphcnnWarning, match=r"BatchNorm2d \(test_arguments\.py:\d+\)") as caught:
            gcn.BatchNorm2d(momentum=momentum)
        mend = str(caught[0].message).rpartition("Mend: ")[2]
        assert eval(f"gcn.BatchNorm2d({mend})", {"gcn": gcn}).momentum == pytest.approx(1 - momentum)


WEIGHTS = {
    "a number": (3.0, (3.0,)),
    "an array of no axes": (np.array(3.0), (3.0,)),
    "an array": (np.array([1.0, 2.0], np.float32), (1.0, 2.0)),
    "by class": ({0: 1.0, 2: 5.0}, (1.0, 1.0, 5.0)),
}


@pytest.mark.parametrize(("given", "meant"), WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize(
    ("loss", "foreign", "ours"),
    [("BinaryCrossEntropy", "pos_weight", "positive_weights"), ("CrossEntropy", "weight", "class_weights")],
)
def test_weights_of_other_forms_are_mended_as_advised(loss, foreign, ours, given, meant):
    for name in (foreign, ours):
        if name == ours and isinstance(given, np.ndarray) and given.ndim:
            continue
        with pytest.raises(GraphcnnError) as caught:
            getattr(gcn, loss)(**{name: given})
        code = caught.value.mend.partition(", with")[0]
        assert getattr(eval(f"gcn.{loss}({code})", {"gcn": gcn}), ours) == meant


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Lion", "Muon"])
def test_a_learning_rate_that_is_none_says_where_it_belongs(name):
    optimizer = getattr(gcn, name)
    for schedule in (gcn.cosine_decay(0.1, epochs=3), lambda epoch: 0.1 / epoch):
        with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+: .* is a schedule") as caught:
            optimizer(learning_rate=schedule)
        made, _, fitted = caught.value.mend.partition("; and ")
        assert eval(made, {"gcn": gcn}) == optimizer(0.05)
        assert fitted.startswith("model.fit(..., callbacks=[schedule])")
    with pytest.raises(GraphcnnError) as caught:
        optimizer(lr=gcn.cosine_decay(0.1, epochs=3))
    assert eval(f"gcn.{name}({caught.value.mend.partition(', and ')[0]})", {"gcn": gcn}) == optimizer(0.05)
    for number in (np.float64(0.25), np.array(0.25, np.float32), "0.25"):
        if isinstance(number, float):
            assert optimizer(number) == optimizer(0.25)
            continue
        with pytest.raises(GraphcnnError, match=r"is not a number (of Python's|above 0)") as caught:
            optimizer(number)
        assert eval(f"gcn.{name}({caught.value.mend})", {"gcn": gcn}) == optimizer(0.25)


def test_arguments_by_position_are_named_as_advised():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    images, labels = np.zeros((6, 4, 4, 1), np.float32), np.array([0, 1, 2, 0, 1, 2])
    for given, expected in (
        (("adam", "sparse_categorical_crossentropy", ["accuracy"]), gcn.Adam()),
        (("crossentropy", "sgd"), gcn.SGD(0.05)),
        (((4, 4, 1),), None),
    ):
        with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+: compile takes 1 arg") as caught:
            gcn.compile(network, *given)
        named = eval(f"dict({caught.value.mend.partition('by name: ')[2]})", {"gcn": gcn})
        model = gcn.compile(network, **{"input_shape": (4, 4, 1), **named}, backend="numpy")
        assert model.optimizer == expected
    with pytest.raises(GraphcnnError) as caught:
        gcn.compile(network, (4, 4, 1), gcn.CrossEntropy(), gcn.SGD(0.1))
    assert caught.value.mend.endswith("by name: input_shape=(4, 4, 1), loss=..., optimizer=...")
    options = {"input_shape": (4, 4, 1), "loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)}
    model = gcn.compile(network, **options, backend="numpy")
    names = {"model": model, "images": images, "labels": labels, "dict": dict}
    for call, arguments, expected in (
        (model.fit, (images, labels, 2, 3), {"epochs": 2, "batch_size": 3}),
        (model.fit, (images, labels, 2, True), {"epochs": 2, "shuffle": True}),
        (model.evaluate, (images, labels, 2), {"batch_size": 2}),
        (model.predict, (images, 2), {"batch_size": 2}),
        (model.summary, (2,), {"batch_size": 2}),
        (model.load_weights, ("file", "torchvision"), {"layout": "torchvision"}),
        (gcn.load, ("file", "numpy"), {"backend": "numpy"}),
    ):
        with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+: \w+ takes") as caught:
            call(*arguments)
        assert eval(f"dict({caught.value.mend.partition('by name: ')[2]})", names) == expected
    for call, mend in (
        (lambda: model.predict(images, labels), "leave out what follows x"),
        (lambda: model.summary(images), "leave them out"),
        (lambda: model.fit(images, labels, (images, labels)), "by name: validation_data=(...)"),
        (lambda: model.fit(images, labels, 2, [gcn.EarlyStopping()]), "epochs=2, callbacks=[...]"),
    ):
        with pytest.raises(GraphcnnError) as caught:
            call()
        assert caught.value.mend.endswith(mend)


def test_callbacks_that_are_not_in_a_list_or_not_made():
    options = {"input_shape": (3,), "loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)}
    model = gcn.compile(gcn.Dense(2), **options, backend="numpy")
    rows, labels = np.zeros((2, 3), np.float32), np.array([0, 1])
    for given, mend in (
        (gcn.step_decay(0.1, every=2), "callbacks=[callback], in a list"),
        ([gcn.ModelCheckpoint], "callbacks=[gcn.ModelCheckpoint(...)]"),
        ([lambda epoch: 0.1], "callbacks=[gcn.LearningRateSchedule(function)]"),
    ):
        with pytest.raises(GraphcnnError, match=r"test_arguments\.py:\d+") as caught:
            model.fit(rows, labels, callbacks=given)
        assert caught.value.mend == mend
