"""What other frameworks call things that a `Model` has by another name, or does not need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from graphcnn.errors import meant

_IN_FIT = (
    "a model needs no modes: dropout and batch norm behave as in training within fit and train_step alone"
)
_CPU = "a model computes on the CPU, in the precision of gcn.compile(..., dtype=)"
_GRADIENTS = "train_step computes gradients anew and applies them; model.inspect(x, y) shows them"
_STEP = "model.train_step(x, y)"
_LAYERS = "print(model.summary()) lists the layers, model.forward_graph has their nodes"
_DATA = "model.fit(batches), where batches yields pairs (images, labels)"

ELSEWHERE: Final = {
    "train": f"model.fit(x, y, epochs=5) trains; {_IN_FIT}",
    "eval": f"model.evaluate(x, y) and model.predict(x) compute as in inference; {_IN_FIT}",
    "training": _IN_FIT,
    "forward": "model.predict(x)",
    "call": "model.predict(x)",
    "predict_classes": "model.predict(x).argmax(axis=1)",
    "predict_proba": "the softmax of model.predict(x), where the network ends with logits",
    "predict_on_batch": "model.predict(x)",
    "train_on_batch": _STEP,
    "partial_fit": _STEP,
    "step": _STEP,
    "test_on_batch": "model.evaluate(x, y)",
    "score": "model.evaluate(x, y)",
    "fit_generator": _DATA,
    "evaluate_generator": "model.evaluate(batches), where batches yields pairs (images, labels)",
    "compile": "gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.05))",
    "to": _CPU,
    "cpu": _CPU,
    "cuda": _CPU,
    "gpu": _CPU,
    "float": _CPU,
    "double": _CPU,
    "half": _CPU,
    "backward": _GRADIENTS,
    "zero_grad": _GRADIENTS,
    "grad": _GRADIENTS,
    "gradients": _GRADIENTS,
    "state_dict": "model.state() returns all that training changes, model.weights what predictions need",
    "load_state_dict": "model.set_state(state), or model.weights.update(weights)",
    "get_weights": "model.weights: name → array",
    "set_weights": "model.weights.update(weights)",
    "named_parameters": "model.parameters.items()",
    "trainable_weights": "model.parameters: name → array",
    "trainable_variables": "model.parameters: name → array",
    "count_params": "model.parameters.count",
    "layers": _LAYERS,
    "modules": _LAYERS,
    "named_modules": _LAYERS,
    "get_layer": f'model.parameters["conv1.filters"] has the filters of conv1; {_LAYERS}',
    "get_submodule": f'model.parameters["conv1.filters"] has the filters of conv1; {_LAYERS}',
    "children": _LAYERS,
    "add": "gcn.Sequential(*layers), then gcn.compile(network)",
    "lr": "model.learning_rate",
    "trainable": 'model.freeze("conv*") and model.unfreeze(); model.frozen names what is frozen',
    "requires_grad": 'model.freeze("conv*") and model.unfreeze(); model.frozen names what is frozen',
    "to_json": "model.save(path); print(model.forward_graph) is the network as text",
    "plot": "model.show(), or model.history.plot()",
}


def advice(name: str, known: Iterable[str]) -> str:
    """Return what to write in the place of a name that a model does not have, or "" where nothing is near."""
    return ELSEWHERE.get(name) or meant(name, known)
