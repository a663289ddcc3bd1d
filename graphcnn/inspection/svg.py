"""A graph as a still picture in SVG, made here alone: no Graphviz, no network, no script, no font to load.

Forward nodes stand at the left and flow down; gradients stand at the right of their layer and flow up; what a
gradient needs of the forward pass crosses over between them. Lines run straight down a column, or in lanes
beside it, so that none crosses text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from graphcnn.inspection.checked import checked
from graphcnn.inspection.labels import FILLS, GREY, SIDES, STROKES, Side
from graphcnn.inspection.picture import Band, Box, Edge, Picture, picture
from graphcnn.ir import Graph

WIDTH = 216
PADDING = 12
LINE = 14
GAP = 26
LANE = 13
MARGIN = 14
SANS = "Helvetica, Arial, 'Segoe UI', sans-serif"
MONO = "'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
INK, FAINT_INK = "#1f2328", "#57606a"

Hand: TypeAlias = Literal["left", "right"]


def graph_svg(graph: Graph, by_layer: bool | None = None) -> str:
    """Return the graph as an SVG picture.

    by_layer: True draws a box per layer, False a box per node; by default the size of the graph decides.
    Raises GraphError for a graph that is empty or broken.
    """
    return _Drawing(picture(checked(graph), by_layer)).text()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a box is: its upper left corner and its height."""

    x: float
    y: float
    height: float

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.x + WIDTH / 2


@dataclass(eq=False)
class _Bus:
    """The lane of one value: from its box to all boxes that it reaches through the same gutter."""

    source: Box
    hand: Hand
    targets: list[Box]
    gutter: int
    kept: bool
    lane: int = 0


class _Drawing:
    """Places boxes and lanes, and writes them."""

    def __init__(self, shown: Picture) -> None:
        self.picture = shown
        self.sides = [part for part in SIDES if any(part in band.boxes for band in shown.bands)]
        self.columns = {part: self._column(part) for part in self.sides}
        self.after = {box: following for c in self.columns.values() for box, following in pairwise(c)}
        self.band_of = {box: band for band in shown.bands for boxes in band.boxes.values() for box in boxes}
        self.straight, self.buses = self._routes()
        self.lanes = self._lanes()
        self.places: dict[Box, _Place] = {}
        self.frames: list[tuple[Band, Side, float, float]] = []
        self.height = self._place()
        self.ports = self._ports()
        self.width = self._gutter_start(len(self.sides)) + self._gutter_width(len(self.sides)) + MARGIN

    def _column(self, part: Side) -> list[Box]:
        """Return the boxes of a side in the order of its flow: gradients come from below."""
        bands = self.picture.bands if part != "gradient" else self.picture.bands[::-1]
        return [box for band in bands for box in band.boxes.get(part, [])]

    # Routes

    def _routes(self) -> tuple[list[Edge], list[_Bus]]:
        """Divide the edges into straight ones, to the next box of a column, and lanes."""
        straight: dict[tuple[Box, Box], Edge] = {}
        buses: dict[tuple[Box, int, bool], _Bus] = {}
        for edge in self.picture.edges:
            source, target = edge.source, edge.target
            if self.after.get(source) is target:
                straight.setdefault((source, target), edge)
                continue
            start, end = self.sides.index(source.side), self.sides.index(target.side)
            if start == end:
                hand: Hand = "left" if start == 0 else "right"
                gutter = 0 if start == 0 else start + 1
            elif end == start + 1:
                hand, gutter = "right", end
            else:
                target.lines = [*target.lines, f"from {source.title}"][:3]
                continue
            kept = start != end
            bus = buses.setdefault((source, gutter, kept), _Bus(source, hand, [], gutter, kept))
            if target not in bus.targets:
                bus.targets.append(target)
        return list(straight.values()), list(buses.values())

    def _lanes(self) -> dict[int, int]:
        """Give each bus a lane of its gutter that is free over its length; count the lanes of each gutter."""
        order = {box: n for n, box in enumerate(self._top_to_bottom())}
        taken: dict[int, list[list[tuple[int, int]]]] = {}

        def span(bus: _Bus) -> tuple[int, int]:
            rows = [order[box] for box in (bus.source, *bus.targets)]
            return min(rows), max(rows)

        for bus in sorted(self.buses, key=lambda bus: span(bus)[1] - span(bus)[0]):
            first, last = span(bus)
            lanes = taken.setdefault(bus.gutter, [])
            free = (n for n, spans in enumerate(lanes) if all(last < a or b < first for a, b in spans))
            bus.lane = next(free, len(lanes))
            if bus.lane == len(lanes):
                lanes.append([])
            lanes[bus.lane].append((first, last))
        return {gutter: len(lanes) for gutter, lanes in taken.items()}

    def _top_to_bottom(self) -> Iterator[Box]:
        for band in self.picture.bands:
            for part, boxes in band.boxes.items():
                yield from boxes if part != "gradient" else boxes[::-1]

    # Places

    def _gutter_width(self, gutter: int) -> float:
        lanes = self.lanes.get(gutter, 0)
        outer = gutter in (0, len(self.sides))
        return (lanes + 1) * LANE if lanes else (0 if outer else 2 * LANE)

    def _gutter_start(self, gutter: int) -> float:
        before = sum(self._gutter_width(number) for number in range(gutter))
        return MARGIN + before + gutter * (WIDTH + 2 * PADDING)

    def _x(self, part: Side) -> float:
        gutter = self.sides.index(part)
        return self._gutter_start(gutter) + self._gutter_width(gutter) + PADDING

    def _place(self) -> float:
        """Place every box, band under band; return the height of the picture."""
        y: float = MARGIN + (2 * LINE if len(self.sides) > 1 else 0)
        for band in self.picture.bands:
            framed = self._is_framed(band)
            top = y + (LINE + 6 if framed else 0)
            depth = top
            for part, boxes in band.boxes.items():
                bottom = float(top)
                for box in boxes if part != "gradient" else boxes[::-1]:
                    place = _Place(self._x(part), bottom, 24 + LINE * len(box.lines))
                    self.places[box] = place
                    bottom = place.bottom + GAP
                depth = max(depth, bottom - GAP)
                if framed:
                    self.frames.append((band, part, y, bottom - GAP + PADDING - y))
            y = depth + GAP + (PADDING if framed else 0)
        return y - GAP + MARGIN

    def _is_framed(self, band: Band) -> bool:
        return bool(band.name) and not self.picture.by_layer

    # Writing

    def text(self) -> str:
        size = f'width="{self.width:g}" height="{self.height:g}" viewBox="0 0 {self.width:g} {self.height:g}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{SANS}" '
                'style="max-width:100%;height:auto">',
                f"<title>{escape(self.picture.name)}</title>",
                *self._headings(),
                *(self._frame(*frame) for frame in self.frames),
                *(part for edge in self.straight for part in self._straight(edge)),
                *(part for bus in self.buses for part in self._bus(bus)),
                *(part for box in self.places for part in self._box(box)),
                "</svg>\n",
            ]
        )

    def _headings(self) -> Iterator[str]:
        if len(self.sides) == 1:
            return
        for part in self.sides:
            x = self._x(part) + WIDTH / 2
            yield _text(x, MARGIN + LINE, part, size=13, colour=STROKES[part], anchor="middle", weight="bold")

    def _frame(self, band: Band, part: Side, y: float, height: float) -> str:
        x = self._x(part) - PADDING
        name = fitted(band.name, WIDTH / 2, 11)
        return (
            f'<rect x="{x:g}" y="{y:g}" width="{WIDTH + 2 * PADDING}" height="{height:g}" rx="8" '
            f'fill="{GREY}" fill-opacity="0.07" stroke="{GREY}" stroke-opacity="0.45"/>'
            + _text(x + 10, y + LINE, name, size=11, colour=GREY, weight="bold")
        )

    def _straight(self, edge: Edge) -> Iterator[str]:
        """Yield a line down (or up) a column, and its shape beside it: between frames where it leaves one."""
        source, target = self.places[edge.source], self.places[edge.target]
        down = source.y < target.y
        start, end = (source.bottom, target.y) if down else (source.y, target.bottom)
        yield _line([(source.middle, start), (target.middle, end)], STROKES[edge.source.side])
        band = self.band_of[edge.source]
        leaves_frame = self._is_framed(band) and band is not self.band_of[edge.target]
        out = (PADDING if down else LINE + 6) if leaves_frame else 0
        beside = start + (out + GAP / 2) * (1 if down else -1) + 3.5
        yield _text(source.middle + 8, beside, edge.shape, size=10, colour=GREY, family=MONO)

    def _bus(self, bus: _Bus) -> Iterator[str]:
        """Yield a lane: to the farthest boxes up and down, and the branches to those between."""
        start = self._gutter_start(bus.gutter)
        across = (bus.lane + 1) * LANE
        x = start + (self._gutter_width(0) - across if bus.gutter == 0 else across)
        colour = GREY if bus.kept else STROKES[bus.source.side]
        leaves = self.ports[bus, bus.source]
        enters = {target: self.ports[bus, target] for target in bus.targets}
        farthest = {max(enters.values()), min(enters.values())}
        hand: Hand = "left" if bus.kept else bus.hand
        for target, y in enters.items():
            is_end = y == min(farthest) < leaves or y == max(farthest) > leaves or len(farthest) == 1
            trunk = [(self._edge(bus.source, bus.hand), leaves), (x, leaves)] if is_end else []
            yield _line([*trunk, (x, y), (self._edge(target, hand), y)], colour, dashed=bus.kept)

    def _edge(self, box: Box, hand: Hand) -> float:
        return self.places[box].x + (0 if hand == "left" else WIDTH)

    def _ports(self) -> dict[tuple[_Bus, Box], float]:
        """Return at what height each lane meets each box.

        Those on one side of a box are spread over it in the order of where they go; where two values would
        lie on each other in a gutter, one gives way.
        """
        meeting: dict[tuple[Box, Hand], list[tuple[float, _Bus]]] = {}
        for bus in self.buses:
            heights = [self.places[box].y for box in bus.targets]
            meeting.setdefault((bus.source, bus.hand), []).append((sum(heights) / len(heights), bus))
            for box in bus.targets:
                hand: Hand = "left" if bus.kept else bus.hand
                meeting.setdefault((box, hand), []).append((self.places[bus.source].y, bus))
        ports: dict[tuple[_Bus, Box], float] = {}
        taken: dict[int, list[float]] = {}
        for (box, _), met in meeting.items():
            place = self.places[box]
            for number, (_, bus) in enumerate(sorted(met, key=lambda item: item[0]), 1):
                wanted = place.y + place.height * number / (len(met) + 1)
                others = taken.setdefault(bus.gutter, [])
                tries = (wanted + sign * step for step in range(0, int(place.height), 8) for sign in (1, -1))
                free = (
                    y
                    for y in tries
                    if place.y + 3 < y < place.bottom - 3 and all(abs(y - other) >= 8 for other in others)
                )
                ports[bus, box] = y = next(free, wanted)
                others.append(y)
        return ports

    def _box(self, box: Box) -> Iterator[str]:
        place = self.places[box]
        yield (
            f'<g><title>{escape(box.about)}</title><rect x="{place.x:g}" y="{place.y:g}" width="{WIDTH}" '
            f'height="{place.height:g}" rx="6" fill="{FILLS[box.side]}" stroke="{STROKES[box.side]}"/>'
        )
        title = fitted(box.title, WIDTH - 16, 12)
        yield _text(place.middle, place.y + 16, title, size=12, anchor="middle", weight="bold")
        for number, line in enumerate(box.lines, 1):
            y, words = place.y + 16 + LINE * number, fitted(line, WIDTH - 16, 10.5)
            yield _text(place.middle, y, words, size=10.5, colour=FAINT_INK, anchor="middle")
        yield "</g>"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    colour: str = INK,
    anchor: str = "start",
    weight: str = "normal",
    family: str = "",
) -> str:
    font = f' font-family="{family}"' if family else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}"{font}>{escape(text)}</text>'
    )


def _line(corners: list[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    """Return a line with an arrowhead; corners that lie on each other are one."""
    (x0, y0), (x1, y1) = corners[-2:]
    length = abs(x1 - x0) + abs(y1 - y0) or 1.0
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    back, aside = (x1 - 7 * dx, y1 - 7 * dy), (3.5 * dy, 3.5 * dx)
    head = [(x1, y1), (back[0] - aside[0], back[1] - aside[1]), (back[0] + aside[0], back[1] + aside[1])]
    path = " ".join(f"{x:g},{y:g}" for x, y in [*corners[:-1], (x1 - 5 * dx, y1 - 5 * dy)])
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3" '
        f'stroke-linejoin="round"{dashes}/><polygon points="{_points(head)}" fill="{colour}"/>'
    )


def _points(corners: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in corners)


def fitted(text: str, room: float, size: float) -> str:
    """Return text cut to a width, by estimate: half the size a letter, all of it for a wide one."""
    if sum(_letter(c) for c in text) * size <= room:
        return text
    used, kept = 1.0, 0
    for character in text:
        used += _letter(character)
        if used * size > room:
            break
        kept += 1
    isolated = text.startswith("\N{FIRST STRONG ISOLATE}")
    return f"{text[:kept]}…" + ("\N{POP DIRECTIONAL ISOLATE}" if isolated else "")


def _letter(character: str) -> float:
    if east_asian_width(character) in "WF":
        return 1.0
    return 0.66 if character.isupper() or character in "mw_@%" else 0.54
