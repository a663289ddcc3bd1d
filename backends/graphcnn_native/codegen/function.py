"""Writes one function of LLVM IR as text.

Text rather than an object per instruction, because the first call of a network waits for it: a line costs
about a microsecond. Integers of the generator and values of the generated program mix freely in index
arithmetic; what is known when the code is generated is folded.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from graphcnn_native.elements import SIZES, SQUARE

POINTER = "ptr"
INDEX = "i64"
COMMENT = "  ; "


@dataclass(frozen=True, slots=True)
class Ssa:
    """A value of the generated program: its LLVM type, and its name or literal."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type} {self.name}"


Index: TypeAlias = int | Ssa
"""An index: known now, or when the program runs."""


@dataclass
class Loop:
    """A counted loop: its index, the carried values of this turn, and (afterwards) their final values."""

    index: Ssa
    values: list[Ssa]
    results: list[Ssa] = field(default_factory=list)


@dataclass
class Branch:
    """A block that may not run: what it hands on, and what stands for that where it does not run."""

    results: list[Ssa] = field(default_factory=list)
    otherwise: list[Ssa] = field(default_factory=list)


def suffix_of(type: str) -> str:
    """Return what names of LLVM's functions for a type end with: v16f32 for <16 x float>."""
    item = {"float": "f32", "double": "f64"}.get(item_of(type), item_of(type))
    return item if lanes_of(type) == 1 else f"v{lanes_of(type)}{item}"


def vector(item: str, lanes: int) -> str:
    """Return the type of `lanes` elements; one lane is the element itself."""
    return item if lanes == 1 else f"<{lanes} x {item}>"


@functools.cache
def lanes_of(type: str) -> int:
    return int(type[1:].split(" x ")[0]) if type.startswith("<") else 1


@functools.cache
def item_of(type: str) -> str:
    return type[1:-1].split(" x ")[1] if type.startswith("<") else type


def literal(item: str, value: float) -> str:
    """Return a number as LLVM writes it: exactly, in the bits of a double."""
    if item in ("float", "double"):
        exact = float(np.float32(value)) if item == "float" else float(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"
    return str(int(value))


def constant(type: str, value: float) -> Ssa:
    """Return a number, in every lane of a vector type."""
    lanes, item = lanes_of(type), item_of(type)
    text = literal(item, value)
    if lanes == 1:
        return Ssa(type, text)
    return Ssa(type, "zeroinitializer" if value == 0 and str(value)[0] != "-" else
               f"<{', '.join([f'{item} {text}'] * lanes)}>")  # fmt: skip


class Function:
    """A function under construction. Instructions go to the end of the current block."""

    def __init__(
        self, name: str, parameters: Sequence[tuple[str, str]], *, result: str = "void", attributes: str = ""
    ) -> None:
        self.name = name
        self.result = result
        self.attributes = attributes
        self.parameters = [Ssa(type, f"%{label}") for type, label in parameters]
        self.declarations: set[str] = set()
        self._lines: list[str] = []
        self._count = 0
        self._block = "entry"
        self._known: dict[str, Ssa] = {}
        self._sums: dict[str, tuple[Ssa, int]] = {}

    def __str__(self) -> str:
        parameters = ", ".join(map(str, self.parameters))
        body = "\n".join(self._lines)
        return f"define {self.result} @{self.name}({parameters}) {self.attributes} {{\nentry:\n{body}\n}}\n"

    @property
    def parameter_types(self) -> list[str]:
        return [parameter.type for parameter in self.parameters]

    @property
    def length(self) -> int:
        """How many lines the function has: about what it costs to compile."""
        return len(self._lines)

    def digest(self) -> str:
        """Return some letters and digits that only functions of the same code have, whatever their names."""
        code = "\n".join([line for line in self._lines if not line.startswith(COMMENT)])
        return hashlib.sha256(f"{self.result} {self.parameters} {code}".encode()).hexdigest()[:16]

    # Instructions

    def emit(self, type: str, text: str) -> Ssa:
        """Append an instruction that yields a value."""
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {text}")
        return Ssa(type, name)

    def pure(self, type: str, text: str) -> Ssa:
        """Return what an instruction without effects yields; one that was written before is not repeated."""
        if text not in self._known:
            self._known[text] = self.emit(type, text)
        return self._known[text]

    def do(self, text: str) -> None:
        """Append an instruction that yields nothing."""
        self._lines.append(f"  {text}")

    def comment(self, text: str) -> None:
        """Append a line for readers of the code."""
        self._lines.append(COMMENT + "".join(letter if letter.isprintable() else "?" for letter in text))

    def binary(self, instruction: str, x: Ssa, y: Ssa) -> Ssa:
        return self.emit(x.type, f"{instruction} {x.type} {x.name}, {y.name}")

    def call(self, type: str, name: str, *arguments: Ssa) -> Ssa:
        self.declare(type, name, [a.type for a in arguments])
        return self.emit(type, f"call {type} @{name}({', '.join(map(str, arguments))})")

    def declare(self, type: str, name: str, arguments: Sequence[str]) -> None:
        self.declarations.add(f"declare {type} @{name}({', '.join(arguments)})")

    def intrinsic(self, name: str, *arguments: Ssa) -> Ssa:
        """Call `llvm.<name>` for the type of the first argument, which is the type of the result."""
        type = arguments[0].type
        return self.call(type, f"llvm.{name}.{suffix_of(type)}", *arguments)

    def select(self, condition: Ssa, x: Ssa, y: Ssa) -> Ssa:
        return self.emit(x.type, f"select {condition}, {x}, {y}")

    def compare(self, predicate: str, x: Ssa, y: Ssa) -> Ssa:
        """Compare numbers: `olt` and the like for floating point, `slt` and the like for integers."""
        kind = "fcmp" if item_of(x.type) in ("float", "double") else "icmp"
        return self.emit(vector("i1", lanes_of(x.type)), f"{kind} {predicate} {x.type} {x.name}, {y.name}")

    def convert(self, instruction: str, x: Ssa, item: str) -> Ssa:
        type = vector(item, lanes_of(x.type))
        return x if type == x.type else self.emit(type, f"{instruction} {x} to {type}")

    # Index arithmetic, folded where it is known

    def index(self, value: Index) -> Ssa:
        return value if isinstance(value, Ssa) else Ssa(INDEX, str(value))

    def add(self, *terms: Index) -> Index:
        """Return the sum. What is known now is added last, so that neighbours share all the rest."""
        known, total = 0, None
        for term in terms:
            if isinstance(term, int):
                known += term
                continue
            term, more = self._sums.get(term.name, (term, 0))
            known += more
            total = term if total is None else self.pure(INDEX, f"add nsw i64 {total.name}, {term.name}")
        if total is None:
            return known
        if known == 0:
            return total
        result = self.pure(INDEX, f"add nsw i64 {total.name}, {known}")
        self._sums[result.name] = (total, known)
        return result

    def multiply(self, x: Index, y: Index) -> Index:
        if isinstance(x, int):
            x, y = y, x
        if isinstance(x, int):
            assert isinstance(y, int)
            return x * y
        if y == 0:
            return 0
        if y == 1:
            return x
        if isinstance(y, int):
            term, more = self._sums.get(x.name, (x, 0))
            return self.add(self.pure(INDEX, f"mul nsw i64 {term.name}, {y}"), more * y)
        return self.pure(INDEX, f"mul nsw i64 {x.name}, {y.name}")

    def subtract(self, x: Index, y: Index) -> Index:
        if isinstance(y, int):
            return self.add(x, -y)
        return self.pure(INDEX, f"sub nsw i64 {self.index(x).name}, {y.name}")

    def divide(self, x: Index, y: int) -> Index:
        """Return x // y, for x of at least 0."""
        if isinstance(x, int):
            return x // y
        return x if y == 1 else self.pure(INDEX, f"udiv i64 {x.name}, {y}")

    def remainder(self, x: Index, y: int) -> Index:
        """Return x % y, for x of at least 0."""
        if isinstance(x, int):
            return x % y
        return 0 if y == 1 else self.pure(INDEX, f"urem i64 {x.name}, {y}")

    def quotient(self, x: Index, y: Index) -> Index:
        """Return x // y, for x of at least 0 and y of at least 1."""
        if isinstance(y, int):
            return self.divide(x, y)
        return self.pure(INDEX, f"udiv i64 {self.index(x).name}, {y.name}")

    def least(self, x: Index, y: Index) -> Index:
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        return self.call(INDEX, "llvm.smin.i64", self.index(x), self.index(y))

    def greatest(self, x: Index, y: Index) -> Index:
        if isinstance(x, int) and isinstance(y, int):
            return max(x, y)
        return self.call(INDEX, "llvm.smax.i64", self.index(x), self.index(y))

    def count_of(self, chosen: Ssa) -> Ssa:
        """Return how many lanes of a vector of conditions hold."""
        item = f"i{lanes_of(chosen.type)}"
        bits = self.emit(item, f"bitcast {chosen} to {item}")
        return self.convert("zext", self.intrinsic("ctpop", bits), INDEX)

    # Memory

    def element(self, base: Ssa, item: str, *offsets: Index) -> Ssa:
        """Return the address of an element: `base` plus the sum of offsets, counted in elements."""
        offset = self.add(*offsets)
        if isinstance(offset, Ssa):
            offset, known = self._sums.get(offset.name, (offset, 0))
            base = self.pure(POINTER, f"getelementptr {item}, {base}, {offset}")
            offset = known
        return base if offset == 0 else self.pure(POINTER, f"getelementptr {item}, {base}, i64 {offset}")

    def load(self, type: str, address: Ssa) -> Ssa:
        return self.emit(type, f"load {type}, {address}, align {SIZES.get(item_of(type), 8)}")

    def store(self, value: Ssa, address: Ssa) -> None:
        self.do(f"store {value}, {address}, align {SIZES.get(item_of(value.type), 8)}")

    def prefetch(self, address: Ssa) -> None:
        """Ask for a cache line, to be in the second cache; where there is no memory, nothing happens."""
        self.declare("void", "llvm.prefetch.p0", [POINTER, *["i32 immarg"] * 3])
        self.do(f"call void @llvm.prefetch.p0({address}, i32 0, i32 2, i32 1)")

    def store_past_caches(self, value: Ssa, address: Ssa) -> None:
        """Store a whole cache line, which then need not be read first; `publish` has to follow some day."""
        size = lanes_of(value.type) * SIZES[item_of(value.type)]
        self.do(f"store {value}, {address}, align {size}, !nontemporal !{{i32 1}}")

    def publish(self) -> None:
        """Let other threads see what was stored past the caches, which the usual order does not hold for."""
        self.do("fence seq_cst")

    def allocate(self, item: str, count: int) -> Ssa:
        """Return the address of so many elements on the stack; at the function's begin only."""
        return self.emit(POINTER, f"alloca [{count} x {item}], align 64")

    def clear(self, address: Ssa, size: Index) -> None:
        """Set `size` bytes to 0."""
        self.declare("void", "llvm.memset.p0.i64", [POINTER, "i8", INDEX, "i1 immarg"])
        self.do(f"call void @llvm.memset.p0.i64({address}, i8 0, {self.index(size)}, i1 false)")

    def copy(self, target: Ssa, source: Ssa, size: int) -> None:
        """Copy `size` bytes to where none of them are."""
        self.declare("void", "llvm.memcpy.p0.p0.i64", [POINTER, POINTER, INDEX, "i1 immarg"])
        self.do(f"call void @llvm.memcpy.p0.p0.i64({target}, {source}, i64 {size}, i1 false)")

    # Vectors

    def splat(self, x: Ssa, lanes: int) -> Ssa:
        """Return a scalar in every lane."""
        if lanes == 1:
            return x
        type = vector(x.type, lanes)
        if not x.name.startswith("%"):
            return Ssa(type, f"<{', '.join([str(x)] * lanes)}>")
        first = self.pure(type, f"insertelement {type} poison, {x}, i64 0")
        return self.pure(
            type, f"shufflevector {type} {first.name}, {type} poison, <{lanes} x i32> zeroinitializer"
        )

    def lane(self, x: Ssa, lane: int) -> Ssa:
        """Return one lane of a vector as a scalar."""
        return x if lanes_of(x.type) == 1 else self.emit(item_of(x.type), f"extractelement {x}, i64 {lane}")

    def part(self, x: Ssa, first: int, lanes: int) -> Ssa:
        """Return `lanes` lanes of a vector from `first` on."""
        if lanes == lanes_of(x.type):
            return x
        if lanes == 1:
            return self.lane(x, first)
        picked = ", ".join(f"i32 {lane}" for lane in range(first, first + lanes))
        return self.emit(
            vector(item_of(x.type), lanes), f"shufflevector {x}, {x.type} poison, <{lanes} x i32> <{picked}>"
        )

    def assemble(self, lanes: Sequence[Ssa]) -> Ssa:
        """Return scalars as the lanes of a vector."""
        if len(lanes) == 1:
            return lanes[0]
        type = vector(lanes[0].type, len(lanes))
        result = Ssa(type, "poison")
        for number, lane in enumerate(lanes):
            result = self.emit(type, f"insertelement {result}, {lane}, i64 {number}")
        return result

    def shuffled(self, x: Ssa, y: Ssa, picked: Sequence[int]) -> Ssa:
        """Return lanes picked from two vectors, those of the second one counted on from the first."""
        lanes = ", ".join(f"i32 {lane}" for lane in picked)
        return self.emit(
            vector(item_of(x.type), len(picked)), f"shufflevector {x}, {y}, <{len(picked)} x i32> <{lanes}>"
        )

    def transposed(self, rows: Sequence[Ssa]) -> list[Ssa]:
        """Return the columns of a square matrix that is given as rows; its size is a power of two.

        Rows that hold several squares side by side have each of them transposed where it is.
        """
        size, lanes = len(rows), list(rows)
        width = lanes_of(rows[0].type)
        halves = [
            ", ".join(
                f"i32 {square + first + n // 2 + n % 2 * width}"
                for square in range(0, width, size)
                for n in range(size)
            )
            for first in (0, size // 2)
        ]
        for _ in range(size.bit_length() - 1):
            lanes = [
                self.emit(x.type, f"shufflevector {x}, {y}, <{width} x i32> <{picked}>")
                for x, y in zip(lanes[: size // 2], lanes[size // 2 :], strict=True)
                for picked in halves
            ]
        return lanes

    def turned(self, rows: Sequence[Ssa]) -> list[Ssa]:
        """Return the columns of as many rows as each has lanes: 4, 8 or 16.

        Squares of four are transposed where they are, and then exchanged as a whole, which processors do
        faster than moving single lanes across a vector.
        """
        groups = [self.transposed(rows[first : first + SQUARE]) for first in range(0, len(rows), SQUARE)]
        columns = [self._exchanged(squares) for squares in zip(*groups, strict=True)]
        return [column for across in zip(*columns, strict=True) for column in across]

    def _exchanged(self, vectors: Sequence[Ssa]) -> list[Ssa]:
        """Transpose a matrix of 1, 2 or 4 vectors of as many fours of lanes."""
        count = len(vectors)
        if count == 1:
            return list(vectors)
        halves = (range(count // 2), range(count // 2, count))
        pairs = [
            [self._fours(x, y, [*half, *(count + n for n in half)]) for half in halves]
            for x, y in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        if count == 2:
            return pairs[0]
        return [
            self._fours(x, y, [first, first + 2, first + 4, first + 6])
            for x, y in zip(*pairs, strict=True)
            for first in (0, 1)
        ]

    def _fours(self, x: Ssa, y: Ssa, picked: Sequence[int]) -> Ssa:
        """Return fours of lanes picked from two vectors."""
        lanes = ", ".join(f"i32 {SQUARE * four + n}" for four in picked for n in range(SQUARE))
        return self.emit(x.type, f"shufflevector {x}, {y}, <{lanes_of(x.type)} x i32> <{lanes}>")

    def joined(self, parts: Sequence[Ssa]) -> Ssa:
        """Return vectors of one size side by side in a wider one; their number is a power of two."""
        found = list(parts)
        while len(found) > 1:
            lanes = 2 * lanes_of(found[0].type)
            picked = ", ".join(f"i32 {lane}" for lane in range(lanes))
            type = vector(item_of(found[0].type), lanes)
            found = [
                self.emit(type, f"shufflevector {x}, {y}, <{lanes} x i32> <{picked}>")
                for x, y in zip(found[::2], found[1::2], strict=True)
            ]
        return found[0]

    def counting(self, start: Index, lanes: int) -> Ssa:
        """Return start, start + 1, ... as i64 lanes."""
        if lanes == 1:
            return self.index(start)
        steps = Ssa(vector(INDEX, lanes), f"<{', '.join(f'i64 {n}' for n in range(lanes))}>")
        return self.binary("add", self.splat(self.index(start), lanes), steps)

    # Control flow

    @contextmanager
    def loop(
        self,
        begin: Index,
        end: Index,
        step: Index = 1,
        carried: Sequence[Ssa] = (),
        name: str = "index",
    ) -> Iterator[Loop]:
        """A loop over begin, begin + step, ... below end; `results` are carried on, and outlive it.

        name: of the index, such as `row`, for readers of the code.
        """
        self._count += 1
        head, body, leave = (f"{part}{self._count}" for part in ("head", "body", "leave"))
        before = self._block
        self.do(f"br label %{head}")
        self._enter(head)
        place = len(self._lines)
        self._count += 1
        index = Ssa(INDEX, f"%{name}.{self._count}")
        phis = [Ssa(value.type, f"%c{self._count}.{n}") for n, value in enumerate(carried)]
        more = self.compare("slt", index, self.index(end))
        self.do(f"br {more}, label %{body}, label %{leave}")
        self._enter(body)
        state = Loop(index, phis, list(phis))
        outside = dict(self._known)
        yield state
        self._known = outside
        following = self.opaque(self.emit(INDEX, f"add nsw i64 {index.name}, {self.index(step).name}"))
        latch = self._block
        self.do(f"br label %{head}")
        lines = [f"  {index.name} = phi i64 [ {self.index(begin).name}, %{before} ], "
                 f"[ {following.name}, %{latch} ]"]  # fmt: skip
        for phi, value, result in zip(phis, carried, state.results, strict=True):
            lines.append(
                f"  {phi.name} = phi {phi.type} [ {value.name}, %{before} ], [ {result.name}, %{latch} ]"
            )
        self._lines[place:place] = lines
        self._enter(leave)
        state.results = phis

    @contextmanager
    def each(self, begin: int, count: int, step: int, name: str = "index") -> Iterator[Index]:
        """A loop over `count` indices; for a single one, there is no loop."""
        if count == 1:
            yield begin
            return
        with self.loop(begin, begin + count * step, step, name=name) as loop:
            yield loop.index

    @contextmanager
    def when(self, condition: Ssa) -> Iterator[Branch]:
        """A block that runs only where the condition holds; it hands on nothing but its `results`."""
        self._count += 1
        then, after = f"then{self._count}", f"after{self._count}"
        before = self._block
        self.do(f"br {condition}, label %{then}, label %{after}")
        self._enter(then)
        outside = dict(self._known)
        state = Branch()
        yield state
        self._known = outside
        last = self._block
        self.do(f"br label %{after}")
        self._enter(after)
        state.results = [
            self.emit(x.type, f"phi {x.type} [ {x.name}, %{last} ], [ {other.name}, %{before} ]")
            for x, other in zip(state.results, state.otherwise, strict=True)
        ]

    def end(self, value: Ssa | None = None) -> None:
        """Return from the function."""
        self.do(f"ret {value}" if value is not None else "ret void")

    def begin_dead_block(self) -> None:
        """Go on after a return, where nothing gets to."""
        self._count += 1
        self._enter(f"dead{self._count}")

    def opaque(self, x: Ssa) -> Ssa:
        """Return an index or an address as a value that LLVM cannot follow, by code without instructions.

        Loops over an index that it can follow go through its strength reduction, which took half of the time
        that LLVM needs for a network and made no step faster: addresses share what they can as it is.
        """
        return self.emit(x.type, f'call {x.type} asm "", "=r,0"({x})')

    def _enter(self, block: str) -> None:
        self._lines.append(f"{block}:")
        self._block = block
