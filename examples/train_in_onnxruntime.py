"""A network is trained in ONNX Runtime by the file of its training step, without graphcnn.

    graphcnn export digits --graph step --output step.onnx
    python train_in_onnxruntime.py step.onnx [digits.npz]

The first command writes the file, anywhere; the second one needs numpy and onnxruntime. The archive holds
`images` [N, C, H, W] and `labels` [N]; without one, there are ten patterns to learn, under noise.
"""

import sys

import numpy as np
import onnxruntime


class Training:
    """A training step in ONNX Runtime. state: what the next step takes; at first, what the file holds."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # not a line for each parameter, which is no constant here
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.results = [output.name for output in self.session.get_outputs()]
        self.inputs = {given.name: given for given in self.session.get_inputs()}
        self.state, self.samples = {}, 0

    def step(self, images, labels, **settings):
        """Take a step, and return loss and metrics of the batch before it. settings: learning_rate=0.01."""
        batch = {"image": images, "target": labels}
        if (
            "sample_key" in self.inputs
        ):  # networks that draw random numbers, as dropout: a key for each sample
            batch["sample_key"] = np.arange(self.samples, self.samples + len(images))
        self.samples += len(images)
        settings = {name: np.array(value, images.dtype) for name, value in settings.items()}
        found = self.session.run(None, {**self.state, **batch, **settings})
        outputs = dict(zip(self.results, found, strict=True))
        self.state = {name.removesuffix(".next"): outputs[name] for name in outputs if name.endswith(".next")}
        return {name: float(outputs[name]) for name in outputs if not name.endswith(".next")}


def patterns(training, count=2000):
    random = np.random.default_rng(0)
    image = training.inputs["image"]
    known = random.standard_normal((10, *image.shape[1:]))
    labels = random.integers(0, 10, count)
    images = known[labels] + random.standard_normal((count, *image.shape[1:]))
    return images.astype(np.float64 if "double" in image.type else np.float32), labels


def main(path, data=None):
    training = Training(path)
    images, labels = patterns(training) if data is None else map(np.load(data).get, ("images", "labels"))
    for step in range(100):
        chosen = np.random.default_rng(step).integers(0, len(images), 32)
        results = training.step(images[chosen], labels[chosen].astype(np.int64))
        if step % 10 == 9:
            print(f"step {step + 1:3}", *(f"{name} {value:.4f}" for name, value in results.items()))
    return training


if __name__ == "__main__":
    main(*sys.argv[1:])
