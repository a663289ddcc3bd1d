"""Padding of values: with a number, or with what they hold themselves."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, get_args

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.dsl.axes import require_tensors
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.tensor import Tensor, apply_function
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, TensorType, Value
from graphcnn.ops.attributes import Pair, is_int
from graphcnn.ops.taking import Run

PadMode: TypeAlias = Literal["constant", "reflect", "edge", "circular"]
PadWidths: TypeAlias = int | tuple[int, int] | tuple[Pair, ...]

OTHER_NAMES: Final = {"zeros": "constant", "replicate": "edge", "wrap": "circular", "symmetric": "reflect"}


@known_arguments
def pad(x: Tensor, widths: PadWidths, mode: PadMode = "constant", value: float = 0.0) -> Tensor:
    """Return a value with more places at the ends of its axes.

    widths: pairs (before, after), for all axes, for those of a sample, or for those between the batch and the
    channels: ((top, bottom), (left, right)) of images. Or one width for all sides of images or signals, or
    (vertical, horizontal) of images.
    mode: "constant" puts a number there, `value`; "reflect" goes back from the last place without repeating
    it, "edge" repeats it, "circular" goes on at the other end.

    Raises OptionError for widths and modes that are none, and ShapeError for a reflection that is as wide as
    the axis, and for a turn that is wider.
    """
    require_tensors("pad", x)
    return apply_function(lambda build, x: padded(build, x, widths, mode, value), "pad", x)


def padded(build: Builder, x: Value, widths: object, mode: object, value: object = 0.0) -> Value:
    """Append what `pad` returns."""
    check_mode(mode)
    pairs = widths_of(x.type, widths)
    number = number_of(value, mode)
    if mode == "constant":
        return build(ops.Pad(pairs, number), x)
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            x = build(ops.Take(axis, _runs(x.type, axis, (before, after), str(mode))), x)
    return x


def check_mode(mode: object) -> None:
    """Raise OptionError for what is no mode of padding."""
    if mode not in get_args(PadMode):
        other = OTHER_NAMES.get(mode) if isinstance(mode, str) else None
        raise OptionError(
            f"mode={mode!r} is no way of padding",
            facts=[f"there are {', '.join(map(repr, get_args(PadMode)))}"],
            mend=f"mode={other or 'reflect'!r}",
        )


def number_of(value: object, mode: object) -> float:
    """Return the number to pad with. Raises OptionError for what is none, and for one that is not used."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"value={value!r} is not a number to pad with", mend="value=0.0")
    if value != 0 and mode != "constant":
        raise OptionError(
            f'value={value!r} goes with mode="constant" alone', mend=f'mode="constant", value={value!r}'
        )
    return float(value)


def widths_of(type: TensorType, widths: Any) -> tuple[Pair, ...]:
    """Return (before, after) for each axis."""
    inner = type.rank - 2 if type.shape[:1] == (BATCH,) else 0
    given = widths
    if is_int(widths, 0) and inner > 0:
        given = ((widths, widths),) * inner
    elif inner == 2 and isinstance(widths, tuple) and len(widths) == 2 and all(is_int(w, 0) for w in widths):
        given = tuple((width, width) for width in widths)
    lengths = [type.rank, *([type.rank - 1, type.rank - 2] if type.shape[:1] == (BATCH,) else [])]
    is_pairs = isinstance(given, tuple) and all(
        isinstance(item, tuple) and len(item) == 2 and all(is_int(width, 0) for width in item)
        for item in given
    )
    if not is_pairs or not given or len(given) not in lengths:
        raise OptionError(
            f"widths={widths!r:.80} do not fit {type}",
            facts=[
                "allowed: pairs (before, after) of integers of at least 0, for "
                + ", ".join(f"{n} axes" for n in sorted(set(lengths)) if n > 0)
            ],
            mend=f"widths={((1, 1),) * max(1, inner)}",
        )
    nothing: Pair = (0, 0)
    if len(given) == type.rank:
        padded = [axis for axis, pair in enumerate(given) if any(pair) and type.shape[axis] == BATCH]
        if padded:
            raise OptionError(
                f"widths={widths!r:.80} pad axis {padded[0]} of {type}, which is the batch",
                mend=f"widths={((1, 1),) * max(1, inner)}",
            )
        return tuple(given)
    behind = type.rank - 1 - len(given)
    return (nothing, *given, *[nothing] * behind)


def _runs(type: TensorType, axis: int, widths: Pair, mode: str) -> tuple[Run, ...]:
    """Return the places along an axis, one run for each side and one for the axis itself."""
    (before, after), size = widths, type.static(axis)
    most = {"reflect": size - 1, "circular": size}.get(mode)
    if most is not None and max(widths) > most:
        raise ShapeError(
            f"axis {axis} of {type} cannot be padded by {widths} with mode={mode!r}",
            facts=[f"it is {size} long, which allows widths of at most {most}"],
            mend='mode="edge" allows any width',
        )
    sides: dict[str, tuple[Run, Run]] = {
        "reflect": ((before, before, -1), (size - 2, after, -1)),
        "edge": ((0, before, 0), (size - 1, after, 0)),
        "circular": ((size - before, before, 1), (0, after, 1)),
    }
    front, back = sides[mode]
    return tuple(run for run in (front, (0, size, 1), back) if run[1])
