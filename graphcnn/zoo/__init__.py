"""Known networks, each a function that returns it afresh: `gcn.zoo.lenet5()`, `gcn.zoo.resnet18(classes=10)`.

Those of `ZOO` are small and to begin with: each is a `Sequential`, with `classes` to choose. Those of
`PUBLISHED` are as their papers have them: each is a `Network`, which compiles as it is, with `classes`,
`input_shape` and `width` to choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.dsl.network import Network, Sequential
from graphcnn.unknown_names import unknown_name
from graphcnn.zoo.alexnet import alexnet
from graphcnn.zoo.convnext import convnext_tiny
from graphcnn.zoo.densenet import densenet121
from graphcnn.zoo.efficientnet import efficientnet_b0
from graphcnn.zoo.googlenet import googlenet
from graphcnn.zoo.lenet import lenet5_1998
from graphcnn.zoo.mobilenet import mobilenetv1, mobilenetv2, mobilenetv3_small
from graphcnn.zoo.networks import digits, lecun1989, lenet5, mnist_cnn, vgg_small
from graphcnn.zoo.nin import nin
from graphcnn.zoo.resnet import resnet18, resnet20, resnet34, resnet50
from graphcnn.zoo.squeezenet import squeezenet
from graphcnn.zoo.unet import unet
from graphcnn.zoo.vgg import vgg11, vgg16
from graphcnn.zoo.vit import vit_tiny
from graphcnn.zoo.wideresnet import wideresnet16


@dataclass(frozen=True, slots=True)
class Entry:
    """A network to begin with, and the shape of a sample (height, width, channels). make: takes `classes`."""

    make: Callable[..., Sequential]
    input_shape: tuple[int, int, int]
    paper: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A network as a paper has it. make: takes `classes`, `input_shape` and `width`."""

    make: Callable[..., Network]
    paper: str


ZOO: dict[str, Entry] = {
    "digits": Entry(digits, (8, 8, 1)),
    "lecun1989": Entry(lecun1989, (16, 16, 1), "LeCun et al., Neural Computation 1989"),
    "lenet5": Entry(lenet5, (28, 28, 1), "LeCun et al., Proc. IEEE 1998, as used today"),
    "mnist_cnn": Entry(mnist_cnn, (28, 28, 1)),
    "vgg_small": Entry(vgg_small, (32, 32, 3), "Simonyan and Zisserman, ICLR 2015, smaller"),
}

PUBLISHED: dict[str, Published] = {
    "lenet5_1998": Published(lenet5_1998, "LeCun et al., Proc. IEEE 1998"),
    "alexnet": Published(alexnet, "Krizhevsky, arXiv 1404.5997, 2014"),
    "vgg11": Published(vgg11, "Simonyan and Zisserman, ICLR 2015"),
    "vgg16": Published(vgg16, "Simonyan and Zisserman, ICLR 2015"),
    "nin": Published(nin, "Lin, Chen and Yan, ICLR 2014"),
    "googlenet": Published(googlenet, "Szegedy et al., CVPR 2015"),
    "squeezenet": Published(squeezenet, "Iandola et al., arXiv 1602.07360, 2016"),
    "resnet18": Published(resnet18, "He et al., CVPR 2016"),
    "resnet20": Published(resnet20, "He et al., CVPR 2016"),
    "resnet34": Published(resnet34, "He et al., CVPR 2016"),
    "resnet50": Published(resnet50, "He et al., CVPR 2016"),
    "wideresnet16": Published(wideresnet16, "Zagoruyko and Komodakis, BMVC 2016"),
    "densenet121": Published(densenet121, "Huang et al., CVPR 2017"),
    "mobilenetv1": Published(mobilenetv1, "Howard et al., arXiv 1704.04861, 2017"),
    "mobilenetv2": Published(mobilenetv2, "Sandler et al., CVPR 2018"),
    "mobilenetv3_small": Published(mobilenetv3_small, "Howard et al., ICCV 2019"),
    "efficientnet_b0": Published(efficientnet_b0, "Tan and Le, ICML 2019"),
    "unet": Published(unet, "Ronneberger, Fischer and Brox, MICCAI 2015"),
    "convnext_tiny": Published(convnext_tiny, "Liu et al., CVPR 2022"),
    "vit_tiny": Published(vit_tiny, "Touvron et al., ICML 2021"),
}

__all__ = [
    "PUBLISHED",
    "ZOO",
    "Entry",
    "Published",
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "digits",
    "efficientnet_b0",
    "googlenet",
    "lecun1989",
    "lenet5",
    "lenet5_1998",
    "mnist_cnn",
    "mobilenetv1",
    "mobilenetv2",
    "mobilenetv3_small",
    "nin",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "squeezenet",
    "unet",
    "vgg11",
    "vgg16",
    "vgg_small",
    "vit_tiny",
    "wideresnet16",
]


if not TYPE_CHECKING:  # type checkers know which names there are

    def __getattr__(name: str) -> object:
        raise unknown_name(__name__, name, __all__)
