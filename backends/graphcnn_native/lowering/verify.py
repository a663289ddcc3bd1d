"""What code generation and the step rely on in a program, as code that can be run on any program.

The rules are stated anew, from the graph and the buffers: nothing that planning or placing has worked out is
taken for granted. With GRAPHCNN_VERIFY=on, as in the tests, every program is verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple
from typing import TypeAlias

from graphcnn.errors import BackendError
from graphcnn.ir import BATCH, Input, Node, Value
from graphcnn.ops import (
    AveragePool2d,
    Broadcast,
    Correlate2d,
    L2Pool2d,
    Matmul,
    MaxPool2d,
    Mean,
    Pad,
    ReluMask,
    Reshape,
    Rot180,
    SoftmaxCrossEntropy,
    Sum,
    SumPool2d,
)
from graphcnn.ops.attributes import NO_PADDING
from graphcnn_native.lowering.bfloat16 import Bfloat16, Bfloat16Correlation, is_product
from graphcnn_native.lowering.program import (
    ALIGNMENT,
    BANDS,
    Buffer,
    Domain,
    Keeps,
    Place,
    PlacedKernel,
    PlannedKernel,
    Program,
    aligned,
    is_product_over_samples,
    partial_sum_type,
    spreads,
    turns_matrices,
)
from graphcnn_native.lowering.schedule import GENERATED
from graphcnn_native.op_code import has_code, is_pointwise

Life: TypeAlias = tuple[str, int, int, int, int]
"""What lives in memory: its name, first and last moment, offset and bytes."""

POOLS = (MaxPool2d, SumPool2d, AveragePool2d, L2Pool2d)
BESIDE = ([False] * 4, [False, False, True, False])
"""Of which axes a correlation can do the padding: of none, or of the columns of images."""


def verify(program: Program) -> Program:
    """Return the program if it is valid. Raises BackendError, which names the kernel and the rule, if not."""
    _verify_numbers(program)
    writers: dict[Buffer, list[PlacedKernel]] = {}
    for kernel in program.kernels:
        for buffer in kernel.kept:
            writers.setdefault(buffer, []).append(kernel)
    for kernel in program.kernels:
        _verify_computing(program, kernel)
        _verify_domain(program, kernel)
        _verify_stores(program, kernel)
        _verify_reading(program, kernel, writers)
        _verify_sums(program, kernel)
        _verify_neighbours(program, kernel)
        _verify_bfloat16(program, kernel)
        _verify_strip(program, kernel)
    _verify_roots(program)
    _verify_in_place(program)
    _verify_divided(program)
    _verify_labels(program)
    _verify_arena(program)
    _verify_blocks(program)
    _verify_partial_sums(program)
    return program


def _require(holds: bool, kernel: PlannedKernel | None, rule: str) -> None:
    if holds:
        return
    where = "the program" if kernel is None else f"kernel {kernel.number} ({kernel.title})"
    raise BackendError(
        f"{where}: {rule}",
        mend="This is a fault of the backend, not of your network; please report it with the network.",
    )


def _verify_numbers(program: Program) -> None:
    for number, kernel in enumerate(program.kernels):
        _require(kernel.number == number, kernel, f"its number is not its place, {number}")
        _require(kernel.stage >= 0, kernel, "it has no stage")
        for value in kernel.loads:
            _require(value in program.buffers, kernel, f"%{value.key}, which it loads, has no buffer")
    _require(program.block > 0, None, "a block has no samples")


def _root(program: Program, kernel: PlacedKernel) -> Node | None:
    return None if kernel.root is None else program.graph.node(kernel.root)


def _verify_computing(program: Program, kernel: PlacedKernel) -> None:
    """A kernel reads only its loads: all else it can compute where it is read."""
    root = _root(program, kernel)
    _require(bool(kernel.stores or kernel.partial), kernel, "it stores nothing, and adds up nothing")
    if kernel.copies is not None:
        is_loaded = kernel.source is not None or kernel.loads == {kernel.copies}
        _require(is_loaded, kernel, "what it copies is not what it loads")
        return
    if root is not None and not isinstance(root.op, Sum | Mean):
        for operand in root.operands_read:
            _require(_is_loaded_by_root(program, kernel, root, operand), kernel, _unloaded(operand))
    computed = [value for value in kernel.values if value.key != kernel.root and value != kernel.total]
    pending = [operand for value in computed for operand in _computed_from(program, kernel, value)]
    if root is not None and isinstance(root.op, Sum | Mean):
        pending += root.operands
    pending += [operand for key in kernel.sums for operand in program.graph.node(key).operands]
    seen = {*kernel.values}
    while pending:
        value = pending.pop()
        if value in seen or program.unshaped(value) in kernel.loads | {*kernel.values}:
            continue
        seen.add(value)
        pending += _computed_from(program, kernel, value)


def _computed_from(program: Program, kernel: PlacedKernel, value: Value) -> tuple[Value, ...]:
    """Return what a value that is not loaded is computed from."""
    value = program.unshaped(value)
    node = program.graph.node(value.key)
    can_be = not isinstance(node.op, Input) and (isinstance(node.op, GENERATED) or is_pointwise(node.op))
    _require(can_be or value in kernel.values, kernel, _unloaded(value))
    return node.operands_read


def _is_loaded_by_root(program: Program, kernel: PlacedKernel, root: Node, operand: Value) -> bool:
    stored = program.unshaped(operand)
    node = program.graph.node(stored.key)
    if stored in kernel.loads:
        return True
    through = isinstance(root.op, Matmul) and turns_matrices(node.op)
    return through and program.unshaped(node.operands[0]) in kernel.loads


def _unloaded(value: Value) -> str:
    return f"it reads %{value.key}, which it does not load and cannot compute"


def _verify_domain(program: Program, kernel: PlacedKernel) -> None:
    """Samples are independent of each other in a kernel that goes through them in blocks."""
    root = _root(program, kernel)
    is_called = root is not None and not has_code(root.op)
    for value in kernel.values:
        # The results of an op without code are stored whole, each in its own shape.
        fits = value.type.shape == kernel.shape or is_called
        _require(fits, kernel, f"%{value.key} has another shape than the kernel")
    if is_called:
        _require(kernel.domain is Domain.WHOLE, kernel, "an op without code is called for the whole batch")
        is_alone = all(value.key == kernel.root for value in kernel.values)
        _require(is_alone, kernel, "nothing can follow an op without code")
    if kernel.domain is Domain.WHOLE:
        return
    is_front = kernel.adds_up_samples or (bool(kernel.shape) and kernel.shape[0] == BATCH)
    _require(is_front, kernel, "it goes through samples, but has none in front")
    turns = root is not None and isinstance(root.op, Rot180) and 0 in root.op.axes
    _require(not turns, kernel, "it turns the batch around, so that it cannot go through it by sample")


def _verify_stores(program: Program, kernel: PlacedKernel) -> None:
    own = {*kernel.values} | ({kernel.copies} if kernel.copies is not None else set())
    for value, buffer in kernel.stores:
        _require(value in own, kernel, f"it stores %{value.key}, which it does not compute")
        _require(buffer.value == value, kernel, f"it stores %{value.key} in a buffer of another value")
        if buffer.place is Place.CALLER:
            fits = 0 <= buffer.slot < len(program.slots) and program.slots[buffer.slot][0] != "input"
            _require(fits, kernel, f"it stores %{value.key} in the caller's array {buffer.slot}")
        else:
            _require(buffer in program.offsets, kernel, f"the buffer of %{value.key} has no place")


def _verify_reading(
    program: Program, kernel: PlacedKernel, writers: dict[Buffer, list[PlacedKernel]]
) -> None:
    """Who reads comes after those who store, and a block does not outlive its stage."""
    for value in kernel.loads:
        _require(program.buffers[value].value == value, kernel, f"%{value.key} has another value's buffer")
    for buffer in program.read_by(kernel):
        value = buffer.value
        if buffer.place is Place.CALLER and program.slots[buffer.slot][0] == "input":
            of_label = program.graph.inputs.get(program.slots[buffer.slot][1])
            _require(of_label == value, kernel, f"%{value.key} is read from another input's array")
            continue
        found = writers.get(buffer, [])
        _require(len(found) == 1, kernel, f"%{value.key} is stored by {len(found)} kernels")
        (writer,) = found
        _require(_runs_before(writer, kernel), kernel, f"%{value.key} is read before it is stored")
        if buffer.place is Place.BLOCK:
            together = writer.domain is kernel.domain is Domain.SAMPLES and writer.stage == kernel.stage
            _require(together, kernel, f"%{value.key} is in a block, which others do not see")
            is_front = bool(value.type.shape) and value.type.shape[0] == BATCH
            _require(is_front, kernel, f"%{value.key} is in a block, but has no samples in front")


def _runs_before(first: PlacedKernel, then: PlacedKernel) -> bool:
    if first.domain is then.domain is Domain.SAMPLES and first.stage == then.stage:
        return first.number < then.number
    return first.stage < then.stage


def _verify_sums(program: Program, kernel: PlacedKernel) -> None:
    if kernel.partial:
        totals = [other.values[0].key for other in program.kernels if other.totals == kernel.number]
        _require(sorted(totals) == sorted(kernel.partial), kernel, "nobody totals its partial sums")
        _require(kernel.domain is Domain.SAMPLES, kernel, "partial sums are of samples")
        _require(kernel.sums_offset >= 0, kernel, "its partial sums have no place")
    _require(not (kernel.adds_up_samples and kernel.sums), kernel, "it adds up its results and others too")
    for key in kernel.sums:
        _verify_sum_on_the_way(program, kernel, key)
    if kernel.totals is not None:
        _require(kernel.totals in range(len(program.kernels)), kernel, "it totals sums of no kernel")
        adding = program.kernels[kernel.totals]
        _require(bool(adding.partial), kernel, "it totals sums that nobody adds up")
        _require(adding.stage < kernel.stage, kernel, "it totals sums before they are added up")
        is_result = bool(kernel.values) and kernel.values[0].key in adding.partial
        _require(is_result, kernel, "it totals sums of another value")
        place = dict(_places_of_sums(program, adding))[kernel.values[0].key]
        _require(kernel.sums_offset == place[0], kernel, "it totals sums elsewhere than where they are")
    root = _root(program, kernel)
    is_product = root is not None and is_product_over_samples(root)
    _require((kernel.unfinished is not None) == is_product, kernel, "unfinished sums are of products")
    if kernel.unfinished is not None:
        kept = kernel.unfinished
        fits = (kept.place, kept.keeps, kept.value.key) == (Place.ARENA, Keeps.UNFINISHED, kernel.root)
        _require(fits, kernel, "its unfinished sums are not in the arena")


def _verify_sum_on_the_way(program: Program, kernel: PlacedKernel, key: int) -> None:
    """Summands are at the places of what the kernel computes, and a vector of them is of as many sums."""
    node = program.graph.node(key)
    op, shape = node.op, node.operands[0].type.shape
    is_sum = isinstance(op, Sum | Mean) and op.axes == tuple(range(len(shape) - 1)) and not op.keep
    _require(is_sum, kernel, "it adds up on its way what is no sum over all places")
    _require(shape == kernel.shape, kernel, "it adds up on its way what is of another shape")


def _verify_neighbours(program: Program, kernel: PlacedKernel) -> None:
    """Whose work another kernel may do is needed by nobody but that one, and is what that one can do."""
    if kernel.pad is not None:
        _verify_padding(program, kernel, program.kernels[kernel.pad])
    if kernel.pool is not None:
        _verify_pooling(program, kernel, program.kernels[kernel.pool])
    if kernel.pooled_by is not None:
        does = program.kernels[kernel.pooled_by].pool == kernel.number
        _require(does and kernel.is_optional, kernel, "nobody pools for it")
    if kernel.is_optional and kernel.pooled_by is None:
        for buffer in kernel.kept:
            for reader in program.readers.get(buffer, ()):
                _require(reader.pad == kernel.number, reader, "it reads what may not have been written")


def _verify_bfloat16(program: Program, kernel: PlacedKernel) -> None:
    """What is kept as bfloat16 is read by masks, and by products of such numbers with the zeros they need."""
    for value, buffer in kernel.stores:
        is_kept = isinstance(program.graph.node(value.key).op, Bfloat16)
        _require(is_kept == (buffer.margins is not None), kernel, f"%{value.key} is kept in the wrong form")
    root = _root(program, kernel)
    for value in kernel.loads:
        margins = program.buffers[value].margins
        if margins is None:
            continue
        reading = [
            node
            for key in kernel.work
            if not isinstance((node := program.graph.node(key)).op, Reshape)
            and value in map(program.unshaped, node.operands)
        ]
        as_such = bool(reading) and all(isinstance(x.op, ReluMask) or is_product(x.op) for x in reading)
        _require(as_such, kernel, f"it reads %{value.key} as float32, which is kept as bfloat16")
        if root is not None and isinstance(root.op, Bfloat16Correlation) and value == root.operands[0]:
            needed = root.op.zeros(value.type, root.types[0])
            fits = all(has >= wanted for has, wanted in zip(astuple(margins), astuple(needed), strict=True))
            _require(fits, kernel, f"there are too few zeros around %{value.key}")


def _verify_strip(program: Program, kernel: PlacedKernel) -> None:
    """A kernel and the neighbours whose work it does agree on whether samples fill the lanes."""
    _require(0 < kernel.strip <= program.block, kernel, "its strips are not of a block")
    has_neighbours = kernel.is_optional or (kernel.pad, kernel.pool) != (None, None)
    _require(not has_neighbours or kernel.strip == program.block, kernel, "it sees no whole block")


def _verify_padding(program: Program, kernel: PlacedKernel, pad: PlacedKernel) -> None:
    """A correlation puts zeros beside the images that it correlates, and reads them nowhere else."""
    _require(pad.is_optional and pad.stage == kernel.stage, kernel, "it pads for no optional kernel")
    root, node = _correlation(program, kernel), _alone(program, pad, kernel)
    _require(root.operands[0].key == pad.root, kernel, "what it pads is not the images that it correlates")
    is_beside = isinstance(node.op, Pad) and [any(widths) for widths in node.op.widths] in BESIDE
    _require(is_beside, kernel, "it pads more than the sides of images")
    _require(isinstance(node.op, Pad) and not node.op.value, kernel, "it pads with other numbers than 0")
    _require(program.unshaped(node.operands[0]) in kernel.loads, kernel, "it does not load what it pads")
    others = _reached(program, kernel, [*root.operands[1:], *_following(kernel)])
    _require(all(value.key != pad.root for value in others), kernel, "it reads what it pads elsewhere")


def _verify_pooling(program: Program, kernel: PlacedKernel, pool: PlacedKernel) -> None:
    """A correlation pools the one value that it stores, by windows that tile the maps."""
    known = pool.is_optional and pool.pooled_by == kernel.number and pool.stage == kernel.stage
    _require(known, kernel, "it pools for a kernel that does not know")
    readers = {r.number for buffer in kernel.kept for r in program.readers.get(buffer, ())}
    _require(readers == {pool.number}, kernel, "others read what it pools on its way")
    _correlation(program, kernel)
    node = _alone(program, pool, kernel)
    is_block = all(buffer.place is Place.BLOCK for buffer in kernel.kept)
    is_kept = [value for value, _ in kernel.stores] == [node.operands[0]] and is_block
    _require(is_kept, kernel, "what it pools is not all that it stores")
    tiles = isinstance(node.op, POOLS) and node.op.size == node.op.stride and node.op.padding == NO_PADDING
    _require(tiles, kernel, "it pools by windows that do not tile the maps")
    for value in _reached(program, kernel, _following(kernel)):
        _require(not value.type.has_batch, kernel, "what follows before it pools differs by sample")


def _correlation(program: Program, kernel: PlacedKernel) -> Node:
    """Return the correlation that a kernel does sample by sample, and on its way its neighbours' work."""
    root = _root(program, kernel)
    is_fit = root is not None and type(root.op) is Correlate2d and kernel.domain is Domain.SAMPLES
    _require(is_fit, kernel, "it does a neighbour's work, but is no correlation of samples")
    assert root is not None
    return root


def _alone(program: Program, neighbour: PlacedKernel, kernel: PlacedKernel) -> Node:
    """Return the root of a kernel whose work another one does: it is all that it computes."""
    root = _root(program, neighbour)
    is_plain = neighbour.domain is Domain.SAMPLES and not _following(neighbour)
    _require(root is not None and is_plain, kernel, "it does the work of a kernel that does more")
    assert root is not None
    return root


def _following(kernel: PlacedKernel) -> list[Value]:
    return [value for value in kernel.values if value.key != kernel.root]


def _reached(program: Program, kernel: PlacedKernel, values: Iterable[Value]) -> Iterator[Value]:
    """Yield what a kernel loads or generates for these values, but for the results of its root."""
    pending, seen = list(values), set[Value]()
    while pending:
        value = program.unshaped(pending.pop())
        if value in seen or value.key == kernel.root:
            continue
        seen.add(value)
        node = program.graph.node(value.key)
        is_computed = value in kernel.values or value not in kernel.loads
        if is_computed and (is_pointwise(node.op) or isinstance(node.op, Broadcast)):
            pending += node.operands_read
        else:
            yield value


def _verify_roots(program: Program) -> None:
    """Every output and every new state is stored, once, in the array that the caller has for it."""
    graph = program.graph
    named = [("input", label) for label in graph.inputs]
    roots = {("output", label): value for label, value in graph.outputs.items()}
    roots |= {("update", label): value for label, value in graph.updates.items()}
    _require(list(program.slots) == [*named, *roots], None, "its slots are not the graph's inputs and roots")
    stored = [buffer for kernel in program.kernels for _, buffer in kernel.stores]
    for slot, name in enumerate(program.slots):
        if name in roots:
            found = [b for b in stored if b.place is Place.CALLER and b.slot == slot]
            is_right = [b.value for b in found] == [program.unshaped(roots[name])]
            _require(is_right, None, f"{name[0]} {name[1]!r} is not stored once")


def _verify_in_place(program: Program) -> None:
    """A new state may replace the old one where it is: nobody reads the old one later, or elsewhere."""
    for kernel in program.kernels:
        for _, buffer in kernel.stores:
            if buffer.place is not Place.CALLER or program.slots[buffer.slot][0] != "update":
                continue
            state = program.graph.inputs[program.slots[buffer.slot][1]]
            for reader in program.readers.get(program.buffers[state], ()):
                if reader.number != kernel.number:
                    _require(reader.stage < kernel.stage, reader, "it reads a state that has been replaced")
                else:
                    in_place = state.type.shape == kernel.shape and not _reads_elsewhere(
                        program, kernel, state
                    )
                    _require(in_place, kernel, "it replaces elements of a state that it reads later")


def _reads_elsewhere(program: Program, kernel: PlacedKernel, state: Value) -> bool:
    """Whether a kernel reads a state at other elements than the one that it writes."""
    root = _root(program, kernel)
    pending = [(operand, True) for operand in (() if root is None else root.operands)]
    pending += [(v, False) for v in kernel.values if v.key != kernel.root and v != kernel.total]
    seen = set[tuple[Value, bool]]()
    while pending:
        value, is_spread = pending.pop()
        if (value, is_spread) in seen or value.key == kernel.root or value == kernel.total:
            continue
        seen.add((value, is_spread))
        if program.unshaped(value) == state:
            if is_spread:
                return True
            continue
        if program.unshaped(value) in kernel.loads:
            continue
        node = program.graph.node(value.key)
        is_wide = is_spread or spreads(node, value)
        pending += [(operand, is_wide) for operand in node.operands_read]
    return False


def _verify_divided(program: Program) -> None:
    """Where a batch goes through a stage in parts, nothing else needs all samples at once."""
    if program.divided < 0:
        return
    for kernel in program.kernels:
        if kernel.domain is Domain.SAMPLES:
            _require(kernel.stage == program.divided, kernel, "samples are divided in another stage")
            continue
        _require(kernel.stage != program.divided, kernel, "it is of the whole, in the divided stage")
        _require(BATCH not in kernel.shape, kernel, "it needs room for all samples")
        if kernel.unfinished is not None:
            _require(kernel.stage == program.divided + 1, kernel, "it sums up products too late")
        else:
            reads = any(value.type.has_batch for value in kernel.loads)
            _require(not reads, kernel, "it reads samples of which only a part is there")


def _verify_labels(program: Program) -> None:
    """Labels are checked before they are used as places."""
    names = {value: label for label, value in program.graph.inputs.items()}
    for _, node in program.graph.items():
        if isinstance(node.op, SoftmaxCrossEntropy):
            label = names.get(program.unshaped(node.operands[1]))
            classes = node.operands[0].type.static(1)
            known = label is None or program.labels.get(label, classes + 1) <= classes
            _require(known, None, f"labels {label!r} are not checked against {classes} classes")


def _verify_arena(program: Program) -> None:
    whole: list[Life] = []
    by_sample: list[Life] = []
    for kernel in program.kernels:
        for buffer in kernel.kept:
            if buffer.place is not Place.ARENA:
                continue
            _require(buffer in program.offsets, kernel, f"the buffer of %{buffer.value.key} has no place")
            name, offset = f"%{buffer.value.key}", program.offsets[buffer]
            stages = [kernel.stage, *(reader.stage for reader in program.readers.get(buffer, ()))]
            first, last = min(stages), max(stages)
            if first < program.prepared <= last:  # later calls read it too
                last = program.stages - 1
            if program.is_repeated(first):
                first = program.divided
            if program.is_repeated(last + 1):
                last += 1
            lives = by_sample if buffer.per_sample else whole
            lives.append((name, first, last, offset, buffer.bytes))
    _require_apart(whole, program.arena, "the arena")
    _require_apart(by_sample, program.arena_per_sample, "the samples of the arena")


def _verify_blocks(program: Program) -> None:
    for stage, kernels in enumerate(program.by_stage):
        lives = [life for kernel in kernels for life in _in_block(program, program.kernels[kernel.number])]
        _require_apart(lives, program.scratch, f"the block of stage {stage}")


def _in_block(program: Program, kernel: PlacedKernel) -> Iterator[Life]:
    if kernel.workspace:
        yield (f"workspace {kernel.number}", kernel.number, kernel.number, kernel.workspace_offset,
               kernel.workspace)  # fmt: skip
    for buffer in kernel.kept:
        if buffer.place is Place.BLOCK:
            readers = program.readers.get(buffer, ())
            last = max([kernel, *readers], key=lambda other: other.number)
            lives = kernel.written_from, last.number
            loop = _loop(program, kernel)
            if any(reader.number not in loop for reader in readers):
                lives = min(lives[0], loop[0]), _loop(program, last)[-1]
            size = buffer.bytes * program.block
            yield f"%{buffer.value.key}", *lives, program.offsets[buffer], size


def _loop(program: Program, kernel: PlannedKernel) -> list[int]:
    """Return the kernels that go through the samples of a block strip by strip together with one."""
    stage = [other for other in program.by_stage[kernel.stage] if other.domain is Domain.SAMPLES]
    first = last = stage.index(kernel)
    if kernel.strip == program.block:
        return [kernel.number]
    while first > 0 and stage[first - 1].strip == kernel.strip:
        first -= 1
    while last + 1 < len(stage) and stage[last + 1].strip == kernel.strip:
        last += 1
    return [other.number for other in stage[first : last + 1]]


def _verify_partial_sums(program: Program) -> None:
    lives: list[Life] = []
    for kernel in program.kernels:
        for key, (offset, size) in _places_of_sums(program, kernel):
            lives.append((f"sums of %{key}", 0, 0, offset, size))
    _require_apart(lives, program.sums, "the partial sums")


def _places_of_sums(program: Program, kernel: PlacedKernel) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the keys of what a kernel adds up, and where in a shard the sums are: offset and bytes."""
    offset = kernel.sums_offset
    for key in kernel.partial:
        size = partial_sum_type(program.graph, key).bytes(1)
        size = BANDS * aligned(size) if kernel.sums else size
        yield key, (offset, size)
        offset += size


def _require_apart(lives: Iterable[Life], length: int, memory: str) -> None:
    """What is alive at the same time lies apart, within its memory, and begins at cache lines."""
    open_: list[Life] = []
    for life in sorted(lives, key=lambda life: life[3]):
        name, first, last, offset, size = life
        _require(offset >= 0 and offset + size <= length, None, f"{name} lies outside of {memory}")
        _require(offset % ALIGNMENT == 0, None, f"{name} begins within a cache line of {memory}")
        open_ = [other for other in open_ if other[3] + other[4] > offset]
        for other, begin, end, _, _ in open_:
            _require(end < first or last < begin, None, f"{name} and {other} overlap in {memory}")
        open_.append(life)
