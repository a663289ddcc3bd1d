"""The interface by which ONNX's own tests, and others, run a model on any backend: `onnx.backend.base`.

See https://onnx.ai/onnx/api/backend.html. Models keep the sizes that their files have; where the first one of
an input is left open, it is the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto
from onnx.backend.base import Backend, BackendRep, namedtupledict

from graphcnn.arrays import Array
from graphcnn.backend import DEFAULT, Executable, load_backend
from graphcnn.dsl.initializers import initial_value
from graphcnn.errors import InterchangeError
from graphcnn.interchange.onnx.reading import imported
from graphcnn.interchange.onnx.reading.reader import Imported, UnreadableError


class PreparedModel(BackendRep):
    """A model that is ready to run.

    Where it takes an input that a network has to know when it is made, such as the axes of a sum, it is
    compiled for the values that it is given.
    """

    def __init__(self, model: Any, backend: str) -> None:
        self._model = model
        self._backend = backend
        self._inputs = [value.name for value in model.graph.input]
        stored = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [name for name in self._inputs if name not in stored]
        self._compiled: _Compiled | None = None
        try:
            self._compiled = _Compiled(_read(model), backend)
        except UnreadableError as error:
            if not error.asked:
                raise

    def run(self, inputs: Any, **_: object) -> tuple[Array, ...]:
        """Return the outputs, a named tuple in the order of the file.

        inputs: arrays by name, or in the order of the file; axes are those of the file. Raises DataError for
        arrays that do not fit, and InterchangeError for a model that none of their values helps to read.
        """
        is_named = isinstance(inputs, Mapping)
        given = dict(inputs) if is_named else dict(zip(self._inputs, _listed(inputs), strict=True))
        compiled = self._compiled or self._compiled_for(given)
        return compiled.run(given)

    def _compiled_for(self, given: Mapping[str, Any]) -> _Compiled:
        values: dict[str, Any] = {}
        while True:
            try:
                return _Compiled(_read(self._model, values), self._backend)
            except UnreadableError as error:
                asked = {name: given[name] for name in error.asked if name not in values}
                if not asked or len(values) + len(asked) == len(self._inputs):
                    raise  # with all inputs known, there would be no network left to run
                values |= asked


class _Compiled:
    """A network that is compiled, and its parameters."""

    def __init__(self, model: Imported, backend: str) -> None:
        self._model = model
        self._executable: Executable | None = None
        self._state: dict[str, Array] = {}
        if model.network is None:
            return
        traced = model.network.trace()
        self._executable = load_backend(backend).compile(traced.graph)
        self._state = {
            name: initial_value(initializer, traced.graph.inputs[name].type, name, 0)
            for name, initializer in traced.initializers.items()
        }

    def run(self, given: Mapping[str, Any]) -> tuple[Array, ...]:
        arrays = {
            name: np.asarray(given[source]).transpose(order).copy(order="C")
            for source, (name, order) in self._model.inputs.items()
        }
        found = {} if self._executable is None else self._executable(**arrays, **self._state)
        results = {}
        for source in self._model.order:
            if source in self._model.constants:
                results[source] = self._model.constants[source]
                continue
            name, order = self._model.outputs[source]
            results[source] = found[name].transpose(np.argsort(order))
        return namedtupledict("Outputs", list(results))(*results.values())


def _read(model: Any, values: Mapping[str, object] | None = None) -> Imported:
    _require_own_types(model)
    return imported(model, batch=None if _is_open(model) else False, values=values)


def _require_own_types(model: Any) -> None:
    """Raise InterchangeError for inputs or outputs of 16 bits: what computes them would have 32."""
    for value in [*model.graph.input, *model.graph.output]:
        number = value.type.tensor_type.elem_type
        if number in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            raise InterchangeError(
                f"{value.name!r:.80} of the ONNX model is {TensorProto.DataType.Name(number).lower()}, "
                "and graphcnn has no tensors of that",
                mend="gcn.from_onnx reads it as float32",
            )


def _listed(inputs: Any) -> Sequence[Any]:
    return inputs if isinstance(inputs, list | tuple) else [inputs]


class GraphcnnBackend(Backend):
    """Runs models on a backend of graphcnn, by default the one that `gcn.compile` takes."""

    backend = DEFAULT

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **_: object) -> PreparedModel:
        """Return a model that is ready to run. Raises what `gcn.from_onnx` does."""
        return PreparedModel(model, cls.backend)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.split(":")[0] == "CPU"


def _is_open(model: Any) -> bool:
    """Whether the first size of an input is left open."""
    shapes = [value.type.tensor_type.shape.dim for value in model.graph.input]
    return any(dims and not dims[0].HasField("dim_value") for dims in shapes)


prepare = GraphcnnBackend.prepare
run_model = GraphcnnBackend.run_model
supports_device = GraphcnnBackend.supports_device
is_compatible = GraphcnnBackend.is_compatible
