"""A whole backend in one small file: einsums on sliding windows, with the ops that LeNet-5 trains with.

Install it with `pip install examples/backend_plugin`; then `graphcnn train digits --backend einsum`.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from graphcnn import ops
from graphcnn.backend import KernelReport, Report, bind_inputs, require_ops, step_by_calling
from graphcnn.ir import Input


def correlate2d(op, images, window):
    """Einsum over every window at stride 1, then keep every stride-th; a dilated window has zeros in it."""
    channels = op.sum_over == "channels"
    axes = (0, 1) if channels else (1, 2)
    spread = [op.dilation[a] * (window.shape[axes[a]] - 1) + 1 for a in (0, 1)]
    padded = np.pad(images, ((0, 0), *op.padding, (0, 0)))
    view = sliding_window_view(padded, spread, (1, 2))
    view = view[:, :: op.stride[0], :: op.stride[1], :, :: op.dilation[0], :: op.dilation[1]]
    view = view.reshape(*view.shape[:3], op.groups, -1, *view.shape[4:])
    window = window.reshape(*window.shape[:3], op.groups, -1)
    sums = np.einsum(
        "nijgcuv,uvcgd->nijgd" if channels else "nijgcuv,nuvgd->ijcgd", view, window, optimize=True
    )
    return sums.reshape(*sums.shape[:3], -1)


def max_pool2d(op, images):
    padded = np.pad(images, ((0, 0), *op.padding, (0, 0)), constant_values=-np.inf)
    windows = sliding_window_view(padded, op.size, (1, 2))[:, :: op.stride[0], :: op.stride[1]]
    flat = windows.reshape(*windows.shape[:4], -1)
    return flat.max(-1), flat.argmax(-1).astype(op.index_dtype)


def route_to_winner2d(op, delta, index):
    _, height, width, channels = op.shape
    (top, bottom), (left, right) = op.padding
    padded = np.zeros((len(delta), height + top + bottom, width + left + right, channels), delta.dtype)
    sample, row, column, channel = np.indices(delta.shape)
    rows = row * op.stride[0] + index // op.size[1]
    columns = column * op.stride[1] + index % op.size[1]
    np.add.at(padded, (sample, rows, columns, channel), delta)
    return padded[:, top : top + height, left : left + width]


KERNELS = {
    ops.Correlate2d: correlate2d,
    ops.Rot180: lambda op, x: np.flip(x, op.axes),
    ops.MaxPool2d: max_pool2d,
    ops.RouteToWinner2d: route_to_winner2d,
    ops.Matmul: lambda op, x, w: np.einsum("ak,kb->ab", x, w, optimize=True),
    ops.Transpose: lambda op, x: x.transpose(op.permutation),
    ops.Sum: lambda op, x: np.asarray(x.sum(op.axes, keepdims=op.keep)),
    ops.Mean: lambda op, x: np.asarray(x.mean(op.axes, keepdims=op.keep)),
    ops.Count: lambda op, x: np.prod([x.shape[axis] for axis in op.axes]).astype(x.dtype),
    ops.ArgMax: lambda op, x: x.argmax(op.axis),
    ops.Constant: lambda op: np.asarray(op.value, op.type.dtype),
    ops.Cast: lambda op, x: x.astype(op.dtype),
    ops.Exp: lambda op, x: np.exp(x),
    ops.Equal: lambda op, x, y: x == y,
    ops.Relu: lambda op, x: np.maximum(x, 0),
    ops.ReluMask: lambda op, x: (x > 0).astype(x.dtype),
    ops.LogSoftmax: lambda op, x: x - np.logaddexp.reduce(x, -1, keepdims=True),
    ops.OneHot: lambda op, x: np.eye(op.classes, dtype=op.dtype)[x],
    ops.SoftmaxCrossEntropy: lambda op, x, y: np.logaddexp.reduce(x, -1) - x[np.arange(len(y)), y],
}
UFUNCS = {ops.Add: np.add, ops.Subtract: np.subtract, ops.Multiply: np.multiply, ops.Divide: np.divide}
RESHAPING = {ops.Reshape: np.reshape, ops.Broadcast: np.broadcast_to}


class EinsumExecutable:
    def __init__(self, graph):
        self.graph = graph

    def __call__(self, **inputs):
        arrays, batch = bind_inputs(self.graph, inputs)
        values = {}
        for key, node in self.graph.items():
            operands = [values[operand] for operand in node.operands]
            if isinstance(node.op, Input):
                results = arrays[node.op.label]
            elif type(node.op) in UFUNCS:
                results = UFUNCS[type(node.op)](*operands)
            elif type(node.op) in RESHAPING:
                results = RESHAPING[type(node.op)](operands[0], node.types[0].concrete(batch))
            else:
                results = KERNELS[type(node.op)](node.op, *operands)
            results = results if isinstance(results, tuple) else (results,)
            values.update(zip(self.graph.results(key), results, strict=True))
        roots = {**self.graph.outputs, **self.graph.updates}
        return {label: np.array(values[value]) for label, value in roots.items()}

    def step(self, state, **inputs):
        return step_by_calling(self, state, inputs)

    def report(self):
        kernels = [(node.op.name, (key,), node.cost(1)) for key, node in self.graph.items()]
        return Report(
            "einsum", 1, tuple(KernelReport(name, keys, c.flops, c.bytes) for name, keys, c in kernels)
        )


class EinsumBackend:
    name = "einsum"
    ops = frozenset({Input, *KERNELS, *UFUNCS, *RESHAPING})

    def compile(self, graph):
        require_ops(self, graph)
        return EinsumExecutable(graph)


backend = EinsumBackend()
