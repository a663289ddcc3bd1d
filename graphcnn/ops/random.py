"""Random numbers as a pure function of a seed and a counter, so that every step can be repeated.

The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011): any element can be computed alone, on any thread, with the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import ShapeError
from graphcnn.ir import Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import require_float

GENERATOR_STATE = TensorType((2,), "int64")
"""(seed, counter); the counter goes up by one with every draw."""


@dataclass(frozen=True, slots=True)
class RandomUniform(Op):
    """Uniform numbers in [0, 1) for the shape of the second operand, and the generator's next state.

    Element e of the draw with state (seed, counter) is word 0 of Philox4x32-10 with the key
    (seed mod 2^32, seed >> 32) and the counter words (e mod 2^32, e >> 32, counter mod 2^32,
    counter >> 32), its upper 24 bits divided by 2^24.
    """

    name: ClassVar[str] = "random_uniform"
    equation: ClassVar[str] = "u(e) = ⌊Philox(seed; counter, e) / 2^8⌋ / 2^24"
    arity: ClassVar[int] = 2
    formula: ClassVar[str] = r"$y_{e} = 2^{-24} \lfloor 2^{-8} \, \text{Philox}($a; e) \rfloor"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        state, like = operands
        if state != GENERATOR_STATE:
            raise ShapeError(f"random_uniform takes a generator state {GENERATOR_STATE}, not {state}")
        require_float(self.name, like)
        return like, state

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 0

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return None, None
