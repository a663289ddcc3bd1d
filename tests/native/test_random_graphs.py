"""Random networks and random graphs: native equals NumPy, forward, gradient and in whole steps."""

import numpy as np
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from graphcnn import ops
from graphcnn.errors import GraphcnnError
from graphcnn.ir import BATCH, Emitter
from graphcnn.testing.cases import Case
from graphcnn.testing.conformance import check_case
from graphcnn.transform import differentiate, simplify

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


# Networks: layers with branches, a loss, and an optimiser's updates


@st.composite
def training_steps(draw):
    case = draw(empty_cases())
    emit = Emitter(case.graph)
    batch = draw(BATCHES)
    x = numbers(case, batch, *draw(sides(8)), draw(st.integers(1, 9)))
    for _ in range(draw(st.integers(1, 4))):
        x = draw(st.sampled_from(LAYERS))(draw, case, emit, x)
    units = int(np.prod(x.type.shape[1:]))
    classes = draw(st.integers(1, 12))
    weights = case.input(scaled(case, units, classes), state=True)
    outputs = emit(ops.Matmul(), emit(ops.Reshape((BATCH, units)), x), weights)
    if draw(st.booleans()):
        labels = case.input(case.random.integers(0, classes, batch), batch=True)
        each = emit(ops.SoftmaxCrossEntropy(), outputs, labels)
    else:
        each = emit(ops.SquaredError(), outputs, numbers(case, batch, classes))
    graph = case.graph
    graph.output("loss", emit(ops.Mean((0,)), each))
    parameters = {label: value for label, value in graph.inputs.items() if label not in graph.updates}
    parameters = {label: value for label, value in parameters.items() if graph.role(label) == "state"}
    step, gradients = differentiate(graph, graph.outputs["loss"], parameters)
    emit, rate = Emitter(step), ops.constant(Emitter(step), 0.1, x.type)
    momentum = draw(st.booleans())
    for label, gradient in gradients.items():
        if momentum:
            array = np.asarray(case.random.standard_normal(gradient.type.concrete(1)), case.dtype)
            case.inputs[f"velocity of {label}"] = array
            velocity = step.input(f"velocity of {label}", gradient.type, role="state")
            gradient = emit(ops.Add(), emit(ops.Multiply(), rate, velocity), gradient)
            step.update(f"velocity of {label}", gradient)
        step.update(label, emit(ops.Subtract(), parameters[label], emit(ops.Multiply(), rate, gradient)))
    case.graph = simplify(step) if draw(st.booleans()) else step
    return case


def scaled(case, *shape):
    """Return random weights, so small that sums of their products stay of size 1."""
    return (case.random.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(case.dtype)


def convolved(draw, case, emit, x):
    height, width, channels = x.type.shape[1:]
    kernel = draw(st.tuples(st.integers(1, min(height, 4)), st.integers(1, min(width, 4))))
    groups = draw(st.sampled_from([n for n in (1, 2, 3) if channels % n == 0]))
    filters = groups * draw(st.integers(1, 8))
    op = ops.Correlate2d(draw(sides(2)), draw(paddings(1)), (1, 1), groups)
    w = case.input(scaled(case, *kernel, channels // groups, filters), state=True)
    result = emit(op, x, w)
    bias = case.input(scaled(case, filters), state=True)
    return emit(ops.Add(), result, emit(ops.Broadcast(result.type.shape), bias))


def activated(draw, case, emit, x):
    return emit(draw(st.sampled_from([ops.Relu(), ops.Tanh(), ops.Sigmoid()])), x)


def pooled(draw, case, emit, x):
    size = tuple(draw(st.integers(1, min(side, 3))) for side in x.type.shape[1:3])
    padding = tuple(tuple(draw(st.integers(0, side - 1)) for _ in range(2)) for side in size)
    kind = draw(st.sampled_from([ops.MaxPool2d, ops.AveragePool2d]))
    return emit(kind(size, draw(sides(2)), padding), x)


def branched(draw, case, emit, x):
    """Two ways that meet in a sum or side by side."""
    channels = x.type.shape[3]
    w = case.input(scaled(case, 1, 1, channels, channels), state=True)
    other = emit(ops.Relu(), emit(ops.Correlate2d(), x, w))
    return emit(ops.Add(), x, other) if draw(st.booleans()) else emit(ops.Concatenate(3), x, other, x)


def normalized(draw, case, emit, x):
    axes = draw(st.sampled_from([(0, 1, 2), (1, 2), (3,)]))
    shape = x.type.shape
    mean = emit(ops.Broadcast(shape), emit(ops.Mean(axes, keep=True), x))
    centred = emit(ops.Subtract(), x, mean)
    variance = emit(ops.Mean(axes, keep=True), emit(ops.Multiply(), centred, centred))
    safe = emit(ops.Sqrt(), emit(ops.Add(), variance, ops.constant(emit, 1.0, x.type)))
    return emit(ops.Divide(), centred, emit(ops.Broadcast(shape), safe))


def dropped(draw, case, emit, x):
    state = case.input(case.random.integers(0, 2**62, 2), state=True)
    uniform, following = emit.all(ops.RandomUniform(), state, x)
    case.graph.update(next(label for label, value in case.graph.inputs.items() if value == state), following)
    zero, half = (ops.constant(emit, number, x.type) for number in (0.0, 0.5))
    return emit(ops.Select(), emit(ops.Greater(), half, uniform), zero, x)


LAYERS = (convolved, convolved, activated, pooled, branched, normalized, dropped)


@FEW
@given(training_steps())
def test_training_steps_are_those_of_the_reference(native_backwards, case):
    check(native_backwards, case)


# Graphs of any ops


@st.composite
def graphs(draw):
    """Ops on tensors of few shapes, with or without a batch on any axis; outputs and updates at random."""
    case = draw(empty_cases())
    emit = Emitter(case.graph)
    batch = draw(BATCHES)
    case.sizes = draw(st.lists(st.sampled_from([1, 2, 3, 5, 8, 9, 17, 33]), min_size=2, max_size=2))
    case.values = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.sampled_from(case.sizes), max_size=4))
        has_batch = bool(shape) and draw(st.booleans())
        if has_batch:
            shape[0] = batch
        state = draw(st.booleans())
        array = np.asarray(case.random.standard_normal(shape), case.dtype)
        case.values.append(case.input(array, batch=has_batch, state=state))
    for _ in range(draw(st.integers(1, 12))):
        grow = draw(st.sampled_from(OPS))
        x = draw(st.sampled_from(case.values))
        try:
            case.values += grow(draw, case, emit, x) or ()
        except GraphcnnError:
            continue
    if any(value.type.has_batch for value in case.values) and not any(
        value.type.has_batch for value in case.graph.inputs.values()
    ):
        assume(False)
    for number in range(draw(st.integers(0, 4))):
        case.graph.output(f"output{number}", draw(st.sampled_from(case.values)))
    for label, value in case.graph.inputs.items():
        if case.graph.role(label) == "state" and draw(st.booleans()):
            fitting = [other for other in case.values if other.type == value.type]
            case.graph.update(label, draw(st.sampled_from(fitting)))
    return case


def pointwise(draw, case, emit, x):
    op = draw(st.sampled_from([ops.Tanh(), ops.Relu(), ops.Sigmoid(), ops.Negate(), ops.Power(2.0)]))
    return [emit(op, x)]


def paired(draw, case, emit, x):
    fitting = [y for y in case.values if y.type == x.type or y.type == x.type.with_shape(())]
    op = draw(st.sampled_from([ops.Add(), ops.Subtract(), ops.Multiply(), ops.Maximum()]))
    pair = draw(st.permutations([x, draw(st.sampled_from(fitting))]))
    return [emit(ops.Tanh(), emit(op, *pair))]


def selected(draw, case, emit, x):
    fitting = [y for y in case.values if y.type == x.type]
    y = draw(st.sampled_from(fitting))
    return [emit(ops.Select(), emit(ops.Greater(), x, y), *draw(st.permutations([x, y])))]


def spread(draw, case, emit, x):
    """Repeat along new axes in front and along axes of size 1."""
    shape = [draw(st.sampled_from(case.sizes)) if size == 1 else size for size in x.type.shape]
    for _ in range(draw(st.integers(0, 4 - len(shape)))):
        has_batch = BATCH in shape
        shape.insert(0, draw(st.sampled_from([*case.sizes, *([] if has_batch else [BATCH])])))
    return [emit(ops.Broadcast(tuple(shape)), x)]


def reduced(draw, case, emit, x):
    axes = tuple(axis for axis in range(x.type.rank) if draw(st.booleans()))
    kind = draw(st.sampled_from([ops.Sum, ops.Mean, ops.Mean]))
    return [emit(ops.Tanh(), emit(kind(axes, keep=draw(st.booleans())), x))]


def transposed(draw, case, emit, x):
    return [emit(ops.Transpose(tuple(draw(st.permutations(range(x.type.rank))))), x)]


def reshaped(draw, case, emit, x):
    """Put an axis of size 1 somewhere, or exchange two axes without moving elements."""
    shape = list(x.type.shape)
    if len(shape) < 4 and draw(st.booleans()):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return [emit(ops.Reshape(tuple(draw(st.permutations(shape)))), x)]


def joined(draw, case, emit, x):
    axis = draw(st.integers(0, max(0, x.type.rank - 1)))
    rest = x.type.shape[:axis] + x.type.shape[axis + 1 :]
    fitting = [
        y
        for y in case.values
        if y.type.dtype == x.type.dtype
        and y.type.rank == x.type.rank
        and y.type.shape[:axis] + y.type.shape[axis + 1 :] == rest
    ]
    return [emit(ops.Concatenate(axis), x, *draw(st.lists(st.sampled_from(fitting), max_size=2)))]


def padded(draw, case, emit, x):
    widths = [
        (0, 0) if size == BATCH else (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
        for size in x.type.shape
    ]
    return [emit(draw(st.sampled_from([ops.Pad, ops.Crop]))(tuple(widths)), x)]


def turned(draw, case, emit, x):
    return [emit(ops.Rot180(tuple(axis for axis in range(x.type.rank) if draw(st.booleans()))), x)]


def multiplied(draw, case, emit, x):
    fitting = [y for y in case.values if y.type.rank == 2 and y.type.shape[:1] == x.type.shape[-1:]]
    return [emit(ops.Tanh(), emit(ops.Matmul(), x, draw(st.sampled_from(fitting))))] if fitting else []


def slid(draw, case, emit, x):
    windows = [y for y in case.values if y.type.rank == 4 and y.type.dtype == x.type.dtype]
    if x.type.rank != 4 or not windows:
        return []
    sum_over = draw(st.sampled_from(["channels", "batch"]))
    op = draw(st.sampled_from([ops.Correlate2d, ops.Convolve2d]))
    op = op(draw(sides(2)), draw(paddings(2)), sum_over=sum_over)
    return [emit(ops.Tanh(), emit(op, x, draw(st.sampled_from(windows))))]


def pooled_anywhere(draw, case, emit, x):
    if x.type.rank != 4:
        return []
    kind = draw(st.sampled_from([ops.MaxPool2d, ops.AveragePool2d, ops.L2Pool2d]))
    return [emit(kind(draw(sides(3)), draw(sides(2))), x)]


def resampled(draw, case, emit, x):
    kind = draw(st.sampled_from([ops.Subsample, ops.ZeroInsert]))
    return [emit(kind(draw(sides(2))), x)]


def of_rows(draw, case, emit, x):
    return [emit(draw(st.sampled_from([ops.LogSoftmax(), ops.SquaredError()])), *[x])]


def compared(draw, case, emit, x):
    y = draw(st.sampled_from([y for y in case.values if y.type == x.type]))
    return [emit(ops.SquaredError(), x, y)]


def counted(draw, case, emit, x):
    axes = tuple(axis for axis in range(x.type.rank) if draw(st.booleans()))
    return [emit(ops.Multiply(), x, emit(ops.Power(-1.0), emit(ops.Count(axes), x)))]


def noisy(draw, case, emit, x):
    state = case.input(case.random.integers(0, 2**62, 2), state=True)
    uniform, following = emit.all(ops.RandomUniform(), state, x)
    again, last = emit.all(ops.RandomUniform(), following, x)
    case.values += [state, following, last]
    return [uniform, emit(ops.Multiply(), again, x)]


def constants(draw, case, emit, x):
    return [ops.constant(emit, draw(st.sampled_from([0.0, -0.0, 0.5, 1.5])), x.type)]


OPS = (
    *(pointwise, pointwise, paired, paired, paired, selected, spread, spread, reduced, reduced, transposed),
    *(reshaped, joined, padded, turned, multiplied, multiplied, slid, pooled_anywhere, resampled, of_rows),
    *(compared, counted, noisy, constants),
)


@FEW
@given(graphs())
def test_graphs_are_those_of_the_reference(native_backwards, case):
    check(native_backwards, case)


@pytest.mark.slow
@pytest.mark.parametrize("cases", [convolutions, pools, products, training_steps, graphs])
def test_many_are_those_of_the_reference(native_backwards, cases):
    @MANY
    @given(cases())
    def run(case):
        check(native_backwards, case)

    run()
