"""Times graphcnn on one network for a comparison with other frameworks: answers on standard input and output.

    step_worker.py NET --batch N --mode train|infer --threads T [--backend NAME | --target NAME]
        [--precision bfloat16]

A training step is forward, mean cross-entropy, gradient and SGD with momentum; an inference gives logits.
NET is one of `networks.py` or of `graphcnn.zoo`, `random:SEED`, or one of the Python file that the
environment variable DUEL_NETS names: its `NETS` maps a name to (input shape, layers), as described there.
"""

from __future__ import annotations

import os
import runpy
from typing import Any

import numpy as np
from networks import NETWORKS, RANDOM, Layers, described
from protocol import answer, arguments

import graphcnn as gcn
from graphcnn.ir import Graph
from graphcnn.zoo import ZOO
from graphcnn_native.backend import NativeBackend
from graphcnn_native.executable import NativeExecutable
from graphcnn_native.target import Target, named_target


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--backend", default="native")
    parser.add_argument("--target", help="of the native backend: avx2, say, on a processor that has more")
    parser.add_argument("--precision", help="of what products multiply: bfloat16, or float32")
    given = parser.parse_args()
    os.environ["GRAPHCNN_THREADS"] = str(given.threads)
    network, shape = find(given.net)
    model = gcn.compile(
        network,
        input_shape=None if isinstance(network, gcn.Network) else shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.01, momentum=0.9),
        metrics=[],
        precision=given.precision,
        backend=ForTarget(named_target(given.target)) if given.target else given.backend,
    )
    random = np.random.default_rng(0)
    images = random.standard_normal((given.batch, *shape), dtype=np.float32)
    labels = random.integers(0, 10, given.batch)
    is_training = given.mode == "train"
    answer(
        f"graphcnn-{given.backend}",
        (lambda: model.train_step(images, labels))
        if is_training
        else (lambda: model.predict(images, batch_size=given.batch)),
        lambda: model.graph("step" if is_training else "forward").cost(given.batch).flops,
    )


class ForTarget(NativeBackend):
    """The native backend for a processor with fewer instructions than this one."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def compile(
        self, graph: Graph, *, threads: int | None = None, winograd: bool | int = True
    ) -> NativeExecutable:
        return NativeExecutable(graph, target=self._target, threads=threads, winograd=winograd)


def find(name: str) -> tuple[Any, tuple[int, ...]]:
    """Return a network and the shape of its input."""
    if "DUEL_NETS" in os.environ:
        more = runpy.run_path(os.environ["DUEL_NETS"])["NETS"]
        if name in more:
            shape, layers = more[name]
            return built(shape, layers), tuple(shape)
    if name in NETWORKS or name.startswith(RANDOM):
        shape, layers = described(name)
        return built(shape, layers), shape
    return ZOO[name].make(), ZOO[name].input_shape


def built(shape: tuple[int, ...], layers: Layers) -> gcn.Network:
    image = gcn.Input(shape, name="image")
    return gcn.Network(image, applied(layers, image))


def applied(layers: Layers, x: Any) -> Any:
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


if __name__ == "__main__":
    main()
