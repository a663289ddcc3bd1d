"""An op of one's own, proved: what it says about itself, its gradient, and its kernels on every backend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.backend import Backend, as_backend, bind_inputs, reference
from graphcnn.errors import DifferentiationError, GraphcnnError
from graphcnn.ir import BATCH, NO_RULE, OPERAND_LETTERS, Graph, Op, TensorType, Value, require_op, verify
from graphcnn.testing.case import FLOAT_TYPES, Case
from graphcnn.testing.conformance import check_case
from graphcnn.testing.gradients import check_gradients
from graphcnn.transform import differentiate, prune

BATCHES: Final = (1, 3, 16, 17)
"""Sizes at which the kernels run: below, at and above the lengths of vectors."""


@dataclass(frozen=True, slots=True)
class CheckedOp:
    """What was checked of an op."""

    op: Op
    order: int
    cases: int
    backends: tuple[str, ...]

    def __str__(self) -> str:
        gradient = f", gradient to order {self.order}" if self.order else ""
        return (
            f"op {self.op.name!r}: description, shape rule, text{gradient}; "
            f"{self.cases} cases on {', '.join(self.backends)}"
        )


def check_op(
    op: Op,
    *operands: TensorType,
    inputs: Sequence[object] | None = None,
    expected: object = None,
    order: Literal[0, 1, 2] = 2,
    backends: Sequence[str | Backend] = ("numpy", "native"),
    seed: int = 0,
) -> CheckedOp:
    """Prove an op on operands of these types; the batch axis is `"N"`.

    inputs: an array for each operand, for what normally distributed numbers, or small whole ones, do not
    suit. expected: the result of these inputs, or a tuple of results, that does not come from its kernel.
    order: how often the op can be differentiated at these inputs: 0 where it has no gradient.
    backends: those that must compute it; "numpy" is the reference, with which the others are compared.

    Checked are: that it is registered, and equal to itself made anew; its equation, in LaTeX too, and its
    cost; that its shape rule tells what its kernels return; that the text of a graph gives it back; its
    gradient against differences, to this order (`check_gradients`); that every backend computes it and its
    gradient at several batch sizes, in float32 and float64, without touching what it is given (`check_case`);
    that samples are computed alone where the op says `by_sample`.

    Returns what was checked. Raises AssertionError, which names the op and what is wrong.
    """
    _check_description(require_op(op), operands)
    runners = [as_backend(backend) for backend in backends]
    cases = 0
    for case in _cases(op, operands, inputs, expected, seed):
        _check_text(op, case.graph)
        cases += _on_all(runners, case)
        _check_samples(op, case)
        if order:
            cases += _on_all(runners, _gradient_case(case))
    if order:
        _check_gradient(op, operands, inputs, order, seed)
    return CheckedOp(op, order, cases, tuple(runner.name for runner in runners))


def _require(holds: object, op: Op, problem: str) -> None:
    if not holds:
        raise AssertionError(f"op {op.name!r}: {problem}")


def _check_description(op: Op, operands: Sequence[TensorType]) -> None:
    name = type(op).__name__
    _require(ops.OPS.get(op.name) is type(op), op, f"{name} is not registered: gcn.register_op({name})")
    twin = type(op)(**{field.name: getattr(op, field.name) for field in fields(op)})
    try:
        equal = twin == op and hash(twin) == hash(op)
    except TypeError:
        equal = False
    _require(equal, op, f"{twin} does not equal {op} or has another hash: give it plain, frozen attributes")
    _require(op.arity in (-1, len(operands)), op, f"it takes {op.arity} operands, not {len(operands)}")
    types = op.result_types(*operands)
    _require(types == op.result_types(*operands), op, "its shape rule returns other types the second time")
    for batch in (1, 3):
        flops = op.flops(operands, types, batch)
        _require(type(flops) is int and flops >= 0, op, f"its FLOPs are {flops!r}, not a whole number")
    equations = [
        ("equation", op.latex(*operands)),
        *(
            (f"gradient of operand {position}", op.gradient_latex(position, *operands))
            for position in range(len(operands))
        ),
    ]
    letters = set(OPERAND_LETTERS[: len(operands)]) | {"y"}
    for what, text in equations:
        _require(isinstance(text, str), op, f"the {what} in LaTeX is {text!r:.60}")
        known = letters if what == "equation" else letters | {"G", "D"}
        unknown = sorted(set(re.findall(r"\$([A-Za-z])", text)) - known)
        _require(
            not unknown, op, f"the {what} in LaTeX names ${', $'.join(unknown)}, which stand for nothing"
        )
        _require(text.count("{") == text.count("}"), op, f"the braces of the {what} in LaTeX do not match")
    _require("$y" in equations[0][1], op, "its equation in LaTeX does not say what $y is")


def _check_text(op: Op, graph: Graph) -> None:
    try:
        text = str(verify(graph))
    except GraphcnnError as error:
        raise AssertionError(f"op {op.name!r} has no text: {error}") from error
    try:
        again = ops.parse(text)
    except GraphcnnError as error:
        raise AssertionError(f"op {op.name!r}: its text is not parsed: {error}\n{text}") from error
    _require(again == graph, op, f"its text gives another graph\n{text}\n{again}")


def _cases(
    op: Op,
    operands: Sequence[TensorType],
    inputs: Sequence[object] | None,
    expected: object,
    seed: int,
) -> Iterator[Case]:
    """Yield the op on its own: with the inputs given, and at all batch sizes, in either precision.

    At the last batch size also behind a kernel that makes its operands: where samples go through in blocks,
    other samples than its own are then not there to be read.
    """
    has_batch = any(type.has_batch for type in operands)
    for dtype in FLOAT_TYPES if any(type.is_float for type in operands) else ("",):
        types = [_retyped(type, dtype) for type in operands]
        if inputs is not None:
            arrays = [np.asarray(array, type.dtype) for array, type in zip(inputs, types, strict=True)]
            case = _case(op, types, arrays, f"{op.name} {dtype}")
            if expected is not None:
                results = expected if isinstance(expected, tuple) else (expected,)
                case.expect(*(np.asarray(result) for result in results))
            yield case
        for batch in BATCHES if has_batch and inputs is None else (1,) if inputs is None else ():
            rng = np.random.default_rng(seed + batch)
            arrays = [_drawn(rng, type, batch) for type in types]
            yield _case(op, types, arrays, f"{op.name} {dtype}, batch {batch}")
        if has_batch and inputs is None:
            yield _case(op, types, arrays, f"{op.name} {dtype}, batch {batch}, in blocks", is_behind=True)


def _check_samples(op: Op, case: Case) -> None:
    """Require that what is said to be computed sample by sample is so: the last ones without the others."""
    graph = case.graph
    _, batch = bind_inputs(graph, case.inputs)
    (node,) = [node for _, node in graph.items() if node.op == op][-1:]
    if batch < 2 or not node.is_by_sample:
        return
    last = {
        label: array[-1:] if graph.inputs[label].type.has_batch else array
        for label, array in case.inputs.items()
    }
    executable = reference().compile(graph)
    together, alone = executable(**case.inputs), executable(**last)
    for label, found in alone.items():
        _require(
            np.allclose(together[label][-1:], found, rtol=1e-5, atol=1e-6, equal_nan=True),
            op,
            f"by_sample says that a sample's result depends on that sample alone, but that of sample "
            f"{batch - 1} is another one without the others",
        )


def _retyped(type: TensorType, dtype: Any) -> TensorType:
    return type.with_dtype(dtype) if type.is_float and dtype else type


def _drawn(rng: np.random.Generator, type: TensorType, batch: int) -> Array:
    shape = type.concrete(batch)
    if type.is_float:
        return np.asarray(rng.standard_normal(shape), type.dtype)
    return np.asarray(rng.integers(0, 2 if type.dtype == "bool" else 4, shape), type.dtype)


def _case(
    op: Op, types: Sequence[TensorType], arrays: Sequence[Array], name: str, *, is_behind: bool = False
) -> Case:
    """Return the case of an op. is_behind: its operands are turned around, and are therefore computed."""
    case = Case(name)
    values = []
    for type, array in zip(types, arrays, strict=True):
        label = f"input{len(case.inputs)}"
        turns = is_behind and type.rank > 1 and type.shape[0] == BATCH
        case.inputs[label] = np.flip(array, -1).copy() if turns else array
        value = case.graph.input(label, type)
        values.append(case.graph.add(ops.Rot180((type.rank - 1,)), value) if turns else value)
    case.apply(op, *values)
    return case


def _on_all(runners: Sequence[Backend], case: Case) -> int:
    """Check a case on all backends; return how many that were."""
    for runner in runners:
        try:
            has_kernels = check_case(runner, case)
        except (AssertionError, GraphcnnError) as error:
            raise AssertionError(f"backend {runner.name!r}: {error}") from error
        if not has_kernels:
            lacking = next(n.op for _, n in case.graph.items() if type(n.op) not in runner.ops)
            raise AssertionError(
                f"case {case.name!r}: backend {runner.name!r} has no kernel for {lacking.name}; "
                f"graphcnn_numpy.register({type(lacking).__name__}, kernel) serves numpy and native"
            )
    return len(runners)


def _gradient_case(case: Case) -> Case:
    """Return the gradient of the first result, for a delta that is an input."""
    result = next(iter(case.graph.outputs.values()))
    gradient = Case(f"gradient of {case.name}", dict(case.inputs))
    graph = case.graph.copy(outputs=False)
    _, batch = bind_inputs(graph, case.inputs)
    label = "delta"
    gradient.inputs[label] = _drawn(np.random.default_rng(1), result.type, batch)
    delta = graph.input(label, result.type)
    product = graph.add(ops.Multiply(), result, delta)
    total = graph.add(ops.Sum(tuple(range(result.type.rank))), product)
    operands = _differentiable(graph)
    graph, gradients = _differentiated(graph, total, operands)
    for name, value in gradients.items():
        graph.output(f"gradient({name})", value)
    gradient.graph = prune(graph)
    gradient.inputs = {name: gradient.inputs[name] for name in gradient.graph.inputs}
    return gradient


def _differentiable(graph: Graph) -> dict[str, Value]:
    return {
        label: value
        for label, value in graph.inputs.items()
        if value.type.is_float and label.startswith("input")
    }


def _differentiated(graph: Graph, total: Value, operands: dict[str, Value]) -> tuple[Graph, dict[str, Value]]:
    try:
        return differentiate(graph, total, operands)
    except DifferentiationError as error:
        is_missing = error.problem.endswith(NO_RULE)
        raise AssertionError(
            f"{error}; order=0 says that it has no gradient" if is_missing else f"{error}"
        ) from error


def _check_gradient(
    op: Op, operands: Sequence[TensorType], inputs: Sequence[object] | None, order: Any, seed: int
) -> None:
    types = [_retyped(type, "float64") for type in operands]
    rng = np.random.default_rng(seed)
    given = [_drawn(rng, type, 3) for type in types] if inputs is None else inputs
    arrays = [np.asarray(array, type.dtype) for array, type in zip(given, types, strict=True)]
    case = _case(op, types, arrays, op.name)
    result = next(iter(case.graph.outputs))
    check_gradients(
        case.graph, of=result, wrt=[*_differentiable(case.graph)], inputs=case.inputs, order=order
    )
