"""Random small networks: forward pass, all gradients and FLOPs agree with PyTorch, in float64."""

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import evaluate
from graphcnn.ir import BATCH, Emitter, Graph, TensorType
from graphcnn.ops import Convolve2d, Correlate2d
from graphcnn.transform import gradient, simplify

pytestmark = pytest.mark.torch

TOLERANCE = 1e-10


class Pair:
    """One random network, built here and in PyTorch side by side."""

    def __init__(self, seed, torch):
        self.torch, self.functional = torch, torch.nn.functional
        self.random = np.random.default_rng(seed)
        self.graph, self.arrays, self.tensors = Graph(f"network {seed}"), {}, {}
        self.emit = Emitter(self.graph)

    def integer(self, low, high):
        return int(self.random.integers(low, high + 1))

    def pair(self, low, high):
        return self.integer(low, high), self.integer(low, high)

    def input(self, label, *shape, batch=False):
        array = self.random.standard_normal(shape)
        self.arrays[label] = array
        self.tensors[label] = self.torch.tensor(array, requires_grad=True)
        sizes = (BATCH, *shape[1:]) if batch else shape
        return self.graph.input(label, TensorType(sizes, "float64")), self.tensors[label]

    def build(self):
        batch = self.integer(1, 3)
        x, t = self.input(
            "image", batch, self.integer(7, 11), self.integer(7, 11), 2 * self.integer(1, 2), batch=True
        )
        t = t.permute(0, 3, 1, 2)
        for number in range(self.integer(1, 3)):
            x, t = self.convolution(f"filters{number}", x, t)
            x, t = self.activation(x, t)
            x, t = self.pool(x, t)
        return self.loss(*self.dense(x, t), batch)

    def convolution(self, label, x, t):
        channels = x.type.static(3)
        groups = self.random.choice([g for g in (1, 2, channels) if channels % g == 0])
        groups = int(groups)
        stride, dilation, kernel = self.pair(1, 3), self.pair(1, 2), self.pair(1, 4)
        padding = (self.pair(0, 2), self.pair(0, 2))
        sizes = [x.type.static(1 + a) + sum(padding[a]) for a in (0, 1)]
        kernel = tuple(
            max(1, min(k, (s - 1) // d + 1)) for k, s, d in zip(kernel, sizes, dilation, strict=True)
        )
        count = groups * self.integer(1, 2)
        w, v = self.input(label, *kernel, channels // groups, count)
        flipped = self.random.random() < 0.3
        x = self.emit((Convolve2d if flipped else Correlate2d)(stride, padding, dilation, groups), x, w)
        v = (v.flip(0, 1) if flipped else v).permute(3, 2, 0, 1).contiguous()
        (top, bottom), (left, right) = padding
        t = self.functional.pad(t, (left, right, top, bottom))
        t = self.functional.conv2d(t, v, stride=stride, dilation=dilation, groups=groups)
        b, c = self.input(f"{label} bias", count)
        return self.emit(ops.Add(), x, self.emit(ops.Broadcast(x.type.shape), b)), t + c[:, None, None]

    def activation(self, x, t):
        kind = self.random.choice(["Relu", "Tanh", "Sigmoid"])
        return self.emit(getattr(ops, kind)(), x), getattr(self.torch, kind.lower())(t)

    def pool(self, x, t):
        size = tuple(min(self.integer(1, 3), x.type.static(1 + a)) for a in (0, 1))
        stride = self.pair(1, 3)
        pads = tuple(self.integer(0, k // 2) for k in size)
        padding = tuple((p, p) for p in pads)
        if self.random.random() < 0.5:
            x = self.emit(ops.MaxPool2d(size, stride, padding), x)
            return x, self.functional.max_pool2d(t, size, stride, pads)
        x = self.emit(ops.AveragePool2d(size, stride, padding), x)
        return x, self.functional.avg_pool2d(t, size, stride, pads)

    def dense(self, x, t):
        features, classes = int(np.prod(x.type.shape[1:])), self.integer(2, 5)
        w, v = self.input("weights", features, classes)
        flat = t.permute(0, 2, 3, 1).reshape(t.shape[0], features)
        return self.emit(ops.Matmul(), self.emit(ops.Reshape((BATCH, features)), x), w), flat @ v

    def loss(self, x, t, batch):
        classes = x.type.static(1)
        if self.random.random() < 0.5:
            y, u = self.input("targets", batch, classes, batch=True)
            each, loss = self.emit(ops.SquaredError(), x, y), 0.5 * ((t - u) ** 2).sum() / batch
        else:
            labels = self.random.integers(0, classes, batch)
            self.arrays["labels"] = labels
            y = self.graph.input("labels", TensorType((BATCH,), "int64"))
            each = self.emit(ops.SoftmaxCrossEntropy(), x, y)
            loss = self.functional.cross_entropy(t, self.torch.tensor(labels))
        self.graph.output("scores", x)
        self.graph.output("loss", self.emit(ops.Mean((0,)), each))
        return t, loss


def close(found, expected):
    expected = expected.detach().numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    return found.shape == expected.shape and float(np.abs(found - expected).max()) <= TOLERANCE * scale


@pytest.mark.parametrize("seed", range(200))
def test_a_random_network_agrees_with_autograd(seed):
    torch = pytest.importorskip("torch")
    pair = Pair(seed, torch)
    scores, loss = pair.build()
    loss.backward()
    forward = evaluate(pair.graph, **pair.arrays)
    assert close(forward["scores"], scores)
    assert close(forward["loss"], loss)
    derived = gradient(pair.graph, "loss", list(pair.tensors))
    for graph in (derived, simplify(derived)):
        gradients = evaluate(graph, **pair.arrays)
        for label, tensor in pair.tensors.items():
            assert close(gradients[f"gradient({label})"], tensor.grad), label


def products(graph, batch):
    """Return the FLOPs of convolutions and matrix products: forward, of the gradient, and of the filters'
    gradients what PyTorch counts too much, as if every channel met the filters of all groups."""
    forward = backward = excess = 0
    for _, node in graph.items():
        if not isinstance(node.op, Correlate2d | Convolve2d | ops.Matmul):
            continue
        work = node.cost(batch).flops
        if node.origin.forward is None:
            forward += work
            continue
        backward += work
        if getattr(node.op, "sum_over", "") == "batch":
            excess += work * (node.op.groups - 1)
    return forward, backward, excess


@pytest.mark.parametrize("seed", range(100))
def test_a_random_network_counts_as_many_flops(seed):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    pair = Pair(seed, torch)
    with FlopCounterMode(display=False) as forward_counter:
        _, loss = pair.build()
    with FlopCounterMode(display=False) as backward_counter:
        loss.backward()
    batch = len(pair.arrays["image"])
    derived = gradient(pair.graph, "loss", list(pair.tensors))
    for graph in (derived, simplify(derived)):
        forward, backward, excess = products(graph, batch)
        assert forward == forward_counter.get_total_flops()
        assert backward + excess == backward_counter.get_total_flops()
