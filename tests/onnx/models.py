"""Models of ONNX as other frameworks write them, with weights that are drawn."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Writer:
    """Collects nodes and weights, as an exporter would."""

    def __init__(self, opset: int = 17, dtype: type = np.float32) -> None:
        self.opset = opset
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._generator = np.random.default_rng(5)
        self._count = 0

    def weight(self, name: str, *shape: int, positive: bool = False) -> str:
        """Add an initializer of normal numbers, that keep a signal's size."""
        values = self._generator.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))
        self.array(name, np.abs(values) + 0.5 if positive else values)
        return name

    def array(self, name: str, values: Any, dtype: Any = None) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype or self.dtype), name))
        return name

    def node(self, op_type: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any) -> Any:
        self._count += 1
        made = [f"{op_type.lower()}_{self._count}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), made, name=name, **attributes))
        return made[0] if outputs == 1 else made

    def model(
        self, inputs: dict[str, tuple[int | str, ...]], *outputs: str, name: str = "network", **given: Any
    ) -> onnx.ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        infos = [helper.make_tensor_value_info(each, kind, shape) for each, shape in inputs.items()]
        results = [helper.make_tensor_value_info(each, kind, None) for each in outputs]
        graph = helper.make_graph(self.nodes, name, infos, results, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, **given)


def lenet(opset: int = 17, batch: int | str = "N") -> onnx.ModelProto:
    """Return LeNet-5 as PyTorch's exporter names it."""
    w = Writer(opset)
    h = w.node("Conv", "image", w.weight("conv1.weight", 6, 1, 5, 5), w.weight("conv1.bias", 6), pads=[2] * 4)
    h = w.node("MaxPool", w.node("Relu", h), kernel_shape=[2, 2], strides=[2, 2])
    h = w.node("Conv", h, w.weight("conv2.weight", 16, 6, 5, 5), w.weight("conv2.bias", 16))
    h = w.node("MaxPool", w.node("Relu", h), kernel_shape=[2, 2], strides=[2, 2])
    h = w.node("Flatten", h)
    for number, (inputs, units) in enumerate(((400, 120), (120, 84), (84, 10)), 1):
        weight, bias = w.weight(f"fc{number}.weight", units, inputs), w.weight(f"fc{number}.bias", units)
        h = w.node("Gemm", h, weight, bias, transB=1)
        h = h if number == 3 else w.node("Relu", h)
    return w.model({"image": (batch, 1, 28, 28)}, h, name="lenet")


def resnet(opset: int = 17, batch: int | str = "N", size: int = 16) -> onnx.ModelProto:
    """Return a small residual network with batch norm, a projection and a Reshape by computed sizes."""
    w = Writer(opset)

    def norm(x: str, name: str, channels: int) -> str:
        given = [w.weight(f"{name}.{part}", channels, positive=part == "running_var") for part in _NORM]
        return str(w.node("BatchNormalization", x, *given, epsilon=1e-3))

    def conv(x: str, name: str, inputs: int, filters: int, kernel: int, stride: int = 1) -> str:
        weight = w.weight(f"{name}.weight", filters, inputs, kernel, kernel)
        pads = [kernel // 2] * 4
        y = w.node("Conv", x, weight, pads=pads, strides=[stride] * 2, kernel_shape=[kernel] * 2)
        return norm(str(y), name.replace("conv", "bn"), filters)

    h = w.node("Relu", conv("x", "conv1", 3, 8, 3))
    inner = w.node("Relu", conv(h, "layer1.0.conv1", 8, 16, 3, stride=2))
    inner = conv(inner, "layer1.0.conv2", 16, 16, 3)
    h = w.node("Relu", w.node("Add", inner, conv(h, "layer1.0.downsample.conv", 8, 16, 1, stride=2)))
    h = w.node("GlobalAveragePool", h)
    shape = w.node("Shape", h)
    front = w.node("Gather", shape, w.array("zero", 0, np.int64), axis=0)
    if opset >= 13:
        front = w.node("Unsqueeze", front, w.array("axes", [0], np.int64))
    else:
        front = w.node("Unsqueeze", front, axes=[0])
    target = w.node("Concat", front, w.array("rest", [-1], np.int64), axis=0)
    h = w.node("Reshape", h, target)
    h = w.node("MatMul", h, w.weight("fc.weight", 16, 10))
    h = w.node("Softmax", w.node("Add", h, w.weight("fc.bias", 10)), axis=-1)
    return w.model({"x": (batch, 3, size, size)}, h, name="resnet")


_NORM = ("weight", "bias", "running_mean", "running_var")


def reference(model: onnx.ModelProto, **inputs: Any) -> list[Any]:
    """Return the outputs by ONNX's own implementation."""
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(model).run(None, inputs))
