"""A model made of what came from outside: trained, saved, and loaded in another process."""

import subprocess
import sys
import tempfile
from pathlib import Path

from add_a_layer import SqueezeExcite
from add_a_loss import SmoothedCrossEntropy
from add_a_metric import TopAccuracy
from add_a_structural_op import Shuffle
from add_an_op import Snake
from add_an_optimizer import Signum

import graphcnn as gcn

OWN = [SmoothedCrossEntropy, TopAccuracy, Signum]  # ops are known once their module is imported


def inverse(match, op, operands):
    inner = match.definition(operands[0])
    undone = isinstance(inner.op, Shuffle) and inner.op.groups * op.groups == operands[0].type.static(-1)
    return inner.operands[0] if undone else None


RULE = gcn.Rule("shuffled-back", "shuffle(shuffle(x)) → x", Shuffle, inverse)
PASSES = {"step": [gcn.Pass("shuffled-back", lambda graph: gcn.simplify(graph, rules=[RULE]))]}


def network():
    x = gcn.Input((8, 8, 1), name="image")
    y = gcn.apply_op(Snake(0.5), gcn.Conv2d(12, 3)(x))
    y = gcn.apply_op(Shuffle(4), gcn.apply_op(Shuffle(3), SqueezeExcite(4)(y)))
    return gcn.Network(x, gcn.Dense(10)(gcn.Flatten()(gcn.MaxPool2d(2)(y))))


def trained():
    loss, metrics = SmoothedCrossEntropy(0.05), ["accuracy", TopAccuracy(2)]
    model = gcn.compile(network(), loss=loss, optimizer=Signum(3e-3), metrics=metrics, passes=PASSES)
    assert not any(isinstance(node.op, Shuffle) for _, node in model.step_graph.items())
    model.fit(digits.images, digits.labels, epochs=5, progress=False)
    return model


digits = gcn.data.load_digits()
if len(sys.argv) > 1:
    print(gcn.load(sys.argv[1], objects=OWN, passes=PASSES).evaluate(digits.test_images, digits.test_labels))
    sys.exit()
with tempfile.TemporaryDirectory() as folder:
    path, model = Path(folder) / "model.safetensors", trained()
    model.save(path)
    here = str(model.evaluate(digits.test_images, digits.test_labels))
    there = subprocess.check_output([sys.executable, __file__, path], text=True).strip()
    print(f"in this process:    {here}\nin another process: {there}")
    assert here == there
