"""Products of bfloat16 by the processor's tiles: right at every size, in the same bits in any order."""

import math
import subprocess
import sys

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import Graph, TensorType, gradient, ops, simplify
from graphcnn.backend import load_backend
from graphcnn.ir import BATCH, Emitter
from graphcnn_native import NativeExecutable
from graphcnn_native import target as targets
from graphcnn_native.lowering import lower
from graphcnn_native.lowering.bfloat16 import (
    Bfloat16,
    Bfloat16Correlation,
    Bfloat16FilterGradient,
    Bfloat16Filters,
    Bfloat16Matmul,
    Bfloat16ProductOverSamples,
)
from graphcnn_native.lowering.bfloat16_tiling import correlation_pays, filter_gradient_pays, tiling
from graphcnn_native.lowering.program import Margins
from graphcnn_native.target import host_target, named_target, runs_here

TILES = pytest.mark.skipif(not host_target().has_tiles, reason="needs a processor with AMX-BF16")
SIZES = [
    # height, width, channels, filters, taps, padding, batch
    (8, 8, 32, 32, 3, 1, 5),
    (7, 7, 64, 48, 3, 1, 17),
    (15, 15, 24, 70, 3, 1, 3),
    (31, 31, 3, 24, 3, 1, 2),
    (3, 3, 96, 160, 3, 1, 33),
    (4, 4, 40, 33, 3, 1, 16),
    (5, 9, 7, 10, 5, 2, 16),
    (33, 17, 16, 16, 1, 0, 1),
    (9, 9, 32, 32, 3, 0, 4),
    (6, 50, 20, 20, 3, 1, 2),
    (1, 1, 64, 64, 1, 0, 40),
    (1, 40, 33, 20, 1, 0, 3),
    (2, 2, 8, 8, 3, 1, 20),
    (6, 7, 5, 9, 3, 2, 3),
]
STRIDED = [
    # height, width, channels, filters, taps, padding, stride, batch
    (16, 16, 32, 64, 3, 1, 2, 5),
    (15, 14, 3, 20, 3, 1, 2, 3),
    (8, 8, 64, 128, 1, 0, 2, 17),
    (9, 7, 8, 40, 5, 2, 3, 4),
    (16, 16, 24, 64, 2, 2, 2, 3),  # some results see zeros alone
]
ORDER = 2e-6
"""By how much of the greatest result a float32 sum of a few thousand products depends on their order."""


def inputs_of(graph, batch):
    random = np.random.default_rng(batch)
    return {
        label: random.standard_normal(value.type.concrete(batch)).astype(np.float32)
        for label, value in graph.inputs.items()
    }


def rounded(emit, value):
    return emit(ops.RoundBfloat16(), value)


def forward(height, width, channels, filters, taps, padding, stride=1):
    """Return a correlation of rounded operands, with bias and relu."""
    graph = Graph("forward")
    emit = Emitter(graph)
    x = graph.input("x", TensorType((BATCH, height, width, channels)))
    window = graph.input("filters", TensorType((taps, taps, channels, filters)))
    bias = graph.input("bias", TensorType((filters,)))
    op = ops.Correlate2d((stride, stride), ((padding, padding), (padding, padding)))
    y = emit(op, rounded(emit, x), rounded(emit, window))
    spread = emit(ops.Broadcast(y.type.shape), bias)
    graph.output("y", emit(ops.Relu(), emit(ops.Add(), y, spread)))
    return graph


def both_gradients(height, width, channels, filters, taps, padding, stride=1):
    """Return the gradients of a correlation by its operands, as products of rounded numbers."""
    graph = Graph("gradients")
    x = graph.input("x", TensorType((BATCH, height, width, channels)))
    window = graph.input("filters", TensorType((taps, taps, channels, filters)))
    op = ops.Correlate2d((stride, stride), ((padding, padding), (padding, padding)))
    y = graph.add(op, x, window)
    delta = graph.input("delta", y.type)
    graph.output("loss", graph.add(ops.Sum((0, 1, 2, 3)), graph.add(ops.Multiply(), y, delta)))
    return operands_rounded(simplify(gradient(graph, "loss", ["x", "filters"])))


def operands_rounded(graph):
    """Return a graph with all of its inputs rounded first: what is only moved then stays rounded."""
    result = Graph(graph.name)
    emit, values = Emitter(result), {}
    for key, node in graph.items():
        operands = [values[operand] for operand in node.operands]
        if isinstance(node.op, ops.Input):
            made = [rounded(emit, result.input(node.op.label, node.types[0]))]
        else:
            made = result.add_all(node.op, *operands)
        values |= zip(graph.results(key), made, strict=True)
    for label, value in graph.outputs.items():
        if label != "loss":
            result.output(label, values[value])
    return result


def compare(graph, batch, native_in_any_order, *, whole=False):
    """Compare with the reference; `whole` numbers are summed up to the same bits in any order."""
    inputs = inputs_of(graph, batch)
    if whole:
        inputs = {label: np.rint(3 * array) for label, array in inputs.items()}
    expected = load_backend("numpy").compile(graph)(**inputs)
    first, *others = [backend.compile(graph)(**inputs) for backend in native_in_any_order]
    for label, values in expected.items():
        np.testing.assert_allclose(first[label], values, rtol=0, atol=ORDER * np.abs(values).max())
        for other in others:
            np.testing.assert_array_equal(other[label], first[label])


def ops_of(graph, target="amx"):
    return [type(node.op) for _, node in lower(graph, named_target(target)).graph.items()]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_correlations_agree_with_numpy(size, native_in_any_order):
    *shape, batch = size
    compare(forward(*shape), batch, native_in_any_order)


@pytest.mark.parametrize("size", STRIDED, ids=str)
def test_correlations_with_strides_agree_with_numpy(size, native_in_any_order):
    *shape, batch = size
    compare(forward(*shape), batch, native_in_any_order)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradients_agree_with_numpy(size, native_in_any_order):
    *shape, batch = size
    compare(both_gradients(*shape), batch, native_in_any_order)


@pytest.mark.parametrize("size", STRIDED, ids=str)
def test_gradients_with_strides_agree_with_numpy(size, native_in_any_order):
    *shape, batch = size
    compare(both_gradients(*shape), batch, native_in_any_order)


def test_all_three_passes_are_products_of_bfloat16():
    assert Bfloat16Correlation in ops_of(forward(8, 8, 32, 32, 3, 1))
    found = ops_of(both_gradients(8, 8, 32, 32, 3, 1))
    assert {Bfloat16Correlation, Bfloat16FilterGradient} <= {*found}
    assert not {ops.Transpose, ops.Rot180} & {*found}  # the filters are turned on their way into panels


def test_zeros_between_the_errors_of_a_stride_are_not_multiplied():
    found = ops_of(both_gradients(16, 16, 32, 64, 3, 1, 2))
    assert {Bfloat16Correlation, Bfloat16FilterGradient} <= {*found}
    assert ops.ZeroInsert not in found


def test_other_processors_multiply_rounded_numbers_as_float32():
    assert not {Bfloat16, Bfloat16Correlation} & {*ops_of(forward(8, 8, 32, 32, 3, 1), "avx512")}


def test_what_is_not_rounded_is_multiplied_as_float32():
    graph = Graph("half")
    x, window = graph.input("x", TensorType((BATCH, 8, 8, 32))), graph.input("w", TensorType((3, 3, 32, 32)))
    graph.output("y", graph.add(ops.Correlate2d(), x, rounded(Emitter(graph), window)))
    assert Bfloat16Correlation not in ops_of(graph)


def test_images_that_several_products_read_are_kept_once():
    """With the zeros that the one with most of them needs."""
    graph = Graph("shared")
    emit = Emitter(graph)
    x = rounded(emit, emit(ops.Tanh(), graph.input("x", TensorType((BATCH, 9, 9, 16)))))
    for taps in (1, 5, 3):
        window = rounded(emit, graph.input(f"w{taps}", TensorType((taps, taps, 16, 16))))
        padding = taps // 2, taps // 2
        graph.output(f"y{taps}", emit(ops.Correlate2d(padding=(padding, padding)), x, window))
    program = lower(graph, named_target("amx"))
    kept = [buffer for buffer in program.buffers.values() if buffer.margins is not None]
    assert [buffer.margins for buffer in kept] == [Margins(2, 2, 2)]


def test_a_value_is_kept_in_both_forms_where_others_read_it(native_in_any_order):
    graph = Graph("both")
    emit = Emitter(graph)
    x = emit(ops.Tanh(), graph.input("x", TensorType((BATCH, 6, 6, 16))))
    window = rounded(emit, graph.input("w", TensorType((3, 3, 16, 8))))
    graph.output("y", emit(ops.Correlate2d(), rounded(emit, x), window))
    graph.output("z", emit(ops.MaxPool2d((2, 2), (2, 2)), x))
    graph.output("rounded", rounded(emit, x))
    compare(graph, 5, native_in_any_order)


def test_numbers_that_are_moved_after_they_were_rounded_are_multiplied(native_in_any_order):
    graph = Graph("moved")
    emit = Emitter(graph)
    delta = rounded(emit, graph.input("delta", TensorType((BATCH, 3, 3, 16))))
    images = emit(ops.ZeroInsert((2, 2)), delta)
    window = emit(ops.Transpose((0, 1, 3, 2)), rounded(emit, graph.input("w", TensorType((3, 3, 8, 16)))))
    graph.output("y", emit(ops.Correlate2d(padding=((2, 2), (2, 2))), images, window))
    compare(graph, 3, native_in_any_order)


def correlated(emit, x, taps, count, **options):
    shape = *taps, x.type.static(3) // options.get("groups", 1), count
    return emit(
        ops.Correlate2d(**options), x, emit.graph.input(f"window{len(emit.graph)}", TensorType(shape))
    )


ONE = ((1, 1), (1, 1))
MAKERS = {
    "1x1": lambda e, x: correlated(e, x, (1, 1), 40),
    "1x1 with bias": lambda e, x: e(
        ops.Add(),
        y := correlated(e, x, (1, 1), 20),
        e(ops.Broadcast(y.type.shape), e.graph.input("bias", TensorType((20,)))),
    ),
    "wide": lambda e, x: correlated(e, x, (3, 3), 40, dilation=(2, 2)),
    "few filters": lambda e, x: correlated(e, x, (3, 3), 6, padding=ONE),
    "strides": lambda e, x: correlated(e, x, (3, 3), 24, padding=ONE, stride=(2, 2)),
    "groups": lambda e, x: correlated(e, x, (3, 3), 16, padding=ONE, groups=2),
    "depthwise": lambda e, x: correlated(e, x, (3, 3), 16, padding=ONE, groups=16),
    "max pool": lambda e, x: e.all(ops.MaxPool2d((2, 2), (2, 2)), x)[0],
    "average pool": lambda e, x: e(ops.AveragePool2d((2, 2), (2, 2)), x),
    "spread": lambda e, x: e(ops.SpreadToBlock2d((2, 2), (2, 2), shape=(BATCH, 20, 16, 16)), x),
    "concatenate": lambda e, x: e(ops.Concatenate(3), x, e(ops.Relu(), x)),
    "of pixels": lambda e, x: e(
        ops.Multiply(), x, e(ops.Broadcast(x.type.shape), e(ops.Max((3,), keep=True), x))
    ),
    "of rows": lambda e, x: e(
        ops.Reshape((BATCH, 10, 8, 4)),
        e(ops.Matmul(), e(ops.Reshape((BATCH, 1280)), x), e.graph.input("w", TensorType((1280, 320)))),
    ),
    "turned": lambda e, x: e(ops.Rot180((1, 2)), e(ops.Relu(), x)),
    "transposed": lambda e, x: e(ops.Transpose((0, 2, 1, 3)), e(ops.Relu(), x)),
    "taken": lambda e, x: e(ops.Take(2, ((0, 8, 1), (3, 4, 1))), x),
    "inserted": lambda e, x: e(ops.ZeroInsert((2, 2)), e(ops.Relu(), x)),
    "padded": lambda e, x: e(ops.Pad(((0, 0), (1, 2), (0, 3), (0, 0)), 2.0), x),
    "cropped": lambda e, x: e(ops.Crop(((0, 0), (1, 2), (0, 3), (4, 4))), x),
}


@pytest.mark.parametrize("batch", [5, 33])
@pytest.mark.parametrize("maker", MAKERS)
def test_whatever_computes_images_stores_them_between_their_zeros(maker, batch, native_in_any_order):
    graph = Graph("made")
    emit = Emitter(graph)
    made = MAKERS[maker](emit, graph.input("x", TensorType((BATCH, 10, 8, 16))))
    window = rounded(emit, graph.input("last", TensorType((3, 3, made.type.static(3), 8))))
    graph.output("y", emit(ops.Correlate2d(padding=((1, 2), (2, 1))), rounded(emit, made), window))
    assert Bfloat16Correlation in ops_of(graph)
    compare(graph, batch, native_in_any_order, whole=True)


@pytest.mark.parametrize("batch", [5, 33])
@pytest.mark.parametrize("maker", MAKERS)
def test_whatever_is_masked_reads_the_mask_between_its_zeros(maker, batch, native_in_any_order):
    graph = Graph("masked")
    emit = Emitter(graph)
    made = MAKERS[maker](emit, graph.input("x", TensorType((BATCH, 10, 8, 16))))
    y = emit(ops.Relu(), graph.input("before", made.type))
    window = rounded(emit, graph.input("last", TensorType((3, 3, made.type.static(3), 8))))
    graph.output("y", emit(ops.Correlate2d(padding=((1, 2), (2, 1))), rounded(emit, y), window))
    masked = emit(ops.Multiply(), made, emit(ops.ReluMask(), y))
    graph.output("masked", masked)
    graph.output("sum", emit(ops.Sum((0, 1, 2)), masked))
    compare(graph, batch, native_in_any_order, whole=True)


def test_a_mask_asks_what_is_kept_as_bfloat16_so_that_nothing_else_is():
    model = gcn.compile(
        gcn.Sequential(
            *(gcn.Conv2d(16, 3), gcn.ReLU(), gcn.Conv2d(16, 3), gcn.ReLU(), gcn.MaxPool2d(2)),
            *(gcn.Conv2d(32, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3)),
        ),
        input_shape=(16, 16, 3),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1),
        precision="bfloat16",
    )
    program = lower(model.step_graph, named_target("amx"))
    stored = [program.graph.node(value.key).op for kernel in program.kernels for value, _ in kernel.stores]
    masks = [node.operands[0] for _, node in program.graph.items() if isinstance(node.op, ops.ReluMask)]
    kept = [isinstance(program.graph.node(value.key).op, Bfloat16) for value in masks]
    assert kept == [False, True, True], "the last relu is read by a matrix product, the second is pooled"
    assert sum(isinstance(op, ops.Relu) for op in stored) == 2


@TILES
def test_this_processor_multiplies_tiles():
    names = {kernel.name for kernel in NativeExecutable(forward(8, 8, 32, 32, 3, 1)).report().kernels}
    assert any(name.startswith("correlate2d_of_bfloat16") for name in names)


def test_filters_fill_whole_steps_of_tiles():
    """27 numbers of a row of taps and channels fit into one step, and 33 filters into three panels."""
    (plain,) = Bfloat16Filters().result_types(TensorType((3, 3, 9, 33)))
    (turned,) = Bfloat16Filters(is_turned=True).result_types(TensorType((3, 3, 33, 32)))
    assert plain.shape == (3, 3, 16, 16)
    assert turned.shape == (3, 9, 16, 16)


@pytest.mark.parametrize("columns", [1, 3, 4, 7, 15, 16, 31, 33, 40, 100, 224])
def test_tiles_cover_each_row_of_places(columns):

    cut = tiling(columns, columns, columns + 1)
    assert cut.rows <= 16
    assert (cut.tiles - 1) * cut.rows < cut.length <= cut.tiles * cut.rows


def test_a_process_that_may_not_use_tiles_has_none(monkeypatch):
    monkeypatch.setattr(targets, "may_use_tiles", lambda: False)
    assert not host_target.__wrapped__().has_tiles
    assert not runs_here(named_target("amx"))


@TILES
def test_forks_and_new_processes_may_use_tiles_too():
    code = "from graphcnn_native.target import host_target as h; import os; "
    code += "own = h().has_tiles; child = os.fork(); child or os._exit(int(not h().has_tiles)); "
    code += "print(own, os.waitpid(child, 0)[1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0"]


def dense(inputs, units, after=ops.Relu):
    """Return a product of rounded samples and weights, and both of its gradients."""
    graph = Graph("dense")
    emit = Emitter(graph)
    x = rounded(emit, graph.input("x", TensorType((BATCH, *inputs))))
    flat = emit(ops.Reshape((BATCH, math.prod(inputs))), x) if len(inputs) > 1 else x
    weights = rounded(emit, graph.input("weights", TensorType((flat.type.shape[1], units))))
    delta = rounded(emit, graph.input("delta", TensorType((BATCH, units))))
    graph.output("y", emit(after(), emit(ops.Matmul(), flat, weights)))
    graph.output("back", emit(ops.Matmul(), delta, emit(ops.Transpose((1, 0)), weights)))
    graph.output("gradient", emit(ops.Matmul(), emit(ops.Transpose((1, 0)), flat), delta))
    return graph


@pytest.mark.parametrize(("inputs", "units"), [((400,), 120), ((5, 5, 16), 96), ((2048,), 128), ((70,), 65)])
@pytest.mark.parametrize("batch", [1, 5, 33, 300])
def test_dense_layers_agree_with_numpy(inputs, units, batch, native_in_any_order):
    compare(dense(tuple(map(int, inputs)), units), batch, native_in_any_order)


def test_all_three_products_of_a_dense_layer_are_of_bfloat16():
    found = ops_of(dense((5, 5, 16), 96))
    assert found.count(Bfloat16Matmul) == 2
    assert found.count(Bfloat16ProductOverSamples) == 1
    assert ops.Matmul not in found


@pytest.mark.parametrize(
    ("taps", "channels", "filters", "expected"),
    [
        (3, 1, 8, (False, False)),
        (5, 6, 16, (True, False)),
        (3, 3, 32, (True, False)),
        (3, 64, 64, (True, True)),
    ],
)
def test_few_channels_and_filters_are_multiplied_as_float32(taps, channels, filters, expected):
    filter_type = TensorType((taps, taps, channels, filters))
    assert (correlation_pays((taps, taps), channels, filters), filter_gradient_pays(filter_type)) == expected
