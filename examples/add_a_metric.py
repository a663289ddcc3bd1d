"""A metric from outside: how often the label is among the k greatest outputs."""

from dataclasses import dataclass

import graphcnn as gcn
from graphcnn import ops


@dataclass(frozen=True)
class TopAccuracy:
    """The share of samples with fewer than k outputs above the label's."""

    k: int = 2

    @property
    def name(self):
        return f"top{self.k}"

    def append(self, emit, output, target):
        one_hot = emit(ops.OneHot(output.type.static(1), output.type.dtype), target)
        labelled = emit(ops.Sum((1,), keep=True), emit(ops.Multiply(), output, one_hot))  # [N, 1]
        above = emit(ops.Greater(), output, emit(ops.Broadcast(output.type.shape), labelled))
        count = emit(ops.Sum((1,)), emit(ops.Cast(output.type.dtype), above))  # [N]
        hit = emit(ops.Greater(), ops.constant(emit, self.k - 0.5, count.type), count)
        return emit(ops.Mean((0,)), emit(ops.Cast(output.type.dtype), hit))


if __name__ == "__main__":
    digits = gcn.data.load_digits()
    model = gcn.compile(
        gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1),
        metrics=["accuracy", TopAccuracy(2), TopAccuracy(3)],
    )  # fmt: skip
    model.fit(digits.images, digits.labels, epochs=3, progress=False)
    print("top accuracies:", model.evaluate(digits.test_images, digits.test_labels))
