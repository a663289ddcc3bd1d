"""What is frozen gets no gradient, stays as it is bit by bit, and can be trained again."""

import copy

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import FileError, OptionError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((24, 6, 6, 1)).astype(np.float32)
LABELS = np.arange(24) % 3


def layers():
    return [
        gcn.Conv2d(4, 3, name="stem"),
        gcn.BatchNorm2d(name="norm"),
        gcn.ReLU(),
        gcn.Dropout(0.2, name="drop"),
        gcn.Flatten(),
        gcn.Dense(3, name="head"),
    ]


def compiled(network=None, **options):
    return gcn.compile(
        gcn.Sequential(*layers()) if network is None else network,
        **{
            "input_shape": (6, 6, 1),
            "loss": gcn.CrossEntropy(),
            "optimizer": gcn.SGD(0.1, momentum=0.9),
            **options,
        },
    )


def train(model, epochs=2):
    return model.fit(IMAGES, LABELS, epochs=epochs, batch_size=8, progress=False)


def changed(model, before):
    return {name for name, array in model.weights.items() if not np.array_equal(array, before[name])}


STEM = {"stem.filters", "stem.bias", "norm.scale", "norm.shift", "norm.mean", "norm.variance"}
HEAD = {"head.weights", "head.bias"}


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_frozen_layer_stays_as_it_is(backend):
    network = gcn.Sequential(*layers())
    for layer in network.layers[:2]:
        layer.trainable = False
    model = compiled(network, backend=backend)
    before = dict(model.weights)
    train(model)
    assert model.frozen == STEM
    assert changed(model, before) == HEAD


def test_a_block_freezes_all_inside_of_it():
    stem = gcn.Sequential(*layers()[:3], name="block", trainable=False)
    model = compiled(gcn.Sequential(stem, *layers()[4:]))
    before = dict(model.weights)
    train(model)
    assert changed(model, before) == HEAD
    assert all(name.startswith("block.") for name in model.frozen)


def test_frozen_parameters_have_no_nodes_in_the_gradient_and_the_step():
    model = compiled()
    whole = len(model.step_graph), len(model.gradient_graph)
    model.freeze("stem", "norm")
    assert len(model.step_graph) < whole[0]
    assert len(model.gradient_graph) < whole[1]
    assert set(model.gradient_graph.outputs) == {"loss", *(f"gradient({name})" for name in HEAD)}
    for graph in (model.gradient_graph, model.step_graph):
        roles = {label: graph.role(label) for label in graph.inputs}
        assert {label for label, role in roles.items() if role == "frozen"} == {
            "stem.filters",
            "stem.bias",
            "norm.scale",
            "norm.shift",
        }
        layers_of_gradients = {
            node.origin.layer for _, node in graph.items() if node.origin.forward is not None
        }
        assert "stem" not in layers_of_gradients
    assert "velocity" not in "".join(name for name in model.state() if name.startswith("stem"))


def test_frozen_batch_norm_computes_as_in_inference():
    model = compiled(gcn.Sequential(gcn.BatchNorm2d(name="norm"), gcn.Flatten(), gcn.Dense(3)))
    train(model)
    model.freeze("norm")
    inference = gcn.evaluate(model.forward_graph, image=IMAGES, **model.weights)["output"]
    training = gcn.evaluate(model.training_graph, image=IMAGES, **model.weights)["output"]
    np.testing.assert_allclose(inference, training, rtol=1e-6)


def test_dropout_between_frozen_layers_still_drops():
    model = compiled(optimizer=gcn.SGD(1e-30))
    model.freeze("stem", "norm", "head.weights")
    first, second = (model.train_step(IMAGES, LABELS)["loss"] for _ in range(2))
    assert first != second
    assert list(model.gradient_graph.inputs_with_role("parameter")) == ["head.bias"]


def test_what_was_frozen_can_be_trained_again():
    model = compiled()
    train(model)
    model.freeze("stem*", "norm")
    before = dict(model.weights)
    train(model)
    assert changed(model, before) == HEAD
    model.unfreeze("stem.filters")
    assert model.frozen == STEM - {"stem.filters"}
    before = dict(model.weights)
    train(model)
    assert changed(model, before) == HEAD | {"stem.filters"}
    model.unfreeze()
    assert not model.frozen
    before = dict(model.weights)
    train(model)
    assert changed(model, before) == STEM | HEAD


def test_a_file_knows_what_is_frozen(tmp_path):
    model = compiled()
    model.freeze("stem", "norm")
    train(model, 1)
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors")
    assert again.frozen == model.frozen == STEM
    train(model, 1)
    train(again, 1)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, again.state()[name])
    again.unfreeze()
    before = dict(again.weights)
    train(again, 1)
    assert changed(again, before) == STEM | HEAD


def test_training_the_head_alone_equals_training_it_on_the_features():
    model = compiled(
        gcn.Sequential(gcn.Conv2d(4, 3, name="stem"), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3, name="head"))
    )
    model.freeze("stem")
    stem = gcn.compile(
        gcn.Sequential(gcn.Conv2d(4, 3, name="stem"), gcn.ReLU(), gcn.Flatten()), input_shape=(6, 6, 1)
    )
    stem.weights.update({name: model.weights[name] for name in stem.weights})
    features = stem.predict(IMAGES)
    head = compiled(gcn.Sequential(gcn.Dense(3, name="head")), input_shape=features.shape[1:])
    head.weights.update({name: model.weights[name] for name in HEAD})
    for trained, inputs in ((model, IMAGES), (head, features)):
        trained.fit(inputs, LABELS, epochs=2, batch_size=8, progress=False)
    for name in HEAD:
        np.testing.assert_allclose(model.weights[name], head.weights[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pattern", ["steam", "", 3, "stem.filter"])
def test_a_pattern_that_fits_nothing(pattern):
    model = compiled()
    with pytest.raises(OptionError, match="is the name of no layer or parameter") as caught:
        model.freeze("head", pattern)
    assert "stem, norm, head" in str(caught.value)
    assert not model.frozen


@pytest.mark.parametrize(
    ("given", "advice", "followed"),
    [
        (["steam"], "did you mean 'stem'?", ["stem"]),
        (["Stem*"], "did you mean 'stem'?", ["stem"]),
        (["stem.filter"], "did you mean 'stem.filters'?", ["stem.filters"]),
        ([["stem", "head"]], 'give each by itself: "stem", "head"; or *names', ["stem", "head"]),
        ([""], 'give a name, such as "stem"', ["stem"]),
        ([None], 'give a name, such as "stem"', ["stem"]),
    ],
)
def test_a_pattern_that_fits_nothing_is_mended_as_advised(given, advice, followed):
    model = compiled()
    with pytest.raises(OptionError, match=r"test_freezing\.py:\d+: ") as caught:
        model.freeze(*given)
    assert advice in caught.value.mend
    model.freeze(*followed)
    assert model.frozen


def test_a_pattern_within_a_named_block_is_mended_as_advised(tmp_path):
    block = gcn.Sequential(gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Conv2d(4, 1), name="stem")
    model = compiled(gcn.Sequential(block, gcn.Flatten(), gcn.Dense(3)))
    model.save_weights(tmp_path / "weights.safetensors")
    for call in (model.freeze, lambda only: model.load_weights(tmp_path / "weights.safetensors", only=only)):
        with pytest.raises(OptionError, match=r"test_freezing\.py:\d+: ") as caught:
            call("conv*")
        assert caught.value.mend == 'with the name of the layer around it: "stem.conv*"'
        call("stem.conv*")
    assert {name.rpartition(".")[0] for name in model.frozen} == {"stem.conv1", "stem.conv2"}
    twins = compiled(
        gcn.Sequential(
            *(gcn.Sequential(gcn.Conv2d(4, 3), name=name) for name in ("left", "right")),
            gcn.Flatten(),
            gcn.Dense(3),
        )
    )
    with pytest.raises(OptionError) as caught:
        twins.freeze("conv1")
    twins.freeze(caught.value.mend.partition('"')[2].rstrip('"'))
    assert {name.rpartition(".")[0] for name in twins.frozen} == {"left.conv1", "right.conv1"}


def test_trainable_is_true_or_false():
    with pytest.raises(OptionError, match=r"test_freezing.py:\d+\): trainable=0 is neither True nor False"):
        gcn.Dense(3, trainable=0)
    layer = gcn.Dense(3)
    with pytest.raises(OptionError, match="neither True nor False"):
        layer.trainable = None


def test_the_table_of_layers_counts_frozen_parameters_as_well():
    model = compiled()
    count = model.parameters.count
    before = str(model.summary())
    model.freeze("*")
    assert model.parameters.count == count
    assert f"{count:,}" in before
    assert f"{count:,}" in str(model.summary())


def test_trained_layers_get_a_new_head(tmp_path):
    base = compiled(backend="numpy")
    train(base)
    base.save_weights(tmp_path / "weights.safetensors")
    base.save(tmp_path / "model.safetensors")
    with pytest.raises(FileError) as caught:
        compiled(gcn.Sequential(*layers()[:-1], gcn.Dense(7, name="other"))).load_weights(
            tmp_path / "weights.safetensors"
        )
    assert "skip=['other']" in caught.value.mend
    for file in ("weights.safetensors", "model.safetensors"):
        model = compiled(gcn.Sequential(*layers()[:-1], gcn.Dense(7, name="other")), backend="numpy")
        before = dict(model.weights)
        model.load_weights(tmp_path / file, only=["stem", "norm*"])
        assert changed(model, before) == STEM
        for name in STEM:
            np.testing.assert_array_equal(model.weights[name], base.weights[name])
    with pytest.raises(OptionError, match="'steam' is the name of no layer or parameter"):
        model.load_weights(tmp_path / file, only="steam")
    with pytest.raises(FileError, match="do not fit the network"):
        model.load_weights(tmp_path / file, only="other")
    for skip in ("other", ["oth*"]):
        fresh = compiled(gcn.Sequential(*layers()[:-1], gcn.Dense(7, name="other")), backend="numpy")
        fresh.load_weights(tmp_path / file, skip=skip)
        for name, array in model.weights.items():
            np.testing.assert_array_equal(fresh.weights[name], array)
    with pytest.raises(OptionError, match="'head' is the name of no layer or parameter"):
        model.load_weights(tmp_path / file, skip="head")


def test_a_state_dict_of_another_head_fits_in_part(tmp_path):
    base, model = (
        compiled(gcn.Sequential(*layers()[:-1], gcn.Dense(units, name="head"))) for units in (3, 5)
    )
    base.save_weights(tmp_path / "state.safetensors", layout="torchvision")
    model.load_weights(tmp_path / "state.safetensors", layout="torchvision", skip="head")
    for name in STEM:
        np.testing.assert_array_equal(model.weights[name], base.weights[name])


def test_where_all_is_frozen_there_is_nothing_to_train():
    model = compiled()
    model.freeze("*")
    with pytest.raises(OptionError, match="all parameters are frozen") as caught:
        train(model)
    assert "model.unfreeze" in caught.value.mend


def test_a_layer_that_is_set_after_the_model_was_compiled_is_not_silent():
    stem, *others = layers()
    block = gcn.Sequential(*others)
    model = compiled(gcn.Sequential(stem, block))
    stem.trainable = False
    for train_on in (train, lambda model: model.train_step(IMAGES, LABELS)):
        with pytest.raises(OptionError, match=r"trainable = False was set on stem after") as caught:
            train_on(model)
        assert "model.freeze('stem')" in str(caught.value)
    model.freeze("stem")
    train(model)
    stem.trainable = True
    with pytest.raises(OptionError, match=r"model\.unfreeze\('stem'\)"):
        train(model)
    model.unfreeze("stem")
    train(model)
    block.trainable = False
    with pytest.raises(OptionError, match=r"was set on head, norm after"):
        train(model)
    model.freeze("norm", "head")
    train(model)


def test_a_loaded_model_and_a_copy_know_no_layers(tmp_path):
    stem, *others = layers()
    model = compiled(gcn.Sequential(stem, *others))
    model.save(tmp_path / "model.safetensors")
    stem.trainable = False
    train(gcn.load(tmp_path / "model.safetensors"))
    train(copy.deepcopy(model))


def test_nothing_to_train_names_what_is_frozen():
    model = compiled()
    model.freeze("*")
    for train_on in (train, lambda model: model.train_step(IMAGES, LABELS)):
        with pytest.raises(OptionError, match=r"model\.unfreeze\('head'\)"):
            train_on(model)
    model.unfreeze("head")
    train(model)


def test_the_table_of_layers_says_what_is_frozen():
    model = compiled()
    assert "frozen" not in str(model.summary())
    model.freeze("stem.filters", "norm")
    text = str(model.summary())
    assert "40, 36 frozen" in text
    assert "8 frozen" in text
    count = model.parameters.count
    assert f"{count - 44:,} trained" in text


def test_freeze_without_a_name_is_no_way_to_say_all():
    model = compiled()
    with pytest.raises(OptionError, match=r'"\*" for all'):
        model.freeze()
    model.freeze("*")


def test_a_file_that_fits_in_part_says_which_layers_fit(tmp_path):
    compiled(gcn.Sequential(*layers()[:-1], gcn.Dense(5, name="head"))).save_weights(
        tmp_path / "old.safetensors"
    )
    model = compiled()
    with pytest.raises(FileError, match="do not fit the network") as caught:
        model.load_weights(tmp_path / "old.safetensors")
    skip = eval(str(caught.value).rpartition("skip=")[2][:-1])
    assert skip == ["head"]
    model.load_weights(tmp_path / "old.safetensors", skip=skip)
    wide = compiled(dtype="float64")
    with pytest.raises(FileError, match=r"dtype='float32'"):
        wide.load_weights(tmp_path / "old.safetensors", only=["stem", "norm"])
