"""An optimiser from outside: Signum, whose step is the sign of an average of gradients."""

from dataclasses import dataclass

import graphcnn as gcn
from graphcnn import ops


@dataclass(frozen=True)
class Signum:
    """w ← w - rate · sign(m), m ← β m + (1 - β) g (Bernstein et al., "signSGD", ICML 2018)."""

    learning_rate: float = 1e-3
    beta: float = 0.9

    def append_updates(self, graph, parameters, gradients, rate):
        first_values = {}
        for name, parameter in parameters.items():
            emit = gcn.Emitter(graph, gcn.Origin(layer=name.partition(".")[0], rule="Signum"))
            mean = graph.input(f"{name}.mean", parameter.type, role="state")
            first_values[f"{name}.mean"] = 0.0  # a number for every element, or an array
            kept = emit(ops.Multiply(), ops.constant(emit, self.beta, mean.type), mean)
            share = ops.constant(emit, 1 - self.beta, mean.type)
            mixed = emit(ops.Add(), kept, emit(ops.Multiply(), share, gradients[name]))
            step = emit(ops.Multiply(), rate, emit(ops.Sign(), mixed))
            graph.update(name, emit(ops.Subtract(), parameter, step))
            graph.update(f"{name}.mean", mixed)
        return first_values


if __name__ == "__main__":
    digits = gcn.data.load_digits()
    model = gcn.compile(
        gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=Signum(3e-3)
    )
    model.fit(digits.images, digits.labels, epochs=8, progress=False)
    print("Signum:", model.evaluate(digits.test_images, digits.test_labels))
