"""Receptive fields against what really happens: a row or a column of the image changes, and units with it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import observe
from graphcnn.errors import GraphcnnError
from graphcnn.inspection.receptive_field import receptive_fields, seen_along
from graphcnn.ir import BATCH, Graph
from graphcnn.testing import backend_cases
from graphcnn.testing.cases import build_case
from graphcnn.zoo import PUBLISHED


def interval(seen):
    """Return the first and the last pixel that each unit of a sample sees, with sizes of 1 for the rest."""
    first, last = (np.array(end, float) for end in seen.base)
    for axis, (along, size) in enumerate(zip(seen.axes, seen.sizes, strict=True)):
        ends = np.array([along.at(place) for place in range(size)], float)
        shape = [size if other == axis else 1 for other in range(len(seen.axes))]
        first, last = first + ends[:, 0].reshape(shape), last + ends[:, 1].reshape(shape)
    return first, last


def recorded(network, shape, axis, rows):
    """Return the values for an image, and for it with each of some rows (or columns) changed.

    All weights are positive, and the change is great: a unit that sees a pixel has no way of not changing.
    """
    given = {} if isinstance(network, gcn.Network) else {"input_shape": shape}
    model = gcn.compile(network, **given, dtype="float64", backend="numpy")
    random = np.random.default_rng(0)
    for name, parameter in model.parameters.items():
        model.parameters[name] = random.uniform(0.5, 1.5, parameter.shape)
    images = np.repeat(random.uniform(0, 1, (1, *shape)), len(rows) + 1, axis=0)
    for sample, row in enumerate(rows, 1):
        np.moveaxis(images[sample], axis - 1, 0)[row] += 1e3
    return model.inspect(images)


def reached(values, rows):
    """Return the first and the last row, of those that have been changed, to which each unit reacts."""
    changed = ~np.isclose(values[1:], values[:1], rtol=1e-9, atol=0)
    index = np.array(rows).reshape(-1, *[1] * (values.ndim - 1))
    return np.where(changed, index, np.inf).min(0), np.where(changed, index, -np.inf).max(0)


def followed(network, shape, rows=None):
    """Yield for each value of a network, along both axes, what is said of it and what its units react to."""
    for axis in range(1, min(3, len(shape) + 1)):
        extent = shape[axis - 1]
        changed = (
            list(range(extent)) if rows is None else sorted({*np.linspace(0, extent - 1, rows, dtype=int)})
        )
        recording = recorded(network, shape, axis, changed)
        for key, seen in seen_along(recording.graph, axis).items():
            node, values = recording.graph.node(key), np.asarray(recording.values[key])
            if node.types[0].shape[:1] == (BATCH,):
                yield f"%{key} along axis {axis}: {node.op}", extent, seen, *reached(values, changed)


def image(layers, *shape):
    x = gcn.Input(shape, dtype="float64")
    return gcn.Network(x, layers(x))


def residual(x):
    h = gcn.Conv2d(2, 3, stride=2, dilation=(2, 1), padding=((2, 2), (1, 1)))(x)
    h = gcn.Conv2d(2, 3, padding=1)(h) + h
    h = h + gcn.Conv2d(2, 3, padding=((2, 0), (0, 2)))(h)
    return gcn.AvgPool2d(2)(gcn.ConvTranspose2d(1, 4, stride=2)(h))


def unet(x):
    """Twice down and up, with skips."""
    wide = gcn.Conv2d(2, 3, padding=1)(x)
    middle = gcn.Conv2d(2, 3, padding=1)(gcn.MaxPool2d(2)(wide))
    low = gcn.Conv2d(2, 3, padding=1)(gcn.AvgPool2d(2)(middle))
    h = gcn.Conv2d(2, 3, padding=1)(gcn.concatenate(middle, gcn.Upsample2d(2)(low)))
    return gcn.Conv2d(1, 3)(gcn.concatenate(wide, gcn.ConvTranspose2d(2, 2, stride=2)(h)))


def sliced(x):
    return gcn.Conv2d(1, 2)(gcn.Conv2d(1, 3)(x)[:, ::2, 1::3])


def upsampled_in_parts(x):
    part = gcn.Upsample2d(3)(x)[:, 1:11, :10]
    return gcn.Conv2d(1, 3, padding=1)(gcn.Upsample2d(2)(part))


def turned(x):
    return gcn.Conv2d(1, (3, 1))(
        gcn.transpose(gcn.Conv2d(2, (2, 3), stride=(1, 2))(x), (0, 2, 1, 3))[:, ::-1]
    )


PLAIN = {
    "convolutions": (
        gcn.Sequential(gcn.Conv2d(2, 3, padding=1), gcn.Conv2d(2, (3, 2), stride=2)),
        (12, 11, 2),
    ),
    "true convolution": (gcn.Conv2d(2, (3, 2), flip=True, padding=((1, 0), (0, 1))), (7, 6, 1)),
    "dilation": (
        gcn.Sequential(gcn.Conv2d(1, 3, dilation=2), gcn.Conv2d(2, 3, stride=2, padding=1)),
        (14, 13, 1),
    ),
    "depthwise": (gcn.Sequential(gcn.Conv2d(4, 3, groups=2), gcn.Conv2d(4, 3, groups=4)), (9, 9, 2)),
    "pools": (gcn.Sequential(gcn.MaxPool2d(3, stride=2, padding=1), gcn.AvgPool2d(2, stride=1)), (11, 10, 1)),
    "batch norm": (
        gcn.Sequential(gcn.Conv2d(2, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Dropout(0.5)),
        (8, 8, 1),
    ),
    "channels normalised": (gcn.Sequential(gcn.Conv2d(4, 3), gcn.LayerNorm(), gcn.Conv2d(2, 2)), (9, 9, 1)),
    "response norm": (
        gcn.Sequential(gcn.Conv2d(4, 3), gcn.LocalResponseNorm(3), gcn.Conv2d(1, 2)),
        (9, 8, 1),
    ),
    "nearest": (
        gcn.Sequential(
            gcn.Conv2d(2, 3, stride=2), gcn.Upsample2d((2, 3)), gcn.Conv2d(1, 3, padding=1), gcn.AvgPool2d(2)
        ),
        (13, 9, 1),
    ),
    "bilinear": (
        gcn.Sequential(gcn.AvgPool2d(2), gcn.Upsample2d((3, 2), mode="bilinear"), gcn.Conv2d(1, 3)),
        (12, 10, 1),
    ),
    "corners aligned": (
        gcn.Sequential(
            gcn.AvgPool2d(2), gcn.Upsample2d(2, mode="bilinear", align_corners=True), gcn.Conv2d(1, 2)
        ),
        (12, 10, 1),
    ),
    "resized": (image(lambda x: gcn.Conv2d(1, 2)(gcn.resize2d(x, (7, 17))), 13, 12, 1), (13, 12, 1)),
    "transposed": (
        gcn.Sequential(
            gcn.Conv2d(2, 3, stride=2),
            gcn.ConvTranspose2d(2, 4, stride=2, padding=1),
            gcn.ConvTranspose2d(1, 3, stride=3),
        ),
        (13, 11, 1),
    ),
    "shuffled": (
        gcn.Sequential(
            gcn.Conv2d(8, 3), gcn.PixelShuffle(2), gcn.Conv2d(2, 3), gcn.PixelUnshuffle(4), gcn.Conv2d(1, 1)
        ),
        (13, 13, 1),
    ),
    "unshuffled": (gcn.Sequential(gcn.PixelUnshuffle(2), gcn.Conv2d(4, 2), gcn.PixelShuffle(2)), (12, 8, 1)),
    "uneven parts": (
        gcn.Sequential(gcn.Conv2d(1, 3), gcn.AdaptiveAvgPool2d((3, 4)), gcn.Conv2d(1, 2)),
        (12, 11, 1),
    ),
    "signals": (
        gcn.Sequential(
            gcn.Conv1d(4, 3),
            gcn.MaxPool1d(2),
            gcn.Conv1d(2, 3, dilation=2),
            gcn.ConvTranspose1d(1, 3, stride=2),
        ),
        (24, 2),
    ),
    "dense": (gcn.Sequential(gcn.Conv2d(2, 3, stride=2), gcn.Flatten(), gcn.Dense(3)), (8, 7, 1)),
    "global pool": (gcn.Sequential(gcn.Conv2d(2, 3), gcn.GlobalAvgPool2d(), gcn.Dense(2)), (8, 7, 1)),
    "residual": (image(residual, 19, 19, 1), (19, 19, 1)),
    "skips": (image(unet, 24, 16, 1), (24, 16, 1)),
    "sliced": (image(sliced, 16, 17, 1), (16, 17, 1)),
    "upsampled in parts": (image(upsampled_in_parts, 6, 5, 1), (6, 5, 1)),
    "turned": (image(turned, 10, 11, 1), (10, 11, 1)),
}


@pytest.mark.parametrize(("network", "shape"), PLAIN.values(), ids=PLAIN)
def test_a_unit_reacts_to_what_it_is_said_to_see_and_to_nothing_else(network, shape):
    for name, extent, seen, first_reached, last_reached in followed(network, shape):
        if "ZeroInsert" in name or "Concatenate" in name:
            continue  # zeros see nothing, and a channel of one of its operands
        first, last = interval(seen)
        wanted = np.broadcast_to(np.maximum(first, 0)[0], first_reached.shape)
        np.testing.assert_array_equal(first_reached, wanted, name)
        wanted = np.broadcast_to(np.minimum(last, extent - 1)[0], last_reached.shape)
        np.testing.assert_array_equal(last_reached, wanted, name)


def require_seen(network, shape, rows=None):
    """Assert that no unit reacts to what it is not said to see."""
    for name, _, seen, first_reached, last_reached in followed(network, shape, rows):
        first, last = interval(seen)
        assert (first_reached >= first[0]).all(), name
        assert (last_reached <= last[0]).all(), name


WIDE = {
    "layer norm": gcn.Sequential(gcn.Conv2d(2, 3), gcn.LayerNorm(axes=3), gcn.Conv2d(1, 2)),
    "instance norm": gcn.Sequential(gcn.Conv2d(2, 3), gcn.InstanceNorm2d(), gcn.Conv2d(1, 2)),
    "group norm": gcn.Sequential(gcn.Conv2d(4, 3), gcn.GroupNorm(2), gcn.Conv2d(1, 2)),
}


@pytest.mark.parametrize("network", WIDE.values(), ids=WIDE)
def test_behind_statistics_of_a_sample_a_unit_sees_all(network):
    require_seen(network, (9, 8, 1))
    graph = gcn.compile(network, input_shape=(9, 8, 1)).training_graph
    assert receptive_fields(graph)[graph.outputs["output"].key] is None


def squeezed(x):
    h = gcn.Conv2d(2, 3)(x)
    gate = gcn.sigmoid(gcn.Dense(2)(gcn.GlobalAvgPool2d()(h)))
    return h * gcn.reshape(gate, (1, 1, 2))


def test_behind_squeeze_and_excite_a_unit_sees_all():
    network = image(squeezed, 12, 11, 1)
    require_seen(network, (12, 11, 1))
    fields = receptive_fields(network.graph)
    assert fields[network.graph.outputs["output"].key] is None


@pytest.mark.parametrize("mode", ["reflect", "edge", "circular"])
def test_padding_of_any_kind_counts_as_pixels(mode):
    layers = [gcn.Conv2d(1, 3, padding=1, padding_mode=mode) for _ in range(2)]
    network = gcn.Sequential(*layers)
    for _, extent, seen, first_reached, last_reached in followed(network, (12, 12, 1)):
        first, last = interval(seen)
        inside = np.broadcast_to((first >= 0) & (last < extent), (1, *first_reached.shape))[0]
        assert inside.any()
        np.testing.assert_array_equal(first_reached[inside], np.broadcast_to(first[0], inside.shape)[inside])
        np.testing.assert_array_equal(last_reached[inside], np.broadcast_to(last[0], inside.shape)[inside])
    graph = gcn.compile(network, input_shape=(12, 12, 1)).forward_graph
    assert receptive_fields(graph)[graph.outputs["output"].key] == (5, 5)


def test_rows_and_columns_are_followed_on_their_own():
    network = image(lambda x: gcn.mean(gcn.Conv2d(1, 3)(x), axes=1), 9, 8, 1)
    require_seen(network, (9, 8, 1))
    assert receptive_fields(network.graph)[network.graph.outputs["output"].key] == (9, 3)


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [("vgg16", "flatten1", 212), ("resnet18", "layer4.1.conv2", 435), ("resnet50", "layer4.2.conv3", 427)],
)
def test_published_networks_have_the_fields_that_they_are_known_for(name, layer, size):
    """At their full size, in training: Araujo, Norris and Sim, Distill 2019, have 212 and 435 too."""
    graph = getattr(gcn.zoo, name)().trace(training=True).graph
    fields = receptive_fields(graph)
    last = max(key for key in fields if graph.node(key).origin.layer == layer)
    assert fields[last] == (size, size)


SMALL = {
    "alexnet": (64, 64, 3),
    "googlenet": (64, 64, 3),
    "lenet5_1998": (32, 32, 1),
    "nin": (16, 16, 3),
    "resnet20": (16, 16, 3),
    "unet": (188, 188, 1),
    "wideresnet16": (16, 16, 3),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_unit_of_a_published_network_reacts_to_what_it_is_not_said_to_see(name):
    shape = SMALL.get(name, (32, 32, 3))
    width = 1.0 if name == "lenet5_1998" else 0.05
    require_seen(PUBLISHED[name].make(classes=3, input_shape=shape, width=width), shape, rows=4)


def reacts(graph, inputs, label, axis):
    """Yield for each row of an input, and each node that an image reaches, the units that react to it."""

    def values(arrays):
        found = {}
        observe(graph, lambda key, _, results: found.update({key: results[0]}) or True, **arrays)
        return found

    before = values(inputs)
    for row in range(inputs[label].shape[axis]):
        changed = inputs[label].copy()
        np.moveaxis(changed, axis, 0)[row] += 1
        for key, after in values({**inputs, label: changed}).items():
            if graph.node(key).types[0].shape[:1] == (BATCH,):
                yield row, key, ~np.isclose(before[key], after, rtol=1e-6, atol=0, equal_nan=True)


def images_of(graph):
    return [
        label
        for label, value in graph.inputs.items()
        if value.type.is_float and value.type.rank in (3, 4) and value.type.shape[0] == BATCH
    ]


def require_seen_by(graph, inputs):
    for label in images_of(graph):
        for axis in (1, 2):
            fields = seen_along(graph, axis)
            for row, key, units in reacts(graph, inputs, label, axis):
                if not units.any():
                    continue
                assert key in fields, f"%{key}: {graph.node(key)} sees row {row} of {label}"
                first, last = interval(fields[key])
                assert not (units & ((row < first) | (last < row))).any(), f"%{key}: {graph.node(key)}"


def test_no_op_reads_what_it_is_not_said_to_read():
    checked = set()
    for name in backend_cases():
        case = build_case(name)
        if images_of(case.graph) and all(np.prod(each.shape) < 5000 for each in case.inputs.values()):
            require_seen_by(case.graph, case.inputs)
            checked |= {type(node.op) for _, node in case.graph.items()}
    assert len(checked) > 40


def merged(draw, x):
    axis = draw(st.integers(1, x.type.rank - 2))
    return ops.Reshape(
        (*x.type.shape[:axis], x.type.static(axis) * x.type.static(axis + 1), *x.type.shape[axis + 2 :])
    )


def split(draw, x):
    axis = draw(st.integers(1, x.type.rank - 1))
    size = x.type.static(axis)
    factor = draw(st.sampled_from([each for each in range(1, size + 1) if size % each == 0]))
    return ops.Reshape((*x.type.shape[:axis], factor, size // factor, *x.type.shape[axis + 1 :]))


def exchanged(draw, x):
    return ops.Transpose((0, *draw(st.permutations(range(1, x.type.rank)))))


def repeated(draw, x):
    return ops.Broadcast(tuple(3 if size == 1 else size for size in x.type.shape))


def taken(draw, x):
    axis = draw(st.integers(1, x.type.rank - 1))
    places = st.integers(0, x.type.static(axis) - 1)
    ends = draw(st.lists(st.tuples(places, places), min_size=1, max_size=3))
    return ops.Take(axis, tuple((a, abs(b - a) + 1, 1 if b > a else -1) for a, b in ends))


def padded(draw, x):
    widths = st.tuples(st.integers(0, 2), st.integers(0, 2))
    return ops.Pad(((0, 0), *(draw(widths) for _ in x.type.shape[1:])))


def cropped(draw, x):
    return ops.Crop(padded(draw, x).widths)


def interpolated(draw, x):
    axis = draw(st.integers(1, x.type.rank - 1))
    return ops.Interpolate(axis, draw(st.integers(1, 9)), draw(st.booleans()))


def reduced(draw, x):
    axis = draw(st.integers(1, x.type.rank - 1))
    return draw(st.sampled_from([ops.Sum, ops.Max]))((axis,), draw(st.booleans()))


def pooled(draw, x):
    sides = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return ops.SumPool2d(draw(sides), draw(sides))


def resampled(draw, x):
    sides = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return draw(st.sampled_from([ops.Subsample, ops.ZeroInsert]))(draw(sides))


MOVES = (
    *(merged, split, exchanged, repeated, taken, padded, cropped),
    *(interpolated, reduced, pooled, resampled),
)


@st.composite
def chains(draw):
    """A graph of ops that move places, one after the other, and of sums of a value and of itself reversed."""
    graph = Graph("chain")
    x = graph.input("x", gcn.TensorType((BATCH, *draw(st.permutations([8, 6, 2]))), "float64"))
    for _ in range(draw(st.integers(1, 7))):
        try:
            x = graph.add(draw(st.sampled_from(MOVES))(draw, x), x)
        except (GraphcnnError, ValueError):
            continue  # does not fit this shape
        assume(x.type.rank > 2 and x.type.elements(1) < 3000)
        if draw(st.integers(0, 3)) == 0:
            turned = graph.add(ops.Rot180((draw(st.integers(1, x.type.rank - 1)),)), x)
            x = graph.add(ops.Add(), x, turned)
    return graph


@given(chains())
@settings(derandomize=True, database=None, deadline=None, max_examples=150)
def test_places_are_followed_through_any_ops_that_move_them(graph):
    note(str(graph))
    shape = graph.inputs["x"].type.concrete(1)
    require_seen_by(graph, {"x": np.random.default_rng(0).uniform(0, 1, shape)})


def shuffled_rows(graph, x):
    """Rows in no order, which do not fall into two axes."""
    taken = graph.add(ops.Take(1, ((0, 2, 3), (1, 1, 1), (2, 3, 2), (5, 2, 1))), x)
    return graph.add(ops.Reshape((BATCH, 4, 2, *x.type.shape[2:])), taken)


def joined_rows(graph, x):
    return graph.add(ops.Concatenate(1), x, x)


def columns_beside_rows(graph, x):
    return graph.add(
        ops.Concatenate(2),
        graph.add(ops.Transpose((0, 2, 1, 3)), x),
        graph.add(ops.Reshape((BATCH, 6, 8, 2)), x),
    )


def product_with_numbers(graph, x):
    ones = graph.add(
        ops.Broadcast((BATCH, 2, 3, 8)), graph.add(ops.Constant(1.0, gcn.TensorType((), "float64")))
    )
    return graph.add(ops.Matmul(), ones, graph.add(ops.Transpose((0, 3, 1, 2)), x))


def softmax_of_columns(graph, x):
    return graph.add(ops.LogSoftmax(), graph.add(ops.Sum((3,)), x))


def samples_as_rows(graph, x):
    """Not followed: rows of one sample become those of others."""
    front = graph.add(ops.Transpose((1, 0, 2, 3)), x)
    return graph.add(ops.Reshape((BATCH, *x.type.shape[1:])), front)


def spread(graph, x):
    return graph.add(ops.SpreadToBlock2d((3, 2), (2, 1), ((1, 0), (0, 0)), (BATCH, 16, 7, 2)), x)


def winners(graph, x):
    return graph.add(
        ops.GatherWinner2d((2, 3), (2, 1)), x, graph.add_all(ops.MaxPool2d((2, 3), (2, 1)), x)[1]
    )


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (shuffled_rows, (8, 1)),
        (joined_rows, (8, 1)),
        (columns_beside_rows, None),
        (product_with_numbers, (8, 1)),
        (softmax_of_columns, (1, 6)),
        (samples_as_rows, None),
        (spread, (2, 2)),
        (winners, (2, 3)),
    ],
)
def test_what_moves_places_in_ways_of_its_own(build, size):
    graph = Graph("moved")
    y = build(graph, graph.input("x", gcn.TensorType((BATCH, 8, 6, 2), "float64")))
    require_seen_by(graph, {"x": np.random.default_rng(0).uniform(0, 1, (3, 8, 6, 2))})
    assert receptive_fields(graph)[y.key] == size


def test_what_cannot_be_followed_is_all():
    @gcn.register_op
    @dataclass(frozen=True)
    class Mystery(gcn.Op):
        name: ClassVar[str] = "mystery"
        equation: ClassVar[str] = "y = ?"
        arity: ClassVar[int] = 1

        def result_types(self, *operands):
            return operands

    graph = Graph("mystery")
    x = graph.input("x", gcn.TensorType((BATCH, 5, 4, 1)))
    y = graph.add(Mystery(), x)
    assert receptive_fields(graph) == {x.key: (1, 1), y.key: None}


def test_filters_that_come_from_the_image_see_all_of_it():
    graph = Graph("filtered by data")
    x = graph.input("x", gcn.TensorType((BATCH, 5, 4, 1)))
    filters = graph.add(ops.Correlate2d(sum_over="batch"), x, x)
    y = graph.add(ops.Correlate2d(), x, filters)
    assert receptive_fields(graph) == {x.key: (1, 1), filters.key: None, y.key: None}


def test_a_batch_s_statistics_count_as_in_inference_and_its_loss_sees_all():
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3))
    model = gcn.compile(network, input_shape=(9, 9, 1), loss=gcn.CrossEntropy())
    graph = model.gradient_graph
    fields = receptive_fields(graph)
    of_layers = {
        node.origin.layer: fields.get(key) for key, node in graph.items() if node.origin.forward is None
    }
    assert of_layers["batchnorm1"] == of_layers["relu1"] == (3, 3)
    assert of_layers["loss"] is None
    assert graph.outputs["loss"].key in fields
