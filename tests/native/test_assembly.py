"""Machine code keeps its sums in registers; for every target it is right where it runs, or assembles."""

import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.testing import backend_cases
from graphcnn.testing.cases import build_case
from graphcnn.testing.conformance import check_case
from graphcnn.zoo import ZOO
from graphcnn_native import NativeExecutable
from graphcnn_native.codegen.module import generate
from graphcnn_native.lowering import lower
from graphcnn_native.runtime import engine
from graphcnn_native.target import named_target, runs_here

NAMES = ("avx512", "avx2", "baseline", "neon")
FUSED = {"avx512": r"^vfn?m(add|sub)\d+p[sd]", "avx2": r"^vfn?m(add|sub)\d+p[sd]", "neon": r"^fmla\s+v"}
SPILL = re.compile(r"(16|32|64)-byte (Folded )?(Spill|Reload)")
STORE = re.compile(r"^(vmov\w+\s+%\w+, .*\(|st[rp1]\s+(q|d|s|\{ ?v)\d)")
"""Of a vector. A loop that sums up products stores nothing; one that maps tiles does, and keeps no sums."""
JUMP = re.compile(r"^(?:j\w+|b|b\.\w+|cbn?z|tbn?z)\s.*?(\.L\w+)$")
NETWORKS = [
    "lenet5",
    "wide",
    "depthwise",
    "odd",
    pytest.param("mnist_cnn", marks=pytest.mark.slow),
    pytest.param("vgg_small", marks=pytest.mark.slow),
]
TIGHT = [
    # size, channels, filters, kernel, type, stride
    (14, 3, 24, 5, "float32", 1),  # indices of pixels and deltas in one register
    (14, 3, 24, 5, "float64", 1),
    (17, 3, 96, 4, "float32", 2),
    (17, 1, 8, 2, "float32", 1),  # a tap meets the pixels of the one before
    (9, 5, 20, 1, "float32", 1),
    (9, 2, 20, 1, "float32", 1),  # sums of two lanes
    (17, 24, 4, 4, "float32", 1),
    (17, 2, 12, 1, "float64", 1),  # two sets of sums
    (14, 5, 4, 5, "float32", 1),  # samples in the lanes
    (17, 4, 2, 7, "float64", 1),
]
"""Layers whose sums and factors want every register, each for a reason of its own."""
CHANNELS = [(1, 6), (2, 37), (3, 8), (3, 40), (4, 8), (5, 96), (6, 24), (7, 20), (9, 72), (13, 10)]
CHANNELS += [(16, 3), (40, 33)]
LAYERS = [
    *TIGHT,
    *(
        pytest.param((size, channels, filters, kernel, dtype, stride), marks=pytest.mark.slow)
        for number, (channels, filters) in enumerate(CHANNELS)
        for kernel in range(1, 8)
        for size, stride in [(9 + number % 3 * 4, 1 + (number + kernel) % 3 // 2)]
        for dtype in ("float32", "float64")
    ),
]


DEPTHWISE = [
    # channels, kernel, stride: pixels that neighbours share, and sums of 16 registers less a few
    (24, 5, 2),
    (36, 2, 1),
    *(
        pytest.param((channels, kernel, stride), marks=pytest.mark.slow)
        for channels in (8, 13, 24, 36, 100)
        for kernel in (2, 3, 4, 5, 7)
        for stride in (1, 2)
    ),
]


def wide():
    """Return a network whose 3x3 convolutions have channels for whole vectors."""
    layers = [gcn.Conv2d(16, 3), gcn.ReLU(), gcn.Conv2d(32, 3, padding=1), gcn.ReLU(), gcn.Conv2d(64, 3)]
    return gcn.Sequential(*layers, gcn.ReLU(), gcn.Flatten(), gcn.Dense(10))


def depthwise():
    """Return a network with depthwise convolutions of several sizes."""
    layers = [gcn.DepthwiseConv2d(3, padding=1), gcn.DepthwiseConv2d(3, stride=2, padding=1)]
    layers += [gcn.DepthwiseConv2d(5, padding=2), gcn.DepthwiseConv2d(7, padding=3)]
    return gcn.Sequential(gcn.Conv2d(100, 1), *layers, gcn.Flatten(), gcn.Dense(10))


def odd():
    """Return a network whose channels fill half of a last vector."""
    layers = [gcn.Conv2d(24, 5), gcn.ReLU(), gcn.Conv2d(40, 1), gcn.ReLU(), gcn.Conv2d(37, 5, padding=2)]
    return gcn.Sequential(*layers, gcn.ReLU(), gcn.Flatten(), gcn.Dense(10))


SMALL = {"odd": (odd, (14, 14, 8)), "wide": (wide, (10, 10, 3)), "depthwise": (depthwise, (20, 18, 3))}


def step_of(name):
    make, shape = SMALL[name] if name in SMALL else (ZOO[name].make, ZOO[name].input_shape)
    network = make()
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.05, momentum=0.9)}
    return gcn.compile(network, input_shape=shape, backend="numpy", **options).step_graph


def made(graph, target, make):
    """Return what `make(module, machine)` makes of each module of a graph's code."""
    machine_code = []
    machine = engine._target_machine(target)
    for text in generate(lower(graph, target), target).modules:
        with engine._loaded(text, machine) as module:
            machine_code.append(make(module, machine))
    return machine_code


def commented_assembly(module, machine):
    """Return assembly with LLVM's comments, which tell what is put on the stack and taken from there."""
    machine.set_asm_verbosity(True)
    return machine.emit_assembly(module)


def object_code(module, machine):
    return machine.emit_object(module)


def kernels_in(assembly):
    """Return the lines of every kernel by its name."""
    found, lines = {}, []
    for line in assembly.splitlines():
        if name := re.match(r"(\w+_[0-9a-f]{16}):", line):
            lines = found[name[1]] = []
        elif line.startswith(".Lfunc_end"):
            lines = []
        lines.append(line)
    return found


def innermost_loops(lines):
    """Return the instructions of each loop that has no loop within: from a label to a jump back to it."""
    places, code = {}, []
    for line in lines:
        if label := re.match(r"(\.L\w+):", line):
            places[label[1]] = len(code)
        elif re.match(r"\t\w", line):
            code.append(line.strip())
    loops = []
    for place, instruction in enumerate(code):
        jump = JUMP.match(instruction.partition("#")[0].partition("//")[0].strip())
        if jump and places.get(jump[1], len(code)) <= place:
            loops.append((places[jump[1]], place + 1))
    return [
        code[begin:end]
        for begin, end in loops
        if not any((begin, end) != (b, e) and begin <= b and e <= end for b, e in loops)
    ]


def sums_of_products(graph, target):
    """Return the loops of a graph's code that sum up products, and the spills in each, with their kernel."""
    modules = generate(lower(graph, target), target).modules[1:]  # the first one has the step, and no kernel
    found = []
    for text in modules:
        machine = engine._target_machine(target)
        with engine._loaded(text, machine) as module:
            kernels = kernels_in(commented_assembly(module, machine))
        for kernel, lines in kernels.items():
            if not any(product in kernel for product in ("correlate2d", "routed", "winograd", "matmul")):
                continue
            for loop in innermost_loops(lines):
                spills = [instruction for instruction in loop if SPILL.search(instruction)]
                stores = [each for each in loop if STORE.match(each) and each not in spills]
                if not stores and any(re.match(FUSED[target.name], instruction) for instruction in loop):
                    found.append((kernel, spills))
    return found


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("network", NETWORKS)
def test_sums_of_products_stay_in_registers(network, name):
    loops = sums_of_products(step_of(network), named_target(name))
    assert [loop for loop in loops if loop[1]] == []
    assert len(loops) > 10


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_sums_of_all_passes_of_a_layer_stay_in_registers(layer, name, passes_of):
    *sizes, dtype, stride = layer
    graphs = passes_of(*sizes, dtype=dtype, stride=stride)
    loops = [loop for graph in graphs for loop in sums_of_products(graph, named_target(name))]
    assert [loop for loop in loops if loop[1]] == []
    assert len(loops) > 1


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", DEPTHWISE, ids=str)
def test_sums_of_depthwise_layers_stay_in_registers(layer, dtype, name):
    channels, kernel, stride = layer
    middle = gcn.DepthwiseConv2d(kernel, stride=stride, padding=kernel // 2)
    network = gcn.Sequential(gcn.Conv2d(channels, 1), middle, gcn.Flatten(), gcn.Dense(3))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "dtype": dtype, "backend": "numpy"}
    step = gcn.compile(network, input_shape=(15, 15, 3), **options).step_graph
    loops = sums_of_products(step, named_target(name))
    assert [loop for loop in loops if loop[1]] == []
    assert len(loops) > 1


def test_a_spill_in_a_loop_would_be_found():
    """As many vectors as there are registers, and one more, which therefore cannot all stay in registers."""
    sums = range(named_target("avx2").registers + 1)
    vector = "<8 x float>"
    text = "\n".join(
        [
            "define void @matmul_0123456789abcdef(ptr %x, ptr %to) {",
            "entry:",
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %entry ], [ %more, %loop ]",
            *(f"  %s{n} = phi {vector} [ zeroinitializer, %entry ], [ %t{n}, %loop ]" for n in sums),
            f"  %at = getelementptr {vector}, ptr %x, i64 %i",
            f"  %v = load {vector}, ptr %at",
            *(
                f"  %t{n} = call {vector} @llvm.fma.v8f32({vector} %v, {vector} %v, {vector} %s{n})"
                for n in sums
            ),
            "  %more = add i64 %i, 1",
            "  %last = icmp eq i64 %more, 99",
            "  br i1 %last, label %leave, label %loop",
            "leave:",
            *(f"  store volatile {vector} %t{n}, ptr %to" for n in sums),
            "  ret void",
            "}",
            f"declare {vector} @llvm.fma.v8f32({vector}, {vector}, {vector})",
        ]
    )
    machine = engine._target_machine(named_target("avx2"))
    with engine._loaded(text, machine) as module:
        (lines,) = kernels_in(commented_assembly(module, machine)).values()
    (loop,) = innermost_loops(lines)
    assert any(SPILL.search(instruction) for instruction in loop)


@pytest.mark.parametrize("name", NAMES)
def test_code_for_a_target_is_right_where_it_runs_and_assembles_elsewhere(native, name):
    target = named_target(name)
    for case in map(build_case, backend_cases()[::61]):
        if runs_here(target):
            assert check_case(native(target=target), case)
        else:
            assert all(made(case.graph, target, object_code))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if runs_here(named_target(name))])
@pytest.mark.parametrize("case", backend_cases())
def test_every_case_passes_on_every_target(native, name, case):
    assert check_case(native(target=named_target(name)), build_case(case))


@pytest.mark.parametrize("name", [name for name in NAMES if runs_here(named_target(name))])
def test_targets_agree_on_a_network(name):
    model = gcn.compile(ZOO["lecun1989"].make(), input_shape=(16, 16, 1), dtype="float64", backend="numpy")
    images = np.random.default_rng(0).random((33, 16, 16, 1))
    executable = NativeExecutable(model.forward_graph, target=named_target(name))
    (found,) = executable(**model.state(), image=images).values()
    assert np.allclose(found, model.predict(images), rtol=1e-12, atol=1e-12)
