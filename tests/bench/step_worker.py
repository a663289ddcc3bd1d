"""Times graphcnn on one network for a duel with other frameworks: answers on standard input and output.

    step_worker.py NET --batch N --mode train|infer --threads T [--backend NAME]

Prints one JSON line when it is ready, with the seconds of the first call (compilation included), and then
answers every line that holds a number n with the seconds that n calls take. The networks are those of the
zoo and those of the Python file that the environment variable DUEL_NETS names: its `NETS` maps a name to
(input shape, layers), a layer being a tuple such as ("conv", filters, kernel, stride, padding, bias).
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import graphcnn as gcn
from graphcnn.zoo import ZOO

RESNET20_STAGES = ((16, 1), (32, 2), (64, 2))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("net")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--mode", choices=("train", "infer"), default="train")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", default="native")
    arguments = parser.parse_args()
    os.environ["GRAPHCNN_THREADS"] = str(arguments.threads)
    network, shape = find(arguments.net)
    call = prepared(network, shape, arguments)
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    for _ in range(3):
        call()
    name = f"graphcnn-{arguments.backend}"
    print(json.dumps({"ready": True, "first_s": round(first, 3), "name": name}), flush=True)
    for line in sys.stdin:
        if line.strip() == "quit":
            return
        start = time.perf_counter()
        for _ in range(int(line)):
            call()
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


def prepared(network: Any, shape: tuple[int, ...], arguments: argparse.Namespace) -> Callable[[], object]:
    """Return the call to time: a whole training step, or the logits of a batch."""
    model = gcn.compile(
        network,
        input_shape=None if isinstance(network, gcn.Network) else shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.01, momentum=0.9),
        metrics=[],
        backend=arguments.backend,
    )
    random = np.random.default_rng(0)
    images = random.standard_normal((arguments.batch, *shape), dtype=np.float32)
    labels = random.integers(0, 10, arguments.batch)
    if arguments.mode == "train":
        return lambda: model.train_step(images, labels)
    return lambda: model.predict(images, batch_size=arguments.batch)


def find(name: str) -> tuple[Any, tuple[int, ...]]:
    """Return a network and the shape of its input."""
    if "DUEL_NETS" in os.environ:
        more = runpy.run_path(os.environ["DUEL_NETS"])["NETS"]
        if name in more:
            shape, layers = more[name]
            return built(shape, layers), tuple(shape)
    if name == "resnet20":
        return resnet20(), (32, 32, 3)
    return ZOO[name].make(), ZOO[name].input_shape


def built(shape: tuple[int, ...], layers: list[tuple[Any, ...]]) -> gcn.Network:
    image = gcn.Input(shape, name="image")
    return gcn.Network(image, applied(layers, image))


def applied(layers: list[tuple[Any, ...]], x: Any) -> Any:
    """Apply layers given as tuples to a value."""
    for kind, *a in layers:
        match kind:
            case "conv":
                filters, kernel, stride, padding, bias, *groups = a
                options = {"stride": stride, "padding": padding, "bias": bias, "groups": (*groups, 1)[0]}
                x = gcn.Conv2d(filters, kernel, **options)(x)
            case "relu" | "relu6" | "tanh" | "silu" | "gelu":
                x = getattr(gcn, kind)(x)
            case "batchnorm":
                x = gcn.BatchNorm2d()(x)
            case "maxpool":
                x = gcn.MaxPool2d(a[0], stride=a[1])(x)
            case "avgpool":
                x = gcn.AvgPool2d(a[0], stride=a[1])(x)
            case "globalavg":
                x = gcn.GlobalAvgPool2d()(x)
            case "flatten":
                x = gcn.Flatten()(x)
            case "dense":
                x = gcn.Dense(a[0])(x)
            case "residual":
                main, shortcut, *has_relu = a
                x = applied(main, x) + applied(shortcut, x)
                x = gcn.relu(x) if (*has_relu, True)[0] else x
            case _:
                raise SystemExit(f"there is no layer {kind!r}")
    return x


def resnet20() -> gcn.Network:
    """He et al. 2015, for CIFAR-10."""
    layers: list[tuple[Any, ...]] = [("conv", 16, 3, 1, 1, False), ("batchnorm",), ("relu",)]
    for filters, first_stride in RESNET20_STAGES:
        for block in range(3):
            stride = first_stride if block == 0 else 1
            main = [("conv", filters, 3, stride, 1, False), ("batchnorm",), ("relu",)]
            main += [("conv", filters, 3, 1, 1, False), ("batchnorm",)]
            shortcut = [] if stride == 1 else [("conv", filters, 1, stride, 0, False), ("batchnorm",)]
            layers.append(("residual", main, shortcut))
    return built((32, 32, 3), [*layers, ("globalavg",), ("dense", 10)])


if __name__ == "__main__":
    main()
