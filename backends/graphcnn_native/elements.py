"""Elements of tensors in memory: what LLVM calls them, and how large they are."""

from __future__ import annotations

from typing import Final

ITEMS: Final = {
    "float32": "float",
    "float64": "double",
    "int64": "i64",
    "int32": "i32",
    "uint8": "i8",
    "bool": "i8",
}
"""The LLVM type of an element in memory."""
SIZES: Final = {"float": 4, "double": 8, "i64": 8, "i32": 4, "i16": 2, "i8": 1}
"""The bytes of an element, by its LLVM type."""
SQUARE: Final = 4
"""The side of the squares in which lanes are transposed: what any processor's vectors hold."""
