"""The processor's tiles: instructions on 16 rows of 64 bytes each, which multiply bfloat16 in pairs.

Tiles 0 to 3 hold sums; 4, or 4 and 5, the left factor; those behind it, of 16 rows, the right one.
"""

from __future__ import annotations

from graphcnn_native.codegen.function import INDEX, POINTER, Function, Index, Ssa, constant
from graphcnn_native.lowering.bfloat16_tiling import TILE

LINE = 64
"""Bytes of a tile's row."""
_NUMBER = "i8 immarg"
_CONFIGURATION = 64
_ROW_BYTES, _ROWS = 16, 48
"""Where in a configuration the bytes of a row, two bytes for each tile, and the rows of each tile are."""


class Tiles:
    """Writes tile instructions. A kernel sets its tiles up before it uses them, and gives them back."""

    def __init__(self, f: Function) -> None:
        """At the function's begin only."""
        self.f, self._configuration = f, f.allocate("i8", _CONFIGURATION)

    def set_up(self, rows: Index, full: int) -> None:
        """Configure tiles with these rows, and those from `full` on with 16."""
        f, configuration = self.f, self._configuration
        number = constant("i8", rows) if isinstance(rows, int) else f.convert("trunc", rows, "i8")
        f.clear(configuration, _CONFIGURATION)
        f.store(constant("i8", 1), configuration)
        for tile in range(8):
            f.store(constant("i8", LINE), f.element(configuration, "i8", _ROW_BYTES + 2 * tile))
            f.store(
                number if tile < full else constant("i8", TILE), f.element(configuration, "i8", _ROWS + tile)
            )
        f.declare("void", "llvm.x86.ldtilecfg", [POINTER])
        f.do(f"call void @llvm.x86.ldtilecfg({configuration})")

    def give_back(self) -> None:
        self._do("tilerelease")

    def clear(self, tile: int) -> None:
        self._do("tilezero", tile)

    def load(self, tile: int, address: Ssa, stride: Index) -> None:
        """Load a tile whose rows lie so many bytes apart."""
        self._move("tileloadd64", tile, address, stride)

    def store(self, tile: int, address: Ssa, stride: Index) -> None:
        """Store a tile, with so many bytes from a row to the next."""
        self._move("tilestored64", tile, address, stride)

    def multiply_add(self, total: int, left: int, right: int) -> None:
        self._do("tdpbf16ps", total, left, right)

    def _move(self, name: str, tile: int, address: Ssa, stride: Index) -> None:
        self.f.declare("void", f"llvm.x86.{name}", [_NUMBER, POINTER, INDEX])
        self.f.do(f"call void @llvm.x86.{name}(i8 {tile}, {address}, {self.f.index(stride)})")

    def _do(self, name: str, *tiles: int) -> None:
        self.f.declare("void", f"llvm.x86.{name}", [_NUMBER] * len(tiles))
        self.f.do(f"call void @llvm.x86.{name}({', '.join(f'i8 {tile}' for tile in tiles)})")
