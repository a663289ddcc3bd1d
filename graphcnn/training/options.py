"""Arguments of losses and optimisers: checked where they are given, at the user's line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn

from graphcnn.errors import OptionError
from graphcnn.ir import users_line
from graphcnn.ops.attributes import fits_float

SCHEDULED: Final = "model.fit(..., callbacks=[schedule]): a schedule is a callback, which sets the rate"


def require_number(name: str, value: object, allowed: Callable[[float], bool], range: str) -> None:
    """Raise OptionError unless the value is a finite number that is allowed; `range` says which are."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and fits_float(value)
    if not is_number or not math.isfinite(value) or not allowed(value):  # type: ignore[arg-type]
        if name == "learning_rate" and isinstance(value, Mapping | Iterator):
            refuse("an optimiser is not given what it trains", "leave it out: gcn.SGD(0.05)")
        if name == "beta1" and isinstance(value, tuple | list) and len(value) == 2:
            refuse(f"beta1={value!r:.60} is not a number", f"beta1={value[0]!r:.20}, beta2={value[1]!r:.20}")
        refuse(f"{name}={value!r:.60} is not a number {range}", f"give a {name} {range}")


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
