"""A pass of your own: gradients are scaled down where they are longer than a bound, all by the same factor.

Run it: python examples/add_a_pass.py
"""

from functools import partial, reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import graphcnn as gcn
from graphcnn import ops


def clip_by_norm(graph, bound):
    """Return the graph with gradients whose joint length is at most `bound`."""
    result = graph.copy(outputs=False)  # nodes keep their keys, so values of `graph` are at home in it
    gradients = {name: value for name, value in graph.outputs.items() if name.startswith("gradient(")}
    squares = [result.add(ops.Multiply(), value, value) for value in gradients.values()]
    sums = [result.add(ops.Sum(tuple(range(square.type.rank))), square) for square in squares]
    norm = result.add(ops.Sqrt(), reduce(lambda a, b: result.add(ops.Add(), a, b), sums))
    limit = result.add(ops.Constant(bound, norm.type))
    factor = result.add(ops.Divide(), limit, result.add(ops.Maximum(), norm, limit))
    for name, value in graph.outputs.items():
        result.output(name, result.add(ops.Multiply(), value, factor) if name in gradients else value)
    return result


def trained(passes):
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(32), gcn.Tanh(), gcn.Dense(10))
    model = gcn.compile(
        network,
        input_shape=(8, 8, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(8.0),  # far too much, but for the bound
        passes=passes,
    )
    model.fit(digits.images, digits.labels, epochs=3, batch_size=64, progress=False)
    return model, model.evaluate(digits.test_images, digits.test_labels)["accuracy"]


digits = gcn.data.load_digits()
clip = gcn.Pass("clip_by_norm", partial(clip_by_norm, bound=0.1))
_, plain = trained(passes=None)
model, clipped = trained(passes={"gradient": [clip]})
print(f"accuracy after three epochs at rate 8: {plain:.1%}, and {clipped:.1%} with the pass")
assert clipped > 0.9 > plain

weights = model.parameters["dense2.weights"]
model.train_step(digits.images[:64], digits.labels[:64])
assert np.linalg.norm(model.parameters["dense2.weights"] - weights) <= 8.0 * 0.1 + 1e-5

with TemporaryDirectory() as folder:  # a file holds no code, so the pass is given again
    model.save(Path(folder) / "model.safetensors")
    again = gcn.load(Path(folder) / "model.safetensors", passes={"gradient": [clip]})
batch = digits.images[64:128], digits.labels[64:128]
assert again.train_step(*batch) == model.train_step(*batch)
