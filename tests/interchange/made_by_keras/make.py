"""Made the files beside it, by Keras 3.15 with PyTorch: `KERAS_BACKEND=torch python make.py`."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

HERE = Path(__file__).parent


def network() -> keras.Model:
    x = layers.Input((6, 5, 2))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv1")(x)
    y = layers.BatchNormalization(epsilon=1e-5, name="bn1")(y)
    y = layers.PReLU(shared_axes=[1, 2], name="slopes")(y)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(y)
    grouped = layers.Conv2D(4, 3, padding="same", groups=2, name="grouped")
    y = keras.Sequential([layers.Input((6, 5, 8)), grouped], name="block")(y)
    y = layers.Conv2DTranspose(3, 2, name="up")(y)
    y = layers.GroupNormalization(groups=3, epsilon=1e-5, name="norm")(y)
    y = layers.Conv2D(2, 2, name="flipped")(y)
    return keras.Model(x, layers.Dense(3, name="head")(layers.Flatten()(y)))


def main() -> None:
    model, random = network(), np.random.default_rng(3)
    model.set_weights(
        [
            random.uniform(0.5, 1.5, weight.shape)
            if weight.ndim == 1
            else 0.5 * random.normal(size=weight.shape)
            for weight in model.get_weights()
        ]
    )
    model.compile("adam", "mse")  # its state is in the file as well
    images = random.normal(size=(3, 6, 5, 2)).astype(np.float32)
    model.save_weights(HERE / "network.weights.h5")
    np.savez(HERE / "outputs.npz", images=images, outputs=model.predict(images, verbose=0))


if __name__ == "__main__":
    main()
