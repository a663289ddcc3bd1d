"""Random layers and random training steps: native equals NumPy, forward, gradient and in whole steps."""

import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from graphcnn import ops
from graphcnn.errors import GraphcnnError
from graphcnn.ir import BATCH, Emitter
from graphcnn.testing import Case, check_case, check_random_steps, random_step
from graphcnn.transform import differentiate, simplify
from graphcnn_native.lowering import lower
from graphcnn_native.target import named_target

FEW = settings(derandomize=True, database=None, deadline=None, max_examples=12)
MANY = settings(FEW, max_examples=300)

BATCHES = st.sampled_from([1, 2, 15, 16, 17, 33])
CHANNELS = st.one_of(st.integers(1, 17), st.integers(1, 70))
PRECISIONS = st.sampled_from(["float64", "float64", "float32"])


def sides(most):
    return st.tuples(st.integers(1, most), st.integers(1, most))


def paddings(most):
    return st.tuples(*(st.tuples(st.integers(0, most), st.integers(0, most)) for _ in range(2)))


def check(backend, case):
    note(f"{case.graph}\n{ {label: array.shape for label, array in case.inputs.items()} }")
    assert check_case(backend, case)


def numbers(case, *shape, batch=True):
    return case.normal(case.dtype, *shape, batch=batch)


@st.composite
def empty_cases(draw):
    """A graph without nodes, with a generator of numbers and the precision of what is to come."""
    case = Case(f"random {draw(st.integers(0, 2**32 - 1))}")
    case.dtype = draw(PRECISIONS)
    return case


# Single layers with their gradients


@st.composite
def convolutions(draw):
    case = draw(empty_cases())
    emit = Emitter(case.graph)
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, "depthwise"]))
    if groups == "depthwise":
        groups = inputs = draw(CHANNELS)
        outputs = inputs * draw(st.sampled_from([1, 1, 2]))
    else:
        inputs, outputs = (groups * (1 + (draw(CHANNELS) - 1) // groups) for _ in range(2))
    height, width = draw(sides(12))
    kernel = draw(sides(7))
    images = (draw(BATCHES), height, width, inputs)
    kind = draw(st.sampled_from([ops.Correlate2d, ops.Convolve2d]))
    op = kind(
        draw(sides(3)),
        draw(paddings(4)),
        draw(sides(2)),
        groups,
        draw(st.sampled_from(["channels", "batch"])),
    )
    x = numbers(case, *images)
    window = (images[0], *kernel, outputs) if op.sum_over == "batch" else (*kernel, inputs // groups, outputs)
    w = numbers(case, *window, batch=op.sum_over == "batch")
    if draw(st.booleans()):
        x = emit(ops.Tanh(), x)
    if draw(st.booleans()):
        w = emit(ops.Tanh(), w)
    try:
        result = emit(op, x, w)
    except GraphcnnError:
        assume(False)
    assume(op.flops((x.type, w.type), (result.type,), images[0]) < 4_000_000)
    if draw(st.booleans()):
        bias = emit(ops.Broadcast(result.type.shape), numbers(case, outputs, batch=False))
        result = emit(ops.Relu(), emit(ops.Add(), result, bias))
    case.graph.output("result", result)
    return with_gradient(draw, case, result)


@st.composite
def pools(draw):
    case = draw(empty_cases())
    emit = Emitter(case.graph)
    size = draw(sides(4))
    padding = tuple(tuple(draw(st.integers(0, side - 1)) for _ in range(2)) for side in size)
    kinds = [ops.MaxPool2d, ops.SumPool2d, ops.AveragePool2d, ops.L2Pool2d]
    op = draw(st.sampled_from(kinds))(size, draw(sides(4)), padding)
    x = numbers(case, draw(BATCHES), *draw(sides(9)), draw(CHANNELS))
    if draw(st.booleans()):
        x = emit(draw(st.sampled_from([ops.Relu(), ops.Tanh()])), x)
    try:
        result = emit(op, x)
    except GraphcnnError:
        assume(False)
    case.graph.output("result", result)
    return with_gradient(draw, case, result)


@st.composite
def products(draw):
    case = draw(empty_cases())
    emit = Emitter(case.graph)
    rows, depth, columns = draw(BATCHES), draw(CHANNELS), draw(CHANNELS)
    x, w = numbers(case, rows, depth), numbers(case, depth, columns, batch=False)
    result = emit(
        ops.Add(),
        emit(ops.Matmul(), x, w),
        emit(ops.Broadcast((BATCH, columns)), numbers(case, columns, batch=False)),
    )
    result = emit(draw(st.sampled_from([ops.Relu(), ops.Sigmoid(), ops.LogSoftmax()])), result)
    case.graph.output("result", result)
    return with_gradient(draw, case, result)


def with_gradient(draw, case, result):
    """Return the case, perhaps with the gradients of a loss that weighs every element of the result."""
    if not draw(st.booleans()):
        return case
    emit = Emitter(case.graph)
    batch = next(array.shape[0] for array in case.inputs.values())
    weights = numbers(case, *result.type.concrete(batch), batch=result.type.has_batch)
    product = emit(ops.Multiply(), result, weights)
    loss = emit(ops.Sum(tuple(range(product.type.rank))), product)
    wanted = {label: value for label, value in case.graph.inputs.items() if value != weights}
    with_gradients, gradients = differentiate(case.graph, loss, wanted)
    for label, gradient in gradients.items():
        with_gradients.output(f"gradient of {label}", gradient)
    case.graph = simplify(with_gradients) if draw(st.booleans()) else with_gradients
    return case


@FEW
@given(convolutions())
def test_convolutions_are_those_of_the_reference(native_backwards, case):
    check(native_backwards, case)


@FEW
@given(pools())
def test_pools_are_those_of_the_reference(native_backwards, case):
    check(native_backwards, case)


@FEW
@given(products())
def test_products_are_those_of_the_reference(native_backwards, case):
    check(native_backwards, case)


# Whole training steps


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_training_steps_are_those_of_the_reference(native_backwards, first):
    check_random_steps(native_backwards, 20, first=first)


def test_training_steps_draw_for_samples_and_move_them_in_every_way():
    wanted = {op for op in ops.OPS.values() if {"sample", "samples"} & set(op.name.split("_"))}
    wanted |= {ops.RandomUniform, ops.RandomNormal}
    for seed in range(1_000):
        wanted -= {type(node.op) for _, node in random_step(seed).graph.items()}
        if not wanted:
            return
    pytest.fail(f"no step has {', '.join(op.name for op in wanted)}")


def test_in_some_training_steps_correlations_pool_and_in_some_they_must_not():
    by_others, pools = 0, 0
    for seed in range(240):
        program = lower(random_step(seed).graph, named_target("avx2"))
        found = [k for k in program.kernels if isinstance(k.op(program.graph), ops.MaxPool2d)]
        pools += len(found)
        by_others += sum(kernel.pooled_by is not None for kernel in found)
        if 0 < by_others < pools:
            return
    pytest.fail(f"of {pools} pools, correlations do {by_others}")


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 20_000, 1_000))
def test_many_training_steps_are_those_of_the_reference(native_backwards, first):
    check_random_steps(native_backwards, 1_000, first=first)


@pytest.mark.slow
@pytest.mark.parametrize("cases", [convolutions, pools, products])
def test_many_are_those_of_the_reference(native_backwards, cases):
    @MANY
    @given(cases())
    def run(case):
        check(native_backwards, case)

    run()
