"""One of PyTorch's samples as a network of graphcnn: inputs, outputs and gradients in PyTorch's layout."""

import numpy as np

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import GraphcnnError
from graphcnn.ir import verify
from graphcnn.transform import differentiate

TOLERANCES = {"float64": 1e-10, "float32": 1e-5}
"""Of the greatest difference, against the greatest number of the expected array, or 1."""


class Outside(Exception):  # noqa: N818 - a verdict on a sample, not a fault
    """A sample that no network of images, signals or labels meets; the message says why."""


class Written:
    """A network that is written for a sample: every tensor of the sample becomes an input.

    inputs: the values by label. tensors: PyTorch's by label. constants: arrays of parameters that the sample
    leaves out. orders: of the axes of parameters, where they differ. training: whether layers are as in it.
    leaves_out_places: whether PyTorch's second result, the places of the greatest in the order of NCHW, is
    not compared: graphcnn keeps places in windows.
    """

    def __init__(self, dtype):
        self.dtype = dtype
        self.inputs, self.tensors, self.constants, self.orders = {}, {}, {}, {}
        self.training = False
        self.leaves_out_places = False

    def value(self, tensor, *, batch=False):
        """Return an input for a tensor, of its shape; `batch` makes its first axis N."""
        if tensor.numel() == 0:
            raise Outside("a tensor without elements")
        if tensor.is_complex():
            raise Outside("complex numbers")
        for label, known in self.tensors.items():
            if known is tensor:
                return self.inputs[label]
        label = f"x{len(self.inputs)}"
        dtype = self.dtype if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
        shape = tuple(tensor.shape[1:] if batch else tensor.shape)
        self.tensors[label] = tensor
        self.inputs[label] = gcn.Input(shape, label, dtype=dtype, batch=batch)
        return self.inputs[label]

    def parameter(self, label, tensor, order=None, *, size=0, default=0.0):
        """Let a tensor be a layer's parameter or state. None stands for `default`.

        order: of its axes, or a function that puts the elements of an array in order.
        """
        if tensor is None:
            self.constants[label] = np.full(size, default, self.dtype)
            return
        if tensor.numel() == 0:
            raise Outside("a tensor without elements")
        self.tensors[label] = tensor
        if order is not None:
            self.orders[label] = order

    def number_or_value(self, given):
        """Return a number as it is, and a tensor as an input."""
        return self.value(given) if hasattr(given, "numel") else given

    def images(self, tensor):
        """Return [N, C, H, W] or [C, H, W] as [N, H, W, C]."""
        if tensor.dim() == 4:
            return gcn.transpose(self.value(tensor, batch=True), (0, 2, 3, 1))
        if tensor.dim() != 3:
            raise Outside(f"images of {tensor.dim()} axes")
        x = gcn.transpose(self.value(tensor), (1, 2, 0))
        return gcn.reshape(x, (1, *x.shape))

    def signals(self, tensor):
        """Return [N, C, L] or [C, L] as [N, L, C]."""
        if tensor.dim() == 3:
            return gcn.transpose(self.value(tensor, batch=True), (0, 2, 1))
        if tensor.dim() != 2:
            raise Outside(f"signals of {tensor.dim()} axes")
        x = gcn.transpose(self.value(tensor))
        return gcn.reshape(x, (1, *x.shape))


def channels_first(y, like):
    """Return [N, H, W, C] or [N, L, C] as PyTorch has it, without a batch where `like` has none."""
    y = gcn.transpose(y, (0, y.type.rank - 1, *range(1, y.type.rank - 1)))
    return y if like.dim() == y.type.rank else gcn.reshape(y, y.shape[1:])


def checked(torch, op, sample, write, dtype, tolerance=0.0):
    """Return what differs between a sample here and in PyTorch, on both backends; nothing is well.

    tolerance: where PyTorch itself is less accurate than TOLERANCES say.
    Raises Outside and GraphcnnError for a sample that cannot be written.
    """
    sample = sample.transform(lambda t: _rounded(torch, t, dtype))
    written = Written(dtype)
    results = write(written, sample)
    results = list(results) if isinstance(results, list | tuple) else [results]
    arrays = {label: _array(tensor, dtype) for label, tensor in written.tensors.items()}
    for label, order in written.orders.items():
        arrays[label] = np.array(_ordered(arrays[label], order), order="C")
    arrays |= written.constants
    leaves = {label: tensor for label, tensor in written.tensors.items() if tensor.requires_grad}
    expected = op(sample.input, *sample.args, **sample.kwargs)
    expected = list(expected) if isinstance(expected, list | tuple) else [expected]
    if written.leaves_out_places:
        expected = expected[:1]
    if len(results) != len(expected):
        return [f"{len(results)} results in place of {len(expected)}"]
    graph, arrays, gradients = _with_gradients(torch, written, results, expected, arrays, leaves)
    found = []
    for backend in ("numpy", "native"):
        outputs = load_backend(backend).compile(graph)(**arrays)
        wanted = {f"y{number}": each.detach().numpy() for number, each in enumerate(expected)}
        wanted |= {f"gradient({label})": array for label, array in gradients.items()}
        for name, array in wanted.items():
            problem = _difference(outputs[name], array, max(tolerance, TOLERANCES[dtype]))
            if problem:
                found.append(f"{backend}, {name}: {problem}")
    return found


def _rounded(torch, given, dtype):
    """Return a tensor of float64 that holds numbers of the precision, a leaf where the given one was."""
    if not isinstance(given, torch.Tensor):
        return given
    copy = given.detach().clone()
    if not copy.is_floating_point():
        return copy
    return copy.to(getattr(torch, dtype)).to(torch.float64).requires_grad_(given.requires_grad)


def _array(tensor, dtype):
    array = tensor.detach().numpy()
    return np.array(array.astype(dtype) if array.dtype.kind == "f" else array, order="C")


def _ordered(array, order):
    return order(array) if callable(order) else array.transpose(order)


def _with_gradients(torch, written, results, expected, arrays, leaves):
    """Return the graph of outputs and gradients, all it takes, and PyTorch's gradients."""
    random = np.random.default_rng(0)
    outputs = {f"y{number}": result for number, result in enumerate(results)}
    inputs = dict(written.inputs)
    total, scalar = None, None
    for name, result, tensor in zip(outputs, results, expected, strict=True):
        if not tensor.requires_grad or not result.type.is_float:
            continue
        seed = random.standard_normal(tuple(tensor.shape)).astype(written.dtype)
        label = f"seed of {name}"
        arrays[label] = seed
        shape, batch = (seed.shape[1:], True) if result.type.has_batch else (seed.shape, False)
        inputs[label] = gcn.Input(shape, label, dtype=written.dtype, batch=batch)
        part = gcn.sum(result * inputs[label])
        total = part if total is None else total + part
        there = (tensor * torch.tensor(seed.astype(np.float64))).sum()
        scalar = there if scalar is None else scalar + there
    if total is None:
        network = gcn.Network(list(inputs.values()), outputs)
        return network.trace(training=written.training).graph, arrays, {}
    network = gcn.Network(list(inputs.values()), {**outputs, "total": total})
    forward = network.trace(training=written.training).graph
    graph, values = differentiate(
        forward, forward.outputs["total"], {label: forward.inputs[label] for label in leaves}
    )
    found = torch.autograd.grad(scalar, list(leaves.values()), allow_unused=True)
    gradients = {}
    for (label, tensor), gradient in zip(leaves.items(), found, strict=True):
        graph.output(f"gradient({label})", values[label])
        array = np.zeros(tuple(tensor.shape)) if gradient is None else gradient.numpy()
        gradients[label] = _ordered(array, written.orders.get(label, range(array.ndim)))
    return verify(graph), arrays, gradients


def _difference(found, expected, tolerance):
    if found.shape != expected.shape:
        return f"the shape {found.shape}, not {expected.shape}"
    if expected.dtype.kind != "f":
        return "" if np.array_equal(found, expected) else "other values"
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return "NaN in other places"
    infinite = np.isinf(expected) | np.isinf(found)
    if not np.array_equal(found[infinite], expected[infinite].astype(found.dtype)):
        return "infinities in other places"
    finite = np.isfinite(expected) & np.isfinite(found)
    worst = np.abs(found[finite] - expected[finite]).max(initial=0)
    scale = max(1.0, np.abs(expected[finite]).max(initial=0))
    return "" if worst <= tolerance * scale else f"off by {worst:.1e} where numbers are up to {scale:.1e}"


def refusal(error):
    """Return why a sample cannot be written, in a line."""
    return str(error) if isinstance(error, Outside) else error.problem


REFUSED = (Outside, GraphcnnError)
