"""Times JAX on one network, as `step_worker.py` times graphcnn.

jax_worker.py NET --batch N --mode train|infer --threads T
"""

from __future__ import annotations

import functools
import os
from typing import Any

from networks import Layers, described
from protocol import answer, arguments

ACTIVATIONS = ("relu", "relu6", "tanh", "silu", "gelu")


def main() -> None:
    given = arguments(__doc__).parse_args()
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: given.threads]))  # JAX has no such option
    import jax
    import jax.numpy as jnp

    shape, layers = described(given.net)
    images = jax.random.normal(jax.random.key(0), (given.batch, *shape))
    labels = jnp.arange(given.batch) % 10
    weights: list[Any] = []
    forward(layers, images, iter(()), weights)
    speeds = [jnp.zeros_like(each) for each in weights]

    def loss(weights: list[Any]) -> Any:
        logits = forward(layers, images, iter(weights), None)
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(given.batch), labels])

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(weights: list[Any], speeds: list[Any]) -> Any:
        gradients = jax.grad(loss)(weights)
        speeds = [0.9 * speed + gradient for speed, gradient in zip(speeds, gradients, strict=True)]
        return [weight - 0.01 * speed for weight, speed in zip(weights, speeds, strict=True)], speeds

    infer = jax.jit(lambda weights, images: forward(layers, images, iter(weights), None, is_training=False))

    def train() -> None:
        nonlocal weights, speeds
        weights, speeds = jax.block_until_ready(step(weights, speeds))

    answer("JAX", train if given.mode == "train" else lambda: infer(weights, images).block_until_ready())


def forward(layers: Layers, x: Any, weights: Any, made: list[Any] | None, is_training: bool = True) -> Any:
    """Apply layers to images [N, H, W, C]. made: is given weights as they are needed, not `weights`."""
    import jax
    import jax.numpy as jnp

    def weight(*shape: int) -> Any:
        if made is None:
            return next(weights)
        made.append(0.1 * jax.random.normal(jax.random.key(len(made)), shape))
        return made[-1]

    def pooled(x: Any, size: int, stride: int, start: float, fold: Any) -> Any:
        return jax.lax.reduce_window(x, start, fold, (1, size, size, 1), (1, stride, stride, 1), "VALID")

    for kind, *a in layers:
        if kind == "conv":
            filters, kernel, stride, padding, bias, groups = a
            x = jax.lax.conv_general_dilated(
                x,
                weight(kernel, kernel, x.shape[3] // groups, filters),
                (stride, stride),
                [(padding, padding)] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=groups,
            )
            x = x + weight(filters) if bias else x
        elif kind == "batchnorm":
            mean, variance = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if is_training else (0.0, 1.0)
            x = (x - mean) / jnp.sqrt(variance + 1e-5) * weight(x.shape[3]) + weight(x.shape[3])
        elif kind == "maxpool":
            x = pooled(x, *a, -jnp.inf, jax.lax.max)
        elif kind == "avgpool":
            x = pooled(x, *a, 0.0, jax.lax.add) / a[0] ** 2
        elif kind == "globalavg":
            x = x.mean((1, 2))
        elif kind == "flatten":
            x = x.reshape(len(x), -1)
        elif kind == "dense":
            x = x @ weight(x.shape[1], a[0]) + weight(a[0])
        elif kind == "residual":
            main, shortcut, has_relu = a
            x = forward(main, x, weights, made, is_training) + forward(
                shortcut, x, weights, made, is_training
            )
            x = jax.nn.relu(x) if has_relu else x
        else:
            assert kind in ACTIVATIONS
            x = jnp.tanh(x) if kind == "tanh" else getattr(jax.nn, kind)(x)
    return x


if __name__ == "__main__":
    main()
