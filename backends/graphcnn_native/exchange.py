"""What a rank does behind the stages of a step: it tells the others its sums and samples, and learns theirs.

All ranks begin the same messages in the same order, which follows from the program alone. Sums go from rank
to rank in rounds, as the tree over the shards says: the first begins behind the stage that leaves them, the
others when something has to be waited for. Parameters that one rank alone computes go to all behind the last.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from graphcnn.arrays import Array
from graphcnn.distributed.collectives import begin_all_gather, broadcast_arrays, row_begins
from graphcnn.distributed.rounds import messages
from graphcnn.distributed.transport import Pending, Transport
from graphcnn.distributed.tree import shards_of
from graphcnn.errors import RankError
from graphcnn.interrupts import PutOff, interrupts_put_off
from graphcnn.ir import Graph
from graphcnn.transform import kept_elsewhere, owners_of, whole_inputs
from graphcnn_native.call_table import Slot
from graphcnn_native.interface import ARENA, Exchanges, Interface, Rows, Sums
from graphcnn_native.runtime.engine import Library
from graphcnn_native.runtime.spare import Work
from graphcnn_native.workspace import Workspace, address, room_for

CHUNK: Final = 4096
"""Numbers of sums that a thread adds up at a time."""
CALL: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
"""`exchange(stage)`, which returns 0 where the step has to end."""


class Adding(Protocol):
    """Adds up rows of memory by the tree over shards: the first of them becomes the total."""

    def __call__(self, first: int, size: int, rows: int, apart: int, *, is_double: bool) -> None:
        """first: its address. size: the numbers of a row. apart: the bytes from one row to the next."""


class Exchange:
    """The messages of one rank in the calls of an executable. The machine code calls it by its address.

    What is raised meanwhile must not pass through machine code: it is kept, the step ends at once, and who
    called it raises that. Ranks are then no longer in step with each other, and there are no further calls.
    """

    def __init__(self, transport: Transport, interface: Interface, adding: Adding, graph: Graph) -> None:
        self._transport: Final = transport
        self._interface: Final = interface
        self._adding: Final = adding
        self._sums: Final = _buckets(interface.exchanges)
        self._rows: Final = defaultdict[int, list[Rows]](list)
        for rows in interface.exchanges.rows:
            self._rows[rows.stage].append(rows)
        told: list[Sums | Rows] = [*interface.exchanges.sums, *interface.exchanges.rows]
        given = whole_inputs(graph)
        self._gathered: Final = [label for label in interface.exchanges.whole if label not in given]
        self._owners: Final = owners_of(graph)
        self._broadcast: Final = [label for label in self._owners if graph.role(label) == "parameter"]
        self._left_out: Final = np.zeros(interface.exchanges.kernels, np.int64)
        for each in interface.exchanges.updating:
            is_needed = not each.serves_these_alone or any(map(self._computes, each.serves))
            self._left_out[each.kernel] = not is_needed
        elsewhere = kept_elsewhere(graph, transport.rank)
        self.spare: Final = {
            label: np.zeros(graph.inputs[label].type.concrete(1), graph.inputs[label].type.dtype)
            for each in interface.exchanges.updating
            for label in elsewhere.intersection(each.touches)
            if not self._left_out[each.kernel]
        }
        """Memory for states of others that a kernel replaces which computes something else for all, as the
        sums that are a batch norm's gradients, and which those of its input need, too."""
        self._due: Final = np.zeros(interface.exchanges.stages + 1, np.int64)
        self._due[[each.stage for each in told] + [each.awaited - 1 for each in told]] = 1
        self._share: _Share | None = None
        self._under_way: list[_UnderWay] = []
        self._abandoned: list[object] = []
        self._failure: BaseException | None = None
        self._put_off = PutOff(None)
        self._function: Final = CALL(self._behind)
        self._address: Final = ctypes.cast(self._function, ctypes.c_void_p).value or 0

    def _computes(self, label: str) -> bool:
        """Whether this rank computes the new value of a parameter or state."""
        return self._owners.get(label, self._transport.rank) == self._transport.rank

    def own_samples(self, batch: int) -> list[range]:
        """Return the samples of a batch that this rank works on."""
        capacity, shards, size = room_for(self._interface, batch)
        found = []
        for first in range(0, batch, capacity):
            begins = _begins(self._transport, min(capacity, batch - first), shards, size)
            own = range(first + begins[self._transport.rank], first + begins[self._transport.rank + 1])
            found += [own] if own else []
        return found

    def share(self, workspace: Workspace) -> None:
        """Enter into its table what this rank works on."""
        self._share = _Share(self._transport, self._interface, self._adding, workspace, self._gathered)
        table = workspace.table
        table[Slot.SHARDS], table[Slot.FIRST_SHARD] = len(self._share.own), self._share.own.start
        table[Slot.ROWS] = 1  # when the others' are there
        table[Slot.EXCHANGES], table[Slot.DUE] = self._interface.exchanges.stages, address(self._due)
        table[Slot.EXCHANGE] = self._address
        table[Slot.LEFT_OUT] = address(self._left_out) if self._left_out.any() else 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call: interrupts take effect where a rank waits for others, or when it is done with all.

        Raises RankError where an earlier one has not ended.
        """
        if self._abandoned:
            raise RankError(
                "an earlier step has not ended on this rank, and the others wait for its messages",
                mend="end all ranks, and start them again from the last checkpoint",
            )
        with interrupts_put_off() as self._put_off:
            yield

    def begin(self) -> None:
        """Learn what the machine code reads of the inputs and callers do not give."""
        assert self._share is not None
        with self._failing():
            self._begin(self._share.inputs(), -1)
            self._wait_for(0)
        self.raise_failure()

    def share_updates(self, updates: Mapping[str, Array]) -> None:
        """Give all ranks the parameters that one of them has computed; each array holds them, or will."""
        if not self._broadcast:
            return
        told = [(self._owners[label], updates[label]) for label in self._broadcast]
        with self._failing():
            self._begin(broadcast_arrays(self._transport, told), -1)
            self._wait_for(0)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what has ended the step before its time."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _behind(self, stage: int) -> int:
        with self._failing():
            assert self._share is not None
            if self._share.is_last_part:
                for bucket in self._sums[stage]:
                    self._begin(self._share.sum(bucket), bucket[0].awaited)
            for rows in self._rows[stage]:
                self._begin(self._share.samples(rows), rows.awaited)
            self._wait_for(stage + 1)
        return self._failure is None

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Keep what is raised, Ctrl-C too, and all memory that messages may yet be written to."""
        try:
            self._put_off.let_through()
            yield
            self._put_off.close()
        except BaseException as error:
            self._put_off.close()
            self._failure = error
            self._abandoned += [self._share, *self._under_way]
            self._under_way.clear()

    def _begin(self, rounds: Iterator[Pending], awaited: int) -> None:
        message = _UnderWay(rounds, awaited, next(rounds, None))
        if message.pending is not None:
            self._under_way.append(message)

    def _wait_for(self, stage: int) -> None:
        """Return when all is there that a stage awaits."""
        while any(message.awaited <= stage for message in self._under_way):
            self._under_way = [message for message in self._under_way if message.goes_on()]
        for message in self._under_way:
            message.move()


def _buckets(exchanges: Exchanges) -> dict[int, list[list[Sums]]]:
    """Return the sums that each stage leaves, together those that the same one awaits."""
    found = defaultdict[int, dict[int, list[Sums]]](lambda: defaultdict(list))
    for sums in exchanges.sums:
        found[sums.stage][sums.awaited].append(sums)
    return defaultdict(list, {stage: list(buckets.values()) for stage, buckets in found.items()})


def _begins(transport: Transport, count: int, shards: int, size: int) -> list[int]:
    """Return of each rank the first of its samples, of a part of a batch, and behind the last how many."""
    return row_begins(transport.size, [min(count, shard * size) for shard in range(shards + 1)])


@dataclass
class _UnderWay:
    """Messages of a round, and the rounds that follow. awaited: by which stage."""

    rounds: Iterator[Pending]
    awaited: int
    pending: Pending | None

    def goes_on(self) -> bool:
        """Wait for the messages, and begin the next round; return whether there is one."""
        assert self.pending is not None
        self.pending.wait()
        self.pending = next(self.rounds, None)
        return self.pending is not None

    def move(self) -> None:
        """Move the messages on, where that takes the processor."""
        assert self.pending is not None
        self.pending.done()


class _Share:
    """What a rank works on in batches of one size, and where its sums and samples are."""

    def __init__(
        self,
        transport: Transport,
        interface: Interface,
        adding: Adding,
        workspace: Workspace,
        gathered: Collection[str],
    ) -> None:
        self._transport, self._interface, self._adding = transport, interface, adding
        self._workspace, self._table = workspace, workspace.table
        self._capacity, self._shards, self._size = room_for(interface, workspace.batch)
        self.own = shards_of(transport.rank, transport.size, self._shards)
        self._spare: dict[int, Array] = {}
        self._begins: dict[int, list[int]] = {}
        self._gathered: list[tuple[int, Array]] = []
        for label in gathered:
            slot, shape, dtype = workspace.inputs[label]
            self._gathered.append((slot, np.empty(shape, dtype)))

    @property
    def is_last_part(self) -> bool:
        return self._table[Slot.FIRST] + self._table[Slot.COUNT] >= self._workspace.batch

    def sum(self, bucket: Sequence[Sums]) -> Iterator[Pending]:
        """Add up this rank's sums, and those of others with them, round by round."""
        memory, apart = self._table[Slot.SUMS], self._interface.sums
        begin, end = min(sums.begin for sums in bucket), max(sums.end for sums in bucket)
        if len(self.own) > 1:
            for sums in bucket:
                self._add(sums, memory + sums.begin, sums.end - sums.begin, len(self.own), apart)

        def add(at: int, first: Array, second: Array) -> None:
            at += begin
            for sums in bucket:
                low, high = max(sums.begin, at), min(sums.end, at + first.size)
                if low < high:
                    place = address(first)
                    self._add(sums, place + low - at, high - low, 2, address(second) - place)

        if begin not in self._spare:
            self._spare[begin] = np.empty(end - begin, np.uint8)
        total = _memory(memory + begin, end - begin)
        yield from messages(self._transport, total, self._shards, add, self._spare[begin])

    def _add(self, sums: Sums, first: int, size: int, rows: int, apart: int) -> None:
        size //= 8 if sums.is_double else 4
        self._adding(first, size, rows, apart, is_double=sums.is_double)

    def samples(self, rows: Rows) -> Iterator[Pending]:
        """Give all ranks the samples of the part that is worked on."""
        first, count = self._table[Slot.FIRST], self._table[Slot.COUNT]
        if rows.slot == ARENA:
            place = self._table[Slot.ARENA] + self._interface.arena + rows.offset * self._capacity
        else:
            place = self._table[Slot.ARRAYS + rows.slot] + rows.bytes * first
        yield self._gather(_memory(place, count * rows.bytes).reshape(count, rows.bytes))

    def inputs(self) -> Iterator[Pending]:
        """Give all ranks the samples of inputs that callers give in part, in arrays of our own."""
        for slot, array in self._gathered:
            given = _memory(self._table[slot], array.nbytes).view(array.dtype).reshape(array.shape)
            self._table[slot] = address(array)
            for first in range(0, len(array), self._capacity):
                part = array[first : first + self._capacity]
                own = slice(*self._begins_of(len(part))[self._transport.rank :][:2])
                part[own] = given[first : first + self._capacity][own]
                yield self._gather(part)

    def _gather(self, part: Array) -> Pending:
        return begin_all_gather(self._transport, part, self._begins_of(len(part)))

    def _begins_of(self, count: int) -> list[int]:
        """Return of each rank the first of its samples, of a part of so many."""
        if count not in self._begins:
            self._begins[count] = _begins(self._transport, count, self._shards, self._size)
        return self._begins[count]


def _memory(begin: int, size: int) -> Array:
    """Return some bytes of memory as an array."""
    memory: Any = (ctypes.c_char * size).from_address(begin)
    return np.frombuffer(memory, np.uint8)


def adding(library: Library, threads: int) -> Adding:
    """Return what adds up rows of sums on so many threads, by the machine code of a step."""
    function = library.address("add_up_chunk")

    def add(first: int, size: int, rows: int, apart: int, *, is_double: bool) -> None:
        context = (ctypes.c_int64 * 6)(first, size, rows, apart, CHUNK, is_double)
        # The threads of the pool flush denormals, which may not be what a step of float64 alone does.
        Work(function, context, -(-size // CHUNK), 1 if is_double else threads).do()

    return add
