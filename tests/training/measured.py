"""Models of small images, for tests of what is measured of them."""

import graphcnn as gcn


def measured(loss, last, backend="native", **options):
    """Return a model of images of 5x4x2 that ends with these layers."""
    return gcn.compile(
        gcn.Sequential(*last),
        input_shape=(5, 4, 2),
        loss=loss,
        optimizer=gcn.SGD(0.1),
        backend=backend,
        **options,
    )
