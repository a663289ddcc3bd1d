"""A rule of your own: `maximum(x, 0)` is relu, and of two of those in a row one is enough.

Run it: python examples/add_a_rule.py
"""

import numpy as np

import graphcnn as gcn
from graphcnn import ops


def is_zero(match, value):
    node = match.definition(value)
    while isinstance(node.op, ops.Broadcast):  # of which scalar? look behind it
        node = match.definition(node.operands[0])
    return isinstance(node.op, ops.Constant) and node.op.value == 0


def maximum_with_zero(match, op, operands):
    for x, other in (operands, operands[::-1]):
        if is_zero(match, other) and not x.type.is_scalar:
            return match.emit(ops.Relu(), x)
    return None


def relu_of_relu(match, op, operands):
    inner = match.definition(operands[0])
    return operands[0] if isinstance(inner.op, ops.Relu) else None


RULES = [
    gcn.Rule("maximum-with-zero", "maximum(x, 0) → relu(x)", ops.Maximum, maximum_with_zero),
    gcn.Rule("relu-of-relu", "relu(relu(x)) → relu(x)", ops.Relu, relu_of_relu),
]

x = gcn.Input((4, 4, 1), name="image")
y = gcn.maximum(gcn.relu(gcn.Conv2d(3, 3)(x)), 0.0)
graph = gcn.Network(x, y).graph

report = []
small = gcn.simplify(graph, rules=RULES, report=report)
for applied in report:
    print(f"{applied.rule}: %{applied.key} {applied.before}")
print(small)

rng = np.random.default_rng(0)
inputs = {name: rng.standard_normal(value.type.concrete(5)) for name, value in graph.inputs.items()}
before, after = (gcn.evaluate(each, **inputs)["output"] for each in (graph, small))
assert before.tobytes() == after.tobytes()
assert [node.op.name for _, node in small.items()].count("relu") == 1
assert not any(isinstance(node.op, ops.Maximum) for _, node in small.items())
