"""What a model computes: its graphs, their machine code, and the tables and pages that show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphcnn.arguments import known_methods
from graphcnn.backend import Backend, Executable
from graphcnn.displays import display
from graphcnn.distributed.transport import Transport
from graphcnn.errors import meant
from graphcnn.ir import Graph
from graphcnn.training.compiling import shown
from graphcnn.training.freezing import LayersWord, require_trained
from graphcnn.training.graphs import Graphs, Precision
from graphcnn.training.metrics import Metric
from graphcnn.training.objective import Head, Losses
from graphcnn.training.optimizers import Optimizer, given_optimizer
from graphcnn.training.options import refuse
from graphcnn.training.ranks import Ranks
from graphcnn.training.sharding import Shards, owners
from graphcnn.transform import Passes, distribute

if TYPE_CHECKING:
    from graphcnn.inspection.profile import Profile
    from graphcnn.inspection.recording import Recording
    from graphcnn.inspection.summary import Summary

WEIGHTED = ("evaluation", "scores", "gradient", "step")
GRAPHS = ("forward", "training", *WEIGHTED, *(f"weighted_{name}" for name in WEIGHTED))
"""What `Model.graph` returns; the weighted ones take a weight for each sample as well."""

TOGETHER = tuple(
    f"{weighted}{name}" for weighted in ("", "weighted_") for name in ("evaluation", "gradient", "step")
)
"""The graphs that several ranks compute together, each on samples of its own."""

OF_EVERY_BATCH = ("executable", "graph", "step_on", "as_batch", "samples", "numbers")
"""The methods that `fit` and `evaluate` call for every batch."""


@known_methods(besides=OF_EVERY_BATCH)
class ModelGraphs:
    """The graphs of a model.

    backend: what compiles them, with options of its own. ranks: those that train it.
    """

    def __init__(
        self,
        graphs: Graphs,
        backend: Backend,
        options: Mapping[str, object],
        frozen_by_layers: Callable[[], frozenset[str]],
        ranks: Ranks,
    ) -> None:
        self.backend = backend
        self._graphs = graphs
        self._options = dict(options)
        self._ranks = ranks
        self._shards = Shards(ranks, graphs)
        self._distributed: dict[str, tuple[Graph, Graph]] = {}
        self._has_agreed = not self._ranks.are_several
        self._layers = LayersWord(frozen_by_layers)
        self._executables: dict[str, Executable] = {}
        self._outputs = {label: value.type for label, value in graphs.inference.outputs.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold all but what was compiled, which they compile again when they need it.

        Nor do they hold the network's layers, which are the original's.
        """
        return {**self.__dict__, "_executables": {}, "_distributed": {}, "_layers": LayersWord(frozenset)}

    @property
    def loss(self) -> Losses | None:
        """The loss, or for several outputs those that `gcn.compile` was given; None where there is none."""
        return None if self._graphs.objective is None else self._graphs.objective.loss

    @property
    def metrics(self) -> tuple[Metric, ...] | Mapping[str, tuple[Metric, ...]]:
        """The metrics, or for several outputs those of each, where they differ."""
        return () if self._graphs.objective is None else self._graphs.objective.metrics

    @property
    def heads(self) -> tuple[Head, ...]:
        """What is trained: outputs with their losses, metrics and targets."""
        return () if self._graphs.objective is None else self._graphs.objective.heads

    @property
    def optimizer(self) -> Optimizer | None:
        return given_optimizer(self._graphs.optimizer)

    @property
    def passes(self) -> Passes:
        return self._graphs.passes

    @property
    def precision(self) -> Precision:
        """Of what products multiply: "float32", or "bfloat16"."""
        return self._graphs.precision

    @property
    def frozen(self) -> frozenset[str]:
        """The names of parameters and statistics that training leaves alone."""
        return self._graphs.frozen

    @property
    def rank(self) -> int:
        """Which of the ranks that train the model this is, from 0; 0 in one process."""
        return self._ranks.number

    @property
    def ranks(self) -> int:
        """How many ranks train the model; 1 in one process."""
        return self._ranks.count

    @property
    def shard_optimizer(self) -> bool:
        """Whether each rank has the state of the optimiser for some parameters alone, and computes these."""
        return self._ranks.shards_optimizer

    @property
    def forward_graph(self) -> Graph:
        """The network for inference: from its inputs to `output`."""
        return self._graphs.forward

    @property
    def gradient_graph(self) -> Graph:
        """The network, its loss and the gradient of every parameter, as the rules derive it."""
        return self.graph("gradient")

    @property
    def step_graph(self) -> Graph:
        """The whole training step, simplified, and distributed over ranks: what the backend compiles."""
        return self.graph("step")

    @property
    def training_graph(self) -> Graph:
        """The network as it is in training, without its loss: Dropout and BatchNorm2d differ in it."""
        return self._graphs.training

    def graph(self, name: str) -> Graph:
        """Return one of the model's graphs: `forward`, `training`, `evaluation`, `gradient` or `step`.

        Or `scores`: the loss and metrics of outputs that are given. The last three and that with `weighted_`
        before them take a weight for each sample as well.
        Raises OptionError for a graph that the model does not have.
        """
        if name not in GRAPHS:
            refuse(f"a model has no graph {name!r:.60}", meant(name, GRAPHS, 'model.graph("gradient")'))
        graph: Graph | None = getattr(self._graphs, name)
        if graph is None:
            lacking = {"a loss": "loss=gcn.CrossEntropy()", "an optimizer": "optimizer=gcn.SGD(0.05)"}
            if self.loss is not None:
                lacking.pop("a loss")
            if not name.endswith("step"):
                lacking.pop("an optimizer")
            refuse(
                f"this model has no {name} graph: it was compiled without {' and '.join(lacking)}",
                f"gcn.compile(..., {', '.join(lacking.values())})",
            )
        return self._shared(name, graph) if name.endswith(("step", "evaluation")) else graph

    def _shared(self, name: str, graph: Graph) -> Graph:
        """Return a graph as ranks compute it together; in one process it itself."""
        if self._ranks.transport is None:
            return graph
        known = self._distributed.get(name)
        if known is None or known[0] is not graph:
            of_step = self._shards.owners if name.endswith("step") else {}
            known = self._distributed[name] = graph, distribute(graph, of_step)
        return known[1]

    def graph_of_ranks(self, name: str, ranks: int) -> Graph:
        """Return `graph(name)` as so many ranks compute it together."""
        is_cut = self._ranks.shards_optimizer and name.endswith("step")
        return distribute(self.graph(name), owners(self._graphs.updates, ranks) if is_cut else {})

    def _repr_svg_(self) -> str:
        """Return the gradient graph, or without a loss the forward graph, as a picture for notebooks."""
        svg: str = display("graph_svg")(self.gradient_graph if self.loss is not None else self.forward_graph)
        return svg

    def _repr_html_(self) -> str:
        """Return that picture beside the table of the layers, for notebooks."""
        html: str = display("model_html")(self)
        return html

    def executable(self, name: str) -> Executable:
        """Return `graph(name)`, compiled when first asked for."""
        executable = self._executables.get(name)
        if executable is None:
            graph = self.graph(name)
            if name.endswith("step"):
                self._require_trained(graph)
            options = self._options
            if self._ranks.transport is not None and name in TOGETHER:
                graph, options = self._shared(name, graph), {**options, "ranks": self._ranks.transport}
            executable = shown(graph.name, lambda: self.backend.compile(graph, **options))
            self._executables[name] = executable
        return executable

    def executable_of_rank(self, name: str, ranks: Transport) -> Executable:
        """Return `graph(name)`, compiled for one of several ranks, and not kept. ranks: its way to others."""
        graph = self.graph_of_ranks(name, ranks.size)
        return self.backend.compile(graph, **self._options, ranks=ranks)  # type: ignore[call-arg]

    def _require_trained(self, step: Graph) -> None:
        """Raise OptionError for a step that trains nothing, or not what the layers say by now."""
        self._layers.require_heard(self.frozen)
        require_trained(step, self.frozen)

    def summary(self, *, batch_size: int = 1) -> Summary:
        """Return the layers as a table that prints and displays itself: shapes, parameters, FLOPs and bytes.

        Of the gradient graph, or without a loss of the forward graph. batch_size: samples that FLOPs and
        bytes are given for. Raises OptionError unless it is an integer of at least 1.
        """
        table: Summary = display("model_summary")(self, batch_size=batch_size)
        return table

    def profile(self, x: object, y: object = None, *, repeats: int = 30, warmup: int = 3) -> Profile:
        """Return where the time of a training step on this batch goes, or without `y` that of an inference.

        x, y: one batch, as in `train_step`. repeats: how often it is measured; medians are given. warmup:
        calls before. The step is made on a copy of the state: the model stays as it is.

        Raises DataError for arrays that do not fit, and OptionError where the model has no training step.
        """
        measured: Profile = display("profile")(self, x, y, repeats=repeats, warmup=warmup)
        return measured

    def inspect(self, x: object, y: object = None) -> Recording:
        """Return every value and gradient that the model computes for this batch, and what is wrong in it.

        x, y: one batch, as in `train_step`; without `y` there is no loss and no gradient, and the network is
        as in inference. The reference backend computes it, and keeps all values in memory; the model stays
        as it is. Raises DataError for arrays that do not fit.
        """
        recorded: Recording = display("record")(self, x, y)
        return recorded

    def show(
        self,
        path: str | PathLike[str] | None = None,
        *,
        profile: Profile | None = None,
        recording: Recording | None = None,
        batch_size: int = 1,
        kernels: bool = True,
        ranks: int | None = None,
        title: str = "",
        open: bool = True,
    ) -> Path:
        """Write the model's graphs as one HTML page, open it in the browser, and return its path.

        The page shows the forward and gradient graphs side by side, as derived and simplified, and the
        kernels of the backend. It loads nothing, so it can be sent to others; it holds lines of your script.

        path: the file to write, atomically; by default one in a new folder for temporary files.
        profile: of the training step, for times. recording: of one batch, for the values that the page draws.
        batch_size: samples that FLOPs, bytes and memory are given for; with a profile, those that it took.
        kernels: whether to compile the step and show its kernels. ranks: of how many that share a batch the
        step is shown as well, with what each sends to others. title: of the page; by default the name of
        the network. open: whether to open the page; in a notebook it is displayed there instead.

        Raises OptionError for a path that cannot be one, and OSError where the file cannot be written.
        """
        written: Path = display("show_model")(
            self,
            path,
            profile=profile,
            recording=recording,
            batch_size=batch_size,
            kernels=kernels,
            ranks=ranks,
            title=title,
            open=open,
        )
        return written
