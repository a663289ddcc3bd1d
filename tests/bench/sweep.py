"""Looks for cliffs: times networks of many shapes, each against the peak of this machine.

    python tests/bench/sweep.py [--batch 64] [--threads 2] [--mode train|infer] [--only TEXT]

A network whose share is far below that of its neighbours in the table has met a kernel that is not tuned for
its shape; the last column names the kernel that takes most of the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import graphcnn as gcn
from graphcnn.inspection.benchmark import benchmark
from graphcnn.zoo import ZOO

Make = Callable[[], gcn.Network]


def pair(channels: int, filters: int, **options: object) -> Make:
    """Two convolutions between images of 16x16, so that all three passes of each are timed."""

    kernel = options.pop("kernel", 3)

    def make() -> gcn.Network:
        image = gcn.Input((16, 16, channels), name="image")
        x = gcn.relu(gcn.Conv2d(filters, 3, padding=1)(image))
        x = gcn.relu(gcn.Conv2d(filters, kernel, **options)(x))  # type: ignore[arg-type]
        return gcn.Network(image, gcn.Dense(10)(gcn.Flatten()(x)))

    return make


def lenet(first: int, second: int, units: int, *, channels: int = 1, activation: object = gcn.relu) -> Make:
    def make() -> gcn.Network:
        assert callable(activation)
        image = gcn.Input((28, 28, channels), name="image")
        x = gcn.MaxPool2d(2)(activation(gcn.Conv2d(first, 5)(image)))
        x = gcn.MaxPool2d(2)(activation(gcn.Conv2d(second, 5)(x)))
        x = activation(gcn.Dense(units)(gcn.Flatten()(x)))
        return gcn.Network(image, gcn.Dense(10)(x))

    return make


def pooled(layer: Callable[[], gcn.Layer]) -> Make:
    def make() -> gcn.Network:
        image = gcn.Input((32, 32, 16), name="image")
        x = gcn.relu(gcn.Conv2d(32, 3, padding=1)(layer()(gcn.relu(gcn.Conv2d(32, 3)(image)))))
        return gcn.Network(image, gcn.Dense(10)(gcn.GlobalAvgPool2d()(x)))

    return make


def branches() -> gcn.Network:
    image = gcn.Input((16, 16, 32), name="image")
    x = gcn.relu(gcn.Conv2d(32, 3, padding=1)(image) + gcn.Conv2d(32, 1)(image))
    x = gcn.relu(gcn.Conv2d(32, 3, padding=1)(x) + x)
    return gcn.Network(image, gcn.Dense(10)(gcn.GlobalAvgPool2d()(x)))


NETWORKS: dict[str, Make] = {
    **{
        f"{c}→{d} 3x3": pair(c, d)
        for c, d in ((1, 8), (3, 16), (7, 13), (13, 7), (16, 16), (50, 50), (64, 64))
    },
    **{f"32→32 {k}x{k}": pair(32, 32, kernel=k, padding=k // 2) for k in (1, 3, 5, 7)},
    "32→32 stride 2": pair(32, 32, stride=2),
    "32→32 dilation 2": pair(32, 32, dilation=2),
    "32→32 4 groups": pair(32, 32, groups=4),
    "32→32 depthwise": pair(32, 32, groups=32),
    "LeNet 20-50-500": lenet(20, 50, 500),
    "LeNet 50-20-500": lenet(50, 20, 500),
    "LeNet 6-16-120, 3 channels": lenet(6, 16, 120, channels=3),
    "LeNet 6-16-120, tanh": lenet(6, 16, 120, activation=gcn.tanh),
    "average pool": pooled(lambda: gcn.AvgPool2d(2)),
    "overlapping max pool": pooled(lambda: gcn.MaxPool2d(3, stride=2, padding=1)),
    "branches": branches,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--mode", choices=("train", "infer"), default="train")
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    arguments = parser.parse_args()
    print(f"{'network':28} {'ms':>9} {'GFLOP/s':>8} {'of peak':>8}  slowest kernel")
    for name, make in NETWORKS.items():
        if arguments.only in name:
            show(name, make(), arguments)
    for name, entry in ZOO.items():
        if arguments.only in name:
            show(name, entry.make(), arguments, entry.input_shape)


def show(name: str, network: gcn.Network, arguments: argparse.Namespace, shape: object = None) -> None:
    model = gcn.compile(
        network,
        input_shape=shape,  # type: ignore[arg-type]
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.01, momentum=0.9),
        metrics=[],
        threads=arguments.threads,
    )
    result = benchmark(model, mode=arguments.mode, batch=arguments.batch, repeats=15)
    rate = result.flops / result.seconds
    slowest = max(result.kernels, key=lambda kernel: kernel.seconds)
    print(
        f"{name:28} {result.seconds * 1e3:9.3f} {rate / 1e9:8.1f} {rate / (result.peak or rate):8.0%}  "
        f"{slowest.seconds / result.seconds:.0%} {slowest.name} of {slowest.layers}",
        flush=True,
    )


if __name__ == "__main__":
    main()
