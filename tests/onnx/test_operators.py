"""Operators that are made of several ops: their numbers for any batch on both backends, and their gradients.

ONNX's own cases are of one batch each; here it is open.
"""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.interchange.onnx.backend import GraphcnnBackend
from graphcnn.testing import check_gradients
from tests.onnx.models import Writer, reference


def drawn(*shape, dtype=np.float64):
    return np.random.default_rng(11).normal(size=shape).astype(dtype)


def writer():
    return Writer(20, np.float64)


def run(model, backend, **inputs):
    """Return the output, in the file's order of axes."""

    class Chosen(GraphcnnBackend):
        pass

    Chosen.backend = backend
    (found,) = Chosen.prepare(model).run(inputs)
    return found


def check(model, expected, order=2, atol=1e-12, **inputs):
    """Compare the output of both backends with what is expected, and gradients with differences."""
    for backend in ("numpy", "native"):
        np.testing.assert_allclose(run(model, backend, **inputs), expected, rtol=1e-9, atol=atol)
    network = gcn.from_onnx(model.SerializeToString())
    own = {
        name: np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim == 4 else x for name, x in inputs.items()
    }
    weights = gcn.compile(network).weights
    check_gradients(network.trace().graph, "output", [*own], own | dict(weights), order=order)


def against_reference(model, **inputs):
    check(model, reference(model, **inputs)[0], **inputs)


EQUATIONS = {
    "nqd,nkd->nqk": ((5, 4), (3, 4)),  # attention's scores
    "nqk,nkd->nqd": ((5, 3), (3, 4)),
    "nchw,ndhw->ncd": ((3, 2, 2), (4, 2, 2)),
    "nhwij,nhkwj->nhkwi": ((2, 3, 4, 5), (2, 6, 3, 5)),
    "n...c,n...c->n...": ((3, 4), (3, 4)),
    "nij,nji->n": ((3, 4), (4, 3)),
    "nii,nj->nij": ((3, 3), (4,)),
    "nab,nc->nabc": ((2, 3), (4,)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_products_of_einsum(equation):
    first, second = EQUATIONS[equation]
    w = writer()
    model = w.model({"x": ("N", *first), "y": ("N", *second)}, w.node("Einsum", "x", "y", equation=equation))
    x, y = drawn(3, *first), drawn(3, *second)[::-1].copy()
    check(model, np.einsum(equation, x, y), x=x, y=y)


def test_einsum_with_weights_is_a_product_of_rows():
    """Tokens times a matrix for each head, as einops' users write it."""
    w = writer()
    h = w.node("Einsum", "x", w.weight("w", 4, 2, 3), equation="ntc,chd->nhtd")
    h = w.node("Einsum", h, w.weight("v", 2, 3, 5), equation="nhtd,hde->nte")
    against_reference(w.model({"x": ("N", 6, 4)}, h), x=drawn(3, 6, 4))


@pytest.mark.parametrize(
    ("equation", "reason"),
    [("nij->ij", "sums up the samples"), ("nij,nij,n->", "of 3 operands"), ("nijk->n", "not of 3 axes")],
)
def test_what_einsum_cannot_be(equation, reason):
    w = writer()
    model = w.model({"x": ("N", 2, 2)}, w.node("Einsum", "x", equation=equation))
    with pytest.raises(gcn.InterchangeError, match=reason):
        gcn.from_onnx(model.SerializeToString())


def test_windows_of_an_adaptive_pool():
    """As PyTorch's second exporter writes one: indices of windows along the first axes, and their means."""
    w = writer()
    rows, columns = np.array([[0, 1, 2], [2, 3, 4]]), np.array([[0, 1], [1, -2], [3, -1]])
    grid = np.broadcast_arrays(rows[:, :, None, None], columns[None, None])
    h = w.node("Transpose", w.node("Neg", "x"), perm=[2, 3, 0, 1])
    h = w.node("GatherND", h, w.array("windows", np.stack(grid, -1), np.int64))
    h = w.node("Transpose", h, perm=[4, 5, 0, 1, 2, 3])
    h = w.node("ReduceMean", h, w.array("axes", [-3, -1], np.int64), keepdims=0)
    against_reference(w.model({"x": ("N", 3, 5, 5)}, h), x=drawn(2, 3, 5, 5))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_numbers_written_to_places(reduction):
    """As detectors write boxes into maps: axes behind the samples are in front meanwhile."""
    w = writer()
    front = w.node("Transpose", "x", perm=[1, 2, 0])
    new = w.node("Transpose", "y", perm=[1, 0])
    places = w.array("places", [[0, 1], [2, -1], [1, 0]], np.int64)
    h = w.node("Transpose", w.node("ScatterND", front, places, new, reduction=reduction), perm=[2, 0, 1])
    model = w.model({"x": ("N", 3, 4), "y": ("N", 3)}, h)
    against_reference(model, x=drawn(2, 3, 4), y=drawn(2, 3) - 0.3)


def test_the_last_of_several_numbers_at_one_place_stays():
    w = writer()
    indices = w.array("indices", [[1, 0, 1], [2, 2, -3]], np.int64)
    h = w.node(
        "ScatterElements", w.weight("old", 2, 3), indices, w.array("new", [[1, 2, 3], [4, 5, 6]]), axis=1
    )
    h = w.node("Add", "x", h)
    against_reference(w.model({"x": ("N", 2, 3)}, h), x=drawn(2, 2, 3))


def test_indices_of_samples_are_in_the_way():
    w = writer()
    model = w.model({"x": ("N", 3)}, w.node("GatherND", "x", w.array("i", [[0]], np.int64), name="pick"))
    with pytest.raises(gcn.InterchangeError, match=r"GatherND \('pick'\): it takes samples of the batch"):
        gcn.from_onnx(model.SerializeToString())


@pytest.mark.parametrize("largest", [0, 1])
def test_the_greatest_numbers_and_their_places(largest):
    w = writer()
    count = w.array("count", [3], np.int64)
    values, places = w.node("TopK", "x", count, outputs=2, axis=1, largest=largest)
    weights = w.node("Cast", places, to=11)
    against_reference(w.model({"x": ("N", 7)}, w.node("Mul", values, weights)), x=drawn(4, 7))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_images_read_at_places_of_a_map(padding, corners):
    """A spatial transformer: a map of each sample, the places that it makes, and what is there."""
    w = writer()
    size = w.array("size", [1, 3, 4, 6], np.int64)
    grid = w.node("AffineGrid", "map", size, align_corners=corners)
    h = w.node("GridSample", "x", grid, mode="linear", padding_mode=padding, align_corners=corners)
    maps = np.float64([[[0.9, 0.3, 0.21], [-0.2, 1.3, 0.13]], [[1.73, 0.11, 0.4], [0.3, 0.8, -0.3]]])
    model = w.model({"x": ("N", 3, 5, 5), "map": ("N", 2, 3)}, h)
    images = drawn(2, 3, 5, 5)
    pairs = [(images[i : i + 1], maps[i : i + 1]) for i in range(2)]  # the file has the size of one image
    expected = np.concatenate([reference(model, x=image, map=each)[0] for image, each in pairs])
    check(model, expected, order=1, atol=1e-5, x=images, map=maps)  # the reference has a grid of float32


def test_images_too_large_for_a_weight_of_each_pixel():
    w = writer()
    model = w.model({"x": ("N", 3, 128, 128), "grid": ("N", 64, 64, 2)}, w.node("GridSample", "x", "grid"))
    with pytest.raises(gcn.InterchangeError, match="4096 places of images of 128x128 pixels"):
        gcn.from_onnx(model.SerializeToString())


def test_regions_that_reach_beyond_the_image():
    w = writer()
    region = w.array("region", [0, 0, 0.4, -0.2, 1, 1, 0.8, 1.1])
    h = w.node(
        "Resize", "x", region, "", w.array("sizes", [1, 2, 3, 6], np.int64), mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.0,
    )  # fmt: skip
    model = w.model({"x": (1, 2, 4, 5)}, h)
    x = drawn(1, 2, 4, 5)
    against_reference(model, x=x)


def test_views_of_memory_by_the_numbers_of_samples():
    """As PyTorch's second exporter writes as_strided: places in all numbers of the batch."""
    w = writer()
    flat = w.node("Reshape", "x", w.array("all", [-1], np.int64))
    zero, one = w.array("zero", 0, np.int64), w.array("one", 1, np.int64)
    count = w.node("Squeeze", w.node("Shape", "x", start=0, end=1))
    starts = w.node("Mul", w.node("Range", zero, count, one), w.array("apart", 6, np.int64))
    starts = w.node("Unsqueeze", starts, w.array("axes", [1, 2], np.int64))
    places = w.node("Add", starts, w.array("within", [[[5, 3], [0, 1]]], np.int64))
    against_reference(w.model({"x": ("N", 2, 3)}, w.node("Gather", flat, places)), x=drawn(3, 2, 3))
