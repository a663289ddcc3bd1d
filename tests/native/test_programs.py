"""Graphs in which order and memory are easily wrong: who overwrites what, and who must read it before."""

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.ir import BATCH, Emitter, TensorType
from graphcnn.testing.case import Case
from graphcnn.testing.conformance import check_case
from graphcnn_native.lowering import lower
from graphcnn_native.target import named_target

GRAPHS = {}


def graph(build):
    """Note a function that builds a graph: `build(case, emit)`."""
    GRAPHS[build.__name__] = build
    return build


def states(case, count, *shape):
    return [case.normal("float64", *shape, state=True) for _ in range(count)]


def update(case, state, value):
    """Note what replaces a state that is an input."""
    case.graph.update(next(label for label, known in case.graph.inputs.items() if known == state), value)


def output(case, value):
    case.graph.output(f"output{len(case.graph.outputs)}", value)


def spread(emit, value, *shape):
    return emit(ops.Broadcast(shape), value)


# What is an output, an input or a state all at once


@graph
def what_follows_from_a_sum_spreads_along_an_axis(case, emit):
    """The sum is computed in memory order, but what is multiplied with it asks for its row."""
    x, row = case.normal("float64", 3, 8, 17, state=True), case.normal("float64", 1, 17, state=True)
    total = emit(ops.Sum((0,)), emit(ops.Multiply(), x, x))
    case.graph.output("y", emit(ops.Multiply(), total, emit(ops.Broadcast((8, 17)), row)))


@graph
def an_output_is_an_input(case, emit):
    x, (s,) = case.normal("float64", 5, 3, batch=True), states(case, 1, 7)
    for value in (x, emit(ops.Reshape((BATCH, 1, 3)), x), s, s):
        output(case, value)


@graph
def a_state_stays_as_it_is(case, emit):
    (s,) = states(case, 1, 7)
    update(case, s, s)
    output(case, s)


@graph
def constants_are_outputs(case, emit):
    number = emit(ops.Constant(2.5, TensorType((), "float64")))
    for value in (number, number, spread(emit, number, 3, 5), emit(ops.Tanh(), number)):
        output(case, value)


@graph
def there_is_nothing_to_compute(case, emit):
    case.normal("float64", 5, 3, batch=True)


@graph
def one_value_is_two_outputs_and_two_updates(case, emit):
    a, b, c = states(case, 3, 500)
    value = emit(ops.Tanh(), b)
    for state in (a, b):
        update(case, state, value)
    update(case, c, emit(ops.Relu(), value))
    output(case, value)
    output(case, emit(ops.Reshape((20, 25)), value))


@graph
def outputs_are_read_by_others(case, emit):
    x, w = case.normal("float64", 17, 9, batch=True), case.normal("float64", 9, 9)
    h = x
    for _ in range(4):
        h = emit(ops.Tanh(), emit(ops.Matmul(), h, w))
        output(case, h)
        output(case, emit(ops.Sum((0,)), h))
    output(case, emit(ops.Reshape((BATCH, 3, 3)), h))


@graph
def what_is_read_is_not_yet_overwritten(case, emit):
    """Each op reads elements in another order than it writes them, and nothing is needed for long."""
    x = emit(ops.Tanh(), case.normal("float64", 33, 6, 6, 8, batch=True))
    for _ in range(2):
        x = emit(ops.Rot180((1, 2)), emit(ops.Transpose((0, 2, 1, 3)), x))
        x = emit(ops.Correlate2d(), x, case.normal("float64", 1, 1, 8, 8))
        x = emit(ops.Transpose((0, 3, 1, 2)), emit(ops.Tanh(), x))
        x = emit(ops.Transpose((0, 2, 3, 1)), x)
    output(case, emit(ops.Sum((0,)), x))


# States


@graph
def two_states_change_places(case, emit):
    a, b = states(case, 2, 33)
    update(case, a, b)
    update(case, b, a)


@graph
def states_move_round_while_others_read_them(case, emit):
    a, b, c = states(case, 3, 20_000)
    update(case, a, b)
    update(case, b, c)
    update(case, c, emit(ops.Add(), a, b))
    output(case, emit(ops.Multiply(), a, c))


@graph
def an_update_reads_a_state_that_another_replaces(case, emit):
    a, b = states(case, 2, 20_000)
    update(case, a, emit(ops.Add(), a, b))
    update(case, b, emit(ops.Multiply(), a, b))


@graph
def a_state_is_read_after_its_update_is_known(case, emit):
    w, x = *states(case, 1, 40, 40), case.normal("float64", 33, 40, batch=True)
    gradient = emit(ops.Matmul(), emit(ops.Transpose((1, 0)), x), x)
    update(case, w, emit(ops.Subtract(), w, gradient))
    output(case, emit(ops.Matmul(), emit(ops.Tanh(), emit(ops.Matmul(), x, w)), w))


@graph
def a_state_is_read_through_a_broadcast(case, emit):
    (w,) = states(case, 1, 40, 40)
    total = spread(emit, emit(ops.Sum((0,), keep=True), w), 40, 40)
    update(case, w, emit(ops.Subtract(), w, total))


@graph
def a_state_is_read_through_a_broadcast_to_its_own_shape(case, emit):
    x = case.normal("float64", 33, 4, batch=True)
    for shape in ((), (4,)):
        (state,) = states(case, 1, *shape)
        total = emit(ops.Mean((0, 1) if shape == () else (0,)), x)
        error = emit(ops.Tanh(), emit(ops.Multiply(), state, total))
        step = emit(ops.Multiply(), emit(ops.Broadcast(shape), error), error)
        output(case, step)
        update(case, state, emit(ops.Subtract(), state, step))


@graph
def a_broadcast_state_replaces_itself(case, emit):
    (w,) = states(case, 1, 12, 12)
    first = emit(ops.Crop(((0, 11), (0, 0))), w)
    update(case, w, emit(ops.Add(), w, spread(emit, first, 12, 12)))


@graph
def a_sum_reads_all_of_the_state_it_replaces(case, emit):
    (w,) = states(case, 1, 37)
    columns = spread(emit, emit(ops.Reshape((37, 1)), w), 37, 37)
    update(case, w, emit(ops.Sum((0,)), emit(ops.Multiply(), columns, case.normal("float64", 37, 37))))


@graph
def a_sum_is_added_to_the_state_it_reads(case, emit):
    (w,) = states(case, 1, 40)
    product = emit(ops.Multiply(), spread(emit, w, 3, 40), case.normal("float64", 3, 40))
    update(case, w, emit(ops.Add(), emit(ops.Sum((0,)), product), w))


@graph
def a_product_reads_the_transpose_of_the_state_it_replaces(case, emit):
    (w,) = states(case, 1, 40, 40)
    update(case, w, emit(ops.Matmul(), emit(ops.Transpose((1, 0)), w), case.normal("float64", 40, 40)))


@graph
def filters_are_turned_in_place(case, emit):
    (w,) = states(case, 1, 5, 5, 3, 4)
    update(case, w, emit(ops.Rot180((0, 1)), w))


@graph
def a_state_is_replaced_by_its_transpose(case, emit):
    (w,) = states(case, 1, 40, 40)
    update(case, w, emit(ops.Add(), w, emit(ops.Transpose((1, 0)), w)))


@graph
def a_state_is_replaced_through_a_reshape(case, emit):
    (w,) = states(case, 1, 8, 12)
    flat = emit(ops.Tanh(), emit(ops.Reshape((96,)), w))
    update(case, w, emit(ops.Reshape((8, 12)), flat))
    output(case, emit(ops.Reshape((12, 8)), flat))


@graph
def a_state_has_a_row_per_sample(case, emit):
    x, w = case.normal("float64", 33, 20, batch=True), case.normal("float64", 20, 20)
    h = case.input(case.random.standard_normal((33, 20)), batch=True, state=True)
    following = emit(ops.Tanh(), emit(ops.Add(), emit(ops.Matmul(), h, w), x))
    update(case, h, following)
    output(case, following)


@graph
def a_deep_product_is_added_to_a_state(case, emit):
    x, w = case.normal("float64", 33, 1280, batch=True), case.normal("float64", 1280, 20)
    h = case.input(case.random.standard_normal((33, 20)), batch=True, state=True)
    update(case, h, emit(ops.Add(), emit(ops.Matmul(), x, w), h))


@graph
def the_gradient_of_a_large_layer_updates_it(case, emit):
    x, d = case.normal("float64", 33, 70, batch=True), case.normal("float64", 33, 130, batch=True)
    w, v = states(case, 2, 70, 130)
    gradient = emit(ops.Matmul(), emit(ops.Transpose((1, 0)), x), d)
    faster = emit(
        ops.Add(), emit(ops.Multiply(), v, emit(ops.Constant(0.9, TensorType((), "float64")))), gradient
    )
    update(case, v, faster)
    update(case, w, emit(ops.Subtract(), w, faster))
    output(case, gradient)


@graph
def states_are_whole_numbers_and_truth_values(case, emit):
    s = case.input(np.array([1, 5, 9]), state=True)
    b = case.input(np.array([True, False, True]), state=True)
    update(case, s, emit(ops.Cast("int64"), b))
    update(case, b, emit(ops.Greater(), s, emit(ops.Constant(3, TensorType((), "int64")))))


# What is cheap enough to repeat, and is needed in memory all the same


@graph
def a_broadcast_is_an_output_and_read(case, emit):
    w, x = case.normal("float64", 7), case.normal("float64", 33, 7, batch=True)
    rows = spread(emit, w, BATCH, 7)
    output(case, emit(ops.Add(), rows, x))
    output(case, rows)


@graph
def a_broadcast_is_added_and_then_multiplied_as_a_matrix(case, emit):
    w, x = case.normal("float64", 7), case.normal("float64", 33, 7, batch=True)
    rows = spread(emit, w, BATCH, 7)
    output(case, emit(ops.Add(), rows, x))
    output(case, emit(ops.Matmul(), rows, case.normal("float64", 7, 5)))


@graph
def a_scalar_is_used_and_then_reshaped(case, emit):
    s, x = case.normal("float64"), case.normal("float64", 33, 9, batch=True)
    square = emit(ops.Multiply(), s, s)
    output(case, emit(ops.Multiply(), x, square))
    output(case, emit(ops.Add(), case.normal("float64", 1), emit(ops.Reshape((1,)), square)))


@graph
def labels_are_spread_out_for_two_readers(case, emit):
    labels = case.input(case.random.integers(0, 5, 33), batch=True)
    rows = emit(ops.OneHot(5, "float64"), labels)
    output(case, emit(ops.Add(), rows, case.normal("float64", 33, 5, batch=True)))
    output(case, emit(ops.Matmul(), rows, case.normal("float64", 5, 3)))
    output(case, rows)


@graph
def numbers_are_drawn_twice(case, emit):
    state = case.input(np.array([5, 7]), state=True)
    x = case.normal("float64", 33, 9, batch=True)
    first, then = emit.all(ops.RandomUniform(), state, x)
    second, last = emit.all(ops.RandomUniform(), then, x)
    output(case, emit(ops.Multiply(), second, x))
    output(case, emit(ops.Add(), first, first))
    output(case, then)
    update(case, state, last)


# What gives its shape alone


@graph
def only_the_shape_of_a_value_is_drawn_for(case, emit):
    state = case.input(np.array([5, 7]), state=True)
    x = case.normal("float64", 33, 9, batch=True)
    output(case, emit(ops.RandomUniform(), state, emit(ops.Relu(), x)))


@graph
def only_the_size_of_values_is_counted(case, emit):
    x = case.normal("float64", 33, 9, batch=True)
    output(case, emit(ops.Count((0, 1)), emit(ops.Relu(), x)))
    output(case, emit(ops.Count((0,)), emit(ops.Sum((0,)), x)))
    for dtype in ("bool", "uint8", "int32", "int64", "float32"):
        output(case, emit(ops.Count((0,)), emit(ops.Cast(dtype), x)))


@graph
def what_gives_the_shape_depends_on_numbers_that_nobody_reads(case, emit):
    state = case.input(np.array([5, 7]), state=True)
    x, y = (case.normal("float64", 33, 9, batch=True) for _ in range(2))
    scaled = emit(ops.Multiply(), emit(ops.Multiply(), x, case.normal("float64")), emit(ops.Mean((0, 1)), x))
    output(case, emit(ops.Sum((0,)), scaled))
    output(case, emit(ops.Multiply(), emit(ops.RandomUniform(), state, scaled), y))


# Samples that are not in front, or are not samples


@graph
def the_batch_is_turned_around(case, emit):
    x = case.normal("float64", 33, 6, batch=True)
    turned = emit(ops.Rot180((0,)), emit(ops.Tanh(), x))
    output(case, turned)
    output(case, emit(ops.Add(), x, turned))


@graph
def the_batch_moves_to_other_axes(case, emit):
    x, w = case.normal("float64", 33, 6, batch=True), case.normal("float64", 5, 6)
    across = emit(ops.Transpose((1, 0)), emit(ops.Tanh(), x))
    product = emit(ops.Matmul(), w, across)
    output(case, emit(ops.Sum((0,)), product))
    output(case, emit(ops.Mean((1,)), product))
    output(case, emit(ops.Concatenate(0), product, across))
    output(case, emit(ops.Transpose((1, 0)), product))
    output(case, emit(ops.Pad(((1, 2), (0, 0))), product))
    output(case, emit(ops.ArgMax(0), product))
    output(case, emit(ops.Matmul(), product, x))
    output(case, emit(ops.Rot180((0, 1)), product))


@graph
def numbers_of_samples_are_padded_by_nothing(case, emit):
    x = emit(ops.Tanh(), case.normal("float64", 2, batch=True))
    output(case, emit(ops.Pad(((0, 0),)), x))
    padded = emit(ops.Pad(((1, 2),)), case.normal("float64", 9001))
    output(case, emit(ops.Concatenate(0), padded, case.normal("float64", 3)))


@graph
def a_reshape_moves_the_batch(case, emit):
    x = case.normal("float64", 33, 6, batch=True)
    moved = emit(ops.Reshape((3, BATCH, 2)), emit(ops.Tanh(), x))
    output(case, emit(ops.Sum((1,)), moved))
    output(case, emit(ops.Transpose((1, 0, 2)), moved))
    output(case, emit(ops.Relu(), moved))
    output(case, emit(ops.Sum((0,)), emit(ops.Reshape((BATCH, 6)), emit(ops.Tanh(), moved))))


@graph
def a_fixed_number_of_images(case, emit):
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "groups": 2}
    images, deltas = case.normal("float64", 3, 8, 7, 4), case.normal("float64", 3, 3, 2, 8)
    for op in (ops.Correlate2d, ops.Convolve2d):
        output(case, emit(op(sum_over="batch", **options), images, deltas))
        output(case, emit(op(sum_over="batch"), images, deltas))
        output(case, emit(op(**options), images, case.normal("float64", 3, 2, 2, 6)))
    output(case, emit(ops.MaxPool2d((3, 2), (2, 2)), images))


@graph
def a_fixed_number_of_labels_beside_a_batch(case, emit):
    logits, labels = case.normal("float64", 5, 4), case.input(np.array([0, 1, 2, 3, 0]))
    output(case, emit(ops.SoftmaxCrossEntropy(), logits, labels))
    output(case, emit(ops.Relu(), case.normal("float64", 1000, 3, batch=True)))


@graph
def errors_are_squared_without_a_batch(case, emit):
    for shape in ((4, 6), (5,)):
        x, y = case.normal("float64", *shape), case.normal("float64", *shape)
        output(case, emit(ops.SquaredError(), x, y))


# Sums over samples


@graph
def sums_over_samples_of_what_is_scaled(case, emit):
    x, s = case.normal("float64", 33, 9, batch=True), case.normal("float64")
    output(case, emit(ops.Sum((0,)), emit(ops.Multiply(), x, s)))
    output(case, emit(ops.Mean((0,)), emit(ops.Multiply(), x, emit(ops.Mean((0, 1)), x))))


@graph
def sums_that_depend_on_sums(case, emit):
    x = case.normal("float64", 130, 5, batch=True)
    for _ in range(3):
        mean = spread(emit, emit(ops.Mean((0,)), x), BATCH, 5)
        centred = emit(ops.Subtract(), x, mean)
        x = emit(ops.Tanh(), emit(ops.Add(), centred, emit(ops.Multiply(), centred, centred)))
    output(case, x)
    output(case, emit(ops.Sum((0, 1)), x))


# Scalars of the whole batch


@graph
def a_scalar_of_the_batch_scales_what_is_summed(case, emit):
    x, (w,) = case.normal("float64", 17, 5, batch=True), states(case, 1, 5)
    y = emit(ops.Multiply(), x, spread(emit, w, BATCH, 5))
    square = emit(ops.Mean((0, 1)), emit(ops.Multiply(), y, y))
    size = emit(ops.Sqrt(), emit(ops.Add(), square, ops.constant(emit, 1e-6, square.type)))
    normal = emit(ops.Divide(), y, size)
    output(case, normal)
    total = emit(ops.Sum((0,)), emit(ops.Divide(), emit(ops.Multiply(), normal, x), size))
    update(case, w, emit(ops.Subtract(), w, total))


@graph
def the_square_of_a_mean_scales_what_is_summed(case, emit):
    x, (w,) = case.normal("float64", 17, 5, batch=True), states(case, 1, 5)
    mean = emit(ops.Mean((0, 1)), emit(ops.Multiply(), x, spread(emit, w, BATCH, 5)))
    output(case, emit(ops.Multiply(), mean, mean))
    total = emit(ops.Sum((0,)), emit(ops.Multiply(), x, emit(ops.Tanh(), mean)))
    update(case, w, emit(ops.Subtract(), w, total))


# Element types


@graph
def the_winning_unit_is_computed_with(case, emit):
    pooled, index = emit.all(ops.MaxPool2d((2, 2), (2, 2)), case.normal("float64", 5, 6, 6, 3, batch=True))
    number = emit(ops.Cast("float64"), index)
    output(case, emit(ops.Multiply(), pooled, emit(ops.Add(), number, number)))


@graph
def small_numbers_without_a_sign_are_compared(case, emit):
    for high, dtype in ((256, "uint8"), (2, "bool")):
        x, y = (
            case.input(case.random.integers(0, high, (33, 6)).astype(dtype), batch=True) for _ in range(2)
        )
        output(case, emit(ops.Greater(), x, y))
        output(case, emit(ops.Equal(), x, y))


@graph
def truth_values_are_spread_from_labels(case, emit):
    labels = case.input(case.random.integers(-1, 8, 33), batch=True)
    x, y = (case.normal("float64", 33, 6, batch=True) for _ in range(2))
    output(case, emit(ops.Select(), emit(ops.OneHot(6, "bool"), labels), x, y))
    for dtype in ("bool", "uint8", "int32", "int64", "float32"):
        output(case, emit(ops.OneHot(6, dtype), labels))


@graph
def matrices_are_padded(case, emit):
    x = emit(ops.Pad(((0, 0), (0, 0))), case.normal("float64", 17, 5, batch=True))
    output(case, emit(ops.Sum((0, 1)), emit(ops.Multiply(), x, x)))


@graph
def maps_are_pooled_whose_channels_are_the_batch(case, emit):
    x = emit(
        ops.Reshape((2, 5, 6, BATCH)), emit(ops.Transpose((1, 0)), case.normal("float64", 19, 60, batch=True))
    )
    pooled, index = emit.all(ops.MaxPool2d((2, 2), (2, 2)), x)
    for value in (pooled, emit(ops.AveragePool2d((2, 3), (1, 2), ((0, 1), (1, 0))), x)):
        output(case, value)
    output(case, emit(ops.RouteToWinner2d((2, 2), (2, 2), ((0, 0), (0, 0)), (2, 5, 6, BATCH)), pooled, index))


@graph
def every_element_type_is_moved(case, emit):
    for dtype in ("bool", "uint8", "int32", "int64", "float32"):
        x = case.input(case.random.integers(0, 2, (9, 3, 4, 2)).astype(dtype), batch=True)
        for op in (
            *(ops.Pad(((0, 0), (1, 0), (0, 1), (2, 1))), ops.Transpose((3, 0, 2, 1)), ops.Rot180((1, 3))),
            *(ops.ZeroInsert((2, 2)), ops.Subsample((2, 3)), ops.ArgMax(3), ops.Transpose((0, 1, 3, 2))),
        ):
            output(case, emit(op, x))
        output(case, emit(ops.Concatenate(3), x, x))
        choice = emit(ops.Select(), case.input(np.array(True)), x, emit(ops.Rot180((2,)), x))
        output(case, choice)


@graph
def precisions_meet(case, emit):
    x = case.normal("float32", 17, 11, batch=True)
    wide = emit(ops.Cast("float64"), emit(ops.Relu(), x))
    output(case, emit(ops.Multiply(), wide, case.normal("float64", 17, 11, batch=True)))
    output(case, emit(ops.Sum((1,)), emit(ops.Cast("float32"), emit(ops.Tanh(), wide))))


# Pools and pads in correlations

POOLS = (ops.MaxPool2d, ops.SumPool2d, ops.AveragePool2d, ops.L2Pool2d)


def correlated(case, emit, images, beside=(0, 0)):
    """Images, correlated with so few filters that samples fill the lanes."""
    window = case.normal("float64", 3, 3, images.type.static(3), 5)
    return emit(ops.Correlate2d(padding=((1, 1), beside)), images, window)


def maps(case, emit):
    return emit(ops.Tanh(), correlated(case, emit, case.normal("float64", 33, 6, 7, 2, batch=True), (1, 1)))


@graph
def maps_are_pooled_as_they_are_computed(case, emit):
    for pool in POOLS:
        output(case, emit(pool((2, 3), (2, 3)), maps(case, emit)))


@graph
def maps_are_stored_before_they_are_pooled_by_windows_that_overlap(case, emit):
    for pool in POOLS:
        output(case, emit(pool((3, 3), (2, 2)), maps(case, emit)))
        output(case, emit(pool((2, 2), (2, 3)), maps(case, emit)))
        output(case, emit(pool((2, 2), (2, 2), ((0, 0), (0, 1))), maps(case, emit)))


@graph
def maps_are_stored_before_they_are_pooled_where_others_read_them(case, emit):
    for pool in POOLS:
        both = maps(case, emit)
        output(case, emit(pool((2, 3), (2, 3)), both))
        output(case, emit(ops.Sum((1, 2)), both))
        kept = maps(case, emit)
        output(case, emit(pool((2, 3), (2, 3)), kept))
        output(case, kept)


@graph
def maps_are_stored_before_they_are_pooled_where_samples_differ(case, emit):
    for pool in POOLS:
        added = maps(case, emit)
        added = emit(ops.Add(), added, case.normal("float64", 33, 6, 7, 5, batch=True))
        output(case, emit(pool((2, 3), (2, 3)), added))


@graph
def images_are_padded_beside_them_as_they_are_read(case, emit):
    x = case.normal("float64", 33, 6, 5, 2, batch=True)
    padded = emit(ops.Pad(((0, 0), (0, 0), (1, 2), (0, 0))), emit(ops.Tanh(), x))
    output(case, correlated(case, emit, padded))


@graph
def images_are_padded_before_they_are_read(case, emit):
    x = case.normal("float64", 33, 6, 5, 2, batch=True)
    images = [
        emit(ops.Pad(((0, 0), (1, 0), (0, 1), (0, 0))), emit(ops.Tanh(), x)),
        emit(ops.Pad(((0, 0), (0, 0), (1, 1), (1, 0))), emit(ops.Tanh(), x)),
    ]
    beside = emit(ops.Pad(((0, 0), (0, 0), (1, 1), (0, 0))), emit(ops.Sigmoid(), x))
    images.append(emit(ops.Reshape((BATCH, 7, 6, 2)), beside))
    for each in images:
        output(case, correlated(case, emit, each))
    read_twice = emit(
        ops.Pad(((0, 0), (0, 0), (1, 1), (0, 0))),
        emit(ops.Tanh(), case.normal("float64", 33, 6, 5, 5, batch=True)),
    )
    filtered = emit(ops.Correlate2d(padding=((2, 2), (0, 0))), read_twice, case.normal("float64", 5, 1, 5, 5))
    output(case, emit(ops.Multiply(), filtered, read_twice))


def neighbours(build):
    """Return how many pools, and how many pads, the correlations of a graph do on their way."""
    case = Case(build.__name__)
    build(case, Emitter(case.graph))
    kernels = lower(case.graph, named_target("avx2")).kernels
    return sum(k.pool is not None for k in kernels), sum(k.pad is not None for k in kernels)


def test_correlations_do_their_neighbours_work_where_they_can():
    assert neighbours(maps_are_pooled_as_they_are_computed)[0] == len(POOLS)
    assert neighbours(images_are_padded_beside_them_as_they_are_read) == (0, 1)
    assert neighbours(images_are_padded_before_they_are_read) == (0, 0)


@pytest.mark.parametrize(
    "build",
    [
        maps_are_stored_before_they_are_pooled_by_windows_that_overlap,
        maps_are_stored_before_they_are_pooled_where_others_read_them,
        maps_are_stored_before_they_are_pooled_where_samples_differ,
    ],
)
def test_correlations_do_not_pool_where_they_must_not(build):
    assert neighbours(build)[0] == 0


# Errors behind pools


@graph
def errors_go_back_through_pools_of_the_callers(case, emit):
    """Vectors of pixels, of filters and of errors end where the caller's arrays do."""
    for batch, rows, columns, channels, filters, taps, pool in (
        (17, 9, 11, 6, 19, (4, 5), (2, 2)),
        (17, 8, 6, 11, 16, (3, 4), (3, 3)),
        (17, 15, 14, 6, 16, (5, 5), (2, 4)),
    ):
        maps = rows - taps[0] + 1, columns - taps[1] + 1
        pooled = tuple(size // window for size, window in zip(maps, pool, strict=True))
        images = case.normal("float32", batch, rows, columns, channels, batch=True)
        errors = case.random.standard_normal((batch, *pooled, filters)) * case.random.integers(
            2, size=filters
        )
        delta = case.input(errors.astype(np.float32), batch=True)
        winners = case.random.integers(pool[0] * pool[1], size=errors.shape)
        index = case.input(winners.astype(np.uint8), batch=True)
        routed = emit(ops.RouteToWinner2d(pool, pool, shape=(BATCH, *maps, filters)), delta, index)
        output(case, emit(ops.Correlate2d(sum_over="batch"), images, routed))
        weights = case.normal("float32", *taps, channels, filters)
        turned = emit(ops.Transpose((0, 1, 3, 2)), emit(ops.Rot180((0, 1)), weights))
        for cropped in (0, 1):
            padding = tuple((tap - 1, tap - 1 - cropped) for tap in taps)
            back = emit(ops.Correlate2d(padding=padding), routed, turned)
            by_pixel = emit(ops.Broadcast(back.type.shape), case.normal("float32", channels))
            output(case, emit(ops.Multiply(), back, by_pixel if cropped else images))


def test_errors_are_listed_where_lanes_can_be_moved_together():
    case = Case("lists")
    errors_go_back_through_pools_of_the_callers(case, Emitter(case.graph))
    for target, count in (("avx512", 9), ("avx2", 0)):
        titles = [kernel.title for kernel in lower(case.graph, named_target(target), winograd=False).kernels]
        assert sum(title.startswith("routed") for title in titles) == count


# Products of bfloat16, by tiles where the processor has some


def rounded(case, emit, *shape, batch=True):
    return emit(ops.RoundBfloat16(), case.normal("float32", *shape, batch=batch))


@graph
def tiles_reach_beyond_small_maps(case, emit):
    """Of places, channels and filters that fill no tiles, read by several taps; last of all, one place."""
    for size, channels, filters in ((7, 24, 17), (3, 40, 33), (1, 64, 20)):
        x, taps = rounded(case, emit, 5, size, size, channels), min(size, 3)
        window = rounded(case, emit, taps, taps, channels, filters, batch=False)
        sides = (taps // 2, taps // 2)
        maps = emit(ops.Correlate2d(padding=(sides, sides)), x, window)
        output(case, emit(ops.MaxPool2d((1, 1), (1, 1)), emit(ops.Relu(), maps)))
        delta = rounded(case, emit, 5, size, size, filters)
        gradient = ops.Correlate2d(padding=(sides, sides), sum_over="batch")
        output(case, emit(gradient, emit(ops.RoundBfloat16(), emit(ops.Relu(), x)), delta))


@graph
def tiles_of_matrices_reach_beyond_them(case, emit):
    x, delta = rounded(case, emit, 21, 5, 15), rounded(case, emit, 21, 70)
    weights = rounded(case, emit, 75, 70, batch=False)
    flat = emit(ops.Reshape((BATCH, 75)), x)
    output(case, emit(ops.Tanh(), emit(ops.Matmul(), flat, weights)))
    output(case, emit(ops.Matmul(), delta, emit(ops.Transpose((1, 0)), weights)))
    output(case, emit(ops.Matmul(), emit(ops.Transpose((1, 0)), flat), delta))


# Long ways


@graph
def an_expression_is_hundreds_of_ops_deep(case, emit):
    x = y = case.normal("float64", 5, 3, batch=True)
    for _ in range(500):
        x = emit(ops.Multiply(), x, emit(ops.Constant(0.999, TensorType((), "float64"))))
    output(case, emit(ops.Sum((1,)), x))
    for _ in range(150):
        y = emit(ops.Tanh(), emit(ops.Add(), y, emit(ops.Sigmoid(), y)))
    output(case, y)


@graph
def every_scalar_is_read_twice_by_the_next(case, emit):
    s = case.normal("float64")
    for _ in range(100):
        s = emit(ops.Tanh(), emit(ops.Add(), s, s))
    output(case, emit(ops.Multiply(), case.normal("float64", 3), s))


@pytest.mark.parametrize("build", GRAPHS.values(), ids=GRAPHS)
def test_what_a_graph_says_is_what_it_does(native_in_any_order, build):
    case = Case(build.__name__)
    build(case, Emitter(case.graph))
    for backend in native_in_any_order:
        assert check_case(backend, case)


def test_all_steps_of_a_training_are_those_of_the_reference(native_in_any_order):
    case = Case("states move on")
    emit = Emitter(case.graph)
    states_move_round_while_others_read_them(case, emit)
    executables = [backend.compile(case.graph) for backend in (load_backend("numpy"), *native_in_any_order)]
    held = [{label: array.copy() for label, array in case.inputs.items()} for _ in executables]
    for _ in range(5):
        results = [executable.step(state) for executable, state in zip(executables, held, strict=True)]
        for result, state in zip(results[1:], held[1:], strict=True):
            assert np.array_equal(result["output0"], results[0]["output0"])
            assert all(np.array_equal(array, held[0][label]) for label, array in state.items())
