"""The networks of the zoo as modules of PyTorch: torchvision's where it has them, else written out."""

import sys
from functools import partial

import torch
from torch import nn
from torch.nn import functional


def torchvision_models():
    """Return `torchvision.models`; its operators on boxes need a build that PyTorch's own may not fit."""
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torchvision_models.library = library  # or the definitions would go with it
        import torchvision
    return torchvision.models


models = torchvision_models()


def scaled(channels, width):
    return max(1, round(channels * width))


def classifier(inputs, units, classes, *, dropout_first):
    layers = [
        nn.Linear(inputs, units),
        nn.ReLU(),
        nn.Linear(units, units),
        nn.ReLU(),
        nn.Linear(units, classes),
    ]
    places = (0, 2) if dropout_first else (2, 4)
    for place in reversed(places):
        layers.insert(place, nn.Dropout(0.0))
    return nn.Sequential(*layers)


def alexnet(classes, width):
    module, w = models.AlexNet(classes, dropout=0.0), partial(scaled, width=width)
    counts, channels = iter((64, 192, 384, 256, 256)), 3
    for place, layer in enumerate(module.features):
        if isinstance(layer, nn.Conv2d):
            filters = w(next(counts))
            module.features[place] = nn.Conv2d(
                channels, filters, layer.kernel_size, layer.stride, layer.padding
            )
            channels = filters
    module.classifier = classifier(36 * channels, w(4096), classes, dropout_first=True)
    return module


def vgg(depths, classes, width):
    plan = []
    for filters, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
        plan += [scaled(filters, width)] * depth + ["M"]
    module = models.VGG(models.vgg.make_layers(plan), classes, init_weights=False)
    module.classifier = classifier(49 * plan[-2], scaled(4096, width), classes, dropout_first=False)
    return module


def densenet(classes, width):
    return models.DenseNet(scaled(32, width), (6, 12, 24, 16), scaled(64, width), num_classes=classes)


def convnext(classes, width):
    sizes = [scaled(size, width) for size in (96, 192, 384, 768)]
    following = [*sizes[1:], None]
    settings = [
        models.convnext.CNBlockConfig(size, after, depth)
        for size, after, depth in zip(sizes, following, (3, 3, 9, 3), strict=True)
    ]
    return models.ConvNeXt(settings, stochastic_depth_prob=0.0, num_classes=classes)


def vit(classes, width):
    size = 3 * scaled(64, width)
    return models.VisionTransformer(32, 16, 12, 3, size, 4 * size, num_classes=classes)


class Hardsigmoid(nn.Module):
    """PyTorch's own multiplies gradients of float64 by 1/6 in float32, which is wrong in the eighth digit."""

    def forward(self, x):
        return functional.relu6(x + 3) / 6


def mobilenetv3(classes, width):
    module = models.mobilenet_v3_small(num_classes=classes, dropout=0.0)
    for part in module.modules():
        if hasattr(part, "scale_activation"):
            part.scale_activation = Hardsigmoid()
    return module


class Mean(nn.Module):
    """The mean of each feature map."""

    def forward(self, x):
        return x.mean((2, 3))


class NiN(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        layers, channels = [], 3
        for kernel, filters in ((5, (192, 160, 96)), (5, (192, 192, 192)), (3, (192, 192))):
            for size, count in zip((kernel, 1, 1), filters, strict=False):
                layers += [nn.Conv2d(channels, scaled(count, width), size, padding=size // 2), nn.ReLU()]
                channels = scaled(count, width)
            if kernel == 5:
                layers += [nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(0.0)]
        self.features = nn.Sequential(*layers, nn.Conv2d(channels, classes, 1), nn.ReLU(), Mean())

    def forward(self, x):
        return self.features(x)


class PlainBlock(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.stride, self.more = stride, filters - channels
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        around = x[:, :, :: self.stride, :: self.stride]
        before = self.more // 2
        return (y + functional.pad(around, (0, 0, 0, 0, before, self.more - before))).relu()


class ResNet20(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        channels = scaled(16, width)
        self.conv1, self.bn1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        stages = []
        for filters, stride in ((16, 1), (32, 2), (64, 2)):
            blocks = []
            for number in range(3):
                blocks.append(PlainBlock(channels, scaled(filters, width), stride if number == 0 else 1))
                channels = scaled(filters, width)
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3 = stages
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.bn1, self.conv1 = (
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
        )
        self.bn2, self.conv2 = nn.BatchNorm2d(filters), nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        if channels != filters or stride > 1:
            self.convShortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x):
        before = self.bn1(x).relu()
        y = self.conv2(self.bn2(self.conv1(before)).relu())
        return y + (self.convShortcut(before) if hasattr(self, "convShortcut") else x)


class WideGroup(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.layer = nn.Sequential(WideBlock(channels, filters, stride), WideBlock(filters, filters, 1))

    def forward(self, x):
        return self.layer(x)


class WideResNet16(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        sizes = [16, *(scaled(filters, width) for filters in (16, 32, 64))]
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = WideGroup(sizes[0], sizes[1], 1)
        self.block2 = WideGroup(sizes[1], sizes[2], 2)
        self.block3 = WideGroup(sizes[2], sizes[3], 2)
        self.bn1, self.fc = nn.BatchNorm2d(sizes[3]), nn.Linear(sizes[3], classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(self.bn1(x).relu().mean((2, 3)))


class MobileNetV1(nn.Module):
    def __init__(self, classes, width):
        super().__init__()

        def part(channels, filters, kernel, stride, groups=1):
            filter_bank = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
            return nn.Sequential(filter_bank, nn.BatchNorm2d(filters), nn.ReLU())

        channels = scaled(32, width)
        layers = [part(3, channels, 3, 2)]
        for filters, stride in (
            *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
            *((512, 1),) * 5,
            *((1024, 2), (1024, 1)),
        ):
            after = scaled(filters, width)
            layers.append(
                nn.Sequential(part(channels, channels, 3, stride, channels), part(channels, after, 1, 1))
            )
            channels = after
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Two(nn.Module):
    """Two 3x3 convolutions, and for those on the way up a transposed one."""

    def __init__(self, channels, filters, up=None):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, filters, 3), nn.Conv2d(filters, filters, 3)
        if up:
            self.up = nn.ConvTranspose2d(up, filters, 2, 2)

    def forward(self, x, beside=None):
        if beside is not None:
            x = self.up(x)
            size, cut = x.shape[2], (beside.shape[2] - x.shape[2]) // 2
            x = torch.cat([beside[:, :, cut : cut + size, cut : cut + size], x], 1)
        return self.conv2(self.conv1(x).relu()).relu()


class UNet(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        sizes = [1, *(scaled(64 * 2**level, width) for level in range(5))]
        for level in range(1, 5):
            setattr(self, f"down{level}", Two(sizes[level - 1], sizes[level]))
            setattr(self, f"up{level}", Two(2 * sizes[level], sizes[level], up=sizes[level + 1]))
        self.bottom, self.head = Two(sizes[4], sizes[5]), nn.Conv2d(sizes[1], classes, 1)

    def forward(self, x):
        beside = []
        for level in range(1, 5):
            x = getattr(self, f"down{level}")(x)
            beside.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for level in range(4, 0, -1):
            x = getattr(self, f"up{level}")(x, beside[level - 1])
        return self.head(x)


class Subsampling(nn.Module):
    def __init__(self, maps):
        super().__init__()
        self.coefficient, self.bias = nn.Parameter(torch.rand(maps)), nn.Parameter(torch.rand(maps))

    def forward(self, x):
        sums = 4 * functional.avg_pool2d(x, 2)
        return sums * self.coefficient[:, None, None] + self.bias[:, None, None]


class Distances(nn.Module):
    def __init__(self, classes, units):
        super().__init__()
        self.centres = nn.Parameter(torch.randint(2, (classes, units)) * 2.0 - 1.0, requires_grad=False)

    def forward(self, x):
        return -((x[:, None] - self.centres) ** 2).sum(2)


class LeNet5(nn.Module):
    """LeNet-5 of 1998, with the table of C3 written as one convolution for each of its maps."""

    TABLE = (
        *("012", "123", "234", "345", "045", "015"),
        *("0123", "1234", "2345", "0345", "0145", "0125"),
        *("0134", "1245", "0235"),
        "012345",
    )

    def __init__(self, classes, width):
        super().__init__()
        self.c1, self.s2, self.s4 = nn.Conv2d(1, 6, 5), Subsampling(6), Subsampling(16)
        self.c3 = nn.ModuleDict(
            {str(k): nn.Conv2d(n, m, 5) for k, n, m in ((1, 3, 6), (2, 4, 6), (3, 4, 3), (4, 6, 1))}
        )
        units = scaled(84, width)
        self.c5, self.f6 = nn.Conv2d(16, scaled(120, width), 5), nn.Linear(scaled(120, width), units)
        self.output = Distances(classes, units)

    def forward(self, x):
        f = lambda x: 1.7159 * torch.tanh(2 / 3 * x)  # noqa: E731
        x = f(self.s2(f(self.c1(x))))
        parts = [(bank, number) for bank in self.c3.values() for number in range(bank.out_channels)]
        maps = [
            functional.conv2d(x[:, [*map(int, row)]], bank.weight[i : i + 1], bank.bias[i : i + 1])
            for row, (bank, i) in zip(self.TABLE, parts, strict=True)
        ]
        x = f(self.c5(f(self.s4(f(torch.cat(maps, 1))))))
        return self.output(f(self.f6(x.flatten(1))))


MODULES = {
    "lenet5_1998": (LeNet5, 0.3, (32, 32, 1)),
    "nin": (NiN, 0.1, (32, 32, 3)),
    "googlenet": (
        lambda n, w: models.GoogLeNet(n, init_weights=True, dropout=0.0, dropout_aux=0.0),
        1.0,
        (96, 96, 3),
    ),
    "squeezenet": (lambda n, w: models.SqueezeNet("1_0", n, dropout=0.0), 1.0, (64, 64, 3)),
    "resnet18": (lambda n, w: models.resnet18(num_classes=n), 1.0, (64, 64, 3)),
    "resnet20": (ResNet20, 0.5, (32, 32, 3)),
    "resnet34": (lambda n, w: models.resnet34(num_classes=n), 1.0, (64, 64, 3)),
    "resnet50": (lambda n, w: models.resnet50(num_classes=n), 1.0, (64, 64, 3)),
    "wideresnet16": (WideResNet16, 1.0, (32, 32, 3)),
    "densenet121": (densenet, 0.25, (64, 64, 3)),
    "mobilenetv1": (MobileNetV1, 0.25, (64, 64, 3)),
    "mobilenetv2": (lambda n, w: models.mobilenet_v2(num_classes=n, dropout=0.0), 1.0, (64, 64, 3)),
    "mobilenetv3_small": (mobilenetv3, 1.0, (64, 64, 3)),
    "efficientnet_b0": (
        lambda n, w: models.efficientnet_b0(num_classes=n, dropout=0.0, stochastic_depth_prob=0.0),
        1.0,
        (64, 64, 3),
    ),
    "unet": (UNet, 0.05, (188, 188, 1)),
    "convnext_tiny": (convnext, 0.25, (64, 64, 3)),
    "vit_tiny": (vit, 0.25, (32, 32, 3)),
    "alexnet": (alexnet, 0.1, (96, 96, 3)),
    "vgg11": (partial(vgg, (1, 1, 2, 2, 2)), 0.1, (64, 64, 3)),
    "vgg16": (partial(vgg, (2, 2, 3, 3, 3)), 0.1, (64, 64, 3)),
}
"""What makes the module of a number of classes and a width, that width, and the images."""
