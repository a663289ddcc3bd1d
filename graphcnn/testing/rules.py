"""Proofs of rules: the same values before and after, in rational numbers and in every bit of floats.

A rule is checked on graphs that it applies to, best on all small shapes and attributes. Rational inputs are
drawn from so many that two different polynomials would hardly agree on them (Schwartz 1980, Zippel 1979).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Final, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import Backend, load_backend
from graphcnn.ir import Graph, Op, TensorType, verify
from graphcnn.rewrite import DEAD_NODES, Rule, rewrite
from graphcnn.testing.exact import Meaning, evaluate_exactly, is_rational

Measure: TypeAlias = Callable[[Graph], tuple[int, ...]]
"""A graph to a tuple of natural numbers, compared from the left, that every application makes smaller."""

BATCH: Final = 2
WIDEST: Final = 2**40
SPECIAL: Final = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, 1e-40, 1.0)
"""Signed zeros, infinities, NaN, a denormal of each precision."""
ROUNDING: Final = {"float32": 1e-4, "float64": 1e-12}


def check_rule(
    rule: Rule,
    graphs: Iterable[Graph],
    *,
    measure: Measure | None = None,
    meanings: Mapping[type[Op], Meaning] | None = None,
    backend: str | Backend | None = "numpy",
    seed: int = 0,
) -> int:
    """Assert that a rule keeps what it says, on graphs; return on how many of them it applies.

    measure: what each application has to make smaller, so that rewriting ends (`expression_size` is that of
    `simplify`). meanings: of ops that `graphcnn.testing.exact` does not know. backend: for floats; None for
    rational numbers alone.

    Compared are exact values, where all ops are rational. Of a rule that keeps "exact", then, every bit of
    floats, among them signed zeros, infinities, NaN and denormals; of one that keeps "finite", ordinary
    numbers up to rounding.

    Raises AssertionError, with the graph, where values differ, and where the rule applies nowhere.
    """
    rng = np.random.default_rng(seed)
    runner = load_backend(backend) if isinstance(backend, str) else backend
    count = 0
    for graph in graphs:
        result = rewrite(graph, (DEAD_NODES, rule))
        if not any(applied.rule == rule.name for applied in result.applied):
            continue
        count += 1
        after = verify(result.graph)
        if measure is not None:
            check_end(graph, (DEAD_NODES, rule), measure)
        if is_rational(graph, meanings) and is_rational(after, meanings):
            _check_exactly(rule, graph, after, meanings, rng)
        if runner is not None:
            _check_floats(rule, graph, after, runner, rng)
    if not count:
        raise AssertionError(f"rule {rule.name!r} applies to none of these graphs")
    return count


def check_end(graph: Graph, rules: Sequence[Rule], measure: Measure) -> int:
    """Assert that each single application of rules makes the measure smaller; return how many there are."""
    steps = 0
    size = measure(graph)
    while True:
        result = rewrite(graph, rules, limit=1)
        if not result.applied:
            return steps
        after, graph = measure(result.graph), result.graph
        if not after < size or min(after) < 0:
            raise AssertionError(f"{result.applied[0].rule!r} does not lower {size}: {after}\n{graph}")
        size = after
        steps += 1


def expression_size(graph: Graph) -> tuple[int, int]:
    """Return how long outputs and updates are when written out without sharing, and the number of nodes."""
    sizes: dict[int, int] = {}
    for key, node in graph.items():
        sizes[key] = 1 + sum(sizes[operand.key] for operand in node.operands)
    return sum(sizes[value.key] for value in graph.roots()), len(graph)


def _check_exactly(
    rule: Rule,
    before: Graph,
    after: Graph,
    meanings: Mapping[type[Op], Meaning] | None,
    rng: np.random.Generator,
) -> None:
    for zeros in (0.2, 0.0):
        inputs = {label: _fractions(rng, value.type, zeros) for label, value in before.inputs.items()}
        try:
            expected, found = (evaluate_exactly(each, inputs, meanings) for each in (before, after))
        except ZeroDivisionError:
            continue
        _compare(rule, before, expected, found, _is_equal)
        return


def _check_floats(
    rule: Rule, before: Graph, after: Graph, backend: Backend, rng: np.random.Generator
) -> None:
    executables = [backend.compile(graph) for graph in (before, after)]
    rounds = (0.0, 0.5, 0.0, 0.5, 0.1, 0.9) if rule.keeps == "exact" else (0.0, 0.0)
    dtypes = {value.type.dtype for value in before.inputs.values()}
    tolerance = max((ROUNDING[dtype] for dtype in dtypes if dtype in ROUNDING), default=1e-12)
    for share in rounds:
        inputs = {label: _floats(rng, value.type, share) for label, value in before.inputs.items()}
        with np.errstate(all="ignore"):
            expected, found = (executable(**inputs) for executable in executables)
        if rule.keeps == "exact":
            _compare(rule, before, expected, found, _has_same_bits)
        else:
            _compare(rule, before, expected, found, partial(np.allclose, rtol=tolerance, atol=tolerance))


def _compare(
    rule: Rule,
    graph: Graph,
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    agree: Callable[[Array, Array], bool],
) -> None:
    for label, expected in before.items():
        found = np.asarray(after[label])
        if expected.shape != found.shape or not agree(np.asarray(expected), found):
            raise AssertionError(
                f"rule {rule.name!r}, which keeps {rule.keeps!r}, changes {label!r}\n"
                f"before: {expected}\nafter: {found}\n{graph}"
            )


def _is_equal(expected: Array, found: Array) -> bool:
    return bool(np.all(expected == found))


def _has_same_bits(expected: Array, found: Array) -> bool:
    """Whether two arrays are the same; one NaN is like another, whose bits no standard tells."""
    if expected.dtype != found.dtype:
        return False
    if expected.dtype.kind != "f":
        return bool(np.array_equal(expected, found))
    signs = np.isnan(expected) | (np.signbit(expected) == np.signbit(found))
    return bool(np.array_equal(expected, found, equal_nan=True) and np.all(signs))


def _fractions(rng: np.random.Generator, type: TensorType, zeros: float) -> Array:
    """Draw rational numbers, of which a share are zeros."""
    shape = type.concrete(BATCH)
    if not type.is_float:
        return rng.integers(0, 2, shape).astype(object)
    numerators, is_zero = rng.integers(-WIDEST, WIDEST, shape), rng.random(shape) < zeros
    fractions = np.frompyfunc(lambda n, zero: Fraction(0 if zero else int(n), 1024), 2, 1)
    return np.asarray(fractions(numerators, is_zero), object)


def _floats(rng: np.random.Generator, type: TensorType, share: float) -> Array:
    """Draw floats, of which a share are special."""
    shape = type.concrete(BATCH)
    if not type.is_float:
        return rng.integers(0, 2, shape).astype(type.dtype)
    values = rng.standard_normal(shape)
    special = rng.choice(np.array(SPECIAL), shape)
    with np.errstate(all="ignore"):
        return np.asarray(np.where(rng.random(shape) < share, special, values), type.dtype)
