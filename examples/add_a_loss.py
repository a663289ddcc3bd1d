"""A loss from outside: cross-entropy whose labels are smoothed."""

from dataclasses import dataclass

import graphcnn as gcn
from graphcnn import ops


@dataclass(frozen=True)
class SmoothedCrossEntropy:
    """Cross-entropy with labels of 1 - smoothing, the rest spread over all classes."""

    smoothing: float = 0.1
    reduction: str = "mean"  # of the losses of a batch: or "sum"

    def target_type(self, output):
        return gcn.TensorType(output.shape[:1], "int64")  # a label for each sample, [N]

    def per_sample(self, emit, output, target):
        sharp = emit(ops.SoftmaxCrossEntropy(), output, target)  # [N]
        even = emit(ops.Negate(), emit(ops.Mean((1,)), emit(ops.LogSoftmax(), output)))  # [N]
        weights = [ops.constant(emit, share, output.type) for share in (1 - self.smoothing, self.smoothing)]
        parts = [emit(ops.Multiply(), w, part) for w, part in zip(weights, (sharp, even), strict=True)]
        return emit(ops.Add(), *parts)


if __name__ == "__main__":
    digits = gcn.data.load_digits()
    model = gcn.compile(
        gcn.zoo.digits(), input_shape=(8, 8, 1), loss=SmoothedCrossEntropy(),
        optimizer=gcn.SGD(0.1, momentum=0.9), metrics=["accuracy"],
    )  # fmt: skip
    model.fit(digits.images, digits.labels, epochs=8, progress=False)
    print("smoothed cross-entropy:", model.evaluate(digits.test_images, digits.test_labels))
