"""Checks for writers of ops and backends: gradients against differences, backends against the reference.

from graphcnn.testing import check_backend, check_gradients

check_gradients(graph, of="loss", wrt=["image", "filters"], inputs=arrays)
print(check_backend("mine"))
"""

from graphcnn.testing.cases import backend_cases
from graphcnn.testing.conformance import Conformance, check_backend, check_backend_case
from graphcnn.testing.gradients import check_gradients

__all__ = ["Conformance", "backend_cases", "check_backend", "check_backend_case", "check_gradients"]
