"""An op from outside that works element by element, with its kernels for both backends; it is proved."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import graphcnn as gcn
import graphcnn_native
import graphcnn_numpy
from graphcnn import ops


@gcn.register_op
@dataclass(frozen=True)
class Snake(gcn.Op):
    """x + sin²(a x) / a, from Ziyin et al., "Neural networks fail to learn periodic functions", 2020."""

    a: float = 1.0
    order: int = 0  # 0: the function itself, 1: its slope, 2: the slope of that, ...

    name: ClassVar[str] = "snake"
    equation: ClassVar[str] = "y = x + sin²(a x) / a"
    formula: ClassVar[str] = r"$y = $a + \tfrac{1}{a} \sin^2(a\, $a)"
    arity: ClassVar[int] = 1

    def result_types(self, *operands):
        return (operands[0],)

    def gradient(self, emit, operands, results, delta):
        return (emit(ops.Multiply(), delta, emit(Snake(self.a, self.order + 1), operands[0])),)

    def python(self):
        """Return the function, or its derivative of this order, of one number."""
        a, order, turn = self.a, self.order, self.order * math.pi / 2
        scale = (2.0 * a) ** order / (2.0 * a)
        return lambda x: (
            (x + 1 / (2 * a) if order == 0 else 1.0 * (order == 1)) - scale * np.cos(2 * a * x + turn)
        )


graphcnn_numpy.register(Snake, lambda op, x, batch: np.asarray(op.python()(x[0]), x[0].dtype))
graphcnn_native.register(Snake, pointwise=lambda op: op.python())


if __name__ == "__main__":
    type, x = gcn.TensorType(("N", 12)), np.linspace(-3, 3, 24).reshape(2, 12)
    print(gcn.testing.check_op(Snake(0.5), type, inputs=[x], expected=x + np.sin(0.5 * x) ** 2 / 0.5))
    print(gcn.testing.check_op(Snake(), gcn.TensorType(("N", 4, 5, 3))))
