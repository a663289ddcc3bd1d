"""How large the gradients of each layer are, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.figures import new_figure
from graphcnn.ir import Graph
from graphcnn.ops.attributes import is_int
from graphcnn.rendering import as_html, as_text
from graphcnn.training.bars import log_bar, log_trend
from graphcnn.training.callbacks import Callback
from graphcnn.training.objective import variant
from graphcnn.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import Group
    from rich.table import Table

    from graphcnn.training.model import Model

EDGES: Final = np.arange(-12.0, 4.5, 0.5)
"""Between the intervals of a histogram: powers of ten of a gradient's size."""
FACTOR = 1e3
"""So many times smaller or larger than that of the last layer, a gradient is said to vanish or to explode."""


@known_arguments
class GradientLog(Callback):
    """Records norms and histograms of each layer's gradients in `fit`; print it or plot it afterwards.

    every: records the first step and from then on each of so many. The gradient is computed once more for
    it, for the same batch before the step, so a step that is recorded takes about twice as long.

    layers: those that have parameters. steps: which were recorded, counted from 1 over all epochs.
    """

    def __init__(self, every: int = 1) -> None:
        if not is_int(every, 1):
            raise OptionError(f"every={every!r} is not a number of steps of at least 1", mend="every=10")
        self.every = every
        self._forget()

    def _forget(self) -> None:
        self.steps: list[int] = []
        self._seen = 0
        self._parameters: dict[str, list[str]] = {}
        self._norms: dict[str, list[float]] = {}
        self._sizes: dict[str, int] = {}
        self._histograms: dict[str, list[Array]] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._parameters)

    def norms(self, layer: str) -> list[float]:
        """Return the norm of the layer's gradient in each recorded step: the root of the sum of squares."""
        return list(self._norms[self._known(layer)])

    def histograms(self, layer: str) -> Array:
        """Return how many of the layer's gradients have which size in each recorded step: [steps, intervals].

        The intervals are half powers of ten from 1e-12 to 1e4; what is beyond is in the first or last. Zeros,
        NaN and infinity are in none.
        """
        return np.array(self._histograms[self._known(layer)])

    def verdict(self, layer: str) -> str:
        """Return "vanishing", "exploding", or "" where neither is so.

        A gradient vanishes where the numbers in it (their root mean square) are a thousand times smaller than
        those of the last layer, the one next to the loss; it explodes where they are a thousand times larger,
        where they have grown a thousandfold since the first recorded step, or are no longer finite.
        """
        norms = self._norms[self._known(layer)]
        if not norms:
            return ""
        now = self._mean_size(layer)
        last = self._mean_size(self.layers[-1])
        if not math.isfinite(now) or now > FACTOR * last > 0 or norms[-1] > FACTOR * norms[0] > 0:
            return "exploding"
        return "vanishing" if now * FACTOR < last and math.isfinite(last) else ""

    def _mean_size(self, layer: str) -> float:
        return self._norms[layer][-1] / math.sqrt(self._sizes[layer])

    def _known(self, layer: str) -> str:
        if layer not in self._parameters:
            raise OptionError(
                f"no gradients of {layer!r} were recorded",
                facts=[f"recorded: {', '.join(self.layers) or 'nothing'}"],
                mend="callbacks=[gradient_log] in fit, and a layer with parameters",
            )
        return layer

    # Recording

    def state(self) -> dict[str, Any]:
        return {
            "steps": list(self.steps),
            "seen": self._seen,
            "norms": {layer: np.array(norms, np.float64) for layer, norms in self._norms.items()},
            "histograms": {
                layer: np.array(counts, np.int64).reshape(-1, len(EDGES) - 1)
                for layer, counts in self._histograms.items()
            },
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self.steps, self._seen = list(state["steps"]), state["seen"]
        self._norms = {layer: norms.tolist() for layer, norms in state["norms"].items()}
        self._histograms = {layer: list(counts) for layer, counts in state["histograms"].items()}

    def on_train_begin(self, model: Model) -> None:
        model.executable("gradient")  # compiles before there is a bar of the epoch
        self._forget()
        self._parameters = parameters_by_layer(model.gradient_graph)
        for layer, names in self._parameters.items():
            self._norms[layer], self._histograms[layer] = [], []
            self._sizes[layer] = sum(model.gradient_graph.inputs[name].type.elements(1) for name in names)

    def on_step_begin(self, model: Model, epoch: int, step: int, batch: Mapping[str, Array]) -> None:
        self._seen += 1
        if (self._seen - 1) % self.every:
            return
        self.steps.append(self._seen)
        results = model.executable(variant("gradient", batch)).step(model.state(), **batch)
        for layer, names in self._parameters.items():
            gradients = [results[f"gradient({name})"].astype(np.float64) for name in names]
            together = np.concatenate([gradient.ravel() for gradient in gradients])
            with np.errstate(over="ignore"):
                self._norms[layer].append(float(np.sqrt(np.square(together).sum())))
            sizes = np.abs(together[np.isfinite(together) & (together != 0)])
            powers = np.clip(np.log10(sizes), EDGES[0], EDGES[-1])
            self._histograms[layer].append(np.histogram(powers, EDGES)[0])

    # Display

    def table(self) -> Table:
        """Return a rich table: the first and the latest norm of each layer, a bar, the course, a verdict."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("layer", min_width=8, max_width=24)
        for header in ("first", "latest"):
            table.add_column(header, justify="right", no_wrap=True)
        for header in ("", "course", "verdict"):
            table.add_column(header, no_wrap=True)
        latest = [norms[-1] for norms in self._norms.values() if norms and math.isfinite(norms[-1])]
        for layer, norms in self._norms.items():
            if norms:
                bars = (log_bar(norms[-1], max(latest, default=0.0)), log_trend(norms))
                cells = (layer, f"{norms[0]:.3g}", f"{norms[-1]:.3g}", *bars, self.verdict(layer))
                style = "red" if self.verdict(layer) else ""
                table.add_row(*(Text(c, no_wrap=True, overflow="ellipsis") for c in cells), style=style)
        return table

    def __rich__(self) -> Group:
        from rich.console import Group

        return Group(self._title(), self.table()) if self.steps else Group(self._title())

    def _title(self) -> str:
        if not self.steps:
            return "Gradients by layer: nothing is recorded yet"
        count = f"{len(self.steps)} of {self._seen} steps recorded"
        return f"Gradient norms by layer, {count}, bars by powers of ten"

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def plot(self) -> Figure:
        """Return a matplotlib figure: the norms of all layers over the steps, and histograms of each.

        Notebooks display it.

        Raises OptionError where matplotlib is not installed or nothing was recorded.
        """
        figure = new_figure(layout="constrained")
        if not self.steps:
            raise OptionError(
                "no gradients were recorded: there is nothing to plot",
                mend="log = gcn.GradientLog(); model.fit(x, y, callbacks=[log]); log.plot()",
            )
        columns = min(4, len(self.layers))
        rows = -(-len(self.layers) // columns)
        figure.set_size_inches(3 * columns + 1, 3 + 2.2 * rows)
        parts: Any = figure.subfigures(2, 1, height_ratios=[3, 2.2 * rows])
        above, below = parts
        self._plot_norms(above.subplots())
        panels = below.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, layer in zip(panels, self.layers, strict=False):
            self._plot_histograms(axes, layer)
        for axes in panels[len(self.layers) :]:
            axes.set_axis_off()
        for axes in panels[::columns]:
            axes.set_ylabel("log10 |gradient|", fontsize="small")
        for axes in panels[-columns:]:
            axes.set_xlabel("step", fontsize="small")
        return figure

    def _plot_norms(self, axes: Axes) -> None:
        for number, layer in enumerate(self.layers):
            norms = np.array(self._norms[layer])
            shown = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
            axes.plot(self.steps, shown, ".-", label=visible(layer), color=_colour(number, len(self.layers)))
        axes.set(title="gradient norm", xlabel="step", yscale="log")
        axes.grid(alpha=0.3)
        legend = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
        for text in legend.get_texts():
            text.set_parse_math(False)

    def _plot_histograms(self, axes: Axes, layer: str) -> None:
        counts = self.histograms(layer).T
        shares = counts / np.maximum(counts.sum(0), 1)
        moments = [*self.steps, self.steps[-1] + self.every]
        axes.pcolormesh(moments, EDGES, shares, cmap="Blues", vmin=0)
        title = f"{visible(layer)} {self.verdict(layer)}".strip()
        axes.set_title(title, fontsize="small", parse_math=False)
        axes.locator_params(axis="x", integer=True, nbins=4)


def parameters_by_layer(graph: Graph) -> dict[str, list[str]]:
    """Return the names of the parameters of each layer, in the order of the network."""
    layers: dict[str, list[str]] = {}
    for name, value in graph.inputs_with_role("parameter").items():
        layers.setdefault(graph.node(value.key).origin.layer or name, []).append(name)
    return layers


def _colour(number: int, count: int) -> tuple[float, float, float, float]:
    import matplotlib as mpl

    shade: tuple[float, float, float, float] = mpl.colormaps["plasma"](0.9 * number / max(count - 1, 1))
    return shade
