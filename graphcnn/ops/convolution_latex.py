"""The equations of cross-correlation and convolution in LaTeX; stride, padding, dilation, groups are put in.

Forward pass: Eq. 2 and 4. Gradients: Eq. 13-14 and 20-21. Units outside a map count as 0, and so do places
between the deltas that a stride skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from graphcnn.ir import TensorType
from graphcnn.ops.notation import ROT180, folded, place

if TYPE_CHECKING:
    from graphcnn.ops.convolution import _SlidingProduct


def forward_equation(op: _SlidingProduct, images: TensorType, window: TensorType, *, flipped: bool) -> str:
    """Return what the op computes. flipped: whether it is a true convolution, which rotates its window."""
    if op.sum_over == "batch":
        units = _taps(("i", "j"), (window.static(1), window.static(2)), flipped)
        pixel = f"{_pixel(op, ('m', 'n'), ('i', 'j'))},{_channel(op, images, window, 'c')}"
        return rf"$y_{{m,n,c,d}} = {folded('sij')} $a_{{s,{pixel}}}\, $b_{{s,{units},d}}"
    rows, columns, channels = (_Sum.over(letter, window.static(axis)) for axis, letter in enumerate("mnc"))
    taps = _taps((rows.letter, columns.letter), (window.static(0), window.static(1)), flipped)
    pixel = _pixel(op, ("i", "j"), (rows.letter, columns.letter))
    channel = _channel(op, images, window, channels.letter)
    signs = " ".join(filter(None, (rows.sign, columns.sign, channels.sign)))
    return rf"$y_{{i,j,d}} = {signs} $b_{{{taps},{channels.letter},d}}\, $a_{{{pixel},{channel}}}"


def gradient_equation(
    op: _SlidingProduct, position: int, images: TensorType, window: TensorType, *, flipped: bool
) -> str:
    """Return the gradient of the images (position 0) or of the filters (1) of an op that sums over channels.

    Where the article's short form with rot180 holds as written, it follows behind.
    """
    is_articles = op.is_plain and not any(map(any, op.padding)) and not flipped
    sizes = window.static(0), window.static(1)
    if position == 1:
        short = rf" = ({ROT180}\{{$D\}} \ast $a)_{{m,n,c,d}}" if is_articles else ""
        pixel = f"{_pixel(op, ('i', 'j'), ('m', 'n'))},{_channel(op, images, window, 'c')}"
        taps = _taps(("m", "n"), sizes, flipped)
        return rf"$G_{{{taps},c,d}} = {folded('sij')} $D_{{s,i,j,d}}\, $a_{{s,{pixel}}}{short}"
    short = rf" = ($D \otimes {ROT180}\{{$b\}})_{{i,j,c}}" if is_articles else ""
    rows, columns = (_Sum.over(letter, size) for letter, size in zip("mn", sizes, strict=True))
    filters, channel = _filters_of_channel(op, window)
    taps = _taps((rows.letter, columns.letter), sizes, flipped)
    deltas = ",".join(_delta(op, axis, tap.letter) for axis, tap in enumerate((rows, columns)))
    signs = " ".join(filter(None, (rows.sign, columns.sign, filters.sign)))
    product = rf"$D_{{{deltas},{filters.letter}}}\, $b_{{{taps},{channel},{filters.letter}}}"
    return rf"$G_{{i,j,c}} = {signs} {product}{short}"


class _Sum(NamedTuple):
    """A sum sign and its index; a sum over one element is left out, and its index is 0."""

    sign: str
    letter: str

    @classmethod
    def over(cls, letter: str, size: int) -> _Sum:
        return cls(rf"\sum_{{{letter}=0}}^{{{size - 1}}}", letter) if size > 1 else cls("", "0")


def _pixel(op: _SlidingProduct, start: tuple[str, str], step: tuple[str, str]) -> str:
    """Return the index of the pixel that a tap meets at a place, such as `2i+m-1,2j+n-1`."""
    return ",".join(
        place((op.stride[axis], start[axis]), (op.dilation[axis], step[axis]), shift=-op.padding[axis][0])
        for axis in (0, 1)
    )


def _delta(op: _SlidingProduct, axis: int, tap: str) -> str:
    """Return the index of the delta that reaches a pixel through a tap, such as `(i-m+1)/2`."""
    offset = place((1, "ij"[axis]), (-op.dilation[axis], tap), shift=op.padding[axis][0])
    return offset if op.stride[axis] == 1 else f"({offset})/{op.stride[axis]}"


def _taps(letters: tuple[str, str], sizes: tuple[int, int], flipped: bool) -> str:
    """Return the index of a tap; rot180 reads `4-m` for m."""
    if not flipped:
        return ",".join(letters)
    return ",".join(
        f"{size - 1}-{letter}" if size > 1 else "0" for letter, size in zip(letters, sizes, strict=True)
    )


def _channel(op: _SlidingProduct, images: TensorType, window: TensorType, own: str) -> str:
    """Return the index of the channel that filter d reads as its own c: one of its group."""
    if op.groups == 1:
        return own
    filters, channels = window.static(3) // op.groups, images.static(3) // op.groups
    group = "d" if filters == 1 else rf"\lfloor d/{filters} \rfloor"
    return group if channels == 1 else rf"{channels} {group}+{own}"


def _filters_of_channel(op: _SlidingProduct, window: TensorType) -> tuple[_Sum, str]:
    """Return the sum over the filters that read channel c, and the number that c has in them."""
    filters, channels = window.static(3) // op.groups, window.static(2)
    if op.groups == 1:
        return _Sum.over("d", filters), "c"
    group = "c" if channels == 1 else rf"\lfloor c/{channels} \rfloor"
    own = "0" if channels == 1 else rf"c \bmod {channels}"
    if filters == 1:
        return _Sum("", group), own
    return _Sum(rf"\sum_{{d={filters} {group}}}^{{{filters} {group}+{filters - 1}}}", "d"), own
