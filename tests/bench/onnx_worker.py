"""Times ONNX Runtime or OpenVINO on the inference of one network, whose weights are random.

onnx_worker.py NET --batch N --threads T --runtime onnxruntime|openvino
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from networks import Layers, described
from onnx import TensorProto, helper, numpy_helper
from protocol import answer, arguments

OPSET = 20
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "gelu": "Gelu"}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--runtime", choices=("onnxruntime", "openvino"), default="onnxruntime")
    given = parser.parse_args()
    shape, layers = described(given.net)
    images = np.random.default_rng(0).standard_normal((given.batch, shape[2], *shape[:2]), dtype=np.float32)
    content = Builder(images.shape).model(layers).SerializeToString()
    run = {"onnxruntime": with_onnxruntime, "openvino": with_openvino}[given.runtime](content, given.threads)
    answer({"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}[given.runtime], lambda: run(images))


def with_onnxruntime(content: bytes, threads: int) -> Callable[[Any], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"image": images})


def with_openvino(content: bytes, threads: int) -> Callable[[Any], object]:
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(content), "CPU", options)
    request = compiled.create_infer_request()
    return lambda images: request.infer({0: images}, share_inputs=True, share_outputs=True)


class Builder:
    """Writes a network as an ONNX graph over images [N, C, H, W]."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape, self._random = shape, np.random.default_rng(1)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def model(self, layers: Layers) -> Any:
        result, _ = self._applied(layers, "image", self._shape)
        images = helper.make_tensor_value_info("image", TensorProto.FLOAT, self._shape)
        logits = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        graph = helper.make_graph(self._nodes, "network", [images], [logits], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)

    def _applied(self, layers: Layers, x: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        for kind, *a in layers:
            x, shape = self._layer(kind, a, x, shape)
        return x, shape

    def _layer(self, kind: str, a: list[Any], x: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        n, channels, *sides = shape if len(shape) == 4 else (*shape, 1, 1)
        if kind == "conv":
            filters, kernel, stride, padding, bias, groups = a
            weights = [self._weight(filters, channels // groups, kernel, kernel)]
            weights += [self._weight(filters)] if bias else []
            options = {
                "kernel_shape": [kernel] * 2,
                "strides": [stride] * 2,
                "pads": [padding] * 4,
                "group": groups,
            }
            sides = [(side + 2 * padding - kernel) // stride + 1 for side in sides]
            return self._node("Conv", x, *weights, **options), (n, filters, *sides)
        if kind == "batchnorm":
            parts = [self._weight(channels) for _ in range(3)]
            return self._node("BatchNormalization", x, *parts, self._weight(channels, positive=True)), shape
        if kind in ("maxpool", "avgpool"):
            size, stride = a
            name = "MaxPool" if kind == "maxpool" else "AveragePool"
            sides = [(side - size) // stride + 1 for side in sides]
            pooled = self._node(name, x, kernel_shape=[size] * 2, strides=[stride] * 2)
            return pooled, (n, channels, *sides)
        if kind == "globalavg":
            return self._node("Flatten", self._node("GlobalAveragePool", x), axis=1), (n, channels)
        if kind == "flatten":
            return self._node("Flatten", x, axis=1), (n, channels * sides[0] * sides[1])
        if kind == "dense":
            return self._node("Gemm", x, self._weight(channels, a[0]), self._weight(a[0])), (n, a[0])
        if kind == "residual":
            main, shortcut, has_relu = a
            (left, left_shape), (right, _) = (self._applied(each, x, shape) for each in (main, shortcut))
            total = self._node("Add", left, right)
            return self._node("Relu", total) if has_relu else total, left_shape
        if kind == "relu6":
            bounds = [self._constant(np.float32(bound)) for bound in (0, 6)]
            return self._node("Clip", x, *bounds), shape
        if kind == "silu":
            return self._node("Mul", x, self._node("Sigmoid", x)), shape
        return self._node(ACTIVATIONS[kind], x), shape

    def _node(self, op: str, *operands: str, **options: Any) -> str:
        result = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, operands, [result], **options))
        return result

    def _weight(self, *shape: int, positive: bool = False) -> str:
        numbers = self._random.standard_normal(shape, dtype=np.float32) * 0.1
        return self._constant(abs(numbers) + 0.5 if positive else numbers)

    def _constant(self, array: Any) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name


if __name__ == "__main__":
    main()
