"""Known networks, each a function that returns it afresh: `gcn.zoo.lenet5()`, `gcn.zoo.resnet18(classes=10)`.

Those of `ZOO` are small and to begin with: each is a `Sequential` with 10 outputs. Those of `PUBLISHED` are
as their papers have them: each is a `Network`, which compiles as it is, with `classes`, `input_shape` and
`width` to choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphcnn.dsl.network import Network, Sequential
from graphcnn.zoo.alexnet import alexnet
from graphcnn.zoo.densenet import densenet121
from graphcnn.zoo.networks import digits, lecun1989, lenet5, mnist_cnn, vgg_small
from graphcnn.zoo.nin import nin
from graphcnn.zoo.resnet import resnet18, resnet20, resnet34, resnet50
from graphcnn.zoo.vgg import vgg11, vgg16
from graphcnn.zoo.wideresnet import wideresnet16


@dataclass(frozen=True, slots=True)
class Entry:
    """A network to begin with, and the shape of one sample (height, width, channels)."""

    make: Callable[[], Sequential]
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
    "alexnet": Published(alexnet, "Krizhevsky, arXiv 1404.5997, 2014"),
    "vgg11": Published(vgg11, "Simonyan and Zisserman, ICLR 2015"),
    "vgg16": Published(vgg16, "Simonyan and Zisserman, ICLR 2015"),
    "nin": Published(nin, "Lin, Chen and Yan, ICLR 2014"),
    "resnet18": Published(resnet18, "He et al., CVPR 2016"),
    "resnet20": Published(resnet20, "He et al., CVPR 2016"),
    "resnet34": Published(resnet34, "He et al., CVPR 2016"),
    "resnet50": Published(resnet50, "He et al., CVPR 2016"),
    "wideresnet16": Published(wideresnet16, "Zagoruyko and Komodakis, BMVC 2016"),
    "densenet121": Published(densenet121, "Huang et al., CVPR 2017"),
}

__all__ = [
    "PUBLISHED",
    "ZOO",
    "Entry",
    "Published",
    "alexnet",
    "densenet121",
    "digits",
    "lecun1989",
    "lenet5",
    "mnist_cnn",
    "nin",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "vgg11",
    "vgg16",
    "vgg_small",
    "wideresnet16",
]
