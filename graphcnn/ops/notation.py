"""The letters of the equations' indices, and how attributes enter them.

As in the article, i and j are the place in a feature map, m and n the tap of a filter; c and d count
channels, and s the samples of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphcnn.ir import BATCH, TensorType

ROT180 = r"\text{rot}_{180^\circ}"


def letters(type: TensorType) -> list[str]:
    """Return a letter for each axis of a tensor."""
    if type.shape[:1] == (BATCH,):
        return ["s", *_inner(type.rank - 1)]
    return {4: ["m", "n", "c", "d"], 2: ["c", "d"], 1: ["d"]}.get(type.rank, _inner(type.rank))


def _inner(axes: int) -> list[str]:
    return {3: ["i", "j", "d"], 1: ["d"]}.get(axes, [f"k_{axis + 1}" for axis in range(axes)])


def folded(letters: Sequence[str]) -> str:
    """Return the sum signs over these indices, such as `\\sum_{i} \\sum_{j}`."""
    return " ".join(rf"\sum_{{{letter}{'=1}^{N' if letter == 's' else ''}}}" for letter in letters)


def at(symbol: str, index: Sequence[str]) -> str:
    """Return a placeholder such as $y with an index; a scalar has none."""
    return f"{symbol}_{{{','.join(index)}}}" if index else symbol


def place(*terms: tuple[int, str], shift: int = 0) -> str:
    """Return a sum of factors and letters such as `2i+m-1`, for an index; the letter 0 counts for nothing."""
    text = ""
    for factor, letter in terms:
        size = "" if abs(factor) == 1 else str(abs(factor))
        if letter != "0":
            text += f"{'-' if factor < 0 else '+'}{size}{letter}"
    text += f"{shift:+d}" if shift else ""
    return text.removeprefix("+") or "0"


def number(value: float) -> str:
    """Return a number in LaTeX, with six digits."""
    if math.isinf(value):
        return r"\infty" if value > 0 else r"-\infty"
    mantissa, _, exponent = f"{value:.6g}".partition("e")
    if not exponent:
        return mantissa
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa} \cdot {power}"


def as_text(name: str) -> str:
    r"""Return a name such that it can stand in `\text{...}`."""
    return "".join(_ESCAPES.get(character, character) for character in name)


_ESCAPES = {
    **{character: f"\\{character}" for character in "_&#$%{}"},
    "\\": r"\textbackslash ",
    "~": r"\textasciitilde ",
    "^": r"\textasciicircum ",
    "<": r"\textless ",
    ">": r"\textgreater ",
}
