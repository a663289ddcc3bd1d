"""FLOPs by the field's convention: those of PyTorch's FlopCounterMode for convolutions and products."""

import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.ir import Emitter, Graph
from graphcnn.ops import Convolve2d, Correlate2d, Matmul
from graphcnn.transform import gradient, simplify

BATCH = 4

ZOO = {
    # name: forward and gradient, by FlopCounterMode of PyTorch 2.13 at batch 4
    "digits": (26_496, 32_256),
    "lecun1989": (662_880, 1_172_160),
    "lenet5": (3_332_160, 5_723_520),
    "mnist_cnn": (95_939_584, 190_321_664),
    "vgg_small": (311_175_168, 615_272_448),
}


def contractions(graph: Graph, *, of_gradient: bool = False, batch: int = BATCH) -> int:
    return sum(
        node.cost(batch).flops
        for _, node in graph.items()
        if isinstance(node.op, Correlate2d | Convolve2d | Matmul)
        and (node.origin.forward is not None) == of_gradient
    )


def compiled(name: str, backend: str = "numpy") -> gcn.Model:
    entry = gcn.zoo.ZOO[name]
    return gcn.compile(
        entry.make(),
        input_shape=entry.input_shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1, momentum=0.9),
        backend=backend,
    )


@pytest.mark.parametrize("name", gcn.zoo.ZOO)
def test_the_networks_of_the_zoo(name: str) -> None:
    model = compiled(name)
    forward, backward = ZOO[name]
    assert contractions(model.forward_graph) == forward
    for graph in (model.gradient_graph, simplify(model.gradient_graph), model.step_graph):
        assert contractions(graph) == forward
        assert contractions(graph, of_gradient=True) == backward


LAYERS = {
    "padding": (gcn.Conv2d(6, 3, padding=1), (8, 8, 4)),
    "more padding than the kernel needs": (gcn.Conv2d(6, 3, padding=2), (8, 8, 4)),
    "stride that leaves a remainder": (gcn.Conv2d(6, 3, stride=2), (8, 8, 4)),
    "stride and padding": (gcn.Conv2d(6, 5, stride=(3, 2), padding=2), (9, 8, 4)),
    "dilation": (gcn.Conv2d(6, 3, dilation=2), (9, 9, 4)),
    "groups": (gcn.Conv2d(8, 3, groups=2, stride=2), (8, 8, 4)),
    "depthwise": (gcn.DepthwiseConv2d(3, padding=1), (8, 8, 4)),
    "true convolution": (gcn.Conv2d(6, 3, flip=True, padding=1, stride=2), (8, 8, 4)),
    "transposed, stride 2": (gcn.ConvTranspose2d(6, 3, stride=2, padding=1), (8, 8, 4)),
}
PRODUCTS = {
    # places · filter's taps · channels of a group · filters; of a transposed one, its places are the input's
    "padding": (8 * 8) * (3 * 3) * 4 * 6,
    "more padding than the kernel needs": (10 * 10) * (3 * 3) * 4 * 6,
    "stride that leaves a remainder": (3 * 3) * (3 * 3) * 4 * 6,
    "stride and padding": (3 * 4) * (5 * 5) * 4 * 6,
    "dilation": (5 * 5) * (3 * 3) * 4 * 6,
    "groups": (3 * 3) * (3 * 3) * 2 * 8,
    "depthwise": (8 * 8) * (3 * 3) * 1 * 4,
    "true convolution": (4 * 4) * (3 * 3) * 4 * 6,
    "transposed, stride 2": (8 * 8) * (3 * 3) * 4 * 6,
}


@pytest.mark.parametrize("case", LAYERS)
def test_the_three_passes_of_a_convolution_do_the_same_products(case: str) -> None:
    layer, shape = LAYERS[case]
    x = gcn.Input(shape, "x")
    graph = gcn.Network(x, gcn.sum(layer(x) ** 2)).graph
    filters = next(label for label in graph.inputs if label.endswith("filters"))
    assert contractions(graph) == 2 * BATCH * PRODUCTS[case]
    derived = gradient(graph, "output", ["x", filters])
    for graph in (derived, simplify(derived)):
        assert contractions(graph) == 2 * BATCH * PRODUCTS[case]
        assert contractions(graph, of_gradient=True) == 2 * 2 * BATCH * PRODUCTS[case]


def test_gradients_of_gradients_do_the_same_products() -> None:
    x, w = gcn.Input((7, 7, 2), "x"), gcn.Input((3, 3, 2, 4), "w", batch=False)
    energy = gcn.sum(gcn.correlate2d(x, w) ** 2)
    first = gradient(gcn.Network([x, w], energy).graph, "output", ["w"])
    slope = first.outputs["gradient(w)"]
    emit = Emitter(first)
    length = emit(ops.Sum((0, 1, 2, 3)), emit(ops.Multiply(), slope, slope))
    second = gradient(first, length, ["x"])
    works = [
        node.cost(BATCH).flops for _, node in second.items() if isinstance(node.op, Correlate2d | Convolve2d)
    ]
    assert len(works) >= 5
    assert set(works) == {2 * BATCH * (5 * 5) * (3 * 3) * 2 * 4}


def test_a_graph_that_was_printed_and_parsed_costs_the_same() -> None:
    for graph in (compiled("lecun1989").gradient_graph, compiled("lecun1989").step_graph):
        again = gcn.parse(str(graph))
        assert [node.cost(3) for _, node in again.items()] == [node.cost(3) for _, node in graph.items()]


def test_the_kernels_of_the_native_backend_share_the_flops_of_the_step_among_them() -> None:
    model = compiled("lecun1989", "native")
    kernels = model.executable("step").report().kernels
    assert sum(kernel.flops for kernel in kernels) == model.step_graph.cost(1).flops


# Against PyTorch itself


def counted(module, images) -> tuple[int, int]:
    """Return FlopCounterMode's count of the forward pass and of the gradient."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as forward:
        output = module(images)
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


def twin(torch, network: gcn.Sequential, shape: tuple[int, ...]):
    """Return the same network of PyTorch modules; layers without a contraction keep only their shapes."""
    graph = gcn.compile(network, input_shape=shape).forward_graph
    modules: list[object] = []
    for _, node in graph.items():
        types = [operand.type for operand in node.operands]
        if isinstance(node.op, Correlate2d):
            (top, _), (left, _) = node.op.padding
            k1, k2, channels, count = types[1].shape
            modules.append(
                torch.nn.Conv2d(channels, count, (k1, k2), node.op.stride, (top, left), node.op.dilation)
            )
        elif isinstance(node.op, Matmul):
            modules.append(torch.nn.Linear(*types[1].shape))
        elif node.op.name == "max_pool2d":
            modules.append(torch.nn.MaxPool2d(node.op.size, node.op.stride))
        elif node.op.name == "reshape":
            modules.append(torch.nn.Flatten())
    return torch.nn.Sequential(*modules)


@pytest.mark.torch
@pytest.mark.parametrize("name", gcn.zoo.ZOO)
def test_the_zoo_equals_flop_counter_mode(name: str) -> None:
    torch = pytest.importorskip("torch")
    entry = gcn.zoo.ZOO[name]
    height, width, channels = entry.input_shape
    module = twin(torch, entry.make(), entry.input_shape)
    assert counted(module, torch.zeros(BATCH, channels, height, width)) == ZOO[name]


@pytest.mark.torch
@pytest.mark.parametrize("case", LAYERS)
def test_layers_equal_flop_counter_mode(case: str) -> None:
    torch = pytest.importorskip("torch")
    modules = {
        "padding": torch.nn.Conv2d(4, 6, 3, padding=1),
        "more padding than the kernel needs": torch.nn.Conv2d(4, 6, 3, padding=2),
        "stride that leaves a remainder": torch.nn.Conv2d(4, 6, 3, stride=2),
        "stride and padding": torch.nn.Conv2d(4, 6, 5, stride=(3, 2), padding=2),
        "dilation": torch.nn.Conv2d(4, 6, 3, dilation=2),
        "groups": torch.nn.Conv2d(4, 8, 3, groups=2, stride=2),
        "depthwise": torch.nn.Conv2d(4, 4, 3, groups=4, padding=1),
        "true convolution": torch.nn.Conv2d(4, 6, 3, padding=1, stride=2),
        "transposed, stride 2": torch.nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1),
    }
    height, width, channels = LAYERS[case][1]
    images = torch.zeros(BATCH, channels, height, width, requires_grad=True)
    forward, backward = counted(modules[case], images)
    assert forward == 2 * BATCH * PRODUCTS[case]
    groups = {"groups": 2, "depthwise": 4}.get(case, 1)
    # With groups PyTorch counts the filters' gradient as if every channel met every filter.
    assert backward == (1 + groups) * forward
