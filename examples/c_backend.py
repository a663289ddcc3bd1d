"""A backend that prints C: each node of a graph becomes a loop. It trains LeNet-5 on the bundled digits.

Without a C compiler it prints the C code of the network, and what to install.
"""

import ctypes
import math
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import Report, bind_inputs, require_ops, step_by_calling

NUMBERS = {"float32": "float", "float64": "double", "bool": "_Bool"}
NUMBERS |= {name: f"{name}_t" for name in ("int64", "int32", "uint8")}
SIGNS = {ops.Add: "+", ops.Subtract: "-", ops.Multiply: "*", ops.Divide: "/", ops.Equal: "=="}
INCLUDES = "\n".join(f"#include <{name}.h>" for name in ("math", "stdint", "stdlib", "string"))


@dataclass(frozen=True)
class CArray:
    """A value of the graph as a C array; N, the batch size, is a variable of the C code."""

    name: str
    shape: tuple
    number: str

    def __getitem__(self, index):  # x[n, i, j] is the text x[((0*N+n)*28+i)*28+j]
        place = "0"
        for size, axis in zip(self.shape, index, strict=True):
            place = f"({place})*{size}+{axis}"
        return f"{self.name}[{place}]"

    @property
    def size(self):
        return "*".join([f"sizeof({self.number})", *map(str, self.shape)])

    def each(self, body):  # a loop over all places i0, i1, ...
        return loops(self.shape, "i", body)

    @property
    def i(self):
        return [f"i{axis}" for axis in range(len(self.shape))]


def loops(sizes, letter, body):
    heads = [f"for (long {letter}{a}=0; {letter}{a}<{n}; {letter}{a}++)" for a, n in enumerate(sizes)]
    return f"{' '.join(heads)} {{ {body} }}"


def product(sizes):
    return "*".join(["1.0", *map(str, sizes)])


def elementwise(text):  # text(op, i, *operands): one element of the result
    return lambda op, r, *x: r.each(f"{r[r.i]} = {text(op, r.i, *x)};")


def pointwise(text):
    return elementwise(lambda op, i, *x: text(*(a[i if a.shape else ()] for a in x)))


def broadcast(op, i, x):
    return x[
        ["0" if size == 1 else axis for size, axis in zip(x.shape, i[len(i) - len(x.shape) :], strict=True)]
    ]


def reduction(op, r, x):
    kept = [axis for axis in range(len(x.shape)) if axis not in op.axes]
    index = [f"k{op.axes.index(a)}" if a in op.axes else f"i{kept.index(a)}" for a in range(len(x.shape))]
    count = product(x.shape[a] for a in op.axes) if isinstance(op, ops.Mean) else "1"
    into = f"{r.name}[0]" if not kept else CArray(r.name, [x.shape[a] for a in kept], "")[r.i[: len(kept)]]
    sums = loops([x.shape[a] for a in op.axes], "k", f"s += {x[index]};")
    return loops([x.shape[a] for a in kept], "i", f"double s = 0; {sums} {into} = s / ({count});")


def matmul(op, r, x, w):
    *front, row, column = r.i
    terms = f"s += {x[[*front, row, 'k0']]} * {w[[*front, 'k0', column]]};"
    sums = loops(x.shape[-1:], "k", terms)
    return r.each(f"double s = 0; {sums} {r[r.i]} = s;")


def correlate(op, r, x, w):
    over_channels, ((top, _), (left, _)) = op.sum_over == "channels", op.padding
    n, i, j, c = ("i0", "i1", "i2", "k2") if over_channels else ("k2", "i0", "i1", "i2")
    c += f"+i3/{r.shape[3] // op.groups}*{(w if over_channels else r).shape[2]}"  # of the filter's group
    taps = w.shape[:3] if over_channels else (*w.shape[1:3], w.shape[0])
    weight = w["k0", "k1", "k2", "i3"] if over_channels else w["k2", "k0", "k1", "i3"]
    place = f"long y = {i}*{op.stride[0]}+k0*{op.dilation[0]}-{top};"
    place += f"long z = {j}*{op.stride[1]}+k1*{op.dilation[1]}-{left};"
    inside = f"y >= 0 && y < {x.shape[1]} && z >= 0 && z < {x.shape[2]}"
    sums = loops(taps, "k", f"{place} if ({inside}) s += {x[n, 'y', 'z', c]} * {weight};")
    return r.each(f"double s = 0; {sums} {r[r.i]} = s;")


def window(op):  # the place y, z in the image of element k of the window
    ((top, _), (left, _)), (height, width) = op.padding, op.stride
    return f"long y = i1*{height}+k/{op.size[1]}-{top}, z = i2*{width}+k%{op.size[1]}-{left};"


def max_pool(op, r, index, x):
    element = x["i0", "y", "z", "i3"]
    inside = f"y >= 0 && y < {x.shape[1]} && z >= 0 && z < {x.shape[2]}"
    better = f"{window(op)} if ({inside} && (at < 0 || {element} > v)) v = {element}, at = k;"
    best = f"for (long k=0; k<{math.prod(op.size)}; k++) {{ {better} }}"
    return r.each(f"{x.number} v = 0; long at = -1; {best} {r[r.i]} = v; {index[r.i]} = at;")


def route(op, r, delta, index):
    winner = f"long k = {index[delta.i]}; {window(op)} {r['i0', 'y', 'z', 'i3']} += {delta[delta.i]};"
    return f"memset({r.name}, 0, {r.size}); {delta.each(winner)}"


def by_row(store):  # m: the greatest along the axis, at its index; s: the logarithm of Σ e^(x - m)
    def write(op, r, x, *labels):
        axis = getattr(op, "axis", len(x.shape) - 1)
        outer, inner = x.shape[:axis] + x.shape[axis + 1 :], [f"i{n}" for n in range(len(x.shape) - 1)]
        place = [*inner[:axis], "k", *inner[axis:]]
        over = f"for (long k=0; k<{x.shape[axis]}; k++)"
        top = f"double m = -INFINITY, s = 0; long at = 0; {over} if ({x[place]} > m) m = {x[place]}, at = k;"
        total = f"{over} s += exp({x[place]} - m); s = log(s);"
        return loops(outer, "i", f"{top} {total} {store(over, place, r, x, *labels)}")

    return write


KERNELS = {
    **{op: pointwise(lambda a, b, sign=sign: f"{a} {sign} {b}") for op, sign in SIGNS.items()},
    ops.Relu: pointwise(lambda a: f"{a} < 0 ? 0 : {a}"),
    ops.ReluMask: pointwise(lambda a: f"{a} > 0"),
    ops.Exp: pointwise(lambda a: f"exp({a})"),
    ops.Cast: pointwise(lambda a: a),
    ops.Constant: elementwise(lambda op, i: f"{float(op.value)!r}"),
    ops.Count: elementwise(lambda op, i, x: product(x.shape[axis] for axis in op.axes)),
    ops.Broadcast: elementwise(broadcast),
    ops.Transpose: elementwise(lambda op, i, x: x[[i[op.permutation.index(a)] for a in range(len(i))]]),
    ops.Rot180: elementwise(
        lambda op, i, x: x[[f"({x.shape[a]}-1-{k})" if a in op.axes else k for a, k in enumerate(i)]]
    ),
    ops.OneHot: elementwise(lambda op, i, x: f"{x[i[:-1]]} == {i[-1]}"),
    ops.Reshape: lambda op, r, x: f"memcpy({r.name}, {x.name}, {x.size});",
    ops.Sum: reduction,
    ops.Mean: reduction,
    ops.Matmul: matmul,
    ops.Correlate2d: correlate,
    ops.MaxPool2d: max_pool,
    ops.RouteToWinner2d: route,
    ops.ArgMax: by_row(lambda over, place, r, x: f"{r[r.i]} = at;"),
    ops.LogSoftmax: by_row(lambda over, place, r, x: f"{over} {r[place]} = {x[place]} - m - s;"),
    ops.SoftmaxCrossEntropy: by_row(lambda over, place, r, x, y: f"{r[r.i]} = m + s - {x['i0', y[y.i]]};"),
}


def c_code(graph):
    """Return a graph as the C function `run(N, arrays)`, of its inputs and then its outputs and updates."""
    roots, lines, freed = [*graph.outputs.values(), *graph.updates.values()], [], []
    arrays = {
        value: CArray(f"v{key}_{value.index}", value.type.shape, NUMBERS[value.type.dtype])
        for key, _ in graph.items()
        for value in graph.results(key)
    }
    for number, value in enumerate(graph.inputs.values()):
        lines.append(f"{arrays[value].number} *{arrays[value].name} = arrays[{number}];")
    for key, node in graph.items():
        if isinstance(node.op, ops.Input):
            continue
        results, operands = (
            [arrays[value] for value in values] for values in (graph.results(key), node.operands)
        )
        lines += [f"{r.number} *{r.name} = malloc({r.size});" for r in results]
        lines.append(
            f"{KERNELS[type(node.op)](node.op, *results, *operands)} // {node.op.name}, {node.origin.layer}"
        )
        freed += [f"free({r.name});" for r in results]
    for number, value in enumerate(roots, len(graph.inputs)):
        lines.append(f"memcpy(arrays[{number}], {arrays[value].name}, {arrays[value].size});")
    body = "\n  ".join([*lines, *freed])
    return f"{INCLUDES}\nvoid run(long N, void **arrays) {{\n  {body}\n}}\n"


class CExecutable:
    def __init__(self, graph):
        self.graph = graph
        folder = Path(tempfile.mkdtemp())
        (folder / "graph.c").write_text(c_code(graph))
        options = ["-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-shared", "-fPIC", "-lm"]
        subprocess.run(["cc", "graph.c", "-o", "graph.so", *options], cwd=folder, check=True)
        self._run = ctypes.CDLL(str(folder / "graph.so")).run
        shutil.rmtree(folder)

    def __call__(self, /, **inputs):
        arrays, batch = bind_inputs(self.graph, inputs)
        given = [np.ascontiguousarray(arrays[label]) for label in self.graph.inputs]
        roots = self.graph.outputs | self.graph.updates
        results = {label: np.empty(v.type.concrete(batch), v.type.dtype) for label, v in roots.items()}
        pointers = [array.ctypes.data for array in (*given, *results.values())]
        self._run(ctypes.c_long(batch), (ctypes.c_void_p * len(pointers))(*pointers))
        return results

    def report(self):
        return Report("c", 1, ())

    def profile(self, on): ...

    step = step_by_calling


class CBackend:
    name = "c"
    ops = frozenset({ops.Input, *KERNELS})

    def compile(self, graph):
        require_ops(self, graph)
        return CExecutable(graph)


if __name__ == "__main__":
    digits = gcn.data.load_digits()
    images, tests = (
        np.pad(each.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2), (0, 0)))  # 8x8 → 28x28
        for each in (digits.images[:600], digits.test_images)
    )
    model = gcn.compile(
        gcn.zoo.lenet5(), input_shape=(28, 28, 1), loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.05, momentum=0.9), backend=CBackend(),
    )  # fmt: skip
    if shutil.which("cc") is None:
        print(c_code(model.step_graph), "\nThis is C; to run it, install a C compiler: apt-get install gcc")
    else:
        model.fit(images, digits.labels[:600], epochs=4, batch_size=20)
        print(model.evaluate(tests, digits.test_labels))
