"""Arguments of losses and optimisers: checked where they are given, at the user's line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Final, NoReturn

import numpy as np

from graphcnn.errors import OptionError
from graphcnn.ir import users_line
from graphcnn.ops.attributes import fits_float

SCHEDULED: Final = "model.fit(..., callbacks=[schedule]): a schedule is a callback, which sets the rate"


def is_schedule(rate: object) -> bool:
    """Whether this is a schedule, or a function that could be one."""
    return hasattr(rate, "schedule") or inspect.isroutine(rate)


def require_rate(optimizer: object, rate: object) -> None:
    """Raise OptionError unless the learning rate of an optimiser is a finite number above 0."""
    made = f"gcn.{type(optimizer).__name__}(0.05)"
    if is_schedule(rate):
        refuse(f"learning_rate={rate!r:.60} is a schedule, not a number", f"{made}; and {SCHEDULED}")
    if rate is not None and not isinstance(rate, int | float | np.number | str | np.ndarray):
        refuse("an optimiser is not given what it trains", f"gcn.compile(network, ..., optimizer={made})")
    require_number("learning_rate", rate, is_positive, "above 0")


def require_number(name: str, value: object, allowed: Callable[[float], bool], range: str) -> None:
    """Raise OptionError unless the value is a finite number that is allowed; `range` says which are."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and fits_float(value)
    if not is_number or not math.isfinite(value) or not allowed(value):  # type: ignore[arg-type]
        if name == "beta1" and isinstance(value, tuple | list) and len(value) == 2:
            refuse(f"beta1={value!r:.60} is not a number", f"beta1={value[0]!r:.20}, beta2={value[1]!r:.20}")
        plain = _plain(value)
        if plain is not None and math.isfinite(plain) and allowed(plain):
            kind = range if isinstance(value, str) else "of Python's"
            refuse(f"{name}={value!r:.60} is not a number {kind}", f"{name}={plain!r}")
        refuse(f"{name}={value!r:.60} is not a number {range}", f"give a {name} {range}")


def _plain(value: object) -> float | None:
    """Return what is a number, though not one of Python's: of NumPy's, or as text."""
    try:
        return None if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def require_flag(name: str, value: object) -> None:
    """Raise OptionError unless the value is True or False."""
    if not isinstance(value, bool):
        refuse(f"{name}={value!r:.60} is neither True nor False", f"{name}=True")


def refuse(problem: str, mend: str) -> NoReturn:
    """Raise OptionError at the user's line."""
    place = users_line()
    raise OptionError(problem, mend=mend).located(file=place.file, line=place.line)


def is_positive(value: float) -> bool:
    return value > 0


def is_not_negative(value: float) -> bool:
    return value >= 0


def is_share(value: float) -> bool:
    return 0 <= value < 1
