"""The same bits on any number of threads, from process to process, with and without a cache."""

import os
import subprocess
import sys

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn_native.codegen import shares
from graphcnn_native.codegen.module import generate

BATCHES = (1, 7, 16, 33, 64, 130, 300)
CLASSES = 5


def like_lenet():
    layers = [gcn.Conv2d(6, 3, padding="same"), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Conv2d(16, 3), gcn.ReLU()]
    return gcn.Sequential(*layers, gcn.Flatten(), gcn.Dense(20), gcn.ReLU(), gcn.Dense(CLASSES))


def pooled():
    layers = [gcn.Conv2d(6, 1), gcn.ReLU(), gcn.Conv2d(20, 5), gcn.ReLU(), gcn.MaxPool2d(2)]
    return gcn.Sequential(*layers, gcn.Flatten(), gcn.Dense(CLASSES))


def residual():
    image = gcn.Input((8, 8, 3))
    x = gcn.ReLU()(gcn.BatchNorm2d()(gcn.Conv2d(8, 3, padding="same")(image)))
    y = gcn.BatchNorm2d()(gcn.Conv2d(8, 3, padding="same")(x))
    return gcn.Network(image, gcn.Dense(CLASSES)(gcn.GlobalAvgPool2d()(gcn.ReLU()(x + y))))


def with_dropout():
    layers = [
        gcn.Conv2d(5, 3),
        gcn.Tanh(),
        gcn.Dropout(0.3),
        gcn.AvgPool2d(2),
        gcn.Flatten(),
        gcn.Dropout(0.5),
    ]
    return gcn.Sequential(*layers, gcn.Dense(CLASSES))


def with_holes():
    layers = [gcn.Conv2d(6, 3, groups=3, dilation=2), gcn.ReLU(), gcn.Conv2d(12, 2, stride=2, groups=2)]
    return gcn.Sequential(*layers, gcn.DepthwiseConv2d(2), gcn.ReLU(), gcn.Flatten(), gcn.Dense(CLASSES))


def with_strides():
    layers = [
        gcn.Conv2d(16, 3, padding="same"),
        gcn.ReLU(),
        gcn.Conv2d(24, 3, stride=2, padding=1),
        gcn.ReLU(),
    ]
    return gcn.Sequential(*layers, gcn.ConvTranspose2d(16, 3, stride=2), gcn.Flatten(), gcn.Dense(CLASSES))


NETWORKS = (like_lenet, pooled, residual, with_dropout, with_holes, with_strides)


def model_of(network, threads=2, precision="float32"):
    return gcn.compile(
        network(),
        input_shape=None if network is residual else (8, 8, 3),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.Adam(0.01),
        backend="native",
        threads=threads,
        precision=precision,
        seed=3,
    )


def trained(model, batches=BATCHES):
    """Return all that a few steps give back and leave behind, as bytes by name."""
    random = np.random.default_rng(1)
    found = {}
    for step, batch in enumerate(batches):
        images = random.random((batch, 8, 8, 3), np.float32)
        results = model.train_step(images, random.integers(0, CLASSES, batch))
        found |= {f"{name} of step {step}": value for name, value in results.items()}
        found[f"outputs after step {step}"] = model.predict(images[:9]).tobytes()
    return found | {name: array.tobytes() for name, array in model.state().items()}


def require_same(found, expected, what):
    assert [name for name, value in expected.items() if found[name] != value] == [], what


@pytest.mark.parametrize(
    ("network", "precision", "others"),
    [
        (like_lenet, "float32", (2, 3, 4, 8)),
        *((network, "float32", (3, 8)) for network in NETWORKS[1:]),
        *((network, "bfloat16", (3, 8)) for network in NETWORKS),
    ],
)
def test_training_does_not_depend_on_the_number_of_threads(network, precision, others):
    expected = trained(model_of(network, 1, precision))
    for threads in others:
        require_same(trained(model_of(network, threads, precision)), expected, f"{threads} threads")


def test_training_does_not_depend_on_the_cache(monkeypatch, tmp_path):
    results = []
    for folder in ("off", tmp_path / "empty", tmp_path / "empty"):
        monkeypatch.setenv("GRAPHCNN_CACHE", str(folder))
        results.append(trained(model_of(with_dropout), (33,)))
    assert any((tmp_path / "empty").iterdir())
    require_same(results[1], results[0], "the cache is filled")
    require_same(results[2], results[0], "the cache is read")


def test_batches_before_do_not_change_a_batch():
    one, other = model_of(like_lenet), model_of(like_lenet)
    images = np.random.default_rng(2).random((33, 8, 8, 3), np.float32)
    for batch in (300, 64, 1):
        other.predict(np.ones((batch, 8, 8, 3), np.float32))
    assert one.predict(images).tobytes() == other.predict(images).tobytes()


def test_another_process_makes_the_same_code():
    script = (
        "import hashlib, graphcnn as gcn;"
        "network = gcn.Sequential(gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.MaxPool2d(2),"
        "    gcn.Dropout(0.5), gcn.Flatten(), gcn.Dense(5));"
        "model = gcn.compile(network, input_shape=(8, 8, 3), loss=gcn.CrossEntropy(),"
        "    optimizer=gcn.Adam(0.01), backend='native');"
        "print(hashlib.sha256(model.executable('step').llvm_ir().encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def wide():
    layers = [gcn.Conv2d(32, 3, padding="same"), gcn.ReLU(), gcn.Conv2d(80, 3, padding="same"), gcn.ReLU()]
    layers += [gcn.MaxPool2d(2), gcn.Conv2d(32, 1), gcn.GELU(), gcn.Conv2d(48, 3), gcn.ReLU()]
    return gcn.Sequential(*layers, gcn.Flatten(), gcn.Dense(CLASSES))


@pytest.mark.parametrize(
    ("network", "precision"),
    [
        *((each, "float32") for each in (wide, *NETWORKS)),
        (wide, "bfloat16"),
    ],
)
def test_threads_share_the_work_on_few_samples(monkeypatch, network, precision):
    """However little it is: a shard is one sample or two, and there are more threads than shards."""
    monkeypatch.setenv("GRAPHCNN_CACHE", "off")
    monkeypatch.setattr(shares, "FLOPS_OF_PART", 1)
    batches = (1, 2, 3, 5, 9, 16, 33)
    expected = trained(model_of(network, 1, precision), batches)
    for threads in (2, 3, 8):
        model = model_of(network, threads, precision)
        require_same(trained(model, batches), expected, f"{threads} threads")
        executable = model.executable("step")
        kernels = generate(executable.program, executable.target).kernels
        assert any(kernel.most_parts > 1 for kernel in kernels)
