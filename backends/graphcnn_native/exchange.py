"""What a rank does in the course of a step: it tells the others its sums and samples, and learns theirs.

All ranks begin the same messages in the same order, which follows from the program alone. Sums go from rank
to rank in rounds, as the tree over the shards says: the first begins as soon as they are there, behind the
turn of a kernel, the others when something has to be waited for. Parameters that one rank alone computes go
to all behind the last.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from graphcnn.arrays import Array
from graphcnn.distributed.collectives import broadcast_arrays, gathered, row_begins, together
from graphcnn.distributed.rounds import messages
from graphcnn.distributed.transport import Pending, Traffic, Transport
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
"""`exchange(turn)`, which returns 0 where the step has to end."""


class Adding(Protocol):
    """Adds up rows of memory by the tree over shards."""

    def __call__(self, total: int, first: int, size: int, rows: int, apart: int, *, is_double: bool) -> None:
        """total, first: the addresses of the total, which may be a row, and of the first row. size: the
        numbers of a row. apart: the bytes from one row to the next."""


@dataclass
class _Group:
    """What goes together: it is there behind the same turn, and awaited by the same one.

    sums: those that lie side by side are together.
    """

    awaited: int
    sums: list[list[Sums]] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)


class Exchange:
    """The messages of one rank in the calls of an executable. The machine code calls it by its address.

    What is raised meanwhile must not pass through machine code: it is kept, the step ends at once, and who
    called it raises that. Ranks are then no longer in step with each other, and there are no further calls.
    """

    def __init__(self, transport: Transport, interface: Interface, adding: Adding, graph: Graph) -> None:
        self._transport: Final = transport
        self._interface: Final = interface
        self._adding: Final = adding
        self._groups: Final = _groups(interface.exchanges)
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
        self._due: Final = np.zeros(interface.exchanges.turns + 1, np.int64)
        for turn, groups in self._groups.items():
            self._due[[turn, *(group.awaited - 1 for group in groups)]] = 1
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
        table[Slot.ROWS] = self._share.rows
        table[Slot.EXCHANGES], table[Slot.DUE] = self._interface.exchanges.turns, address(self._due)
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
        self._proceed([(together(self._transport, self._share.inputs()), -1)], 0)
        self.raise_failure()

    def share_updates(self, updates: Mapping[str, Array]) -> None:
        """Give all ranks the parameters that one of them has computed; each array holds them, or will."""
        if not self._broadcast:
            return
        told = [(self._owners[label], updates[label]) for label in self._broadcast]
        self._proceed([(broadcast_arrays(self._transport, told), -1)], 0)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what has ended the step before its time."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _behind(self, turn: int) -> int:
        groups, share = self._groups.get(turn, ()), self._share
        assert share is not None
        begun = ((together(self._transport, share.traffic(group)), group.awaited) for group in groups)
        return self._proceed(begun, turn + 1)

    def _proceed(self, begun: Iterable[tuple[Iterator[Pending], int]], turn: int) -> bool:
        """Begin messages, each by a turn that awaits them, and wait for those that the kernel of this turn
        does; return whether all is well.

        What is raised is kept, Ctrl-C too, and all memory that messages may yet be written to.
        """
        try:
            self._put_off.let_through()
            for rounds, awaited in begun:
                self._begin(rounds, awaited)
            self._wait_for(turn)
            self._put_off.close()
        except BaseException as error:
            self._put_off.close()
            self._failure = error
            self._abandoned += [self._share, *self._under_way]
            self._under_way.clear()
        return self._failure is None

    def _begin(self, rounds: Iterator[Pending], awaited: int) -> None:
        message = _UnderWay(rounds, awaited, next(rounds, None))
        if message.pending is not None:
            self._under_way.append(message)

    def _wait_for(self, turn: int) -> None:
        """Return when all is there that the kernel of a turn awaits."""
        while any(message.awaited <= turn for message in self._under_way):
            self._under_way = [message for message in self._under_way if message.goes_on()]
        for message in self._under_way:
            message.move()


def _groups(exchanges: Exchanges) -> dict[int, list[_Group]]:
    """Return what goes together behind each turn."""
    found: dict[tuple[int, int], _Group] = {}
    told: list[Sums | Rows] = [*exchanges.sums, *exchanges.rows]
    for each in told:
        group = found.setdefault((each.turn, each.awaited), _Group(each.awaited))
        if isinstance(each, Rows):
            group.rows.append(each)
        elif group.sums and group.sums[-1][-1].end == each.begin:
            group.sums[-1].append(each)
        else:
            group.sums.append([each])
    turns = itertools.groupby(sorted(found), key=lambda place: place[0])
    return {turn: [found[place] for place in places] for turn, places in turns}


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
        self.rows: Final = 2 if transport.size == 2 and self._shards > 1 else 1
        """How many rows of sums there are when all ranks' are there: two ranks' lie side by side."""
        self._memory: dict[int, tuple[Array, Array]] = {}
        self._in_arena: dict[tuple[Rows, int], Traffic] = {}
        self._begins: dict[int, list[int]] = {}
        self._gathered: list[tuple[int, Array]] = []
        for label in gathered:
            slot, shape, dtype = workspace.inputs[label]
            self._gathered.append((slot, np.empty(shape, dtype)))

    def traffic(self, group: _Group) -> list[Iterator[Traffic]]:
        """Return the messages of what goes together, of the part that is worked on; sums go with the last."""
        is_last = self._table[Slot.FIRST] + self._table[Slot.COUNT] >= self._workspace.batch
        sums = map(self._sum, group.sums) if is_last else ()
        return [*sums, *map(self._samples, group.rows)]

    def _sum(self, several: Sequence[Sums]) -> Iterator[Traffic]:
        """Add up this rank's sums, and those of others with them, round by round."""
        begin, end, apart = several[0].begin, several[-1].end, self._interface.sums
        memory, rank, ranks = self._table[Slot.SUMS], self._transport.rank, self._transport.size
        row = rank if self.rows == 2 else 0
        if len(self.own) > 1 or row:
            for sums in several:
                first, size = memory + sums.begin, sums.end - sums.begin
                self._add(sums, first + row * apart, first, size, len(self.own), apart)
        if begin not in self._memory:
            other = _memory(memory + begin + (1 - row) * apart, end - begin)
            spare = other if self.rows == 2 else np.empty(end - begin, np.uint8)
            self._memory[begin] = _memory(memory + begin + row * apart, end - begin), spare
        total, spare = self._memory[begin]
        if self.rows == 2:
            yield [(1 - rank, total)], [(1 - rank, spare)]
            return

        def add(at: int, own: Array, other: Array, is_left: bool) -> None:
            at += begin
            for sums in several:
                low, high = max(sums.begin, at), min(sums.end, at + own.size)
                if low < high:
                    places = address(own) + low - at, address(other) + low - at
                    first, second = places if is_left else places[::-1]
                    self._add(sums, places[0], first, high - low, 2, second - first)

        yield from messages(rank, ranks, total, self._shards, add, spare)

    def _add(self, sums: Sums, total: int, first: int, size: int, rows: int, apart: int) -> None:
        size //= 8 if sums.is_double else 4
        self._adding(total, first, size, rows, apart, is_double=sums.is_double)

    def _samples(self, rows: Rows) -> Iterator[Traffic]:
        """Give all ranks the samples of the part that is worked on."""
        first, count = self._table[Slot.FIRST], self._table[Slot.COUNT]
        if rows.slot != ARENA:
            yield self._gather(_rows(self._table[Slot.ARRAYS + rows.slot] + rows.bytes * first, count, rows))
            return
        if (rows, count) not in self._in_arena:
            place = self._table[Slot.ARENA] + self._interface.arena + rows.offset * self._capacity
            self._in_arena[rows, count] = self._gather(_rows(place, count, rows))
        yield self._in_arena[rows, count]

    def inputs(self) -> list[Iterator[Traffic]]:
        """Give all ranks the samples of inputs that callers give in part, in arrays of our own."""
        found = []
        for slot, array in self._gathered:
            given = _memory(self._table[slot], array.nbytes).view(array.dtype).reshape(array.shape)
            self._table[slot] = address(array)
            for first in range(0, len(array), self._capacity):
                part = array[first : first + self._capacity]
                own = slice(*self._begins_of(len(part))[self._transport.rank :][:2])
                part[own] = given[first : first + self._capacity][own]
                found.append(iter([self._gather(part)]))
        return found

    def _gather(self, part: Array) -> Traffic:
        return gathered(self._transport.rank, part, self._begins_of(len(part)))

    def _begins_of(self, count: int) -> list[int]:
        """Return of each rank the first of its samples, of a part of so many."""
        if count not in self._begins:
            self._begins[count] = _begins(self._transport, count, self._shards, self._size)
        return self._begins[count]


def _rows(begin: int, count: int, rows: Rows) -> Array:
    """Return so many samples in memory, a row of bytes each."""
    return _memory(begin, count * rows.bytes).reshape(count, rows.bytes)


def _memory(begin: int, size: int) -> Array:
    """Return some bytes of memory as an array."""
    memory: Any = (ctypes.c_char * size).from_address(begin)
    return np.frombuffer(memory, np.uint8)


def adding(library: Library, threads: int) -> Adding:
    """Return what adds up rows of sums on so many threads, by the machine code of a step."""
    function = library.address("add_up_chunk")

    def add(total: int, first: int, size: int, rows: int, apart: int, *, is_double: bool) -> None:
        context = (ctypes.c_int64 * 7)(total, first, size, rows, apart, CHUNK, is_double)
        # The threads of the pool flush denormals, which may not be what a step of float64 alone does.
        Work(function, context, -(-size // CHUNK), 1 if is_double else threads).do()

    return add
