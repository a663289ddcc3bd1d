"""A whole backend: einsums on sliding windows, with the ops that the digits network trains with."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from graphcnn import ops
from graphcnn.backend import Report, bind_inputs, require_ops, step_by_calling


def windows(op, images, size, dilation=(1, 1), fill=0):  # → [N, H', W', C, k1, k2]
    padded = np.pad(images, ((0, 0), *op.padding, (0, 0)), constant_values=fill)
    view = sliding_window_view(padded, [d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True)], (1, 2))
    return view[:, :: op.stride[0], :: op.stride[1], :, :: dilation[0], :: dilation[1]]


def correlate2d(op, images, window):
    forward = op.sum_over == "channels"
    view = windows(op, images, window.shape[:2] if forward else window.shape[1:3], op.dilation)
    view = view.reshape(*view.shape[:3], op.groups, -1, *view.shape[4:])
    window = window.reshape(*window.shape[:3], op.groups, -1)
    formula = "nijgcuv,uvcgd->nijgd" if forward else "nijgcuv,nuvgd->ijcgd"
    sums = np.einsum(formula, view, window, optimize=True)
    return sums.reshape(*sums.shape[:3], -1)


def max_pool2d(op, images):
    view = windows(op, images, op.size, fill=-np.inf)
    return view.max((4, 5)), view.reshape(*view.shape[:4], -1).argmax(-1).astype(op.index_dtype)


def route_to_winner2d(op, delta, index):
    padded = np.pad(np.zeros((len(delta), *op.shape[1:]), delta.dtype), ((0, 0), *op.padding, (0, 0)))
    view = sliding_window_view(padded, op.size, (1, 2), writeable=True)
    for unit in range(op.size[0] * op.size[1]):
        at = view[:, :: op.stride[0], :: op.stride[1], :, unit // op.size[1], unit % op.size[1]]
        at += np.where(index == unit, delta, 0)
    return padded[:, op.padding[0][0] :, op.padding[1][0] :][:, : op.shape[1], : op.shape[2]]


RESHAPING = {ops.Reshape: np.reshape, ops.Broadcast: np.broadcast_to}
UFUNCS = {ops.Add: np.add, ops.Subtract: np.subtract, ops.Multiply: np.multiply, ops.Divide: np.divide}
KERNELS = {
    ops.Correlate2d: correlate2d,
    ops.MaxPool2d: max_pool2d,
    ops.RouteToWinner2d: route_to_winner2d,
    ops.Matmul: lambda op, x, w: np.einsum("...ak,...kb->...ab", x, w, optimize=True),
    ops.Transpose: lambda op, x: x.transpose(op.permutation),
    ops.Sum: lambda op, x: np.asarray(x.sum(op.axes, keepdims=op.keep)),
    ops.Mean: lambda op, x: np.asarray(x.mean(op.axes, keepdims=op.keep)),
    ops.Count: lambda op, x: np.prod([x.shape[axis] for axis in op.axes]).astype(x.dtype),
    ops.ArgMax: lambda op, x: x.argmax(op.axis),
    ops.Constant: lambda op: np.asarray(op.value, op.type.dtype),
    ops.Cast: lambda op, x: x.astype(op.dtype),
    ops.Equal: lambda op, x, y: x == y,
    ops.Exp: lambda op, x: np.exp(x),
    ops.Relu: lambda op, x: np.maximum(x, 0),
    ops.ReluMask: lambda op, x: (x > 0).astype(x.dtype),
    ops.LogSoftmax: lambda op, x: x - np.logaddexp.reduce(x, -1, keepdims=True),
    ops.OneHot: lambda op, x: np.eye(op.classes, dtype=op.dtype)[x],
    ops.SoftmaxCrossEntropy: lambda op, x, y: np.logaddexp.reduce(x, -1) - x[np.arange(len(y)), y],
    **{op: lambda _, *operands, f=f: f(*operands) for op, f in UFUNCS.items()},
}


class EinsumExecutable:
    def __init__(self, graph):
        self.graph = graph

    def __call__(self, /, **inputs):
        arrays, batch = bind_inputs(self.graph, inputs)
        values = {}
        for key, node in self.graph.items():
            operands = [values[operand] for operand in node.operands]
            if isinstance(node.op, ops.Input):
                results = arrays[node.op.label]
            elif type(node.op) in RESHAPING:
                results = RESHAPING[type(node.op)](*operands, node.types[0].concrete(batch))
            else:
                results = KERNELS[type(node.op)](node.op, *operands)
            values |= dict(
                zip(self.graph.results(key), results if len(node.types) > 1 else [results], strict=True)
            )
        return {label: np.array(values[v]) for label, v in (self.graph.outputs | self.graph.updates).items()}

    def report(self):
        return Report("einsum", 1, ())

    def profile(self, on): ...

    step = step_by_calling


class EinsumBackend:
    name = "einsum"
    ops = frozenset({ops.Input, *KERNELS, *RESHAPING})

    def compile(self, graph):
        require_ops(self, graph)
        return EinsumExecutable(graph)


backend = EinsumBackend()
