"""Saving and loading: the same bits come back, a crash leaves a whole file, and damage is named."""

import json
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import graphcnn as gcn
from graphcnn.errors import BackendError, FileError

RANDOM = np.random.default_rng(6)
IMAGES = RANDOM.random((20, 6, 6, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)
OPTIMIZERS = {
    "SGD": gcn.SGD(0.05),
    "Nesterov": gcn.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": gcn.Adam(0.01),
    "AdamW": gcn.AdamW(0.01),
}


def rich_model(optimizer=OPTIMIZERS["Adam"], **options):
    """Return a model with state of every kind: parameters, statistics, random numbers, an optimiser's."""
    network = gcn.Sequential(
        gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Dropout(0.25), gcn.Flatten(), gcn.Dense(3)
    )
    options = {"loss": gcn.CrossEntropy(), "seed": 3, **options}
    return gcn.compile(network, input_shape=(6, 6, 2), optimizer=optimizer, **options)


def fit(model, epochs):
    return model.fit(IMAGES, LABELS, epochs=epochs, batch_size=6, progress=False)


def assert_same_bits(model, other):
    assert model.state().keys() == other.state().keys()
    for name, value in model.state().items():
        assert value.tobytes() == other.state()[name].tobytes(), name
    assert model.predict(IMAGES).tobytes() == other.predict(IMAGES).tobytes()


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Return the bytes of a saved model."""
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    model = rich_model()
    fit(model, 1)
    model.save(path)
    return path.read_bytes()


@pytest.fixture
def saved(tmp_path, content):
    """Return the path of a saved model."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return path


def contents(path):
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


# What comes back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_resuming_gives_the_same_bits_as_never_having_stopped(tmp_path, optimizer, dtype):
    whole, halves = rich_model(optimizer, dtype=dtype), rich_model(optimizer, dtype=dtype)
    history = fit(whole, 4)
    fit(halves, 2)
    halves.save(tmp_path / "half.safetensors")
    resumed = gcn.load(tmp_path / "half.safetensors")
    assert_same_bits(halves, resumed)
    rest = fit(resumed, 2)
    assert_same_bits(whole, resumed)
    assert rest["loss"] == history["loss"][2:]
    assert resumed.epochs_done == 4


def test_everything_about_a_model_comes_back(tmp_path):
    model = rich_model(gcn.SGD(0.05, momentum=0.9), loss=gcn.CrossEntropy("sum"))
    fit(model, 1)
    model.learning_rate = 0.0125
    model.save(str(tmp_path / "model.safetensors"))
    loaded = gcn.load(str(tmp_path / "model.safetensors"))
    assert loaded.loss == gcn.CrossEntropy("sum")
    assert loaded.optimizer == gcn.SGD(0.05, momentum=0.9)
    assert loaded.learning_rate == 0.0125
    assert loaded.seed == 3
    assert loaded.evaluate(IMAGES, LABELS) == model.evaluate(IMAGES, LABELS)


def test_the_history_comes_back_and_goes_on(tmp_path):
    model = rich_model()
    fit(model, 2)
    model.history.epochs[0]["remark"] = "numbers alone are kept, and no times"
    with pytest.warns(gcn.GraphcnnWarning, match="model.resume goes: .* state and set_state"):
        model.resume["schedule"] = {"epoch": 2}
    model.save(tmp_path / "model.safetensors")
    loaded = gcn.load(tmp_path / "model.safetensors")
    for epoch in model.history.epochs:
        for name in ("remark", "seconds", "images_per_second"):
            epoch.pop(name, None)
    assert loaded.history == model.history
    with pytest.warns(gcn.GraphcnnWarning, match="model.resume goes"):
        assert loaded.resume == {"schedule": {"epoch": 2}}
    fit(loaded, 1)
    assert len(loaded.history) == 3


def test_of_a_very_long_history_the_last_epochs_are_kept(tmp_path, monkeypatch):
    model = rich_model()
    model.history.epochs += [{"loss": 1 / (epoch + 1)} for epoch in range(1000)]
    monkeypatch.setattr("graphcnn.training.model_file.LONGEST_SETTING", 10_000)
    model.save(tmp_path / "model.safetensors")
    kept = gcn.load(tmp_path / "model.safetensors").history.epochs
    assert 250 < len(kept) < 400
    assert kept == model.history.epochs[-len(kept) :]


@pytest.mark.parametrize("value", [{1, 2}, np.zeros(3), object(), "x" * 2**20], ids=type)
def test_what_no_file_can_hold_is_refused_when_it_is_saved(tmp_path, value):
    model = rich_model()
    with pytest.warns(gcn.GraphcnnWarning, match="model.resume goes"):
        model.resume["mine"] = value
    with pytest.raises(gcn.GraphcnnError, match="resume"):
        model.save(tmp_path / "model.safetensors")


def test_a_file_from_before_the_history_was_in_it_loads(saved):
    rewrite(saved, lambda tensors, metadata: metadata.pop("history"))
    assert gcn.load(saved).history == gcn.History()


def test_the_same_model_gives_the_same_file(saved, tmp_path):
    gcn.load(saved).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize(
    "options",
    [{"loss": None, "optimizer": None}, {"optimizer": None}, {"loss": gcn.SquaredError(), "metrics": []}],
    ids=["prediction", "evaluation", "regression"],
)
def test_models_with_less_come_back_too(tmp_path, options):
    model = rich_model(**{"optimizer": gcn.SGD(0.1), **options})
    model.save(tmp_path / "model.safetensors")
    assert_same_bits(model, gcn.load(tmp_path / "model.safetensors"))


def test_scalars_shared_layers_several_inputs_and_names_of_any_kind(tmp_path):
    x, y = gcn.Input((3,), name="x"), gcn.Input((3,), name='odd "name" | %1 \n ü')
    dense = gcn.Dense(2, name="Schicht ä")
    scale = gcn.Parameter((), "scale", initializer=gcn.Constant(2.0))
    model = gcn.compile(gcn.Network((x, y), dense(x) * scale + dense(y)))
    model.save(tmp_path / "model.safetensors")
    loaded = gcn.load(tmp_path / "model.safetensors")
    arrays = [RANDOM.normal(size=(4, 3)) for _ in range(2)]
    assert loaded.predict(arrays).tobytes() == model.predict(arrays).tobytes()
    assert loaded.parameters["scale"] == 2.0


def test_what_could_not_be_read_again_is_not_saved(tmp_path, monkeypatch):
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(2, name="d" * 17_000))
    model = gcn.compile(network, input_shape=(2, 2, 1), backend="numpy")
    with pytest.raises(gcn.GraphcnnError, match=r"the name 'd{40}'\.\.\. of 17008 characters is too long"):
        model.save(tmp_path / "model.safetensors")
    monkeypatch.setattr("graphcnn.ir.parser.MOST_NODES", 10)
    with pytest.raises(gcn.GraphcnnError, match="nodes is too large for a file, which may have 10"):
        rich_model().save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_each_epoch_goes_on_with_the_same_bits(tmp_path):
    path, whole = tmp_path / "model.safetensors", rich_model()
    epochs_saved = []

    class Look(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            epochs_saved.append(gcn.load(path).epochs_done)

    keep = [gcn.ModelCheckpoint(path), Look()]
    whole.fit(IMAGES, LABELS, epochs=2, batch_size=6, callbacks=keep, progress=False)
    assert epochs_saved == [1, 2]
    resumed = gcn.load(path)
    assert len(resumed.history) == 2
    fit(resumed, 1)
    fit(whole, 1)
    assert_same_bits(whole, resumed)


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_training(tmp_path):
    model = rich_model()
    before = model.state()
    for path in (tmp_path / "missing" / "model.safetensors", tmp_path):
        with pytest.raises(OSError, match="folder"):
            model.fit(IMAGES, LABELS, callbacks=[gcn.ModelCheckpoint(path)], progress=False)
    with pytest.raises(gcn.GraphcnnError, match="is not a path"):
        gcn.ModelCheckpoint(3)
    assert all(np.array_equal(array, before[name]) for name, array in model.state().items())


def test_loading_needs_no_script(saved, tmp_path):
    expected = gcn.load(saved).predict(IMAGES)
    np.save(tmp_path / "images.npy", IMAGES)
    script = textwrap.dedent(
        """
        import sys
        import numpy as np
        import graphcnn as gcn
        sys.stdout.buffer.write(gcn.load("model.safetensors").predict(np.load("images.npy")).tobytes())
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=True, timeout=60
    )
    assert result.stdout == expected.tobytes()


def test_the_file_holds_no_folder_of_the_users_machine(saved):
    content = saved.read_bytes()
    here = Path(__file__)
    assert here.name.encode() in content  # lines of the script stay known
    for folder in (str(here.parent), here.parent.name, str(Path(gcn.__file__).parent), str(Path.home())):
        assert f"{folder}{os.sep}".encode() not in content
    origin = gcn.load(saved).gradient_graph.node(0).origin
    assert origin.file == here.name
    assert origin.line > 0


def test_the_file_is_plain_safetensors(saved):
    tensors, _ = contents(saved)
    np.testing.assert_array_equal(tensors["conv1.filters"], gcn.load(saved).parameters["conv1.filters"])


# Damage


def refused(path, *parts):
    """Assert that the file is refused with its name and these parts of a reason."""
    with pytest.raises(FileError) as caught:
        gcn.load(path)
    message = str(caught.value)
    assert message.startswith("test_save_load.py:"), "it names the line that loads the file"
    assert path.name in message
    assert "\n  Mend: " in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("tenths", range(10))
def test_a_truncated_file(saved, tenths):
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) * tenths // 10])
    refused(saved, "is not a whole safetensors file", f"size {len(content) * tenths // 10} bytes")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04\x95pickle", b"PK\x03\x04" + bytes(100), b"\xff" * 64, struct.pack("<Q", 2**40) + b"{}"],
    ids=["empty", "pickle", "zip", "ones", "huge header"],
)
def test_a_file_of_another_kind(tmp_path, content):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    refused(path, "is not a whole safetensors file")


def test_a_path_that_is_no_file(tmp_path):
    refused(tmp_path / "missing.safetensors", "does not exist")
    refused(tmp_path, "is not a file")


def test_weights_of_another_program(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": np.zeros(3)}, path)
    refused(path, "was not saved by this version of graphcnn", "'format' is None", "model.load_weights(path)")


def rewrite(path, change):
    """Save the file's tensors and metadata again after `change(tensors, metadata)`."""
    tensors, metadata = contents(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        (
            "dense1.bias",
            np.zeros(4, np.float32),
            "dense1.bias: the file has float32[4], the network float32[3]",
        ),
        (
            "dense1.bias",
            np.zeros(3, np.float64),
            "dense1.bias: the file has float64[3], the network float32[3]",
        ),
        ("dense1.bias", None, "missing dense1.bias: float32[3]"),
        ("adam.beta1_power", None, "missing adam.beta1_power: float64[]"),
        ("dense9.bias", np.zeros(3, np.float32), "unknown dense9.bias"),
    ],
)
def test_tensors_that_do_not_fit_the_network(saved, name, tensor, reason):
    def change(tensors, metadata):
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = tensor

    rewrite(saved, change)
    refused(saved, "do not fit the network", reason)


METADATA = {
    "no graph": ("forward_graph", None, "there is no 'forward_graph'"),
    "an empty graph": ("forward_graph", "", ""),
    "no text": ("training_graph", "\x00\x01", ""),
    "no metrics": ("metrics", None, "there is no 'metrics'"),
    "metrics of another type": ("metrics", "[3]", "metrics [3] is not a list of names"),
    "an unknown metric": ("metrics", '["g1"]', "unknown metric 'g1'"),
    "an unknown optimiser": ("optimizer", '{"name": "Tiger", "options": {}}', "or metric 'Tiger'"),
    "a loss as optimiser": ("optimizer", '{"name": "CrossEntropy", "options": {}}', "'CrossEntropy'"),
    "a module as optimiser": ("optimizer", '{"name": "os.system", "options": {}}', "'os.system'"),
    "bad JSON": ("optimizer", '{"name": "SGD"', ""),
    "deep JSON": ("optimizer", "[" * 100_000, ""),
    "a list as optimiser": ("optimizer", "[]", "does not describe"),
    "an unknown option": ("optimizer", '{"name": "SGD", "options": {"rate": 1}}', "rate"),
    "an option that is not allowed": (
        "optimizer",
        '{"name": "SGD", "options": {"momentum": 2}}',
        "momentum=2 is not a number of at least 0 and below 1",
    ),
    "an option of another type": (
        "optimizer",
        '{"name": "SGD", "options": {"momentum": "0"}}',
        "momentum='0'",
    ),
    "an infinite option": (
        "optimizer",
        '{"name": "SGD", "options": {"weight_decay": Infinity}}',
        "weight_decay",
    ),
    "a huge option": (
        "optimizer",
        '{"name": "Adam", "options": {"epsilon": ' + "9" * 400 + "}}",
        "epsilon",
    ),
    "an unknown reduction": (
        "loss",
        '{"name": "CrossEntropy", "options": {"reduction": "max"}}',
        "reduction=",
    ),
    "no optimiser": ("optimizer", None, "unknown adam.beta1_power"),
    "a huge seed": ("seed", "9" * 5000, "is not an integer from 0 to 2**64 - 1"),
    "a seed of 65 bits": ("seed", str(2**64), "is not an integer from 0 to 2**64 - 1"),
    "a negative seed": ("seed", "-1", "seed '-1' is not an integer"),
    "a word as seed": ("seed", "lucky", "seed 'lucky' is not an integer"),
    "negative epochs": ("epochs_done", "-3", "epochs_done '-3' is not an integer"),
    "a rate that is no number": ("learning_rate", "nan", "learning_rate nan is not a finite number"),
    "a word as rate": ("learning_rate", "fast", "could not convert"),
    "a word as history": ("history", '"long"', "history is not a list of epochs"),
    "a history of words": ("history", '[{"loss": "low"}]', "history has 'low' as 'loss', which is no number"),
    "validations of words": ("validations", '"long"', "validations are not lists"),
    "validations of rows": ("validations", '[{"step": 1}]', "validations are not lists"),
    "a validation of words": ("validations", '[[{"step": 1, "val_loss": "low"}]]', "'low' as 'val_loss'"),
    "a validation nowhere": ("validations", '[[{"val_loss": 1.0}]]', "does not say after which step"),
    "a validation of no epoch": (
        "validations",
        '[[{"step": 1, "steps": 0}]]',
        "does not say after which step",
    ),
    "a history of lists": ("history", "[[1]]", "history is not a list of epochs"),
    "a history beyond all bounds": (
        "history",
        "[" + "{}," * 400_000 + "{}]",
        "'history' has 1200004 characters, and at most 1048576 are read",
    ),
    "a list to resume from": ("resume", "[]", "resume '[]' is no object"),
    "another version": ("format", "graphcnn/999", "'graphcnn/999', expected 'graphcnn/1'"),
}


@pytest.mark.parametrize(("field", "text", "reason"), METADATA.values(), ids=METADATA)
def test_damaged_metadata(saved, field, text, reason):
    def change(tensors, metadata):
        metadata.pop(field, None)
        if text is not None:
            metadata[field] = text

    rewrite(saved, change)
    refused(saved, reason)


GRAPHS = {
    "an unknown op": ("relu(", "os_system(", "there is no op 'os_system'"),
    "a broken attribute": ("label=", "lable=", "no attribute 'lable'"),
    "a wrong type": ("float32[3]", "float32[4]", ""),
    "another output": ('output "output"', 'output "result"', "other outputs"),
    "a setting": ('role="parameter"', 'role="setting"', ""),
    "an unknown role": ('role="parameter"', 'role="root"', "unknown role 'root'"),
    "another parameter": ('"dense1.bias"', '"dense7.bias"', "inputs differ"),
    "an input with a reserved name": ('"image"', '"target"', "taken by the model itself"),
}


@pytest.mark.parametrize(("old", "new", "reason"), GRAPHS.values(), ids=GRAPHS)
def test_damaged_graphs(saved, old, new, reason):
    both = reason in ("inputs differ",)

    def change(tensors, metadata):
        assert old in metadata["forward_graph"]
        metadata["forward_graph"] = metadata["forward_graph"].replace(old, new)
        if not both:
            metadata["training_graph"] = metadata["training_graph"].replace(old, new)

    rewrite(saved, change)
    refused(saved, "the metadata of", reason)


def test_a_graph_that_asks_for_absurd_memory_is_refused_before_it_is_allocated(saved):
    def change(tensors, metadata):
        for name in ("forward_graph", "training_graph"):
            metadata[name] = metadata[name].replace("float32[64, 3]", "float32[64, 3000000000]")

    rewrite(saved, change)
    refused(saved)


def test_a_bit_that_flips_in_the_header_is_refused_or_harmless(saved):
    content = saved.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    for position in np.random.default_rng(0).integers(0, 8 + length, 40):
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(position % 7)
        saved.write_bytes(flipped)
        try:
            gcn.load(saved)
        except FileError as error:
            assert saved.name in str(error)


def test_an_unknown_backend(saved):
    with pytest.raises(BackendError, match="there is no backend 'cuda'"):
        gcn.load(saved, backend="cuda")


def test_metadata_is_json_and_text_alone(saved):
    _, metadata = contents(saved)
    assert json.loads(metadata["optimizer"])["name"] == "Adam"
    loss = json.loads(metadata["loss"])
    assert (loss["name"], loss["options"]["reduction"]) == ("CrossEntropy", "mean")
    assert gcn.parse(metadata["forward_graph"]).outputs.keys() == {"output"}
