"""What training changes: parameters, statistics, the optimiser's state and the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from graphcnn.arguments import known_methods
from graphcnn.arrays import Array
from graphcnn.backend import Backend, State
from graphcnn.distributed.agreement import Stated
from graphcnn.errors import DataError
from graphcnn.interchange.keras import read_keras_weights
from graphcnn.interchange.layouts import WRITTEN, require_layout
from graphcnn.interchange.torchvision import read_state_dict, write_state_dict
from graphcnn.interrupts import interrupts_put_off
from graphcnn.ir import TensorType
from graphcnn.training.freezing import matching_all
from graphcnn.training.graphs import Graphs
from graphcnn.training.model_file import read_weights_alone, write_weights_alone
from graphcnn.training.model_graphs import ModelGraphs
from graphcnn.training.model_onnx import OnnxGraph, known_onnx_graph, write_model_onnx
from graphcnn.training.optimizers import LEARNING_RATE, checked_rate
from graphcnn.training.options import refuse
from graphcnn.training.parameters import Parameters, Weights
from graphcnn.training.ranks import Ranks
from graphcnn.training.sharding import Shards
from graphcnn.training.stated import stated_of_model

if TYPE_CHECKING:
    from graphcnn.interchange.onnx.layouts import Images

UNTRAINED = ("forward", "evaluation", "weighted_evaluation", "scores", "weighted_scores")


@known_methods()
class ModelState(ModelGraphs):
    """The state of a model, which its steps replace: arrays by name."""

    def __init__(
        self,
        graphs: Graphs,
        state: dict[str, Array],
        backend: Backend,
        options: Mapping[str, object],
        frozen_by_layers: Callable[[], frozenset[str]],
        ranks: Ranks,
    ) -> None:
        super().__init__(graphs, backend, options, frozen_by_layers, ranks)
        self._state = self._kept(state)
        self._learning_rate = float(graphs.optimizer.learning_rate) if graphs.optimizer else 0.0
        self._scheduled_rate: float | None = None

    def _kept(self, state: Mapping[str, Array]) -> State:
        """Return what this rank has of a state, in arrays that steps can write into."""
        own = self._shards.own(state)
        return State({name: own[name] if own[name].flags.writeable else own[name].copy() for name in own})

    def _agree(self) -> None:
        """Raise RankError, once, unless all ranks have the same model."""
        if not self._has_agreed:
            self._ranks.require_agreement(self._stated)
            self._has_agreed = True

    def _stated(self) -> dict[str, Stated]:
        """Return what has to be the same on all ranks."""
        graphs = self._graphs
        return stated_of_model(
            self.backend,
            self._options,
            {
                f"the {name} graph": graph
                for name, graph in (("evaluation", graphs.evaluation), ("step", graphs.step))
                if graph is not None
            },
            self._shards.alike(self._state),
            shards_optimizer=self._ranks.shards_optimizer,
        )

    def freeze(self, *patterns: str) -> None:
        """Let training leave parameters alone from now on: they get no gradient, as the graphs show.

        patterns: names of layers or parameters, such as "conv1", "conv*" or "block1.conv2.filters". Batch
        norm's statistics are frozen with it: it computes with them as in inference.
        Raises OptionError for a pattern that fits none.
        """
        if not patterns:
            refuse("freeze names no layer", 'model.freeze("conv*"), or "*" for all')
        self._freeze_only(self.frozen | matching_all(list(self._held()), patterns))

    def unfreeze(self, *patterns: str) -> None:
        """Train parameters again that were frozen; without patterns all of them."""
        again = matching_all(list(self._held()), patterns or ("*",))
        self._freeze_only(self.frozen - again)

    def _held(self) -> dict[str, TensorType]:
        """Return the types of the network's parameters and states by name."""
        held = self._graphs.network.inputs_with_role("parameter", "state")
        return {name: value.type for name, value in held.items()}

    def _freeze_only(self, frozen: frozenset[str]) -> None:
        graphs = self._graphs.altered(frozen=frozen)
        shards = Shards(self._ranks, graphs)
        before = self._shards.dealt_anew(self._state, shards)
        kept = {name: before[name] for name in self._held()}
        added = {name: before.get(name, first) for name, first in graphs.first_values.items()}
        with interrupts_put_off():
            self._graphs, self._shards = graphs, shards
            self._state = self._kept({**kept, **added})
            self._has_agreed = not self._ranks.are_several
            self._executables = {name: made for name, made in self._executables.items() if name in UNTRAINED}

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step. Raises OptionError where it is set to anything but a number.

        To set it ends what a schedule has set for the present epoch.
        """
        return self._learning_rate if self._scheduled_rate is None else self._scheduled_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        checked = checked_rate(rate)
        with interrupts_put_off():
            self._learning_rate, self._scheduled_rate = checked, None

    @property
    def scheduled_rate(self) -> float | None:
        """The learning rate for the present epoch that a schedule has set; None where the model's own holds.

        `fit` ends with None: the model's own rate is back, and it is the one that a file holds.
        """
        return self._scheduled_rate

    @scheduled_rate.setter
    def scheduled_rate(self, rate: float | None) -> None:
        self._scheduled_rate = None if rate is None else checked_rate(rate)

    @property
    def parameters(self) -> Parameters:
        """The trained parameters: name → array, readable and assignable."""
        types = {k: v.type for k, v in self._graphs.network.inputs_with_role("parameter").items()}
        return Parameters(self._state, types)

    @property
    def weights(self) -> Weights:
        """The parameters and the statistics that inference uses, such as batch norm's: name → array.

        Those of auxiliary heads, which training alone has, are among them.
        """
        parameters, inference = self.parameters.types, self._graphs.inference.inputs
        heads = {name.rpartition(".")[0] for name in parameters if name not in inference}
        statistics = {
            name: value.type
            for name, value in self._graphs.network.inputs_with_role("state").items()
            if name in inference or name.rpartition(".")[0] in heads
        }
        return Weights(self._state, {**parameters, **statistics})

    def state(self) -> dict[str, Array]:
        """Return a copy of all that training changes: parameters, statistics, the optimiser's state.

        Where that is cut over ranks, it is what this rank has of it.
        """
        return {name: array.copy() for name, array in self._state.items()}

    def whole_state(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Return what ranks have of a state, each its part, whole on all of them; all call this at once."""
        return self._shards.on_all(state)

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Set what `state` returned. Where ranks have parts of a state, each takes its own out of it."""
        if not isinstance(state, Mapping):
            refuse(
                f"the state is {type(state).__name__}, not a dictionary", "set what model.state() returned"
            )
        missing = [name for name in self._state if name not in state]
        if missing:
            raise DataError(f"the state lacks {', '.join(missing)}", mend="set what model.state() returned")
        for name, array in self._state.items():
            if state[name].shape != array.shape or state[name].dtype != array.dtype:
                raise DataError(
                    f"the state {name!r} is {state[name].dtype}{list(state[name].shape)}, "
                    f"but {array.dtype}{list(array.shape)} is needed",
                    mend="set what model.state() returned",
                )
        with interrupts_put_off():
            self._state.changed()
            for name, array in self._state.items():
                np.copyto(array, state[name])
            self._state.changed()

    def save_weights(self, path: str | PathLike[str], *, layout: str = "graphcnn") -> None:
        """Write `weights` alone to a safetensors file: parameters and statistics by name, and no graphs.

        layout: "torchvision" writes the state dict of a PyTorch module whose modules are named as the layers:
        `module.load_state_dict(safetensors.torch.load_file(path))`.
        The file is replaced atomically. Raises OSError where it cannot be written.
        """
        require_layout(layout, WRITTEN)
        if layout == "torchvision":
            write_state_dict(path, self._graphs.network, self.weights)
        else:
            write_weights_alone(path, self.weights)

    def export_onnx(
        self,
        path: str | PathLike[str],
        graph: OnnxGraph = "forward",
        *,
        opset: int | None = None,
        layout: Images = "NCHW",
        fold: bool = False,
    ) -> None:
        """Write one of the model's graphs as a file of ONNX, of standard operators alone.

        graph: "forward" is the network for inference, with its parameters in the file. "gradient" takes the
        batch, its targets and the parameters, and returns the loss and `gradient(name)` of each parameter.
        "step" is the whole training step: parameters, statistics, the optimiser's state and the learning rate
        are inputs, whose values at present are their defaults in the file, and `name.next` of each is an
        output. opset: 17 or newer, by default 21, whose files hold what each node is for. layout: of images
        [N, H, W, C] in and out; "NHWC" leaves them. Filters are [D, C / groups, k1, k2] in either. fold:
        whether convolutions of the "forward" graph take over what batch norm does behind them.

        The file is replaced atomically. Raises ExportError, which lists every node that ONNX has no operators
        for, and OptionError where the package `onnx` is missing (`pip install 'graphcnn[onnx]'`), or for a
        graph that the model does not have; OSError where the file cannot be written.
        """
        kind = known_onnx_graph(graph, fold)
        if kind == "step" and self._shards.owners:
            refuse(
                "the optimiser's state is cut over ranks, so that none has what a file of the step holds",
                "model.save(path), on all ranks; gcn.load(path).export_onnx(...)",
            )
        write_model_onnx(
            path,
            kind,
            self.graph(kind),
            {**self._state, LEARNING_RATE: np.array(self.learning_rate)},
            opset=opset,
            layout=layout,
            fold=fold,
        )

    def load_weights(
        self,
        path: str | PathLike[str],
        *,
        layout: str = "graphcnn",
        only: str | Sequence[str] | None = None,
        skip: str | Sequence[str] | None = None,
    ) -> None:
        """Set `weights` from a safetensors file that `save_weights` or `save` wrote, or another program.

        The file holds every parameter and statistic by name, with the network's shapes and precision. Its
        optimiser's state and history are left alone.
        layout: "torchvision" reads the state dict of a PyTorch module, `safetensors.torch.save_file(
        module.state_dict(), path)`, whose modules are named as the layers: filters [D, C, k1, k2], dense
        weights [units, C], running_mean and running_var, in any precision. "keras" reads a file that Keras 3
        wrote by `model.save_weights("name.weights.h5")`, whose layers have the names of the network's
        (`pip install 'graphcnn[keras]'`).
        only: names of layers or weights, or patterns such as "conv*", as `freeze` takes them: these alone are
        set, and the file may hold others. skip: those that are left as they are, likewise. So trained layers
        get a new head: skip="fc".
        Raises FileError for a file that does not fit, with the names that do not, and then leaves the model
        as it is; OptionError for a pattern that fits no weight.
        """
        if isinstance(path, Mapping):
            refuse("load_weights takes the path of a file, not weights", "model.weights.update(weights)")
        wanted = self.weights.types
        if only is not None:
            names = matching_all(list(wanted), [only] if isinstance(only, str) else only)
            wanted = {name: type for name, type in wanted.items() if name in names}
        if skip is not None:
            names = matching_all(list(wanted), [skip] if isinstance(skip, str) else skip)
            wanted = {name: type for name, type in wanted.items() if name not in names}
        is_part = only is not None or skip is not None
        require_layout(layout)
        if layout == "torchvision":
            read = read_state_dict(path, self._graphs.network, wanted, is_part=is_part)
        elif layout == "keras":
            weights = self.weights.types
            read = read_keras_weights(path, self._graphs.network, weights, wanted, is_part=is_part)
        else:
            read = read_weights_alone(path, wanted, is_part=is_part)
        self.weights.update(read)
