"""Random numbers of samples in training: the same for a sample however training goes about it."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import GraphError
from graphcnn.sample_keys import EPOCH_BITS, identities, in_epoch

RANDOM = np.random.default_rng(5)
IMAGES = RANDOM.normal(size=(50, 6, 6, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 50)


def augmenting(**options):
    network = gcn.Sequential(
        gcn.RandomFlip(),
        gcn.RandomCrop(padding=1),
        gcn.Cutout(2),
        gcn.Conv2d(4, 3),
        gcn.Dropout(0.3),
        gcn.Flatten(),
        gcn.Dense(3),
    )
    options = {"backend": "numpy", "optimizer": gcn.SGD(0.05, momentum=0.9), "seed": 3, **options}
    return gcn.compile(network, input_shape=(6, 6, 2), loss=gcn.CrossEntropy(), **options)


class Seen(gcn.Callback):
    """Notes the key that each image has in each epoch."""

    def __init__(self):
        self.keys = {}

    def on_step_begin(self, model, epoch, step, batch):
        for image, key in zip(batch["image"], batch["sample_key"], strict=True):
            self.keys[epoch, image.tobytes()] = int(key)


def seen(fit, **options):
    callback, model = Seen(), augmenting(**options)
    fit(model, callback)
    return callback.keys


def fitted(**options):
    return lambda model, callback: model.fit(
        IMAGES, LABELS, epochs=2, progress=False, callbacks=[callback], **options
    )


def test_keys_tell_samples_epochs_and_seeds_apart():
    first = identities(0, np.arange(100_000))
    assert len(set(first.tolist())) == 100_000
    assert not (first % 2**EPOCH_BITS).any()
    assert np.array_equal(in_epoch(first, 3), first + 3)
    assert np.array_equal(in_epoch(first, 2**EPOCH_BITS + 3), first + 3)
    assert not np.isin(identities(1, np.arange(1000)), first).any()
    bits = (first.view(np.uint64)[:, None] >> np.arange(EPOCH_BITS, 64, dtype=np.uint64)) & np.uint64(1)
    np.testing.assert_allclose(bits.mean(0), 0.5, atol=0.01)
    assert np.array_equal(identities(2**64 - 1, np.arange(9))[4:], identities(2**64 - 1, np.arange(4, 9)))


def test_a_sample_has_the_same_key_in_batches_of_any_size_and_order():
    expected = seen(fitted(batch_size=8))
    assert len(set(expected.values())) == 100
    assert seen(fitted(batch_size=50)) == expected
    assert seen(fitted(batch_size=7, shuffle=False)) == expected
    assert seen(fitted(batch_size=8), seed=4) != expected
    batches = [(IMAGES[n : n + 20], LABELS[n : n + 20]) for n in range(0, 50, 20)]
    assert seen(lambda model, callback: model.fit(
        batches, epochs=2, progress=False, callbacks=[callback])) == expected  # fmt: skip


@pytest.mark.parametrize("batches", [False, True])
def test_epochs_that_are_begun_in_the_middle_have_the_keys_of_whole_ones(batches):
    given = [(IMAGES[n : n + 20], LABELS[n : n + 20]) for n in range(0, 50, 20)]
    source = augmenting().source(*([given] if batches else [IMAGES, LABELS]), batch_size=20)
    whole, rest = list(source.epoch(3, 0)), list(source.epoch(3, 1))
    assert [batch["sample_key"].tolist() for batch in whole[1:]] == [
        batch["sample_key"].tolist() for batch in rest
    ]


def test_a_sample_s_index_is_its_row_in_all_arrays_whatever_part_is_trained_on():
    expected = seen(fitted(batch_size=8))
    part = seen(fitted(batch_size=8, validation_split=0.2))
    assert part.items() < expected.items()
    assert len(part) == 80
    cut = seen(lambda model, callback: model.fit(
        IMAGES, LABELS, epochs=4, batch_size=10, steps_per_epoch=2, progress=False, callbacks=[callback]
    ))  # fmt: skip
    assert set(cut.values()) <= set(expected.values())  # passes through the data have the numbers of epochs
    assert {key % 2**EPOCH_BITS for key in cut.values()} == {0, 1}


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_training_goes_on_after_a_file_as_if_it_had_never_stopped(backend, tmp_path):
    whole, first = augmenting(backend=backend), augmenting(backend=backend)
    whole.fit(IMAGES, LABELS, epochs=3, batch_size=16, progress=False)
    first.fit(IMAGES, LABELS, epochs=1, batch_size=16, progress=False)
    first.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", backend=backend)
    again.fit(IMAGES, LABELS, epochs=2, batch_size=16, progress=False)
    for name, array in whole.state().items():
        np.testing.assert_array_equal(again.state()[name], array)


def test_threads_change_nothing():
    states = []
    for threads in (1, 2, 3):
        model = augmenting(backend="native", threads=threads)
        model.fit(IMAGES, LABELS, epochs=2, batch_size=16, progress=False)
        states.append(model.state())
    for state in states[1:]:
        assert all(np.array_equal(state[name], array) for name, array in states[0].items())


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_steps_without_a_dataset_number_their_samples_on(backend, tmp_path):
    """Whatever the size of the steps before, and through a file."""

    def following(model):
        return model.as_batch(IMAGES[:4], LABELS[:4])["sample_key"].tolist()

    model = augmenting(backend=backend)
    assert following(model) == identities(3, np.arange(4)).tolist()
    model.train_step(IMAGES[:10], LABELS[:10])
    model.train_step(IMAGES[:6].tolist(), LABELS[:6], sample_weight=np.ones(6))
    assert following(model) == identities(3, np.arange(16, 20)).tolist()
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", backend=backend)
    assert following(again) == following(model)
    losses = [each.train_step(IMAGES[:10], LABELS[:10])["loss"] for each in (model, again)]
    assert losses[0] == losses[1]


def test_looking_at_a_batch_sees_what_the_next_step_would_and_draws_nothing():
    model = augmenting()
    recorded = model.inspect(IMAGES, LABELS)
    assert model.inspect(IMAGES, LABELS)["loss"] == recorded["loss"]
    assert model.train_step(IMAGES, LABELS)["loss"] == float(recorded["loss"])
    assert model.train_step(IMAGES, LABELS)["loss"] != float(recorded["loss"])


def test_evaluation_takes_images_as_they_are():
    model = augmenting()
    model.fit(IMAGES, LABELS, progress=False, validation_data=(IMAGES, LABELS))
    assert model.evaluate(IMAGES, LABELS) == model.evaluate(IMAGES, LABELS)
    assert "sample_key" not in model.graph("evaluation").inputs


def test_a_graph_that_draws_is_not_a_network():
    with pytest.raises(GraphError, match="draws random numbers of samples"):
        gcn.compile(augmenting().training_graph)


def test_the_role_of_keys_has_one_name_and_type():
    graph = gcn.Graph("keys")
    with pytest.raises(GraphError, match="keys of samples are 'sample_key', int64"):
        graph.input("keys", gcn.TensorType(("N",), "int64"), role="sample")
    with pytest.raises(GraphError, match="keys of samples are 'sample_key', int64"):
        graph.input("sample_key", gcn.TensorType(("N",), "int32"), role="sample")
