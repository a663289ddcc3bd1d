"""An optimiser from outside: Lion, whose step is the sign of an average of gradients."""

from dataclasses import dataclass

import graphcnn as gcn
from graphcnn import ops


@dataclass(frozen=True)
class Lion:
    """w ← w - rate · sign(β₁ m + (1 - β₁) g), m ← β₂ m + (1 - β₂) g (Chen et al., 2023)."""

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99

    def append_updates(self, graph, parameters, gradients, rate):
        first_values = {}
        for name, parameter in parameters.items():
            emit = gcn.Emitter(graph, gcn.Origin(layer=name.partition(".")[0], rule="Lion"))
            mean = graph.input(f"{name}.mean", parameter.type, role="state")
            first_values[f"{name}.mean"] = 0.0  # a number for every element, or an array
            direction = self.mixed(emit, self.beta1, mean, gradients[name])
            step = emit(ops.Multiply(), rate, self.sign(emit, direction))
            graph.update(name, emit(ops.Subtract(), parameter, step))
            graph.update(f"{name}.mean", self.mixed(emit, self.beta2, mean, gradients[name]))
        return first_values

    @staticmethod
    def mixed(emit, share, old, new):
        old = emit(ops.Multiply(), ops.constant(emit, share, old.type), old)
        new = emit(ops.Multiply(), ops.constant(emit, 1 - share, new.type), new)
        return emit(ops.Add(), old, new)

    @staticmethod
    def sign(emit, x):
        return emit(ops.Subtract(), emit(ops.ReluMask(), x), emit(ops.ReluMask(), emit(ops.Negate(), x)))


if __name__ == "__main__":
    digits = gcn.data.load_digits()
    model = gcn.compile(
        gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=Lion(3e-3)
    )
    model.fit(digits.images, digits.labels, epochs=8, progress=False)
    print("Lion:", model.evaluate(digits.test_images, digits.test_labels))
