"""Activations and functions of single elements agree with PyTorch: values, slopes at kinks, second order."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend

pytestmark = pytest.mark.torch

KINKS = [-6.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0]
FUNCTIONS = {
    "relu": (gcn.relu, lambda t, x: t.relu(x)),
    "tanh": (gcn.tanh, lambda t, x: t.tanh(x)),
    "sigmoid": (gcn.sigmoid, lambda t, x: t.sigmoid(x)),
    "leaky_relu": (gcn.leaky_relu, lambda t, x: t.nn.functional.leaky_relu(x)),
    "leaky_relu 0.3": (
        lambda x: gcn.leaky_relu(x, 0.3),
        lambda t, x: t.nn.functional.leaky_relu(x, negative_slope=0.3),
    ),
    "prelu": (
        lambda x: gcn.prelu(x, 0.25),
        lambda t, x: t.nn.functional.prelu(x, t.tensor([0.25], dtype=x.dtype)),
    ),
    "relu6": (gcn.relu6, lambda t, x: t.nn.functional.relu6(x)),
    "hardtanh": (gcn.hardtanh, lambda t, x: t.nn.functional.hardtanh(x)),
    "hardtanh -3 to 0.5": (
        lambda x: gcn.hardtanh(x, -3, 0.5),
        lambda t, x: t.nn.functional.hardtanh(x, min_val=-3, max_val=0.5),
    ),
    "elu": (gcn.elu, lambda t, x: t.nn.functional.elu(x)),
    "elu 0.5": (lambda x: gcn.elu(x, 0.5), lambda t, x: t.nn.functional.elu(x, alpha=0.5)),
    "selu": (gcn.selu, lambda t, x: t.nn.functional.selu(x)),
    "celu": (gcn.celu, lambda t, x: t.nn.functional.celu(x)),
    "celu 0.5": (lambda x: gcn.celu(x, 0.5), lambda t, x: t.nn.functional.celu(x, alpha=0.5)),
    "silu": (gcn.silu, lambda t, x: t.nn.functional.silu(x)),
    "gelu": (gcn.gelu, lambda t, x: t.nn.functional.gelu(x)),
    "gelu tanh": (
        lambda x: gcn.gelu(x, approximate="tanh"),
        lambda t, x: t.nn.functional.gelu(x, approximate="tanh"),
    ),
    "mish": (gcn.mish, lambda t, x: t.nn.functional.mish(x)),
    "softplus": (gcn.softplus, lambda t, x: t.nn.functional.softplus(x, threshold=100)),
    "softplus 3": (
        lambda x: gcn.softplus(x, 3, 0.2),
        lambda t, x: t.nn.functional.softplus(x, beta=3, threshold=0.2),
    ),
    "softsign": (gcn.softsign, lambda t, x: t.nn.functional.softsign(x)),
    "hardsigmoid": (gcn.hardsigmoid, lambda t, x: t.nn.functional.hardsigmoid(x)),
    "hardswish": (gcn.hardswish, lambda t, x: t.nn.functional.hardswish(x)),
    "softmax": (gcn.softmax, lambda t, x: t.softmax(x, -1)),
    "softmax 1": (lambda x: gcn.softmax(x, 1), lambda t, x: t.softmax(x, 1)),
    "log_softmax": (gcn.log_softmax, lambda t, x: t.log_softmax(x, -1)),
    "scaled_tanh": (gcn.scaled_tanh, lambda t, x: 1.7159 * t.tanh(2 / 3 * x)),
    "abs": (gcn.abs, lambda t, x: t.abs(x)),
    "sign": (gcn.sign, lambda t, x: t.sign(x)),
    "sin": (gcn.sin, lambda t, x: t.sin(x)),
    "cos": (gcn.cos, lambda t, x: t.cos(x)),
    "erf": (gcn.erf, lambda t, x: t.erf(x)),
    "clip": (lambda x: gcn.clip(x, -1, 2), lambda t, x: t.clamp(x, -1, 2)),
    "clip below": (lambda x: gcn.clip(x, 0.5), lambda t, x: t.clamp(x, min=0.5)),
    "clip by values": (
        lambda x: gcn.clip(x, gcn.sin(x) - 1, gcn.cos(x)),
        lambda t, x: t.clamp(x, t.sin(x) - 1, t.cos(x)),
    ),
    "minimum": (lambda x: gcn.minimum(x, 0.5), lambda t, x: t.minimum(x, t.full_like(x, 0.5))),
    "maximum": (lambda x: gcn.maximum(x, 0.5), lambda t, x: t.maximum(x, t.full_like(x, 0.5))),
    "where": (
        lambda x: gcn.where((x > -1) & (x <= 2), 2 * x, x * x),
        lambda t, x: t.where((x > -1) & (x <= 2), 2 * x, x * x),
    ),
    "stop_gradient": (lambda x: gcn.stop_gradient(gcn.exp(x)) * x, lambda t, x: t.exp(x).detach() * x),
}
IN_SINGLE_PRECISION = {"hardsigmoid", "hardswish"}
"""PyTorch rounds their factor 1/6 to float32 in float64, too."""
ONCE = {"hardsigmoid"}
"""PyTorch has no second derivative of these."""


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name, dtype, backend):
    torch = pytest.importorskip("torch")
    function, other = FUNCTIONS[name]
    random = np.random.default_rng(5)
    smooth = random.normal(size=(2, 7, 11)).astype(dtype) * 4
    kinks = np.tile(np.array(KINKS, dtype), (2, 7, 1))
    tolerance = 1e-5 if dtype == "float32" else 1e-7 if name in IN_SINGLE_PRECISION else 1e-12
    for array, order in ((smooth, 1 if name in ONCE else 2), (kinks, 1)):
        weights = [random.normal(size=array.shape).astype(dtype) for _ in range(order)]
        found = derivatives(function, array, weights, backend)
        wanted = torch_derivatives(torch, other, array, weights)
        for mine, theirs in zip(found, wanted, strict=True):
            scale = max(1.0, np.abs(theirs).max())
            assert np.abs(mine - theirs).max() <= tolerance * scale


def derivatives(function, array, weights, backend):
    """Return y, the gradient of Σ v·y, and that of Σ w·(this gradient), as far as there are weights."""
    x = gcn.Input(array.shape[1:], "x", dtype=str(array.dtype))
    factors = [gcn.Input(array.shape[1:], f"v{n}", dtype=str(array.dtype)) for n in range(len(weights))]
    value = function(x)
    total = gcn.sum(value * factors[0])
    graph = gcn.Network((x, *factors), {"value": value, "total": total}).graph
    inputs = {"x": array, **{f"v{n}": weight for n, weight in enumerate(weights)}}
    results = [run(backend, graph, inputs)["value"]]
    first = gcn.gradient(graph, "total", ["x"])
    results.append(run(backend, first, inputs)["gradient(x)"])
    if len(weights) == 2:
        product = first.add(gcn.ops.Multiply(), first.outputs["gradient(x)"], first.inputs["v1"])
        first.output("again", first.add(gcn.ops.Sum((0, 1, 2)), product))
        second = gcn.gradient(first, "again", ["x"])
        results.append(run(backend, second, inputs)["gradient(x)"])
    return results


def run(backend, graph, inputs):
    graph = gcn.simplify(graph)
    return load_backend(backend).compile(graph)(**{name: inputs[name] for name in graph.inputs})


def torch_derivatives(torch, function, array, weights):
    x = torch.tensor(array, requires_grad=True)
    value = function(torch, x)
    found, scalar = [value], value
    for weight in weights:
        (gradient,) = (
            torch.autograd.grad(
                (scalar * torch.tensor(weight)).sum(), x, create_graph=True, allow_unused=True
            )
            if scalar.requires_grad
            else (None,)
        )
        scalar = torch.zeros_like(x) if gradient is None else gradient
        found.append(scalar)
    return [each.numpy(force=True) for each in found]
