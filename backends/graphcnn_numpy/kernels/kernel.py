"""What a kernel is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from graphcnn.ir import Op

Kernel: TypeAlias = Callable[[Any, Any, int], Any]
"""`kernel(op, operands, batch)` returns the result, or a tuple of results."""

Kernels: TypeAlias = dict[type[Op], Kernel]
