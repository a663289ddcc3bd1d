"""Networks of torchvision, as both of PyTorch's exporters write them: outputs and training are PyTorch's."""

import contextlib
import io
import warnings

import numpy as np
import pytest

import graphcnn as gcn

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # PyTorch warns of its own exporters

WITHOUT_OTHERS = {"aux_logits": False, "init_weights": False}
"""Inception's own first weights make outputs of 1e10, with the statistics drawn here."""
NETWORKS = {
    "resnet18": (64, {}),
    "squeezenet1_1": (64, {}),
    "mobilenet_v2": (64, {}),
    "mobilenet_v3_small": (64, {}),
    "shufflenet_v2_x1_0": (64, {}),
    "mnasnet1_0": (64, {}),
    "googlenet": (64, WITHOUT_OTHERS),
    "inception_v3": (96, WITHOUT_OTHERS),
    "densenet121": (64, {}),
    "regnet_y_400mf": (64, {}),
    "efficientnet_b0": (64, {}),
    "convnext_tiny": (64, {}),
    "vit_b_16": (64, {"image_size": 64}),
    "fcn_resnet50": (64, {"weights_backbone": None}),
    "deeplabv3_mobilenet_v3_large": (64, {"weights_backbone": None}),
    "lraspp_mobilenet_v3_large": (64, {"weights_backbone": None}),
    "swin_t": (64, {}),
}
BATCH = 4
RATE = 1e-3


@pytest.fixture(params=NETWORKS)
def network(request):
    """Return the module, whose statistics, scales and biases are no longer what they begin with, and images.

    Nothing is dropped in training, since two frameworks draw other numbers.
    """
    torch = pytest.importorskip("torch")
    from tests.zoo.pytorch_modules import models

    torch.manual_seed(0)
    size, options = NETWORKS[request.param]
    is_of_pixels = "weights_backbone" in options
    make = getattr(models.segmentation if is_of_pixels else models, request.param)
    module = make(weights=None, **options)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    for each in module.modules():
        if type(each).__name__ in ("Dropout", "StochasticDepth"):
            each.p = 0.0
    with torch.no_grad():
        for parameter in module.parameters():
            # equal ones would be one tensor in the file, and trained as one; weights of 0 would hide all else
            if parameter.dim() == 1 or not parameter.any():
                parameter.add_(0.05 * torch.randn_like(parameter))
    images = torch.randn(BATCH, 3, size, size)
    return (_Pixels(module) if is_of_pixels else module).eval(), images


def _Pixels(module):  # noqa: N802 - it makes an instance of a class that only PyTorch has a base for
    import torch

    class Pixels(torch.nn.Module):
        """The scores of pixels alone, of which these networks return a dictionary."""

        def __init__(self):
            super().__init__()
            self.network = module

        def forward(self, image):
            return self.network(image)["out"]

    return Pixels()


def exported(module, images, path, *, by_dynamo=False, **options):
    import torch

    if by_dynamo:
        pytest.importorskip("onnxscript")
        options |= {"dynamic_shapes": ({0: torch.export.Dim("N")},), "external_data": False}
    else:
        options |= {"dynamic_axes": {"image": {0: "N"}, "scores": {0: "N"}}, "opset_version": 17}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (images,),
            path,
            dynamo=by_dynamo,
            input_names=["image"],
            output_names=["scores"],
            **options,
        )


def channels_last(tensor):
    array = tensor.detach().numpy()
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if array.ndim == 4 else array


@pytest.mark.parametrize("by_dynamo", [False, True], ids=["by TorchScript", "by dynamo"])
def test_outputs_are_those_of_pytorch(network, by_dynamo, tmp_path):
    module, images = network
    exported(module, images, tmp_path / "model.onnx", by_dynamo=by_dynamo)
    model = gcn.compile(
        gcn.from_onnx(tmp_path / "model.onnx"), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(RATE)
    )
    expected = channels_last(module(images))
    assert np.abs(model.predict(channels_last(images)) - expected).max() <= 1e-5 * np.abs(expected).max()
    labels = np.zeros(expected.shape[:-1], np.int64)
    before = model.train_step(channels_last(images), labels)["loss"]
    assert model.train_step(channels_last(images), labels)["loss"] < before


def test_training_is_that_of_pytorch(network, tmp_path):
    """The losses of three steps in float64.

    Roundings grow from step to step: parameters that are larger by one part in 1e15 change Inception's third
    loss by 3e-8, in PyTorch itself.
    """
    import torch

    module, images = network
    module, images = module.double().train(), images.double()
    exported(
        module,
        images,
        tmp_path / "model.onnx",
        training=torch.onnx.TrainingMode.TRAINING,
        do_constant_folding=False,
    )
    network = gcn.from_onnx(tmp_path / "model.onnx")
    model = gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(RATE), dtype="float64")
    optimizer = torch.optim.SGD(module.parameters(), RATE)
    for tolerance in (1e-10, 1e-8, 1e-7):
        optimizer.zero_grad()
        scores = module(images)
        labels = torch.arange(scores[:, 0].numel()).reshape(scores[:, 0].shape) * 7 % 10
        loss = torch.nn.functional.cross_entropy(scores, labels)
        loss.backward()
        optimizer.step()
        found = model.train_step(channels_last(images), labels.numpy())["loss"]
        assert found == pytest.approx(loss.item(), rel=tolerance)
