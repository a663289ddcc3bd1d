"""Eq. 1-21 of "Backpropagation In Convolutional Neural Networks" (Jefkine, 2016), and what its readers asked.

Each test computes an equation by hand in NumPy and compares it with what a graph, or a gradient graph,
computes. docs/article.md refers to these tests by name.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphcnn as gcn

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "article.md"

Array = np.ndarray[Any, np.dtype[Any]]
Formula = Callable[..., gcn.Tensor]

O = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [2.0, 0.0, 4.0]])  # noqa: E741
W = np.array([[1.0, 2.0], [3.0, 4.0]])
DELTA = np.array([[1.0, 2.0], [3.0, -1.0]])
"""The worked example of docs/article.md."""


# By hand: single channel, [H, W] and [k1, k2]


def correlate(image: Array, kernel: Array) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    return np.einsum("ijmn,mn->ij", windows, kernel)


def convolve_everywhere(image: Array, kernel: Array) -> Array:
    """Return Eq. 2 at every (i, j) where it is not zero; outside the image there are zeros."""
    (H, W), (k1, k2) = image.shape, kernel.shape
    result = np.zeros((H + k1 - 1, W + k2 - 1))
    for i, j, m, n in np.ndindex(*result.shape, k1, k2):
        if 0 <= i - m < H and 0 <= j - n < W:
            result[i, j] += image[i - m, j - n] * kernel[m, n]
    return result


def convolve(image: Array, kernel: Array) -> Array:
    """Return Eq. 2 where the kernel lies inside the image."""
    (H, W), (k1, k2) = image.shape, kernel.shape
    return convolve_everywhere(image, kernel)[k1 - 1 : H, k2 - 1 : W]


def rot180(kernel: Array) -> Array:
    return np.rot90(kernel, 2)


def full_padded(delta: Array, kernel: Array) -> Array:
    return np.pad(delta, [(size - 1, size - 1) for size in kernel.shape])


def scattered(delta: Array, kernel: Array) -> Array:
    """Return the gradient of a cross-correlation's input: each output hands its delta back, by weight."""
    k1, k2 = kernel.shape
    result = np.zeros((delta.shape[0] + k1 - 1, delta.shape[1] + k2 - 1))
    for i, j in np.ndindex(delta.shape):
        result[i : i + k1, j : j + k2] += delta[i, j] * kernel
    return result


# By graph: batch axis and channels are 1, and every input is named


def maps(array: Array) -> Array:
    return array[None, :, :, None]


def filters(array: Array) -> Array:
    return array[:, :, None, None]


def build(formula: Formula, arrays: dict[str, Array]) -> gcn.Graph:
    inputs = [gcn.Input(array.shape, name, dtype="float64", batch=False) for name, array in arrays.items()]
    return gcn.Network(inputs, formula(*inputs)).graph


def run(formula: Formula, **arrays: Array) -> Array:
    return gcn.evaluate(build(formula, arrays), **arrays)["output"]


def gradient(formula: Formula, wrt: str, **arrays: Array) -> Array:
    graph = gcn.gradient(build(formula, arrays), "output", [wrt])
    return gcn.evaluate(graph, **arrays)[f"gradient({wrt})"]


def weighed_outputs(o: gcn.Tensor, w: gcn.Tensor, delta: gcn.Tensor) -> gcn.Tensor:
    """Return Σ x · delta for x = o ⊗ w: a scalar whose gradient by x is delta."""
    return gcn.sum(gcn.correlate2d(o, w) * delta)


def through_tanh(x: gcn.Tensor, w: gcn.Tensor, delta: gcn.Tensor) -> gcn.Tensor:
    return weighed_outputs(gcn.tanh(x), w, delta)


def random_layer() -> tuple[Array, Array, Array]:
    """Return input [6, 7], filter [2, 3] and delta [5, 5], of odd and unlike sizes."""
    random = np.random.default_rng(21)
    return random.normal(size=(6, 7)), random.normal(size=(2, 3)), random.normal(size=(5, 5))


def close(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(np.squeeze(actual), np.squeeze(expected), rtol=1e-12, atol=1e-12)


# Definitions


def test_eq_1_cross_correlation() -> None:
    image, kernel, _ = random_layer()
    expected = np.zeros((5, 5))
    for i, j, m, n in np.ndindex(5, 5, 2, 3):
        expected[i, j] += image[i + m, j + n] * kernel[m, n]
    close(run(gcn.correlate2d, image=maps(image), kernel=filters(kernel)), expected)


def test_eq_2_convolution() -> None:
    image, kernel, _ = random_layer()
    close(run(gcn.convolve2d, image=maps(image), kernel=filters(kernel)), convolve(image, kernel))


def test_eq_3_convolution_is_correlation_with_the_rotated_kernel() -> None:
    image, kernel, _ = random_layer()
    convolved = run(gcn.convolve2d, image=maps(image), kernel=filters(kernel))
    close(convolved, run(gcn.correlate2d, image=maps(image), kernel=filters(rot180(kernel))))
    symmetric = kernel + rot180(kernel)
    close(
        run(gcn.convolve2d, image=maps(image), kernel=filters(symmetric)),
        run(gcn.correlate2d, image=maps(image), kernel=filters(symmetric)),
    )


def test_eq_4_channels_are_summed_for_every_filter() -> None:
    random = np.random.default_rng(4)
    images, bank = random.normal(size=(2, 6, 5, 3)), random.normal(size=(2, 3, 3, 4))
    bias = random.normal(size=4)
    expected = np.zeros((2, 5, 3, 4))
    for sample, d, c in np.ndindex(2, 4, 3):
        expected[sample, :, :, d] += correlate(images[sample, :, :, c], bank[:, :, c, d])
    by_graph = run(lambda o, w, b: gcn.correlate2d(o, w) + b, o=images, w=bank, b=bias)
    close(by_graph, expected + bias)


def test_eq_5_one_channel() -> None:
    model = gcn.compile(gcn.Conv2d(1, (2, 3)), input_shape=(6, 7, 1), dtype="float64")
    image, kernel, _ = random_layer()
    model.parameters["conv1.filters"] = filters(kernel)
    model.parameters["conv1.bias"] = np.array([0.5])
    assert model.parameters["conv1.filters"].shape == (2, 3, 1, 1)
    close(model.predict(maps(image)), correlate(image, kernel) + 0.5)


# Forward


def test_eq_6_star_is_the_convolution_of_eq_2() -> None:
    o, w, _ = random_layer()
    close(convolve(o, rot180(w)), correlate(o, w))
    close(run(gcn.convolve2d, o=maps(o), w=filters(rot180(w))), correlate(o, w))
    assert not np.allclose(correlate(o, rot180(w)), correlate(o, w))


def test_eq_6_is_a_flipped_layer_whose_filters_are_stored_rotated() -> None:
    o, w, _ = random_layer()
    flipped = gcn.compile(
        gcn.Conv2d(1, (2, 3), bias=False, flip=True), input_shape=(6, 7, 1), dtype="float64"
    )
    flipped.parameters["conv1.filters"] = filters(rot180(w))
    close(flipped.predict(maps(o)), correlate(o, w))


def test_eq_7_forward_pass() -> None:
    o, w, _ = random_layer()
    model = two_layers(flip=False)
    convolutions = [node for _, node in model.forward_graph.items() if node.origin.rule == "Eq. 7"]
    assert convolutions[0].op.name == "correlate2d"
    b = np.array([0.25])
    close(run(lambda o, w, b: gcn.correlate2d(o, w) + b, o=maps(o), w=filters(w), b=b), correlate(o, w) + b)


@pytest.mark.parametrize(
    ("function", "by_hand"),
    [
        (gcn.relu, lambda x: np.maximum(0, x)),
        (gcn.tanh, np.tanh),
        (gcn.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_eq_8_activation(function: Formula, by_hand: Callable[[Array], Array]) -> None:
    x, _, _ = random_layer()
    graph = build(function, {"x": maps(x)})
    close(gcn.evaluate(graph, x=maps(x))["output"], by_hand(x))
    assert graph.node(graph.outputs["output"].key).origin.rule == "Eq. 8"


def test_eq_9_squared_error() -> None:
    random = np.random.default_rng(9)
    outputs, targets = random.normal(size=(4, 3)), random.normal(size=(4, 3))
    close(run(lambda y, t: gcn.sum(gcn.squared_error(y, t)), y=outputs, t=targets),
          0.5 * np.sum((targets - outputs) ** 2))  # fmt: skip


def test_eq_9_is_the_loss_squared_error() -> None:
    model = gcn.compile(gcn.Flatten(), input_shape=(3,), loss=gcn.SquaredError(), dtype="float64")
    outputs, targets = (
        np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]),
        np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]),
    )
    assert model.evaluate(outputs, targets)["loss"] == 0.5 * (4 + 9 + 4 + 1)


# The gradient of the filters


def output_by_weight(o: Array, w: Array) -> Array:
    """Return ∂x(i, j)/∂w(m, n) as [i, j, m, n], from the gradient graph of one output at a time."""
    shape = (o.shape[0] - w.shape[0] + 1, o.shape[1] - w.shape[1] + 1)
    rows = [
        gradient(weighed_outputs, "w", o=maps(o), w=filters(w), delta=maps(only(shape, place)))
        for place in np.ndindex(shape)
    ]
    return np.reshape(rows, (*shape, *w.shape))


def only(shape: tuple[int, ...], place: tuple[int, ...]) -> Array:
    array = np.zeros(shape)
    array[place] = 1.0
    return array


def test_eq_10_chain_rule_over_all_outputs() -> None:
    o, w, delta = random_layer()
    by_chain_rule = np.einsum("ij,ijmn->mn", delta, output_by_weight(o, w))
    close(gradient(weighed_outputs, "w", o=maps(o), w=filters(w), delta=maps(delta)), by_chain_rule)


def test_eq_11_12_output_by_weight_is_the_shifted_input() -> None:
    o, w, _ = random_layer()
    jacobian = output_by_weight(o, w)
    for i, j, m, n in np.ndindex(jacobian.shape):
        difference = correlate(o, w + only(w.shape, (m, n)))[i, j] - correlate(o, w)[i, j]
        np.testing.assert_allclose(jacobian[i, j, m, n], difference, atol=1e-12)
        assert jacobian[i, j, m, n] == o[i + m, j + n]


def test_eq_13_filter_gradient_is_a_cross_correlation() -> None:
    o, w, delta = random_layer()
    by_hand = np.zeros(w.shape)
    for m, n, i, j in np.ndindex(*w.shape, *delta.shape):
        by_hand[m, n] += delta[i, j] * o[i + m, j + n]
    close(gradient(weighed_outputs, "w", o=maps(o), w=filters(w), delta=maps(delta)), by_hand)


def test_eq_14_filter_gradient_is_a_convolution_with_rotated_delta() -> None:
    o, w, delta = random_layer()
    by_graph = gradient(weighed_outputs, "w", o=maps(o), w=filters(w), delta=maps(delta))
    close(by_graph, convolve(o, rot180(delta)))
    assert not np.allclose(np.squeeze(by_graph), correlate(o, rot180(delta)))


def test_eq_14_sums_over_the_batch() -> None:
    random = np.random.default_rng(14)
    o, delta = random.normal(size=(3, 5, 5, 1)), random.normal(size=(3, 4, 4, 1))
    by_graph = gradient(weighed_outputs, "w", o=o, w=filters(W), delta=delta)
    close(by_graph, sum(correlate(o[n, :, :, 0], delta[n, :, :, 0]) for n in range(3)))


# The gradient of the input


def output_by_unit(x: Array, w: Array) -> Array:
    """Return ∂x2(i, j)/∂x1(i', j') as [i, j, i', j'] for x2 = tanh(x1) ⊗ w."""
    shape = (x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1)
    rows = [
        gradient(through_tanh, "x", x=maps(x), w=filters(w), delta=maps(only(shape, place)))
        for place in np.ndindex(shape)
    ]
    return np.reshape(rows, (*shape, *x.shape))


def input_gradient(x: Array, w: Array, delta: Array) -> Array:
    return np.squeeze(gradient(through_tanh, "x", x=maps(x), w=filters(w), delta=maps(delta)))


def slope(x: Array) -> Array:
    return 1 / np.cosh(x) ** 2


def test_eq_15_delta_is_the_error_by_the_layers_sum() -> None:
    y, t = DELTA + 3, np.full((2, 2), 3.0)
    by_graph = gradient(lambda y, t: gcn.sum(gcn.squared_error(y, t)), "y", y=maps(y), t=maps(t))
    close(by_graph, DELTA)


def test_eq_16_17_chain_rule_over_the_region_that_a_unit_reaches() -> None:
    x, w, delta = random_layer()
    jacobian = output_by_unit(x, w)
    by_hand = np.zeros(x.shape)
    for row, column, m, n in np.ndindex(*x.shape, *w.shape):
        i, j = row - m, column - n
        if 0 <= i < delta.shape[0] and 0 <= j < delta.shape[1]:
            by_hand[row, column] += delta[i, j] * jacobian[i, j, row, column]
    close(by_hand, np.einsum("ij,ijkl->kl", delta, jacobian))
    close(input_gradient(x, w, delta), by_hand)


def test_eq_18_19_output_by_unit_is_weight_times_slope() -> None:
    x, w, _ = random_layer()
    jacobian = output_by_unit(x, w)
    expected = np.zeros(jacobian.shape)
    for i, j, m, n in np.ndindex(*jacobian.shape[:2], *w.shape):
        expected[i, j, i + m, j + n] = w[m, n] * slope(x)[i + m, j + n]
    close(jacobian, expected)


def test_eq_20_is_the_convolution_with_the_unflipped_filter() -> None:
    x, w, delta = random_layer()
    close(input_gradient(x, w, delta), scattered(delta, w) * slope(x))
    close(input_gradient(x, w, delta), convolve_everywhere(delta, w) * slope(x))


def test_eq_21_is_the_cross_correlation_with_the_rotated_filter() -> None:
    x, w, delta = random_layer()
    close(input_gradient(x, w, delta), correlate(full_padded(delta, w), rot180(w)) * slope(x))


def test_eq_21_star_is_not_eq_2() -> None:
    x, w, delta = random_layer()
    right = input_gradient(x, w, delta)
    star_as_eq_2 = convolve_everywhere(delta, rot180(w)) * slope(x)
    whole_sum_rotated = rot180(correlate(full_padded(delta, w), w)) * slope(x)
    assert not np.allclose(right, star_as_eq_2)
    assert not np.allclose(right, whole_sum_rotated)


# The worked example


def test_worked_example_of_the_document() -> None:
    arrays = {"o": maps(O), "w": filters(W)}
    x = np.array([[9.0, 17.0], [8.0, 23.0]])
    close(run(gcn.correlate2d, **arrays), x)
    close(run(gcn.convolve2d, **arrays), np.array([[11.0, 13.0], [7.0, 17.0]]))
    close(gradient(weighed_outputs, "w", **arrays, delta=maps(DELTA)), np.array([[4.0, 2.0], [8.0, 3.0]]))
    by_input = np.array([[1.0, 4.0, 4.0], [6.0, 15.0, 6.0], [9.0, 9.0, -4.0]])
    close(gradient(weighed_outputs, "o", **arrays, delta=maps(DELTA)), by_input)
    assert gcn.evaluate(
        build(lambda y, t: gcn.sum(gcn.squared_error(y, t)), {"y": maps(x), "t": maps(x - DELTA)}),
        y=maps(x), t=maps(x - DELTA),
    )["output"] == 7.5  # fmt: skip


# The gradient graph


def two_layers(*, flip: bool, **options: Any) -> gcn.Model:
    """Return a model of two convolutions of 2 and 3 channels, with tanh between."""
    network = gcn.Sequential(
        gcn.Conv2d(3, 3, flip=flip, **options), gcn.Tanh(), gcn.Conv2d(2, (2, 3), flip=flip)
    )
    optimizer = gcn.SGD(0.01, momentum=0.9)
    return gcn.compile(
        network, input_shape=(8, 7, 2), loss=gcn.SquaredError(), optimizer=optimizer, seed=1, dtype="float64"
    )


def ops_by_rule(graph: gcn.Graph, layer: str, rule: str) -> list[str]:
    return [n.op.name for _, n in graph.items() if n.origin.layer == layer and n.origin.rule == rule]


def rotations(graph: gcn.Graph, axes: tuple[int, int]) -> int:
    return sum(node.op.name == "rot180" and node.op.axes == axes for _, node in graph.items())


def filter_gradients(graph: gcn.Graph) -> list[Any]:
    return [graph.node(value.key) for label, value in graph.outputs.items() if label.endswith(".filters)")]


FILTER_AXES, MAP_AXES = (0, 1), (1, 2)


def test_eq_14_and_21_stand_in_the_gradient_graph_as_the_article_writes_them() -> None:
    graph = two_layers(flip=False).gradient_graph
    assert ops_by_rule(graph, "conv1", "Eq. 14") == ["rot180", "convolve2d"]
    assert ops_by_rule(graph, "conv2", "Eq. 14") == ["rot180", "convolve2d"]
    assert ops_by_rule(graph, "conv2", "Eq. 21") == ["rot180", "transpose", "correlate2d"]
    assert ops_by_rule(graph, "tanh1", "Eq. 21, · f'(x)")[-1] == "multiply"
    origins = [node.origin for _, node in graph.items() if node.origin.rule in ("Eq. 14", "Eq. 21")]
    for origin in origins:
        forward = graph.node(origin.forward)
        assert (forward.op.name, forward.origin.rule) == ("correlate2d", "Eq. 7")
        assert (forward.origin.layer, Path(origin.file)) == (origin.layer, Path(__file__))


def test_without_flip_the_compiled_graph_rotates_the_filters_but_not_delta() -> None:
    graph = gcn.simplify(two_layers(flip=False).gradient_graph)
    assert rotations(graph, MAP_AXES) == 0
    assert rotations(graph, FILTER_AXES) == 1, "conv2's filters; conv1's input needs no gradient"
    assert ops_by_rule(graph, "conv1", "Eq. 14") == ["correlate2d"]
    rotated = next(node for _, node in graph.items() if node.op.name == "rot180")
    assert rotated.operands == (graph.inputs["conv2.filters"],)


def test_with_flip_delta_and_input_are_rotated_but_not_the_filters() -> None:
    graph = two_layers(flip=True).gradient_graph
    assert rotations(graph, FILTER_AXES) == 0
    for node in filter_gradients(graph):
        o, delta = (graph.node(operand.key) for operand in node.operands)
        assert node.op.name == "correlate2d"
        assert (o.op.name, o.op.axes) == (delta.op.name, delta.op.axes) == ("rot180", MAP_AXES)


def test_with_flip_the_compiled_graph_rotates_only_the_small_filter_gradients() -> None:
    graph = gcn.simplify(two_layers(flip=True).gradient_graph)
    assert rotations(graph, MAP_AXES) == 0
    assert [node.op.name for node in filter_gradients(graph)] == ["rot180", "rot180"]
    rotated = [node.operands[0].key for _, node in graph.items() if node.op.name == "rot180"]
    assert [graph.node(key).op.name for key in rotated] == ["correlate2d", "correlate2d"]


def test_simplifying_changes_no_gradient() -> None:
    for flip in (False, True):
        model = two_layers(flip=flip)
        inputs = {**model.parameters, **batch()}
        derived = gcn.evaluate(model.gradient_graph, **inputs)
        for name, value in gcn.evaluate(gcn.simplify(model.gradient_graph), **inputs).items():
            close(value, derived[name])


def batch() -> dict[str, Array]:
    random = np.random.default_rng(5)
    return {"image": random.normal(size=(4, 8, 7, 2)), "target": random.normal(size=(4, 5, 3, 2))}


# What the readers asked


def test_both_kinds_of_convolution_train_equally() -> None:
    plain, flipped = two_layers(flip=False), two_layers(flip=True)
    for name in ("conv1.filters", "conv2.filters"):
        flipped.parameters[name] = plain.parameters[name][::-1, ::-1]
    start = plain.parameters["conv1.filters"]
    for _ in range(5):
        left, right = (model.train_step(*batch().values()) for model in (plain, flipped))
        np.testing.assert_allclose(left["loss"], right["loss"], rtol=1e-12)
    for name, value in plain.parameters.items():
        twin = flipped.parameters[name]
        expected = twin[::-1, ::-1] if name.endswith("filters") else twin
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12)
    assert np.abs(plain.parameters["conv1.filters"] - start).max() > 0.01


def test_readers_example_3x32x32_with_six_3x5x5_filters() -> None:
    random = np.random.default_rng(32)
    o, w = random.normal(size=(2, 32, 32, 3)), random.normal(size=(5, 5, 3, 6))
    delta = random.normal(size=(2, 28, 28, 6))
    by_input, by_filters = np.zeros(o.shape), np.zeros(w.shape)
    for m, n in np.ndindex(5, 5):
        by_input[:, m : m + 28, n : n + 28] += np.einsum("nijd,cd->nijc", delta, w[m, n])
        by_filters[m, n] = np.einsum("nijc,nijd->cd", o[:, m : m + 28, n : n + 28], delta)
    assert run(gcn.correlate2d, o=o, w=w).shape == (2, 28, 28, 6)
    np.testing.assert_allclose(gradient(weighed_outputs, "o", o=o, w=w, delta=delta), by_input, atol=1e-11)
    np.testing.assert_allclose(gradient(weighed_outputs, "w", o=o, w=w, delta=delta), by_filters, atol=1e-11)


def test_readers_example_swaps_the_channels_of_the_filters() -> None:
    arrays = {"o": np.zeros((1, 32, 32, 3)), "w": np.zeros((5, 5, 3, 6)), "delta": np.zeros((1, 28, 28, 6))}
    graph = gcn.gradient(build(weighed_outputs, arrays), "output", ["o"])
    full = graph.node(graph.outputs["gradient(o)"].key)
    assert full.op.name == "correlate2d"
    assert full.op.padding == ((4, 4), (4, 4))
    assert [operand.type.shape for operand in full.operands] == [(1, 28, 28, 6), (5, 5, 6, 3)]


def test_bias_gradient_is_the_sum_of_delta() -> None:
    model = two_layers(flip=False)
    results = gcn.evaluate(model.gradient_graph, **model.parameters, **batch())
    delta = model.predict(batch()["image"]) - batch()["target"]
    close(results["gradient(conv2.bias)"], delta.sum(axis=(0, 1, 2)))
    assert ops_by_rule(model.gradient_graph, "conv2", "Σ delta") == ["sum"]


def test_the_gradient_is_scaled_by_the_learning_rate_and_subtracted() -> None:
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.Tanh(), gcn.Conv2d(2, (4, 5)))
    model = gcn.compile(
        network, input_shape=(8, 7, 2), loss=gcn.SquaredError(), optimizer=gcn.SGD(0.1), dtype="float64"
    )
    random = np.random.default_rng(6)
    images, targets = random.normal(size=(3, 8, 7, 2)), random.normal(size=(3, 3, 1, 2))
    before = dict(model.parameters)
    gradients = gcn.evaluate(model.gradient_graph, image=images, target=targets, **before)
    model.train_step(images, targets)
    for name, value in model.parameters.items():
        close(value, before[name] - 0.1 * gradients[f"gradient({name})"])
        assert np.abs(value - before[name]).max() > 0


def test_the_products_in_the_articles_figure_are_no_gradient_in_either_convention() -> None:
    (d1, d2), (d3, d4) = DELTA
    figure = d4 * O[0, 0] + d3 * O[0, 1] + d2 * O[1, 0] + d1 * O[1, 1]

    def flipped(o: gcn.Tensor, w: gcn.Tensor, delta: gcn.Tensor) -> gcn.Tensor:
        return gcn.sum(gcn.convolve2d(o, w) * delta)

    arrays = {"o": maps(O), "w": filters(W), "delta": maps(DELTA)}
    plain_gradient = np.squeeze(gradient(weighed_outputs, "w", **arrays))
    flipped_gradient = np.squeeze(gradient(flipped, "w", **arrays))
    close(plain_gradient, np.array([[4.0, 2.0], [8.0, 3.0]]))
    close(flipped_gradient, rot180(plain_gradient))
    assert figure == 6.0 == correlate(O, rot180(DELTA))[0, 0]
    assert figure not in (plain_gradient[0, 0], flipped_gradient[0, 0])


def test_the_first_input_and_the_last_delta_never_meet() -> None:
    for formula in (gcn.correlate2d, gcn.convolve2d):
        last = gradient(
            lambda o, w, delta, formula=formula: gcn.sum(formula(o, w) * delta),
            "o", o=maps(O), w=filters(W), delta=maps(only((2, 2), (1, 1))),
        )  # fmt: skip
        assert last[0, 0, 0, 0] == 0.0
        assert np.all(last[0, 1:, 1:, 0] != 0.0)


# The general rule


GENERAL = [
    {"stride": (2, 2)},
    {"stride": (3, 2), "padding": ((1, 0), (2, 1))},
    {"dilation": (2, 1)},
    {"groups": 2},
    {"padding": ((2, 2), (2, 2))},
    {"stride": (2, 3), "padding": ((0, 2), (1, 1)), "dilation": (1, 2), "groups": 2},
]


@pytest.mark.parametrize("flip", [False, True], ids=["correlation", "convolution"])
@pytest.mark.parametrize("options", GENERAL, ids=lambda options: "-".join(options))
def test_general_rule(options: dict[str, Any], flip: bool) -> None:
    random = np.random.default_rng(8)
    o = gcn.Input((8, 9, 4), "o", dtype="float64")
    layer = gcn.Conv2d(6, 3, bias=False, flip=flip, **options)
    maps_ = layer(o)
    weights = gcn.Input(maps_.shape[1:], "delta", dtype="float64")
    scalar = gcn.sum(maps_ * weights)
    forward = gcn.Network([o, weights], scalar).trace(dtype="float64").graph
    arrays = {
        "o": random.normal(size=(2, 8, 9, 4)),
        "delta": random.normal(size=(2, *maps_.shape[1:])),
        "conv1.filters": random.normal(size=forward.inputs["conv1.filters"].type.shape),
    }
    backward = gcn.gradient(forward, "output", ["o", "conv1.filters"])
    bank = arrays["conv1.filters"]
    by_input, by_filters = handed_back(
        arrays["o"], bank[::-1, ::-1] if flip else bank, arrays["delta"], **options
    )
    for graph in (backward, gcn.simplify(backward)):
        results = gcn.evaluate(graph, **arrays)
        close(results["gradient(o)"], by_input)
        close(results["gradient(conv1.filters)"], by_filters[::-1, ::-1] if flip else by_filters)


def handed_back(
    o: Array,
    w: Array,
    delta: Array,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> tuple[Array, Array]:
    """Return both gradients of a cross-correlation, product by product."""
    padded = np.pad(o, ((0, 0), *padding, (0, 0)))
    by_input, by_filters = np.zeros(padded.shape), np.zeros(w.shape)
    for i, j, m, n in np.ndindex(*delta.shape[1:3], *w.shape[:2]):
        row, column = i * stride[0] + m * dilation[0], j * stride[1] + n * dilation[1]
        for d in range(w.shape[3]):
            first = d // (w.shape[3] // groups) * w.shape[2]
            channels = slice(first, first + w.shape[2])
            by_input[:, row, column, channels] += delta[:, i, j, d, None] * w[m, n, :, d]
            by_filters[m, n, :, d] += delta[:, i, j, d] @ padded[:, row, column, channels]
    (top, bottom), (left, right) = padding
    return by_input[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right], by_filters


# Pooling


def pooled_gradient(layer: gcn.Layer, x: Array, delta: Array) -> Array:
    return np.squeeze(gradient(lambda x, delta: gcn.sum(layer(x) * delta), "x", x=maps(x), delta=maps(delta)))


def test_max_pool_assigns_the_error_to_the_winning_unit() -> None:
    x = np.array([[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 7.0, 6.0]])
    expected = np.array([[0.0, 10.0, 0.0, 0.0], [0.0, 0.0, 20.0, 0.0]])
    close(pooled_gradient(gcn.MaxPool2d(2), x, np.array([[10.0, 20.0]])), expected)


def test_max_pool_notes_the_index_of_the_winning_unit_in_the_forward_pass() -> None:
    model = gcn.compile(
        gcn.Sequential(gcn.Conv2d(1, 1), gcn.MaxPool2d(2)), input_shape=(4, 4, 1), loss=gcn.SquaredError()
    )
    graph = model.gradient_graph
    key, forward = next((key, node) for key, node in graph.items() if node.op.name == "max_pool2d")
    route = next(node for _, node in graph.items() if node.op.name == "route_to_winner2d")
    assert [type.dtype for type in forward.types] == ["float32", "uint8"]
    assert route.operands[1] == graph.results(key)[1]
    assert (route.origin.rule, route.origin.forward) == ("max-pool: to the winning unit", key)


def test_max_pool_of_equal_units_lets_the_first_one_win() -> None:
    close(pooled_gradient(gcn.MaxPool2d(2), np.ones((2, 2)), np.ones((1, 1))), only((2, 2), (0, 0)))


def test_average_pool_assigns_an_equal_share_to_the_whole_block() -> None:
    expected = np.kron(np.array([[8.0, -4.0]]), np.ones((2, 2))) / 4
    close(pooled_gradient(gcn.AvgPool2d(2), np.zeros((2, 4)), np.array([[8.0, -4.0]])), expected)


def test_l2_pool_assigns_x_over_y_times_the_error() -> None:
    x = np.array([[3.0, 0.0], [0.0, 4.0]])
    close(pooled_gradient(gcn.L2Pool2d(2), x, np.array([[10.0]])), x / 5 * 10)
    close(pooled_gradient(gcn.L2Pool2d(2), np.zeros((2, 2)), np.array([[10.0]])), np.zeros((2, 2)))


@pytest.mark.parametrize("kind", ["max", "average", "l2"])
def test_pooling_with_overlapping_windows_adds_up(kind: str) -> None:
    random = np.random.default_rng(3)
    x, delta = random.normal(size=(7, 9)), random.normal(size=(3, 4))
    expected = np.zeros(x.shape)
    for i, j in np.ndindex(delta.shape):
        block = (slice(2 * i, 2 * i + 3), slice(2 * j, 2 * j + 3))
        shares = {
            "max": x[block] == x[block].max(),
            "average": np.full((3, 3), 1 / 9),
            "l2": x[block] / np.sqrt((x[block] ** 2).sum()),
        }
        expected[block] += shares[kind] * delta[i, j]
    layer = {"max": gcn.MaxPool2d, "average": gcn.AvgPool2d, "l2": gcn.L2Pool2d}[kind](3, stride=2)
    close(pooled_gradient(layer, x, delta), expected)


# The document and the example


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def squeezed(line: str) -> str:
    return " ".join(line.split())


def test_document_runs_and_prints_every_line_that_it_quotes() -> None:
    namespace: dict[str, Any] = {"__name__": "net"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in fenced("python"):
            exec(compile(block, "net.py", "exec"), namespace)
    lines = {squeezed(line) for line in printed.getvalue().splitlines()}
    quoted = [squeezed(line) for block in fenced("text") for line in block.splitlines()]
    assert sum(line.startswith("%") for line in quoted) > 20
    assert [line for line in quoted if line not in lines | {"", "..."}] == []


def test_document_names_every_equation_and_only_tests_that_exist() -> None:
    text = DOCUMENT.read_text("utf-8")
    named = set(re.findall(r"\[`(test_\w+)`\]", text))
    assert named <= globals().keys()
    equations = {name for name in globals() if name.startswith("test_eq_")}
    assert equations <= named
    headings = re.findall(r"^## Eq. (\d+)(?:-(\d+))?", text, re.MULTILINE)
    covered = [number for first, last in headings for number in range(int(first), int(last or first) + 1)]
    assert covered == list(range(1, 22))


def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "article.py"), run_name="__main__")
    shown = capsys.readouterr().out
    for number in range(1, 22):
        assert f"Eq. {number} " in shown
