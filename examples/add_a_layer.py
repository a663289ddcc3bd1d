"""A layer from outside: squeeze-and-excitation, which weighs channels by what all pixels say of them."""

from dataclasses import dataclass

import graphcnn as gcn
from graphcnn import ops


@dataclass(eq=False)
class SqueezeExcite(gcn.Layer):
    """x · sigmoid(w₂ relu(w₁ mean(x))), channel by channel (Hu et al., 2018). units: of the narrow part."""

    units: int

    kind = "squeeze"  # its default name in graphs: squeeze1, squeeze2, ...
    operands = 1  # how many values it takes

    def check(self):
        if self.units < 1:
            raise gcn.OptionError(f"units={self.units} is not at least 1", mend="units=4")

    def build(self, build, x):
        channels = x.type.static(3)  # x: [N, H, W, C]
        means = build(ops.Mean((1, 2)), x)  # [N, C]
        narrow = self.product(build, means, "squeeze", (channels, self.units))
        wide = self.product(build, build(ops.Relu(), narrow), "excite", (self.units, channels))
        gate = build(ops.Reshape(("N", 1, 1, channels)), build(ops.Sigmoid(), wide))
        return build(ops.Multiply(), x, build(ops.Broadcast(x.type.shape), gate))

    @staticmethod
    def product(build, x, label, shape):
        type = gcn.TensorType(shape, x.type.dtype)
        return build(ops.Matmul(), x, build.parameter(label, type, gcn.Glorot()))


if __name__ == "__main__":
    digits = gcn.data.load_digits()
    network = gcn.Sequential(
        gcn.Conv2d(8, 3), gcn.ReLU(), SqueezeExcite(4), gcn.MaxPool2d(2), gcn.Flatten(), gcn.Dense(10)
    )
    model = gcn.compile(network, input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.Adam(0.01))
    model.fit(digits.images, digits.labels, epochs=5, progress=False)
    print("squeeze and excite:", model.evaluate(digits.test_images, digits.test_labels))
