"""Each network of the zoo agrees with PyTorch's: outputs, all gradients, and the names in a state dict."""

import inspect

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.zoo import PUBLISHED

pytestmark = pytest.mark.torch

CLASSES = 5
BATCH = 3
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
NAMES = list(PUBLISHED)
AS_PYTORCH = 4.0
"""So many times the error of PyTorch's own gradients in float32 are allowed here, where that is more than the
tolerance: in deep networks rounding moves units over the kinks of relu and of maxima, and gradients jump."""
DRAWS = 3
"""On one of so many batches, no unit may lie so close to a kink that it is moved over it here and not there.
What is wrong is wrong on all of them."""


class Pair:
    """One network here and in PyTorch, with the same weights, and a batch for both.

    Every number is of float32, so that both precisions have the same. Deviations are drawn wide apart enough
    for outputs that differ.
    """

    def __init__(self, name, backend, dtype, folder):
        torch = pytest.importorskip("torch")
        from tests.zoo.pytorch_modules import MODULES

        make, width, shape = MODULES[name]
        torch.manual_seed(0)
        self.torch, self.module, self.folder = torch, make(CLASSES, width), folder
        for label, tensor in self.module.state_dict().items():
            if label.endswith(("running_mean", "bias")):
                tensor.normal_(0.0, 0.1)
            elif label.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif label.endswith("layer_scale"):
                tensor.uniform_(0.5, 1.0)
        self.module.double()
        function = getattr(gcn.zoo, name)
        rates = {"dropout", "auxiliary_dropout", "stochastic_depth"} & {
            *inspect.signature(function).parameters
        }
        network = function(classes=CLASSES, input_shape=shape, width=width, **dict.fromkeys(rates, 0.0))
        self.model = gcn.compile(network, loss=gcn.CrossEntropy(), backend=backend, dtype=dtype)
        self.load(self.model, self.module.state_dict())
        self.shape = shape
        self.draw(1)

    def draw(self, seed):
        """Take another batch."""
        random = np.random.default_rng(seed)
        self.images = random.normal(size=(BATCH, *self.shape)).astype(np.float32)
        (output,) = self.model.forward_graph.outputs.values()
        self.labels = random.integers(0, CLASSES, (BATCH, *output.type.shape[1:-1]))

    def load(self, model, state):
        from safetensors.torch import save_file

        path = self.folder / "state.safetensors"
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, path)
        model.load_weights(path, layout="torchvision")

    def images_of_torch(self):
        return self.torch.tensor(self.images, dtype=self.torch.float64).permute(0, 3, 1, 2)

    def outputs(self):
        self.module.eval()
        y = self.module(self.images_of_torch()).detach().numpy()
        return np.moveaxis(y, 1, -1)

    def gradients(self, dtype="float64"):
        """Return PyTorch's gradients by our names and in our layout, as if they were weights."""
        precision = getattr(self.torch, dtype)
        self.module.to(precision).train()
        self.module.zero_grad()
        outputs = self.module(self.images_of_torch().to(precision))
        labels, entropy = self.torch.tensor(self.labels), self.torch.nn.functional.cross_entropy
        if isinstance(outputs, self.torch.Tensor):
            loss = entropy(outputs, labels)
        else:
            main, *others = outputs
            loss = entropy(main, labels) + 0.3 * sum(entropy(each, labels) for each in others)
        loss.backward()
        gradients = {
            name: each.grad for name, each in self.module.named_parameters() if each.grad is not None
        }
        self.module.double()
        before = dict(self.model.weights)
        gradients = {name: gradient.double() for name, gradient in gradients.items()}
        self.load(self.model, self.module.state_dict() | gradients)
        found = dict(self.model.parameters)
        self.model.weights.update(before)
        return {name: found[name] for name in found if name not in self.model.frozen}


@pytest.fixture(params=NAMES, scope="module")
def name(request):
    return request.param


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_outputs_and_gradients_agree(name, backend, dtype, tmp_path):
    pair = Pair(name, backend, dtype, tmp_path)
    expected = pair.outputs()
    found = pair.model.predict(pair.images)
    assert np.abs(found - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()
    errors = []
    for seed in range(1, 1 + DRAWS if dtype == "float32" else 2):
        pair.draw(seed)
        errors.append(error_of_gradients(pair, dtype))
        if errors[-1] <= 1:
            return
    pytest.fail(f"as multiples of what is allowed, batch by batch: {errors}")


def error_of_gradients(pair, dtype):
    """Return the greatest error of any gradient as a multiple of what is allowed."""
    batch = pair.model.as_batch(pair.images, pair.labels)
    results = pair.model.executable("gradient").step(pair.model.state(), **batch)
    expected = pair.gradients()
    found = {label: results[f"gradient({label})"] for label in expected}
    allowed = TOLERANCE[dtype]
    if dtype == "float32":
        allowed = max(allowed, AS_PYTORCH * greatest_error(pair.gradients(dtype), expected))
    return greatest_error(found, expected) / allowed


def greatest_error(found, expected):
    """Return the greatest error of any gradient, relative to its own greatest number."""
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    return max(
        np.abs(found[label] - gradient).max() / max(np.abs(gradient).max(), 1e-3 * largest)
        for label, gradient in expected.items()
    )


def test_a_state_dict_goes_back_to_pytorch(name, tmp_path):
    pair = Pair(name, "numpy", "float32", tmp_path)
    from safetensors.torch import load_file

    path = tmp_path / "back.safetensors"
    pair.model.save_weights(path, layout="torchvision")
    state = load_file(path)
    for label, tensor in pair.module.state_dict().items():
        assert pair.torch.equal(state[label].double(), tensor.double()), label
    pair.module.load_state_dict(state)


def test_resnet20_trains_as_in_pytorch(tmp_path):
    """The losses of 50 steps are PyTorch's, and batch norm's running averages at the end."""
    pair = Pair("resnet20", "native", "float64", tmp_path)
    torch, module = pair.torch, pair.module.train()
    network = gcn.zoo.resnet20(classes=CLASSES, input_shape=pair.images.shape[1:], width=0.5)
    model = gcn.compile(
        network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.05, momentum=0.9), dtype="float64"
    )
    pair.load(model, module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    random = np.random.default_rng(0)
    for step in range(50):
        labels = random.integers(0, CLASSES, 16)
        images = random.normal(labels[:, None, None, None] / CLASSES, 1.0, (16, *pair.images.shape[1:]))
        optimizer.zero_grad()
        outputs = module(torch.tensor(images).permute(0, 3, 1, 2))
        loss = torch.nn.functional.cross_entropy(outputs, torch.tensor(labels))
        loss.backward()
        optimizer.step()
        found = model.train_step(images, labels)["loss"]
        assert found == pytest.approx(loss.item(), rel=1e-6), f"step {step}"
