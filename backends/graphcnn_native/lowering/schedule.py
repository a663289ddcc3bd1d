"""Decides which nodes become kernels, which are computed where they are read, and when each runs."""

from __future__ import annotations

from collections import Counter

from graphcnn.ir import BATCH, Graph, Node, Value, are_samples
from graphcnn.ops import (
    Add,
    Broadcast,
    Cast,
    Constant,
    Count,
    Input,
    Matmul,
    Mean,
    Multiply,
    OneHot,
    RandomNormal,
    RandomUniform,
    Reshape,
    Subtract,
    Sum,
)
from graphcnn_native.lowering.draft import Draft
from graphcnn_native.lowering.program import Domain, turns_matrices, unshaped
from graphcnn_native.op_code import has_code, is_by_sample, is_pointwise

GENERATED = (Constant, Count, Broadcast, OneHot, RandomUniform, RandomNormal)
"""Ops that are never worth storing: cheap to repeat wherever they are read."""
EXPRESSIONS = (Sum, Mean, *GENERATED)
"""Ops that read expressions or are some; pointwise ops are the others. All else reads what is stored."""
REPEATED = (Add, Cast, Multiply, Subtract)
"""Ops that take no longer than to load what they gave."""
LONGEST_EXPRESSION = 20
"""So many ops, one inside the other, are computed where they are read: the generator recurses into them."""

SHALLOW = 32
"""A product less deep than this has its right operand in memory as it is read."""


class Schedule:
    """The kernels of a canonical graph.

    kernel_of: the kernel that computes a value once, and stores it where anybody else needs it. A value that
    is not there is computed anew by every kernel that reads it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kernels: list[Draft] = []
        self.kernel_of: dict[Value, Draft] = {}
        self.roots = {unshaped(graph, value) for value in graph.roots()}
        self._uses = Counter(operand for _, node in graph.items() for operand in node.operands)
        self._stored = self.roots | self._read_from_memory()
        self._depths: dict[Value, int] = {}
        for key, node in graph.items():
            self._place(key, node)
        for value in self.roots:
            self.materialize(value)
        for kernel in self.kernels:
            kernel.loads = frozenset(self._loads(kernel))
        self._delay()
        self._sum_early()

    def _delay(self) -> None:
        """Move every kernel to the last stage in which it can run.

        What belongs to samples then meets in as few stages as possible, and lives within a block.
        """
        last = max((kernel.stage for kernel in self.kernels), default=0)
        latest = {kernel.number: last for kernel in self.kernels}
        for kernel in sorted(self.kernels, key=lambda k: (k.stage, k.number), reverse=True):
            kernel.stage = latest[kernel.number]
            before = [self.kernel_of[value] for value in kernel.loads if value in self.kernel_of]
            if kernel.totals is not None:
                before.append(kernel.totals)
            for other in before:
                together = other.domain is kernel.domain is Domain.SAMPLES
                limit = kernel.stage if together else kernel.stage - 1
                latest[other.number] = min(latest[other.number], limit)

    def _sum_early(self) -> None:
        """Move sums over samples to the first stage after which their summands need not be kept for them."""
        for kernel in self.kernels:
            makers = [self.kernel_of[value] for value in kernel.loads if value in self.kernel_of]
            if kernel.adds_up_samples and any(maker.domain is Domain.SAMPLES for maker in makers):
                kernel.stage = _stage_after(makers, Domain.SAMPLES)

    # Which kernel

    def _read_from_memory(self) -> set[Value]:
        """Return what some node needs stored: it gets its kernel before anybody else reads it."""
        nodes = [node for _, node in self.graph.items()]
        readers = [
            node for node in nodes if not isinstance(node.op, EXPRESSIONS) and not is_pointwise(node.op)
        ]
        return {unshaped(self.graph, operand) for node in readers for operand in node.operands}

    def _place(self, key: int, node: Node) -> None:
        if isinstance(node.op, Input):
            return
        depth = 1 + max((self._depths.get(operand, 0) for operand in node.operands), default=0)
        if isinstance(node.op, GENERATED):
            for value in self.graph.results(key):
                if value in self._stored:
                    self._join(value)
                else:
                    self._depths[value] = depth
        elif isinstance(node.op, Reshape):
            self.materialize(node.operands[0])
        elif is_pointwise(node.op):
            (value,) = self.graph.results(key)
            is_short = depth <= LONGEST_EXPRESSION
            if is_short and (self._is_computed_where_read(value) or self._is_cheap_to_repeat(value, key)):
                self._depths[value] = depth
            else:
                self._join(value)
        elif not self._is_read_transposed(key, node):
            self._add_root(key, node)

    def _is_computed_where_read(self, value: Value) -> bool:
        if value in self._stored:
            return False
        if value.type.is_scalar and all(
            unshaped(self.graph, leaf) not in self.kernel_of for leaf in self.leaves(value)
        ):
            return True
        if self._uses[value] != 1:
            return False
        (user,) = self.graph.users(value)
        op = self.graph.node(user).op
        same_shape = self.graph.results(user)[0].type.shape == value.type.shape
        return (is_pointwise(op) and same_shape) or isinstance(op, Sum | Mean)

    def _is_cheap_to_repeat(self, value: Value, key: int) -> bool:
        """Return whether all who read a value can as well compute it from what has to be stored anyway.

        It is of one stored value of its shape, and of others that have no batch. Storing it would take more
        memory than that value does, or another trip through memory: the others are known in a later stage.
        """
        if value in self._stored or not value.type.has_batch:
            return False
        if not isinstance(self.graph.node(key).op, REPEATED):
            return False
        leaves = self.leaves(value)
        large = [leaf for leaf in leaves if leaf.type.has_batch]
        if len(large) != 1 or large[0].type.shape != value.type.shape:
            return False
        saved = value.type.bytes(1) - large[0].type.bytes(1)
        source = self.kernel_of.get(large[0])
        makers = (self.kernel_of[leaf] for leaf in leaves if leaf in self.kernel_of)
        is_later = any(
            source is None or maker.stage >= source.stage for maker in makers if maker is not source
        )
        return saved > 0 or (saved == 0 and is_later)

    def _is_read_transposed(self, key: int, node: Node) -> bool:
        """A product reads its left operand element by element, so it can read it transposed as well.

        A right operand, such as a dense layer's weights on an error's way back, has dot products for that.
        """
        (value,) = self.graph.results(key)[:1]
        if not turns_matrices(node.op) or value in self.roots:
            return False
        users = [self.graph.node(user) for user in self.graph.users(value)]
        if not all(isinstance(user.op, Matmul) for user in users):
            return False
        if not all(_takes_dot_products(user) for user in users if user.operands[1] == value):
            return False
        self.materialize(node.operands[0])
        return True

    def materialize(self, value: Value) -> None:
        """See to it that some kernel computes a value once, so that it is stored."""
        value = unshaped(self.graph, value)
        if value not in self.kernel_of and not isinstance(self.graph.node(value.key).op, Input):
            self._join(value)

    def _join(self, value: Value) -> None:
        """Compute a value in the latest kernel that computes one of its operands, or in a new one."""
        makers = [self.kernel_of[leaf] for leaf in self.leaves(value) if leaf in self.kernel_of]
        domain = self._domain(value)
        shape = value.type.shape
        for kernel in sorted(makers, key=lambda k: (k.stage, k.number), reverse=True):
            fits = kernel.domain is domain and kernel.shape == shape and not kernel.adds_up_samples
            op = kernel.op(self.graph)
            fits = fits and (op is None or has_code(op))
            if fits and all(other is kernel or runs_before(other, kernel) for other in makers):
                kernel.values.append(value)
                self.kernel_of[value] = kernel
                return
        self._add(Draft(len(self.kernels), domain, _stage_after(makers, domain), shape, values=[value]))

    def _add_root(self, key: int, node: Node) -> None:
        """Make a kernel for an op that is more than pointwise."""
        results = self.graph.results(key)
        if not isinstance(node.op, Sum | Mean):
            for operand in node.operands:
                if not self._reads_through(node, operand):
                    self.materialize(operand)
        makers = [self.kernel_of[value] for value in self.read_by_root(node) if value in self.kernel_of]
        shape = results[0].type.shape
        if node.sums_samples:
            stage = _stage_after(makers, Domain.SAMPLES)
            parts = Draft(len(self.kernels), Domain.SAMPLES, stage, shape, root=key, adds_up_samples=True)
            self.kernels.append(parts)
            number = len(self.kernels)
            self._add(Draft(number, Domain.WHOLE, stage + 1, shape, values=[*results], totals=parts))
            return
        domain = self._domain(results[0], node)
        kernel = Draft(
            len(self.kernels), domain, _stage_after(makers, domain), results[0].type.shape, key, [*results]
        )
        self._add(kernel)

    def _add(self, kernel: Draft) -> None:
        self.kernels.append(kernel)
        for value in kernel.values:
            self.kernel_of[value] = kernel

    # Facts

    def _domain(self, value: Value, node: Node | None = None) -> Domain:
        """Samples are independent where all that has a batch has it in front, and nothing turns it around."""
        if node is not None:
            return Domain.SAMPLES if is_by_sample(node) else Domain.WHOLE
        types = [leaf.type for leaf in self.leaves(value)]
        return Domain.SAMPLES if are_samples(types, [value.type]) else Domain.WHOLE

    def _reads_through(self, node: Node, operand: Value) -> bool:
        """Whether a product reads the operand's own operand in its place."""
        return isinstance(node.op, Matmul) and operand not in self.kernel_of and (
            turns_matrices(self.graph.node(operand.key).op))  # fmt: skip

    def stored(self, operand: Value) -> Value:
        """Return the value whose buffer a root op reads for this operand."""
        operand = unshaped(self.graph, operand)
        node = self.graph.node(operand.key)
        if operand not in self.kernel_of and turns_matrices(node.op):
            return unshaped(self.graph, node.operands[0])
        return operand

    def read_by_root(self, node: Node) -> set[Value]:
        """Return the values that a root op loads: sums read expressions, other ops what is stored."""
        if isinstance(node.op, Sum | Mean):
            return self.leaves(node.operands[0])
        return {self.stored(operand) for operand in node.operands}

    def leaves(self, value: Value) -> set[Value]:
        """Return the stored values and inputs from which a value is computed where it is read."""
        found, seen, pending = set[Value](), set[Value](), [value]
        while pending:
            value = unshaped(self.graph, pending.pop())
            if value in seen:
                continue
            seen.add(value)
            node = self.graph.node(value.key)
            if value in self.kernel_of or isinstance(node.op, Input):
                found.add(value)
            else:
                pending += node.operands_read
        return found

    def nodes(self, kernel: Draft) -> set[int]:
        """Return the keys of the nodes that a kernel computes."""
        found: set[int] = set()
        pending = [*kernel.values]
        if kernel.root is not None:
            found.add(kernel.root)
            node = self.graph.node(kernel.root)
            pending += (
                [v for v in node.operands if v not in self.kernel_of]
                if isinstance(node.op, Sum | Mean)
                else []
            )
        for key in kernel.sums:
            found.add(key)
            pending += self.graph.node(key).operands
        while pending:
            value = pending.pop()
            node = self.graph.node(value.key)
            if value in kernel.loads or value.key in found or isinstance(node.op, Input):
                continue
            if value == kernel.total:
                continue
            found.add(value.key)
            pending += node.operands_read
        return found

    def _loads(self, kernel: Draft) -> set[Value]:
        """Return the values that a kernel reads from memory."""
        found: set[Value] = set()
        if kernel.copies is not None:
            found.add(kernel.copies)
        if kernel.root is not None:
            found |= self.read_by_root(self.graph.node(kernel.root))
        for value in kernel.values:
            node = self.graph.node(value.key)
            is_given = value.key == kernel.root or value == kernel.total
            if not is_given:
                found.update(leaf for operand in node.operands_read for leaf in self.leaves(operand))
        return {value for value in found if self.kernel_of.get(value) is not kernel}


def _takes_dot_products(product: Node) -> bool:
    """Whether a product of samples with a transposed matrix is deep enough to add up lanes for each sum."""
    left, right = (operand.type for operand in product.operands)
    return left.shape[0] == BATCH and BATCH not in right.shape and right.static(0) >= SHALLOW


def runs_before(other: Draft, kernel: Draft) -> bool:
    """Whether a kernel is done, with the samples at hand, when another one runs."""
    if other.domain is kernel.domain is Domain.SAMPLES:
        return other.stage <= kernel.stage and other.number < kernel.number
    return other.stage < kernel.stage


def _stage_after(makers: list[Draft], domain: Domain) -> int:
    """Return the first stage in which a kernel of this domain can read what these kernels store."""
    together = [k.stage for k in makers if k.domain is domain is Domain.SAMPLES]
    later = [k.stage + 1 for k in makers if not k.domain is domain is Domain.SAMPLES]
    return max([*together, *later], default=0)
