"""Times PyTorch on one network, as `step_worker.py` times graphcnn; `ncnn_worker.py` converts its module.

torch_worker.py NET --batch N --mode train|infer --threads T [--channels-last]
"""

from __future__ import annotations

from typing import Any

import torch
from networks import Layers, described
from protocol import answer, arguments
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "tanh": nn.Tanh, "silu": nn.SiLU, "gelu": nn.GELU}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--channels-last", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    shape, layers = described(given.net)
    layout = torch.channels_last if given.channels_last else torch.contiguous_format
    model, images = module(shape, layers), torch.randn(given.batch, shape[2], *shape[:2])
    model, images = model.to(memory_format=layout), images.to(memory_format=layout)
    name = "PyTorch, channels last" if given.channels_last else "PyTorch"
    if given.mode == "train":
        answer(name, trainer(model, images))
        return
    model.eval()
    with torch.inference_mode():
        answer(name, lambda: model(images))


def trainer(model: nn.Module, images: torch.Tensor) -> Any:
    """Return a call that takes one training step."""
    labels = torch.randint(0, 10, (len(images),))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(model(images), labels).backward()
        optimizer.step()

    return step


def module(shape: tuple[int, int, int], layers: Layers) -> nn.Module:
    """Return the network of a description, for images [N, C, H, W]."""
    made = sequence(layers)
    made(torch.zeros(2, shape[2], *shape[:2]))  # lazy layers learn their sizes
    return made


def sequence(layers: Layers) -> nn.Sequential:
    return nn.Sequential(*(layer(*each) for each in layers))


def layer(kind: str, *a: Any) -> nn.Module:
    match kind:
        case "conv":
            filters, kernel, stride, padding, bias, groups = a
            if groups == 1:
                return nn.LazyConv2d(filters, kernel, stride, padding, bias=bias)
            return nn.Conv2d(filters, filters, kernel, stride, padding, groups=groups, bias=bias)
        case "batchnorm":
            return nn.LazyBatchNorm2d()
        case "maxpool":
            return nn.MaxPool2d(*a)
        case "avgpool":
            return nn.AvgPool2d(*a)
        case "globalavg":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "flatten":
            return nn.Flatten()
        case "dense":
            return nn.LazyLinear(*a)
        case "residual":
            return Residual(*a)
    return ACTIVATIONS[kind]()


class Residual(nn.Module):
    def __init__(self, main: Layers, shortcut: Layers, has_relu: bool) -> None:
        super().__init__()
        self.main, self.shortcut = sequence(main), sequence(shortcut)
        self.end = nn.ReLU() if has_relu else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.main(x) + self.shortcut(x))


if __name__ == "__main__":
    main()
