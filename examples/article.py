"""Eq. 1-21 of "Backpropagation In Convolutional Neural Networks" (Jefkine, 2016), twice.

Every equation is computed by hand, as loops over the formula in plain NumPy, and by a graph that graphcnn
built or differentiated. Both must agree. Run it with `python examples/article.py`; docs/article.md explains
what each line means.

By hand a map is [H, W] and a filter [k1, k2]. In a graph they are [N, H, W, C] and [k1, k2, C, D], here
with N = C = D = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import graphcnn as gcn

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

TOLERANCE = 1e-12

random = np.random.default_rng(2016)


@dataclass(frozen=True)
class Check:
    """One row of the table: an equation, what it says, and its value computed in two ways."""

    equation: str
    what: str
    by_hand: Array | float
    by_graph: Array | float

    @property
    def difference(self) -> float:
        return float(np.max(np.abs(self.by_hand - self.by_graph)))


def main() -> None:
    layers = TwoLayers()
    checks = [
        *definitions(),
        *channels(),
        *forward_pass(layers),
        *filter_gradient(layers),
        *chain_rule_to_the_layer_below(layers),
        *delta_of_the_layer_below(layers),
        *pooling(),
    ]
    print_table(checks)
    print_gradient_graph()


# By hand: the formulas as loops


def correlate(image: Array, kernel: Array) -> Array:
    """Return Eq. 1, Σm Σn I(i+m, j+n) K(m, n), wherever the kernel lies inside the image."""
    (H, W), (k1, k2) = image.shape, kernel.shape
    result = np.zeros((H - k1 + 1, W - k2 + 1), np.result_type(image, kernel))
    for i, j in np.ndindex(result.shape):
        for m, n in np.ndindex(k1, k2):
            result[i, j] += image[i + m, j + n] * kernel[m, n]
    return result


def convolve(image: Array, kernel: Array) -> Array:
    """Return Eq. 2, Σm Σn I(i-m, j-n) K(m, n), wherever the kernel lies inside the image.

    The first such place is i = k1-1, j = k2-1; it becomes element (0, 0) of the result.
    """
    (H, W), (k1, k2) = image.shape, kernel.shape
    result = np.zeros((H - k1 + 1, W - k2 + 1), np.result_type(image, kernel))
    for i, j in np.ndindex(result.shape):
        for m, n in np.ndindex(k1, k2):
            result[i, j] += image[i + k1 - 1 - m, j + k2 - 1 - n] * kernel[m, n]
    return result


def rot180(kernel: Array) -> Array:
    return kernel[::-1, ::-1]


def full_padded(delta: Array, kernel: Array) -> Array:
    """Return delta with so many zeros around it that every overlap with the kernel counts."""
    k1, k2 = kernel.shape
    return np.pad(delta, ((k1 - 1, k1 - 1), (k2 - 1, k2 - 1)))


def jacobian(function: Callable[[Array], Array], at: Array) -> Array:
    """Return ∂function(i, j) / ∂at(m, n) as [i, j, m, n], by complex steps, which leave no error behind."""
    step = 1e-30
    columns = []
    for place in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[place] += 1j * step
        columns.append(function(moved).imag / step)
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *at.shape)


# By graph: graphcnn builds the formula, runs it, and differentiates it


def build(formula: Callable[..., gcn.Tensor], inputs: dict[str, Array]) -> gcn.Graph:
    """Return the formula as a graph whose inputs have the names and shapes of these arrays."""
    values = [gcn.Input(array.shape, name, dtype="float64", batch=False) for name, array in inputs.items()]
    return gcn.Network(values, formula(*values)).graph


def run(formula: Callable[..., gcn.Tensor], **inputs: Any) -> Array:
    """Return the value of the formula."""
    return gcn.evaluate(build(formula, inputs), **inputs)["output"]


def gradient(formula: Callable[..., gcn.Tensor], wrt: str, **inputs: Any) -> Array:
    """Return the gradient of the formula, a scalar, with respect to one of its inputs."""
    graph = gcn.gradient(build(formula, inputs), "output", [wrt])
    return gcn.evaluate(graph, **inputs)[f"gradient({wrt})"]


def as_maps(array: Array) -> Array:
    return array[None, :, :, None]  # [1, H, W, 1]


def as_filters(array: Array) -> Array:
    return array[:, :, None, None]  # [k1, k2, 1, 1]


def plain(array: Array) -> Array:
    return array.squeeze()  # [H, W] or [k1, k2]


# The equations


def definitions() -> Iterator[Check]:
    """Eq. 1-3: cross-correlation, convolution, and how a rotation makes one of the other."""
    image, kernel = random.normal(size=(5, 6)), random.normal(size=(2, 3))
    arrays = {"image": as_maps(image), "kernel": as_filters(kernel)}
    correlation = plain(run(gcn.correlate2d, **arrays))
    convolution = plain(run(gcn.convolve2d, **arrays))
    yield Check("Eq. 1", "cross-correlation I ⊗ K", correlate(image, kernel), correlation)
    yield Check("Eq. 2", "convolution I * K", convolve(image, kernel), convolution)
    yield Check("Eq. 3", "I * K is I ⊗ rot180(K)", correlate(image, rot180(kernel)), convolution)


def channels() -> Iterator[Check]:
    """Eq. 4-5: D filters over C channels, and the special case C = 1."""
    image, bias = random.normal(size=(5, 6, 3)), random.normal(size=4)
    kernel = random.normal(size=(2, 3, 3, 4))

    def layer(image: gcn.Tensor, kernel: gcn.Tensor, bias: gcn.Tensor) -> gcn.Tensor:
        return gcn.correlate2d(image, kernel) + bias

    maps = np.empty((4, 4, 4))
    for d in range(4):
        maps[:, :, d] = sum(correlate(image[:, :, c], kernel[:, :, c, d]) for c in range(3)) + bias[d]
    by_graph = run(layer, image=image[None], kernel=kernel, bias=bias)[0]
    yield Check("Eq. 4", "channels are summed", maps, by_graph)

    one, filter_, number = image[:, :, 0], kernel[:, :, 0, 0], bias[:1]
    by_graph = run(layer, image=as_maps(one), kernel=as_filters(filter_), bias=number)
    yield Check("Eq. 5", "one channel, one filter", correlate(one, filter_) + number, plain(by_graph))


class TwoLayers:
    """o0 → x1 = o0 ⊗ w1 + b1 → o1 = tanh(x1) → x2 = o1 ⊗ w2 + b2 → E; the article's layers l and l+1."""

    def __init__(self) -> None:
        self.o0 = random.normal(size=(6, 5))
        self.w1, self.b1 = random.normal(size=(3, 2)), random.normal(size=1)
        self.w2, self.b2 = random.normal(size=(2, 3)), random.normal(size=1)
        self.x1 = correlate(self.o0, self.w1) + self.b1
        self.o1 = np.tanh(self.x1)
        self.x2 = correlate(self.o1, self.w2) + self.b2
        self.target = random.normal(size=self.x2.shape)
        self.delta2 = self.x2 - self.target
        self.slope = 1 - self.o1**2  # f'(x1)

    def above_x1(self) -> dict[str, Array]:
        """Return the inputs of `error`: x1, and what the upper layer has of its own."""
        x, w, t = as_maps(self.x1), as_filters(self.w2), as_maps(self.target)
        return {"x": x, "w": w, "b": self.b2, "t": t}


def squared_error(y: gcn.Tensor, t: gcn.Tensor) -> gcn.Tensor:
    return gcn.sum(gcn.squared_error(y, t))


def upper_layer(x: gcn.Tensor, w: gcn.Tensor, b: gcn.Tensor) -> gcn.Tensor:
    return gcn.correlate2d(gcn.tanh(x), w) + b


def error(x: gcn.Tensor, w: gcn.Tensor, b: gcn.Tensor, t: gcn.Tensor) -> gcn.Tensor:
    return squared_error(upper_layer(x, w, b), t)


def jacobian_by_graph(layers: TwoLayers, wrt: str) -> Array:
    """Return ∂x2(i, j) / ∂x1 or ∂x2(i, j) / ∂w2 as [i, j, m, n]: the gradient of one output at a time."""
    inputs = layers.above_x1()
    rows = []
    for place in np.ndindex(layers.x2.shape):
        inputs["t"] = np.zeros((1, *layers.x2.shape, 1))
        inputs["t"][0, place[0], place[1], 0] = 1.0
        rows.append(gradient(lambda x, w, b, t: gcn.sum(upper_layer(x, w, b) * t), wrt, **inputs))
    size = layers.w2.shape if wrt == "w" else layers.x1.shape
    return np.reshape(rows, (*layers.x2.shape, *size))


def forward_pass(layers: TwoLayers) -> Iterator[Check]:
    """Eq. 6-9: from the input of a layer to the error."""
    o0, w1, b1 = layers.o0, layers.w1, layers.b1
    arrays = {"o": as_maps(o0), "w": as_filters(w1), "b": b1}
    x1 = plain(run(lambda o, w, b: gcn.correlate2d(o, w) + b, **arrays))
    o1 = plain(run(lambda o, w, b: gcn.tanh(gcn.correlate2d(o, w) + b), **arrays))
    yield Check("Eq. 6", "rot180(w) * o + b", convolve(o0, rot180(w1)) + b1, x1)
    yield Check("Eq. 7", "Σ Σ w(m, n) o(i+m, j+n) + b", correlate(o0, w1) + b1, x1)
    yield Check("Eq. 8", "o = f(x)", np.tanh(correlate(o0, w1) + b1), o1)

    by_hand = 0.5 * np.sum((layers.target - layers.x2) ** 2)
    by_graph = run(squared_error, y=as_maps(layers.x2), t=as_maps(layers.target))
    yield Check("Eq. 9", "E = ½ Σ (t - y)²", by_hand, by_graph)


def filter_gradient(layers: TwoLayers) -> Iterator[Check]:
    """Eq. 10-15: how the error changes with one weight of w2, whose layer has the input o1."""
    o1, w2, delta2 = layers.o1, layers.w2, layers.delta2
    k1, k2 = w2.shape
    dx_dw = jacobian(lambda w: correlate(o1, w) + layers.b2, w2)
    shifted = np.empty_like(dx_dw)
    for i, j in np.ndindex(delta2.shape):
        shifted[i, j] = o1[i : i + k1, j : j + k2]

    dx_dw_by_graph = jacobian_by_graph(layers, "w")
    dE_dw = plain(gradient(error, "w", **layers.above_x1()))
    dE_db = gradient(error, "b", **layers.above_x1())
    dE_dx2 = gradient(squared_error, "y", y=as_maps(layers.x2), t=as_maps(layers.target))
    yield Check("Eq. 10", "chain rule, Σ Σ δ ∂x/∂w", np.einsum("ij,ijmn->mn", delta2, dx_dw), dE_dw)
    yield Check("Eq. 11", "∂x(i, j)/∂w(m', n')", dx_dw, dx_dw_by_graph)
    yield Check("Eq. 12", "it is o(i+m', j+n')", shifted, dx_dw_by_graph)
    yield Check("Eq. 13", "Σ Σ δ(i, j) o(i+m', j+n')", correlate(o1, delta2), dE_dw)
    yield Check("Eq. 14", "rot180(δ) * o", convolve(o1, rot180(delta2)), dE_dw)
    yield Check("Eq. 15", "δ = ∂E/∂x, at the end y - t", delta2, plain(dE_dx2))
    yield Check("bias", "∂E/∂b is the sum of δ", np.sum(delta2), dE_db)


def chain_rule_to_the_layer_below(layers: TwoLayers) -> Iterator[Check]:
    """Eq. 16-19: how the error changes with one unit of x1, through every x2 that the unit reaches."""
    k1, k2 = layers.w2.shape
    dx_dx = jacobian(lambda x: correlate(np.tanh(x), layers.w2) + layers.b2, layers.x1)
    region, window = np.zeros_like(layers.x1), np.zeros_like(layers.x1)
    for place in np.ndindex(layers.x1.shape):
        for i, j in np.ndindex(layers.x2.shape):
            region[place] += layers.delta2[i, j] * dx_dx[(i, j, *place)]
        for _, _, i, j in sources(layers, place):
            window[place] += layers.delta2[i, j] * dx_dx[(i, j, *place)]
    product = np.zeros_like(dx_dx)
    for i, j in np.ndindex(layers.x2.shape):
        product[i, j, i : i + k1, j : j + k2] = layers.w2 * layers.slope[i : i + k1, j : j + k2]

    dx_dx_by_graph = jacobian_by_graph(layers, "x")
    dE_dx = plain(gradient(error, "x", **layers.above_x1()))
    yield Check("Eq. 16", "chain rule over the region Q", region, dE_dx)
    yield Check("Eq. 17", "Q is x2(i'-m, j'-n)", window, dE_dx)
    yield Check("Eq. 18", "∂x2(i'-m, j'-n)/∂x1(i', j')", dx_dx, dx_dx_by_graph)
    yield Check("Eq. 19", "it is w(m, n) f'(x1(i', j'))", product, dx_dx_by_graph)


def delta_of_the_layer_below(layers: TwoLayers) -> Iterator[Check]:
    """Eq. 20-21: the delta of x1 from that of x2, and with Eq. 13 the gradient of the lower filters."""
    w2, slope = layers.w2, layers.slope
    padded = full_padded(layers.delta2, w2)
    delta1 = np.zeros_like(layers.x1)
    for place in np.ndindex(delta1.shape):
        for m, n, i, j in sources(layers, place):
            delta1[place] += layers.delta2[i, j] * w2[m, n] * slope[place]

    dE_dx = plain(gradient(error, "x", **layers.above_x1()))
    yield Check("Eq. 20", "Σ Σ δ(i'-m, j'-n) w(m, n) f'(x1)", delta1, dE_dx)
    yield Check("Eq. 20, 2", "so: δ convolved with unflipped w", convolve(padded, w2) * slope, dE_dx)
    yield Check("Eq. 21", "δ cross-correlated with rot180(w)", correlate(padded, rot180(w2)) * slope, dE_dx)

    def whole(o: gcn.Tensor, w1: gcn.Tensor, b1: gcn.Tensor, *upper: gcn.Tensor) -> gcn.Tensor:
        return error(gcn.correlate2d(o, w1) + b1, *upper)

    _, *upper = layers.above_x1().items()
    arrays = {"o": as_maps(layers.o0), "w1": as_filters(layers.w1), "b1": layers.b1, **dict(upper)}
    dE_dw1 = plain(gradient(whole, "w1", **arrays))
    yield Check("21 and 13", "through both layers: ∂E/∂w1", correlate(layers.o0, delta1), dE_dw1)


def sources(layers: TwoLayers, place: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (m, n, i'-m, j'-n) for the elements of x2 that the unit (i', j') of x1 reaches: Q in Eq. 16."""
    for m, n in np.ndindex(layers.w2.shape):
        i, j = place[0] - m, place[1] - n
        if 0 <= i < layers.x2.shape[0] and 0 <= j < layers.x2.shape[1]:
            yield m, n, i, j


def pooling() -> Iterator[Check]:
    """The pooling layers, with 3x3 windows that overlap: a unit can win, or share, more than once."""
    size, stride = 3, 2
    x, delta = random.normal(size=(7, 7)), random.normal(size=(3, 3))
    routed, spread, scaled = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for i, j in np.ndindex(delta.shape):
        rows, columns = (slice(stride * at, stride * at + size) for at in (i, j))
        block = x[rows, columns]
        routed[rows, columns][np.unravel_index(np.argmax(block), block.shape)] += delta[i, j]
        spread[rows, columns] += delta[i, j] / (size * size)
        scaled[rows, columns] += block / np.linalg.norm(block) * delta[i, j]

    def by_graph(layer: gcn.Layer) -> Array:
        arrays = {"x": as_maps(x), "delta": as_maps(delta)}
        return plain(gradient(lambda x, delta: gcn.sum(layer(x) * delta), "x", **arrays))

    yield Check("max-pool", "δ to the winning unit", routed, by_graph(gcn.MaxPool2d(size, stride)))
    yield Check("average", "δ / (N·N) to the whole block", spread, by_graph(gcn.AvgPool2d(size, stride)))
    yield Check("L2-pool", "x / y · δ to the whole block", scaled, by_graph(gcn.L2Pool2d(size, stride)))


def print_table(checks: list[Check]) -> None:
    """Print a row per check. Raises ArithmeticError where hand and graph differ."""
    print(f"{'equation':11}{'what':36}{'by hand':>12}{'by graph':>12}{'max difference':>17}")
    for check in checks:
        hand, graph = np.ravel(check.by_hand), np.ravel(check.by_graph)
        shown = np.argmax(np.abs(hand))
        row = f"{check.equation:11}{check.what:36}{hand[shown]:12.6f}{graph[shown]:12.6f}"
        print(f"{row}{check.difference:17.1e}")
        if not check.difference <= TOLERANCE:
            raise ArithmeticError(f"{check.equation}: hand and graph differ by {check.difference}")
    print(f"{len(checks)} checks agree. Each row shows one element; the difference is over all.")


def print_gradient_graph() -> None:
    """Print what graphcnn derives for a network of two convolutions: nodes that name their equation."""
    network = gcn.Sequential(gcn.Conv2d(6, 3), gcn.Tanh(), gcn.Conv2d(4, 3))
    model = gcn.compile(network, input_shape=(8, 8, 1), loss=gcn.SquaredError(), dtype="float64")
    print("\nThe gradient nodes of a network of two convolutions, as derived:")
    for line in str(model.gradient_graph).splitlines():
        if "| of %" in line:
            print(line)


if __name__ == "__main__":
    main()
