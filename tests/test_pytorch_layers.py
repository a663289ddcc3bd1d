"""Layers against PyTorch's of the same name: results, and gradients of images and parameters, in float64."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend

pytestmark = pytest.mark.torch

MAPS = (7, 6, 4)
SIGNAL = (11, 4)
MODES = ("zeros", "reflect", "replicate", "circular")


def torch_values(torch, array):
    """Return [N, ..., C] as PyTorch's [N, C, ...]."""
    return torch.tensor(np.moveaxis(array, -1, 1).copy(), requires_grad=True)


def our_values(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


POOLS = {
    f"{pool} {arguments} {keywords}": (
        lambda p=pool, a=arguments, k=keywords: getattr(gcn, p)(*a, **k),
        lambda torch, p=pool, a=arguments, k=keywords: getattr(torch.nn, p)(*a, **k),
        MAPS,
    )
    for pool, options in (
        ("MaxPool2d", [{}, {"ceil_mode": True}]),
        ("AvgPool2d", [{}, {"ceil_mode": True}, {"count_include_pad": False}, {"divisor_override": 5}]),
        ("AvgPool2d", [{"ceil_mode": True, "count_include_pad": False}]),
    )
    for keywords in options
    for arguments in ((2,), (3, 2, 1), ((3, 2), (2, 3), (1, 0)), (2, 1, 1), (2, 3))
}
CONVOLUTIONS = {
    f"{kind} {arguments} {keywords}": (
        lambda k=kind, a=arguments, o=keywords: getattr(gcn, k)(6, *a, **o),
        lambda torch, k=kind, a=arguments, o=keywords: getattr(torch.nn, k)(4, 6, *a, **o),
        SIGNAL if kind.endswith("1d") else MAPS,
    )
    for kind, options in (
        (
            "Conv2d",
            [{"padding_mode": mode, "groups": 2} for mode in MODES],
        ),
        ("Conv1d", [{"padding_mode": mode} for mode in MODES]),
        ("Conv1d", [{"groups": 2, "dilation": 2}]),
        ("ConvTranspose2d", [{"output_padding": 1}, {"dilation": 2, "output_padding": 1}, {"groups": 2}]),
        ("ConvTranspose1d", [{"output_padding": 1}, {"dilation": 2, "groups": 2}]),
    )
    for keywords in options
    for arguments in ((3, 2, 1), (4, 3, 2), (2, 2))
}
CASES = (
    POOLS
    | CONVOLUTIONS
    | {
        "LPPool2d": (lambda: gcn.LPPool2d(2, 3, 2), lambda torch: torch.nn.LPPool2d(2, 3, 2), MAPS),
        "LPPool2d 4": (lambda: gcn.LPPool2d(4, 3, 2), lambda torch: torch.nn.LPPool2d(4, 3, 2), MAPS),
        "GlobalMaxPool2d": (
            gcn.GlobalMaxPool2d,
            lambda torch: torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten()),
            MAPS,
        ),
        "AdaptiveAvgPool2d": (
            lambda: gcn.AdaptiveAvgPool2d((5, 4)),
            lambda t: t.nn.AdaptiveAvgPool2d((5, 4)),
            MAPS,
        ),
        "AdaptiveMaxPool2d": (
            lambda: gcn.AdaptiveMaxPool2d((5, 4)),
            lambda t: t.nn.AdaptiveMaxPool2d((5, 4)),
            MAPS,
        ),
        "AdaptiveAvgPool1d": (lambda: gcn.AdaptiveAvgPool1d(5), lambda t: t.nn.AdaptiveAvgPool1d(5), SIGNAL),
        "MaxPool1d": (
            lambda: gcn.MaxPool1d(3, 2, 1, True),
            lambda t: t.nn.MaxPool1d(3, 2, 1, ceil_mode=True),
            SIGNAL,
        ),
        "AvgPool1d": (lambda: gcn.AvgPool1d(3, 2, 1, True), lambda t: t.nn.AvgPool1d(3, 2, 1, True), SIGNAL),
        "GroupNorm": (lambda: gcn.GroupNorm(2), lambda t: t.nn.GroupNorm(2, 4), MAPS),
        "GroupNorm of rows": (lambda: gcn.GroupNorm(2), lambda t: t.nn.GroupNorm(2, 4), (4,)),
        "InstanceNorm2d": (gcn.InstanceNorm2d, lambda t: t.nn.InstanceNorm2d(4), MAPS),
        "InstanceNorm2d affine": (
            lambda: gcn.InstanceNorm2d(affine=True),
            lambda t: t.nn.InstanceNorm2d(4, affine=True),
            MAPS,
        ),
        "LayerNorm": (gcn.LayerNorm, lambda t: t.nn.LayerNorm(4), (4,)),
        "RMSNorm": (gcn.RMSNorm, lambda t: t.nn.RMSNorm(4), (4,)),
        "BatchNorm1d": (gcn.BatchNorm1d, lambda t: t.nn.BatchNorm1d(4).eval(), SIGNAL),
        "LocalResponseNorm": (
            lambda: gcn.LocalResponseNorm(3, 0.1, 0.5, 2.0),
            lambda t: t.nn.LocalResponseNorm(3, 0.1, 0.5, 2.0),
            MAPS,
        ),
    }
)
PARTS = {"filters": "weight", "bias": "bias", "scale": "weight", "shift": "bias"}
"""What a parameter is called here, and in PyTorch."""


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_equals_pytorchs(case, backend):
    torch = pytest.importorskip("torch")
    ours, theirs, shape = CASES[case]
    random = np.random.default_rng(0)
    images = random.normal(size=(2, *shape))
    x = gcn.Input(shape, "x", dtype="float64")
    y = ours()(x)
    weights = gcn.Input(y.shape[1:], "weights", dtype="float64")
    graph = gcn.Network((x, weights), gcn.sum(y * weights)).graph
    module, image = theirs(torch).double(), torch_values(torch, images)
    parameters, statistics = set_alike(graph, module, random)
    result = module(image)
    delta = random.normal(size=our_values(result).shape)
    (result * torch_values(torch, delta)).sum().backward()

    given = {"x": images, **parameters, **statistics}
    forward = load_backend(backend).compile(gcn.Network(x, y).graph)
    np.testing.assert_allclose(forward(**given)["output"], our_values(result), rtol=0, atol=1e-10)
    slopes = gcn.simplify(gcn.gradient(graph, of="output", wrt=["x", *parameters]))
    found = load_backend(backend).compile(slopes)(weights=delta, **given)
    np.testing.assert_allclose(found["gradient(x)"], our_values(image.grad), rtol=0, atol=1e-10)
    for name in parameters:
        theirs_of_it = getattr(module, PARTS[name.partition(".")[2]]).grad.numpy()
        own = laid_out(name, found[f"gradient({name})"], module)
        np.testing.assert_allclose(own, theirs_of_it, rtol=0, atol=1e-10, err_msg=name)


def set_alike(graph, module, random):
    """Draw parameters for a layer here, and give them to PyTorch's module. Returns them, and statistics."""
    parameters, statistics = {}, {}
    for name, value in graph.inputs.items():
        part = name.partition(".")[2]
        if part in PARTS:
            parameters[name] = random.normal(size=value.type.shape)
            array = np.ascontiguousarray(laid_out(name, parameters[name], module))
            own = getattr(module, PARTS[part])
            own.data = own.data.new_tensor(array)
        elif part:
            statistics[name] = np.zeros(4) if part == "mean" else np.ones(4)
    return parameters, statistics


def laid_out(name, array, module):
    """Return a parameter, or its gradient, with the axes that PyTorch gives it."""
    if not name.endswith(".filters"):
        return array
    if "Transpose" not in type(module).__name__:
        return np.moveaxis(array, (-1, -2), (0, 1))
    blocks = np.split(array, module.groups, axis=-1)
    return np.concatenate([np.moveaxis(block, (-2, -1), (0, 1)) for block in blocks])
