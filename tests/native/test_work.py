"""FLOPs, bytes and nodes are those of the kernel that does the work, which the batch size decides."""

import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.ir import BATCH, Emitter, Graph, TensorType
from graphcnn.zoo import ZOO
from graphcnn_native.lowering import lower
from graphcnn_native.target import named_target
from graphcnn_native.work import works

AVX2 = named_target("avx2")


def pooled():
    """A pad, a correlation of few filters, and a pool."""
    graph = Graph("pooled")
    emit = Emitter(graph)
    x = emit(ops.Tanh(), graph.input("x", TensorType((BATCH, 8, 8, 3), "float32")))
    window = graph.input("window", TensorType((3, 3, 3, 5), "float32"))
    maps = emit(ops.Correlate2d(padding=((1, 1), (1, 1))), x, window)
    graph.output("y", emit(ops.AveragePool2d((2, 2), (2, 2)), maps))
    return graph


def kernels_of(program):
    """Return the numbers of the pad, the correlation and the pool."""
    (correlation,) = [kernel for kernel in program.kernels if kernel.pool is not None]
    return correlation.pad, correlation.number, correlation.pool


def test_who_does_the_work_is_who_is_charged_for_it():
    program = lower(pooled(), AVX2)
    pad, correlation, pool = kernels_of(program)
    few, many = works(program, 4, AVX2), works(program, 64, AVX2)
    for number in (pad, pool):
        assert few[number].bytes > 0
        assert (many[number].flops, many[number].bytes) == (0, 0)
    images, padded, maps, result = (64 * 4 * n for n in (8 * 8 * 3, 8 * 10 * 3, 8 * 8 * 5, 4 * 4 * 5))
    window = 3 * 3 * 3 * 5 * 4
    assert many[correlation].bytes == images + window + result
    assert few[correlation].bytes == (padded + maps) // 16 + window
    assert many[correlation].flops == 16 * (few[correlation].flops + few[pool].flops)
    assert {*few[pool].nodes} <= {*many[correlation].nodes}
    assert {*few[pool].nodes}.isdisjoint(few[correlation].nodes)


@pytest.mark.parametrize("batch", [1, 4, 5, 15, 16, 17, 33, 64, 70, 1000, 12345])
@pytest.mark.parametrize("name", ["pooled", "lenet5"])
def test_no_work_is_lost_or_counted_twice(name, batch):
    if name == "pooled":
        graph = pooled()
    else:
        options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "backend": "numpy"}
        graph = gcn.compile(ZOO[name].make(), input_shape=ZOO[name].input_shape, **options).step_graph
    program = lower(graph, AVX2)
    counted = sum(node.cost(batch).flops for kernel in program.kernels for node in kernel.counted)
    assert sum(work.flops for work in works(program, batch, AVX2)) == counted > 0


def test_a_block_of_too_few_samples_is_done_kernel_by_kernel():
    program = lower(pooled(), AVX2)
    _, _, pool = kernels_of(program)
    whole, rest = (works(program, batch, AVX2)[pool].flops for batch in (64, 66))
    assert whole == 0
    assert rest == works(program, 2, AVX2)[pool].flops


def test_the_description_says_who_does_whose_work():
    program = lower(pooled(), AVX2)
    pad, correlation, pool = kernels_of(program)
    for number in (pad, pool):
        text = program.describe(program.kernels[number])
        assert f"done by kernel {correlation} where samples fill the lanes:" in text
    text = program.describe(program.kernels[correlation])
    assert f"with the work of kernels {pad} and {pool} where samples fill the lanes:" in text
    assert "fill the lanes" not in program.describe(program.kernels[0 if pad else -1])


def test_a_constant_that_is_shared_names_no_layer():
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1, momentum=0.9), "backend": "numpy"}
    graph = gcn.compile(ZOO["lenet5"].make(), input_shape=ZOO["lenet5"].input_shape, **options).step_graph
    for kernel in load_backend("native").compile(graph).report().kernels:
        layers = {
            graph.node(key).origin.layer for key in kernel.nodes if graph.node(key).origin.rule == "SGD"
        }
        assert len(layers) <= 1, kernel.name


def test_a_convolution_that_batch_norm_is_folded_into_counts_as_its_own_work():
    """So do its gradients on tiles, whose taps are moved round afterwards."""
    layers = [
        gcn.Conv2d(32, 5, padding="same"),
        gcn.BatchNorm2d(),
        gcn.ReLU(),
        gcn.GlobalAvgPool2d(),
        gcn.Dense(3),
    ]
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "backend": "numpy"}
    model = gcn.compile(gcn.Sequential(*layers), input_shape=(20, 20, 32), **options)
    products = 2 * 25 * 32 * 32 * 20 * 20
    for graph, passes in ((model.forward_graph, 1), (model.step_graph, 2)):
        program = lower(graph, AVX2)
        rooted = [works(program, 1, AVX2)[k.number] for k in program.kernels if "winograd" in k.title]
        large = [work for work in rooted if work.flops >= products]
        assert len(large) == passes
        assert sum(work.flops for work in large) < 1.05 * passes * products
