"""The table of operators: from the name in the file to the function that makes layers and ops of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from graphcnn.errors import InterchangeError
from graphcnn.interchange.onnx.reading.values import Held, Variable

if TYPE_CHECKING:
    from graphcnn.interchange.onnx.reading.step import Step

Results: TypeAlias = "Held | tuple[Held | None, ...]"
Reading: TypeAlias = "Callable[[Step], Results]"

_READINGS: dict[str, Reading] = {}


def reads(*operators: str) -> Callable[[Reading], Reading]:
    """Let a function read the nodes of these operators: a decorator."""

    def entered(reading: Reading) -> Reading:
        for operator in operators:
            assert operator not in _READINGS, operator
            _READINGS[operator] = reading
        return reading

    return entered


def readings() -> dict[str, Reading]:
    """Return what reads each operator of the standard's own domain."""
    from graphcnn.interchange.onnx.reading import (  # noqa: F401 - each enters its own
        activation,
        arithmetic,
        comparison,
        convolution,
        einsum,
        linear,
        losses,
        movement,
        normalization,
        pooling,
        reduction,
        resampling,
        sample_places,
        sampling,
        scattering,
        shape,
        sizes,
        taking,
    )

    return _READINGS


WITHOUT_AN_OP: Final = "graphcnn has no op for it"


def in_the_way(reason: str = WITHOUT_AN_OP) -> InterchangeError:
    """Return the error of a node that cannot be read, for this reason."""
    return InterchangeError(reason)


class UnknownYetError(InterchangeError):
    """An operand that has to be known when the file is read, and is computed by the network."""

    def __init__(self, operand: Variable, what: str) -> None:
        super().__init__(f"its {what} is computed by the network, and has to be known before")
        self.operands = [operand]


class WholeNumbersError(InterchangeError):
    """Arithmetic of whole numbers, which is done while the file is read, if they are known then."""

    def __init__(self, operands: Sequence[Variable]) -> None:
        types = ", ".join(operand.dtype for operand in operands)
        super().__init__(f"it computes with {types}, and the network's arithmetic is of floats")
        self.operands = list(operands)
