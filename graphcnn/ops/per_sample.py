"""Random numbers of each sample, as a pure function of its key and of the node that draws them.

A key says which sample it is, and in which epoch (`graphcnn.sample_keys`). No state goes from step to
step, so the numbers of a sample are the same in every batch that it may be in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, SAMPLE_KEYS, Dim, DType, Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import is_int


@dataclass(frozen=True, slots=True)
class SampleNumbers(Op):
    """What draws share: numbers of the shape [N, ...], of which each sample has its own.

    Element e of a sample comes from word 0, w(e), of Philox4x32-10 with the key k as (k mod 2^32, k >> 32)
    and the counter words (e, 0, stream, 0). stream: of 32 bits, tells draws of one graph from each other.
    alternating: the words are those of epoch 0 in every epoch, and in each odd one their complements,
    2^32 - 1 - w(e): a number below the middle is above it in the next epoch.
    """

    shape: tuple[Dim, ...]
    stream: int
    alternating: bool = field(default=False, kw_only=True)

    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_int(self.stream, 0) or self.stream >= 2**32:
            raise OptionError(f"stream={self.stream!r} is not an integer of 32 bits")
        if not isinstance(self.alternating, bool):
            raise OptionError(f"alternating={self.alternating!r} is neither True nor False")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (keys,) = operands
        if keys != SAMPLE_KEYS:
            raise ShapeError(f"{self.name} takes the keys of samples, {SAMPLE_KEYS}, not {keys}")
        if self.shape[:1] != (BATCH,):
            raise ShapeError(
                f"{self.name} draws numbers of samples: a shape [N, ...], not {list(self.shape)}"
            )
        result = TensorType(self.shape, self.drawn_dtype)
        if result.elements(1) >= 2**32:
            raise ShapeError(f"{self.name} draws at most 2^32 - 1 numbers of a sample, not {result}")
        return (result,)

    @property
    def drawn_dtype(self) -> DType:
        """The element type of the numbers."""
        raise NotImplementedError

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)


@dataclass(frozen=True, slots=True)
class _FloatingNumbers(SampleNumbers):
    """Draws of floating-point numbers."""

    dtype: DType

    @property
    def drawn_dtype(self) -> DType:
        if not TensorType((), self.dtype).is_float:
            raise ShapeError(f"{self.name} draws floating-point numbers, not {self.dtype}")
        return self.dtype


@dataclass(frozen=True, slots=True)
class SampleUniform(_FloatingNumbers):
    """Uniform numbers in [0, 1): the upper 24 bits of w(e), divided by 2^24."""

    name: ClassVar[str] = "sample_uniform"
    equation: ClassVar[str] = "u(s, e) = ⌊Philox(key(s); stream, e) / 2^8⌋ / 2^24"
    formula: ClassVar[str] = r"$y_{s,e} = 2^{-24} \lfloor 2^{-8} \, \text{Philox}($a_s; e) \rfloor"


@dataclass(frozen=True, slots=True)
class SampleNormal(_FloatingNumbers):
    """Normal numbers of mean 0 and variance 1: Φ⁻¹((w(e) + 1/2) / 2^32), computed as `RandomNormal` says."""

    name: ClassVar[str] = "sample_normal"
    equation: ClassVar[str] = "z(s, e) = Φ⁻¹((Philox(key(s); stream, e) + 1/2) / 2^32)"
    formula: ClassVar[str] = r"$y_{s,e} = \Phi^{-1}\left(2^{-32} (\text{Philox}($a_s; e) + \tfrac12)\right)"


@dataclass(frozen=True, slots=True)
class SampleIntegers(SampleNumbers):
    """Whole numbers from `low` to `high`, both of which are drawn: low + ⌊w(e) (high - low + 1) / 2^32⌋."""

    low: int
    high: int

    name: ClassVar[str] = "sample_integers"
    equation: ClassVar[str] = "k(s, e) = low + ⌊Philox(key(s); stream, e) (high - low + 1) / 2^32⌋"

    def __post_init__(self) -> None:
        SampleNumbers.__post_init__(self)
        ends = self.low, self.high
        if not all(is_int(end, -(2**31)) for end in ends) or not self.low <= self.high < 2**31:
            raise OptionError(f"{self.low!r} to {self.high!r} is no range of integers of 32 bits")

    @property
    def drawn_dtype(self) -> DType:
        return "int32"

    def latex(self, *operands: TensorType) -> str:
        count = self.high - self.low + 1
        return (
            rf"$y_{{s,e}} = {self.low} + \lfloor 2^{{-32}} \cdot {count} \, \text{{Philox}}($a_s; e) \rfloor"
        )
