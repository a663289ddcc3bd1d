"""Files of ONNX: any graph of a model as a model of ONNX's standard operators, and networks of such files.

`export` makes such a file of a graph, and `register` lets it have an op of your own; `reading` makes networks
of files. The package `onnx` is needed where a file is written or read, and loads then; the table of ops does
so as well, without which the command line starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphcnn.interchange.onnx.table import EMITTERS, register

__all__ = ["EMITTERS", "register"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from graphcnn.interchange.onnx import table

    return getattr(table, name)
