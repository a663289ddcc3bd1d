"""Runtimes of ONNX as backends of graphcnn: each graph is exported, and the file is run."""

import numpy as np
import onnx.reference
import onnxruntime

from graphcnn.backend import Report, bind_inputs, require_ops, step_by_calling
from graphcnn.interchange.onnx import EMITTERS
from graphcnn.interchange.onnx.document import OPSET, document
from graphcnn.interchange.onnx.export import Options, written
from graphcnn.interchange.onnx.layouts import between, plain
from graphcnn.ir import Input


def session(proto):
    """Return a session of ONNX Runtime on the CPU, on one thread, which says nothing but errors."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


class Exported:
    """A graph that is exported and run. run: what takes inputs of the file and returns its outputs."""

    def __init__(self, graph, opset, runtime):
        self.graph = graph
        options = Options(opset)
        self.proto = document(graph, options)
        self.plugs = written(graph, options)
        self.run = runtime(self.proto)

    def __call__(self, /, **inputs):
        arrays, _ = bind_inputs(self.graph, inputs)
        fed = {
            plug.name: np.array(arrays[plug.label].transpose(plug.layout), order="C")
            for plug in self.plugs.inputs
        }
        found = {}
        for plug, array in zip(self.plugs.outputs, self.run(fed), strict=True):
            back = between(plug.layout, plain(plug.type.rank))
            found[plug.label] = np.array(np.asarray(array).transpose(back), order="C")
        return found

    step = step_by_calling

    def report(self):
        return Report("onnx", 1, ())


class Runtime:
    """A backend that exports graphs, and hands the files to a runtime."""

    def __init__(self, name, runtime, opset=OPSET):
        self.name, self.runtime, self.opset = name, runtime, opset
        self.ops = frozenset({Input, *EMITTERS})

    def compile(self, graph):
        require_ops(self, graph)
        return Exported(graph, self.opset, self.runtime)


def in_onnxruntime(proto):
    running = session(proto)
    return lambda inputs: running.run([each.name for each in proto.graph.output], inputs)


def in_reference(proto):
    evaluator = onnx.reference.ReferenceEvaluator(proto)
    return lambda inputs: evaluator.run([each.name for each in proto.graph.output], inputs)
