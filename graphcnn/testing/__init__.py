"""Checks for writers of ops and backends: gradients against differences, backends against the reference.

from graphcnn.testing import check_backend, check_gradients

check_gradients(graph, of="loss", wrt=["image", "filters"], inputs=arrays)
print(check_op(Swish(1.5), gcn.TensorType(("N", 4))))
print(check_backend("mine"))
check_random_steps("mine", 1000)
"""

from typing import TYPE_CHECKING

from graphcnn.testing.case import Case
from graphcnn.testing.cases import backend_cases
from graphcnn.testing.conformance import (
    Conformance,
    check_backend,
    check_backend_case,
    check_case,
    check_random_steps,
)
from graphcnn.testing.exact import evaluate_exactly
from graphcnn.testing.gradients import check_gradients
from graphcnn.testing.operation import CheckedOp, check_op
from graphcnn.testing.random_graphs import random_step
from graphcnn.testing.rules import check_end, check_rule, expression_size
from graphcnn.unknown_names import unknown_name

__all__ = [
    "Case",
    "CheckedOp",
    "Conformance",
    "backend_cases",
    "check_backend",
    "check_backend_case",
    "check_case",
    "check_end",
    "check_gradients",
    "check_op",
    "check_random_steps",
    "check_rule",
    "evaluate_exactly",
    "expression_size",
    "random_step",
]


if not TYPE_CHECKING:  # type checkers know which names there are

    def __getattr__(name: str) -> object:
        raise unknown_name(__name__, name, __all__)
