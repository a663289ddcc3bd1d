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
class RandomNumbers(Op):
    """What draws share: numbers for the shape of the second operand, and the generator's next state.

    Element e of the draw with state (seed, counter) comes from word 0, w(e), of Philox4x32-10 with the key
    (seed mod 2^32, seed >> 32) and the counter words (e mod 2^32, e >> 32, counter mod 2^32,
    counter >> 32).
    """

    arity: ClassVar[int] = 2
    shape_operands: ClassVar[tuple[int, ...]] = (1,)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        state, like = operands
        if state != GENERATOR_STATE:
            raise ShapeError(f"{self.name} takes a generator state {GENERATOR_STATE}, not {state}")
        require_float(self.name, like)
        return like, state

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 0

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return None, None


@dataclass(frozen=True, slots=True)
class RandomUniform(RandomNumbers):
    """Uniform numbers in [0, 1): the upper 24 bits of w(e), divided by 2^24."""

    name: ClassVar[str] = "random_uniform"
    equation: ClassVar[str] = "u(e) = ⌊Philox(seed; counter, e) / 2^8⌋ / 2^24"
    formula: ClassVar[str] = r"$y_{e} = 2^{-24} \lfloor 2^{-8} \, \text{Philox}($a; e) \rfloor"


@dataclass(frozen=True, slots=True)
class RandomNormal(RandomNumbers):
    """Normal numbers of mean 0 and variance 1, up to 6.3 away from it: Φ⁻¹((w(e) + 1/2) / 2^32).

    Φ⁻¹ is Wichura's (Algorithm AS 241, PPND16, Applied Statistics 37, 1988), in float64 whatever the result.
    It is computed by sums, products, quotients and square roots alone, each rounded as IEEE 754 says, so that
    all backends have the same bits:

    q = p - 1/2. Up to |q| = 0.425 it is q A(r) / B(r), r = 0.425² - q²; beyond that, C(r) / D(r) with the
    sign of q, r = √(-ln t) - 1.6, t = 1/2 - |q|. With t = m 2^k, √½ < m ≤ √2 (1.4142135623730951 as it is
    rounded), ln t = k ln 2 + s L(s²), s = (m - 1) / (m + 1). The coefficients of A and B (`NEAR`), C and D
    (`FAR`) and L (`LOGARITHM`) begin at the highest power; each polynomial is Horner's.
    """

    name: ClassVar[str] = "random_normal"
    equation: ClassVar[str] = "z(e) = Φ⁻¹((Philox(seed; counter, e) + 1/2) / 2^32)"
    formula: ClassVar[str] = r"$y_{e} = \Phi^{-1}\left(2^{-32} (\text{Philox}($a; e) + \tfrac12)\right)"

    NEAR: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (
            *(2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4),
            *(4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3),
            *(1.3314166789178437745e2, 3.3871328727963666080e0),
        ),
        (
            *(5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4),
            *(2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2),
            *(4.2313330701600911252e1, 1.0),
        ),
    )
    FAR: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (
            *(7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1),
            *(1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0),
            *(4.63033784615654529590e0, 1.42343711074968357734e0),
        ),
        (
            *(1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2),
            *(1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0),
            *(2.05319162663775882187e0, 1.0),
        ),
    )
    LOGARITHM: ClassVar[tuple[float, ...]] = tuple(2 / (2 * power + 1) for power in range(10, -1, -1))
    LN2: ClassVar[float] = 0.6931471805599453
    EDGE: ClassVar[float] = 0.425
    ROOT: ClassVar[float] = 1.4142135623730951
