"""AlexNet."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.layers import AdaptiveAvgPool2d, Conv2d, Dense, Dropout, Flatten, MaxPool2d, ReLU
from graphcnn.dsl.network import Input, Network
from graphcnn.zoo.chain import chain, scaled


@known_arguments
def alexnet(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.5,
) -> Network:
    """Return AlexNet in one column (Krizhevsky, "One weird trick for parallelizing ...", arXiv 1404.5997).

    61,100,840 parameters for 1,000 classes, as torchvision's `alexnet`, whose names the layers have.
    width: what the channels and units of every layer are multiplied by. dropout: the rate before the first
    two dense layers.
    """
    image = Input(input_shape, name="image")
    features = [
        Conv2d(scaled(64, width), 11, stride=4, padding=2),
        ReLU(),
        MaxPool2d(3, 2),
        Conv2d(scaled(192, width), 5, padding=2),
        ReLU(),
        MaxPool2d(3, 2),
        Conv2d(scaled(384, width), 3, padding=1),
        ReLU(),
        Conv2d(scaled(256, width), 3, padding=1),
        ReLU(),
        Conv2d(scaled(256, width), 3, padding=1),
        ReLU(),
        MaxPool2d(3, 2),
    ]
    classifier = [
        Dropout(dropout),
        Dense(scaled(4096, width)),
        ReLU(),
        Dropout(dropout),
        Dense(scaled(4096, width)),
        ReLU(),
        Dense(classes),
    ]
    x = Flatten()(AdaptiveAvgPool2d(6, name="avgpool")(chain(image, "features", features)))
    return Network(image, chain(x, "classifier", classifier), name="alexnet")
