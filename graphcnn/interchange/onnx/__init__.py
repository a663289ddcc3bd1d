"""Files of ONNX: any graph of a model as a model of ONNX's standard operators, and networks of such files.

`export` makes such a file of a graph, and `register` lets it have an op of your own; `reading` makes networks
of files. The package `onnx` is needed where a file is written or read, and loads then.
"""

from graphcnn.interchange.onnx.table import EMITTERS, register

__all__ = ["EMITTERS", "register"]
