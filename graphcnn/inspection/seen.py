"""Which rows of an image the units of a value see, or which columns: from a first pixel to a last one.

Both are sums of what the unit's place adds along each axis of the value, so that they outlive every split,
merge and exchange of axes. Along one axis they grow by the same step again and again: after each place behind
a convolution, after each two behind upsampling by two. Beyond a border it goes on like that, so that padding
counts as pixels.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product
from operator import mul


@dataclass(frozen=True, slots=True)
class Reading:
    """Which places of its operand an op reads along one axis, for each place of its result.

    Place i reads `places[i % n]`, moved by i // n times `move`, where n is the length of `places`.
    """

    places: tuple[Sequence[int], ...]
    move: int = 1


@dataclass(frozen=True, slots=True)
class Along:
    """What the places along one axis add to the first and to the last pixel.

    Place i adds `first[i % n]` and `last[i % n]`, and i // n times `step` to both. What sees no pixel, as an
    inserted zero, sees from inf to -inf.
    """

    first: tuple[float, ...] = (0,)
    last: tuple[float, ...] = (0,)
    step: int = 0

    @property
    def period(self) -> int:
        return len(self.first)

    def at(self, place: int) -> tuple[float, float]:
        """Return what a place adds to the first pixel and to the last one."""
        turns, phase = divmod(place, self.period)
        return self.first[phase] + turns * self.step, self.last[phase] + turns * self.step

    def read(self, reading: Reading) -> Along:
        """Return what the places of a result add that reads these places."""
        turns = self.period // math.gcd(self.period, reading.move)
        read = [
            [self.at(place + turn * reading.move) for place in places]
            for turn, places in product(range(turns), reading.places)
        ]
        first = tuple(min((first for first, _ in each), default=math.inf) for each in read)
        last = tuple(max((last for _, last in each), default=-math.inf) for each in read)
        return Along(first, last, turns * reading.move // self.period * self.step)._shortened()

    def begun(self, size: int) -> list[tuple[float, float]]:
        """Return what the first places of `size` add, until they repeat themselves."""
        return [self.at(place) for place in range(min(size, self.period))]

    def ends(self, size: int) -> list[tuple[float, float]]:
        """Return what the first and the last places of `size` add: the least and the most is among it."""
        return self.begun(size) + [self.at(size - 1 - place) for place in range(min(size, self.period))]

    def beside(self, inner: Along, size: int) -> Along:
        """Return what the axis adds that counts through this one and, faster, `size` places of another."""
        if self == inner == FLAT:
            return FLAT
        pairs = [
            (outer_first + first, outer_last + last)
            for outer_first, outer_last in zip(self.first, self.last, strict=True)
            for first, last in map(inner.at, range(size))
        ]
        first, last = zip(*pairs, strict=True)
        return Along(first, last, self.step)._shortened()

    def apart(self, outer_size: int, size: int) -> Along | None:
        """Return the outer axis where this one counts through that and, faster, through its own first `size`
        places; None where there is none.
        """
        outer = self.read(Reading(((0,),), size))
        cycle = range(min(outer_size, self.period // math.gcd(self.period, size)))
        for turn, place in product(cycle, range(size)):
            sums = (a + b for a, b in zip(outer.at(turn), self.at(place), strict=True))
            if self.at(turn * size + place) != tuple(sums):
                return None
        return outer

    def joined(self, other: Along) -> Along | None:
        """Return the least that covers both; None where they move on by different steps."""
        if self.step * other.period != other.step * self.period:
            return None
        period = math.lcm(self.period, other.period)
        both = [(self.at(place), other.at(place)) for place in range(period)]
        first = tuple(min(a[0], b[0]) for a, b in both)
        last = tuple(max(a[1], b[1]) for a, b in both)
        return Along(first, last, period // self.period * self.step)._shortened()

    def moved(self, first: float, last: float) -> Along:
        return replace(
            self, first=tuple(a + first for a in self.first), last=tuple(b + last for b in self.last)
        )

    def within(self, size: int) -> Along:
        """Return what adds the same at the first `size` places, and repeats itself the soonest."""
        pairs = [self.at(place) for place in range(size)]
        some = next((place for place, (first, last) in enumerate(pairs) if first <= last), size)
        for period in range(1, size - some):
            step = pairs[some + period][0] - pairs[some][0]
            if size % period == 0 and all(
                (first + step, last + step) == later
                for (first, last), later in zip(pairs, pairs[period:], strict=False)
            ):
                first, last = zip(*pairs[:period], strict=True)
                return Along(first, last, int(step))
        return self

    def _shortened(self) -> Along:
        """Return the same with the shortest period."""
        return self.within(2 * self.period)


FLAT = Along()
"""An axis whose places all see the same."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the units of a value see of `extent` pixels: `base`, and what each axis adds.

    axes: each begins at 0, so that equal ones are known as such. sizes: how many places each has; the batch
    counts as one.
    """

    base: tuple[float, float]
    axes: tuple[Along, ...]
    sizes: tuple[int, ...]
    extent: int

    @staticmethod
    def of(base: tuple[float, float], axes: Iterable[Along], sizes: Sequence[int], extent: int) -> Seen:
        """Return what is seen, in the form in which equal things are equal."""
        (first, last), moved = base, []
        for along, size in zip(axes, sizes, strict=True):
            seeing = (pair for pair in along.begun(size) if pair[0] <= pair[1])
            start = next(seeing, (math.inf, -math.inf))
            first, last = first + start[0], last + start[1]
            moved.append(along.moved(-start[0], -start[1]) if size > 1 and start[0] < math.inf else FLAT)
        seen = Seen((first, last), tuple(moved), tuple(sizes), extent)
        return Seen.all(sizes, extent) if seen.is_all else seen

    @staticmethod
    def all(sizes: Sequence[int], extent: int) -> Seen:
        """Return that every unit sees all pixels, or may do so."""
        return Seen((0, extent - 1), (FLAT,) * len(sizes), tuple(sizes), extent)

    @property
    def is_all(self) -> bool:
        """Whether every unit sees all pixels."""
        ends = [along.ends(size) for along, size in zip(self.axes, self.sizes, strict=True)]
        latest_first = self.base[0] + sum(max(first for first, _ in each) for each in ends)
        earliest_last = self.base[1] + sum(min(last for _, last in each) for each in ends)
        return latest_first <= 0 and earliest_last >= self.extent - 1

    @property
    def most(self) -> int:
        """The number of pixels that the unit sees which sees most."""
        width = 1 + self.base[1] - self.base[0]
        for along, size in zip(self.axes, self.sizes, strict=True):
            width += max(last - first for first, last in along.begun(size))
        return int(max(0, width))

    def with_axes(self, axes: Iterable[Along], sizes: Sequence[int]) -> Seen:
        return Seen.of(self.base, axes, sizes, self.extent)

    def read(self, readings: dict[int, Reading], sizes: Sequence[int]) -> Seen:
        """Return what a result of `sizes` sees that reads so along some axes, else place by place."""
        axes = [
            along.read(readings[axis]) if axis in readings else along for axis, along in enumerate(self.axes)
        ]
        return self.with_axes(axes, sizes)

    def folded(self, axes: Sequence[int], sizes: Sequence[int], keep: bool = True) -> Seen:
        """Return what a result of `sizes` sees that reads all places along axes, which stay or vanish."""
        (first, last), others = self.base, []
        for axis, (along, size) in enumerate(zip(self.axes, self.sizes, strict=True)):
            if axis in axes:
                first += min(least for least, _ in along.ends(size))
                last += max(most for _, most in along.ends(size))
            if keep or axis not in axes:
                others.append(FLAT if axis in axes else along)
        return Seen.of((first, last), others, sizes, self.extent)

    def reshaped(self, sizes: Sequence[int]) -> Seen:
        """Return what the same units see under another shape; all, where no axis could say it."""
        axes: list[Along] = []
        for old, new in _groups(self.sizes, sizes):
            merged = _merged([self.axes[axis] for axis in old], [self.sizes[axis] for axis in old])
            split = _split(merged, [sizes[axis] for axis in new])
            if split is None:
                return Seen.all(sizes, self.extent)
            axes += split
        return self.with_axes(axes, sizes)

    def joined(self, other: Seen) -> Seen:
        """Return what is seen by units that see through both; all, where no axis could say it."""
        extent = max(self.extent, other.extent)
        differing = [
            axis for axis, pair in enumerate(zip(self.axes, other.axes, strict=True)) if len({*pair}) > 1
        ]
        if self.extent != other.extent or len(differing) > 1:
            return Seen.all(self.sizes, extent)
        if not differing:
            base = min(self.base[0], other.base[0]), max(self.base[1], other.base[1])
            return Seen.of(base, self.axes, self.sizes, extent)
        (axis,) = differing
        both = self.axes[axis].moved(*self.base).joined(other.axes[axis].moved(*other.base))
        if both is None:
            return Seen.all(self.sizes, extent)
        return Seen.of((0, 0), (*self.axes[:axis], both, *self.axes[axis + 1 :]), self.sizes, extent)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterable[tuple[list[int], list[int]]]:
    """Yield the axes of two shapes that hold the same elements, as few at a time as can be."""
    shapes = [list(accumulate(sizes, mul)) for sizes in (old, new)]
    cuts = sorted({*shapes[0]} & {*shapes[1]} | {math.prod(old)})
    for group in range(len(cuts)):
        before, after = (
            [axis for axis, count in enumerate(counts) if bisect_left(cuts, count) == group]
            for counts in shapes
        )
        yield before, after


def _merged(axes: Sequence[Along], sizes: Sequence[int]) -> Along:
    """Return the axis that counts through all of these, the last one fastest."""
    merged, count = FLAT, 1
    for along, size in zip(axes, sizes, strict=True):
        merged, count = along if count == 1 else merged.beside(along, size), count * size
    return merged


def _split(along: Along, sizes: Sequence[int]) -> list[Along] | None:
    """Return the axes of these sizes that an axis falls into; None where no axes could say it."""
    parts: list[Along] = []
    count = math.prod(sizes)
    for size in reversed(sizes):
        count //= size
        outer = along.apart(count, size)
        if outer is None:
            return None
        parts, along = [along.within(size), *parts], outer
    return parts
