"""An op from outside that moves elements, with its kernels for both backends; it is proved."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import graphcnn as gcn
import graphcnn_native
import graphcnn_numpy


@gcn.register_op
@dataclass(frozen=True)
class Shuffle(gcn.Op):
    """The channels of each of `groups` groups, dealt out in turn: ShuffleNet's channel shuffle."""

    groups: int

    name: ClassVar[str] = "shuffle"
    equation: ClassVar[str] = "y(.., c) = x(.., (c mod groups) · C/groups + c div groups)"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands):
        if operands[0].static(-1) % self.groups:
            raise gcn.ShapeError(f"{operands[0]} has no {self.groups} groups of channels of equal size")
        return (operands[0],)

    def gradient(self, emit, operands, results, delta):
        return (emit(Shuffle(delta.type.static(-1) // self.groups), delta),)


def shuffled(op, x, batch):
    return np.moveaxis(x[0].reshape(*x[0].shape[:-1], op.groups, -1), -1, -2).reshape(x[0].shape)


def channel(e, op):
    *place, c = e.indices
    first = e.multiply(e.remainder(c, op.groups), e.sizes[-1] // op.groups)
    return e.load(0, *place, e.add(first, e.divide(c, op.groups)))


graphcnn_numpy.register(Shuffle, shuffled)
graphcnn_native.register(Shuffle, element=channel)


if __name__ == "__main__":
    print(gcn.testing.check_op(Shuffle(3), gcn.TensorType(("N", 4, 5, 12))))
    x, type = np.arange(6.0)[None], gcn.TensorType(("N", 6))
    print(gcn.testing.check_op(Shuffle(2), type, inputs=[x], expected=np.array([[0, 3, 1, 4, 2, 5]])))
