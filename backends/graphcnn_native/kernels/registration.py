"""The door through which ops get native code, those of graphcnn and all others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Never

from graphcnn.backend import check_kernel
from graphcnn.errors import OptionError
from graphcnn.ir import Op, TensorType, users_line
from graphcnn_native.codegen.function import Function, Ssa
from graphcnn_native.kernels.element import OfElement, element_by_element
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.op_code import EMITTERS, LANES, POINTWISE, SHIPPED, Emitter, Pointwise

ARGUMENTS = {
    "pointwise": ("op",),
    "element": ("e", "op"),
    "lanes": ("f", "op", "x", "type"),
    "emitter": ("w",),
}
"""What each form is called with."""


def register(
    op: type[Op],
    /,
    *unnamed: Never,
    pointwise: Pointwise | None = None,
    element: OfElement | None = None,
    lanes: Callable[[Function, Any, list[Ssa], TensorType], Ssa] | None = None,
    emitter: Callable[[Writer], None] | None = None,
    by_sample: bool | None = None,
) -> None:
    """Give an op native code: graphs that are compiled from now on may hold it. Exactly one form is given.

    pointwise: `pointwise(op)` returns a Python function of numbers, one for each operand, that Numba compiles
    into the loops around it: for ops that work element by element on floating-point tensors of one shape.
    element: `element(e, op)` returns one element of the result, at `e.indices`, in LLVM code that it writes
    with `e` (`Element`); for several results of one shape, all of them in order.
    lanes: `lanes(f, op, x, type)` returns the result for vectors of elements, which it writes with `f`
    (`Function`); x: the operands' vectors, type: the result's type.
    emitter: `emitter(w)` writes the whole kernel with `w` (`Writer`).
    by_sample: of `element` and `emitter`: a sample's result depends on that sample alone, so that samples go
    through in blocks, on all threads; by default as the op says (`Op.by_sample`). Otherwise the whole batch
    is computed at once.

    The code that an op has already is replaced. An op without code is computed by the reference backend's
    kernel, which the step calls. Raises OptionError, at the user's line, for what is no registered op, for
    what cannot be called like this, and for a form that is not named (`unnamed`).
    """
    forms = {"pointwise": pointwise, "element": element, "lanes": lanes, "emitter": emitter}
    given = {name: form for name, form in forms.items() if form is not None}
    if unnamed or len(given) != 1:
        place = users_line()
        problem = f"in one form, not in {len(given)}"
        raise OptionError(
            f"an op gets native code {'by the name of its form' if unnamed else problem}",
            facts=[f"the forms: {', '.join(forms)}"],
            mend="register(Swish, pointwise=function)",
        ).located(file=place.file, line=place.line)
    ((name, form),) = given.items()
    check_kernel(op, *ARGUMENTS[name], **{name: form})
    for table in (POINTWISE, LANES, EMITTERS):
        table.pop(op, None)
    SHIPPED.discard(op)
    if pointwise is not None:
        POINTWISE[op] = pointwise
    elif lanes is not None:
        LANES[op] = lanes
    elif element is not None:
        EMITTERS[op] = Emitter(partial(element_by_element, element=element), by_sample)
    elif emitter is not None:
        EMITTERS[op] = Emitter(emitter, by_sample)
