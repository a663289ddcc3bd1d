"""Layers that change images in training: what becomes of each, and that nothing but its key decides that."""

import itertools

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError, ShapeError
from graphcnn.sample_keys import identities, in_epoch

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.uniform(0.1, 1, (64, 8, 6, 3)).astype(np.float32)
LAYERS = {
    "flip": gcn.RandomFlip("horizontal_and_vertical"),
    "alternating": gcn.RandomFlip(alternating=True),
    "shift": gcn.RandomCrop(padding=2),
    "reflected": gcn.RandomCrop((6, 4), padding=((1, 2), (3, 0)), padding_mode="reflect"),
    "cutout": gcn.Cutout((3, 4), rate=0.7, value=0.5),
    "erasing": gcn.RandomErasing(rate=0.8),
    "affine": gcn.RandomAffine(30, translate=(0.1, 0.2), scale=(0.8, 1.3)),
    "jitter": gcn.ColorJitter(0.4, 0.4, 0.4),
    "all": gcn.Sequential(
        gcn.RandomFlip(), gcn.RandomCrop(padding=1), gcn.Cutout(3), gcn.Normalize((0.5, 0.4, 0.3), 0.2)
    ),
}
EVERY_LAYER = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def keys(samples, epoch=0, seed=1):
    return in_epoch(identities(seed, np.arange(samples)), epoch)


def augmented(layer, images, keys, backend="numpy", **options):
    """Return what becomes of images in training."""
    model = gcn.compile(layer, input_shape=images.shape[1:], dtype=str(images.dtype))
    graph = model.training_graph
    given = {"sample_key": keys} if "sample_key" in graph.inputs else {}
    return load_backend(backend).compile(graph, **options)(image=images, **model.state(), **given)["output"]


@EVERY_LAYER
def test_a_sample_becomes_the_same_in_every_batch(layer):
    """In any order, in batches of any size, on any number of threads, on both backends."""
    samples = keys(len(IMAGES))
    expected = augmented(layer, IMAGES, samples)
    order = RANDOM.permutation(len(IMAGES))
    np.testing.assert_array_equal(augmented(layer, IMAGES[order], samples[order]), expected[order])
    for threads in (1, 2, 3):
        found = augmented(layer, IMAGES, samples, "native", threads=threads)
        np.testing.assert_array_equal(found, expected)
    parts = [slice(0, 1), slice(1, 16), slice(16, 33), slice(33, 64)]
    found = [augmented(layer, IMAGES[part], samples[part], "native") for part in parts]
    np.testing.assert_array_equal(np.concatenate(found), expected)


@EVERY_LAYER
def test_epochs_and_seeds_differ(layer):
    first = augmented(layer, IMAGES, keys(64))
    assert not np.array_equal(first, augmented(layer, IMAGES, keys(64, epoch=1)))
    assert not np.array_equal(first, augmented(layer, IMAGES, keys(64, seed=2)))


@EVERY_LAYER
def test_double_precision_makes_the_same_choices(layer):
    single = augmented(layer, IMAGES, keys(64))
    double = augmented(layer, IMAGES.astype(np.float64), keys(64))
    np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["flip", "alternating", "shift", "cutout", "erasing", "affine", "jitter"])
def test_inference_leaves_images_alone(name):
    model = gcn.compile(LAYERS[name], input_shape=IMAGES.shape[1:])
    np.testing.assert_array_equal(model.predict(IMAGES), IMAGES)
    assert list(model.forward_graph.inputs) == ["image"]


def test_the_graph_of_training_shows_what_is_drawn():
    model = gcn.compile(gcn.RandomCrop(padding=2, name="shift"), input_shape=(8, 8, 1))
    names = [node.op.name for _, node in model.training_graph.items()]
    assert names == ["input", "input", "sample_integers", "sample_integers", "crop_samples"]
    assert gcn.parse(str(model.training_graph)) == model.training_graph


# Flips


def mirrored(found, images, axis):
    """Return which images are mirrored, and see that the others are as they were."""
    flipped = np.flip(images, axis)
    is_flipped = (found == flipped).all(axis=(1, 2, 3))
    assert (is_flipped | (found == images).all(axis=(1, 2, 3))).all()
    return is_flipped


@pytest.mark.parametrize(("mode", "axis"), [("horizontal", 2), ("vertical", 1)])
@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_a_share_of_the_images_is_mirrored(mode, axis, rate):
    images = np.tile(IMAGES, (20, 1, 1, 1))
    flags = mirrored(augmented(gcn.RandomFlip(mode, rate), images, keys(len(images))), images, axis)
    assert np.mean(flags) == pytest.approx(rate, abs=3 * np.sqrt(rate * (1 - rate) / len(images)))


def test_alternating_flips_show_each_image_both_ways_in_two_epochs():
    layer = gcn.RandomFlip(alternating=True)
    flags = [mirrored(augmented(layer, IMAGES, keys(64, epoch)), IMAGES, 2) for epoch in range(5)]
    assert 16 < np.sum(flags[0]) < 48
    for before, after in itertools.pairwise(flags):
        np.testing.assert_array_equal(before, ~after)


def test_both_ways_are_drawn_by_themselves():
    both = augmented(gcn.RandomFlip("horizontal_and_vertical"), IMAGES, keys(64))
    kinds = [np.flip(IMAGES, axes) for axes in ((), (1,), (2,), (1, 2))]
    found = [sum((image == kind[n]).all() for n, image in enumerate(both)) for kind in kinds]
    assert sum(found) == 64
    assert min(found) > 4


# Crops


def test_a_shift_moves_an_image_by_up_to_the_padding():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    found = augmented(gcn.RandomCrop(padding=2), IMAGES, keys(64))
    places = [
        (row, column)
        for image, wide in zip(found, padded, strict=True)
        for row in range(5)
        for column in range(5)
        if np.array_equal(image, wide[row : row + 8, column : column + 6])
    ]
    assert len(places) == 64
    assert {row for row, _ in places} == {column for _, column in places} == set(range(5))


def test_a_window_lies_within_the_image_and_in_inference_in_its_middle():
    layer = gcn.RandomCrop((5, 3))
    found = augmented(layer, IMAGES, keys(64))
    for image, whole in zip(found, IMAGES, strict=True):
        assert any(
            np.array_equal(image, whole[row : row + 5, column : column + 3])
            for row in range(4)
            for column in range(4)
        )
    model = gcn.compile(layer, input_shape=IMAGES.shape[1:])
    np.testing.assert_array_equal(model.predict(IMAGES), IMAGES[:, 1:6, 1:4])


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_what_a_window_shows_beside_the_image(mode):
    wide = np.pad(IMAGES, ((0, 0), (1, 0), (0, 2), (0, 0)), mode=mode)
    found = augmented(gcn.RandomCrop(padding=((1, 0), (0, 2)), padding_mode=mode), IMAGES, keys(64))
    for image, whole in zip(found, wide, strict=True):
        windows = [whole[row : row + 8, column : column + 6] for row in range(2) for column in range(3)]
        assert sum(np.array_equal(image, window) for window in windows) == 1


# Boxes


def boxes(found, images, value):
    """Return the height and width of what is erased of each image, and see that the rest is as it was."""
    sizes = []
    for image, before in zip(found, images, strict=True):
        erased = (image == value).all(axis=2)
        np.testing.assert_array_equal(image[~erased], before[~erased])
        rows, columns = erased.any(axis=1), erased.any(axis=0)
        np.testing.assert_array_equal(erased, rows[:, None] & columns)
        sizes.append((int(rows.sum()), int(columns.sum())))
    return np.array(sizes)


def test_cutout_is_about_a_pixel_of_the_image():
    images = np.tile(IMAGES, (10, 1, 1, 1))
    sizes = boxes(augmented(gcn.Cutout((3, 4)), images, keys(len(images))), images, 0)
    assert set(map(tuple, sizes)) == {(h, w) for h in (2, 3) for w in (2, 3, 4)}
    kept = boxes(augmented(gcn.Cutout(3, rate=0.25, value=2.0), images, keys(len(images))), images, 2.0)
    assert np.mean(kept.all(axis=1)) == pytest.approx(0.25, abs=0.06)


def test_erasing_draws_boxes_of_the_areas_and_ratios_it_is_given():
    images = np.full((400, 40, 30, 1), 0.5, np.float32)
    layer = gcn.RandomErasing(rate=0.5, scale=(0.05, 0.1), ratio=(0.5, 2.0))
    sizes = boxes(augmented(layer, images, keys(400)), images, 0)
    erased = sizes[sizes.all(axis=1)]
    assert 160 < len(erased) < 240
    areas, ratios = erased.prod(axis=1), erased[:, 0] / erased[:, 1]
    assert 0.04 * 1200 < areas.min() < 0.06 * 1200
    assert 0.09 * 1200 < areas.max() < 0.11 * 1200
    assert 0.4 < ratios.min() < 0.65
    assert 1.7 < ratios.max() < 2.4


# Turns, and light


def places_read(layer, samples, height, width):
    """Return the row and the column that each pixel is read at: what becomes of ramps, and of ones."""
    ramps = np.ones((samples, height, width, 3))
    ramps[..., 0] += np.arange(height)[:, None]
    ramps[..., 1] += np.arange(width)
    found = augmented(layer, ramps, keys(samples))
    inside = found[..., 2] > 1 - 1e-9
    return np.where(inside[..., None], found[..., :2] - 1, np.nan)


def test_images_are_turned_scaled_and_shifted_about_their_middle():
    height, width, layer = 21, 30, gcn.RandomAffine(40, translate=(0.1, 0.2), scale=(0.8, 1.5))
    places = places_read(layer, 200, height, width)
    i, j = np.mgrid[:height, :width] - np.array([10, 14.5])[:, None, None]
    angles, scales, shifts = [], [], []
    for place in places:
        held = ~np.isnan(place[..., 0])
        pixels = np.stack([i[held], j[held], np.ones(held.sum())], 1)
        fit, _, _, _ = np.linalg.lstsq(pixels, place[held] - [10, 14.5], rcond=None)
        np.testing.assert_allclose(pixels @ fit, place[held] - [10, 14.5], atol=1e-6)
        (a, c), (b, d), shift = fit
        np.testing.assert_allclose([a, b], [d, -c], atol=1e-6)  # no shear, no mirror
        angles.append(np.degrees(np.arctan2(c, a)))
        scales.append(1 / np.hypot(a, c))
        shifts.append(np.linalg.solve(np.array([[a, b], [c, d]]), -shift))
    for found, low, high in (
        (angles, -40, 40),
        (scales, 0.8, 1.5),
        (np.array(shifts)[:, 0], -2.1, 2.1),
        (np.array(shifts)[:, 1], -6, 6),
    ):
        spread = high - low
        assert low <= min(found) < low + 0.1 * spread
        assert high >= max(found) > high - 0.1 * spread


def test_nothing_to_turn_by_leaves_images_alone():
    np.testing.assert_array_equal(augmented(gcn.RandomAffine(), IMAGES, keys(64)), IMAGES)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_light_and_colour_change_by_one_factor_an_image(name, channels):
    images = RANDOM.uniform(0.4, 0.6, (100, 8, 6, channels))
    found = augmented(gcn.ColorJitter(**{name: 0.3}), images, keys(100))
    grey = images @ [0.299, 0.587, 0.114] if channels == 3 else images.mean(-1)
    if name == "saturation" and channels == 1:
        np.testing.assert_array_equal(found, images)
        return
    centre = {"brightness": 0 * grey, "contrast": grey.mean((1, 2), keepdims=True), "saturation": grey}
    distance = images - (centre[name] + 0 * grey)[..., None]
    factors = ((found - images) / distance + 1)[np.abs(distance) > 1e-3]
    each = np.median(((found - images) / distance + 1).reshape(100, -1), axis=1)
    np.testing.assert_allclose(found, images + (each - 1)[:, None, None, None] * distance, atol=1e-7)
    assert 0.7 <= factors.min() < 0.72
    assert 1.28 < factors.max() <= 1.3


def test_colours_stay_between_0_and_1():
    found = augmented(gcn.ColorJitter(3.0, 3.0, 3.0), IMAGES, keys(64))
    assert found.min() == 0
    assert found.max() == 1


# What is drawn for whom


def test_a_layer_draws_the_same_for_all_that_it_is_applied_to():
    flip, other = gcn.RandomFlip(), gcn.RandomFlip()
    x, y = gcn.Input((8, 6, 3), "x"), gcn.Input((8, 6, 1), "y")
    network = gcn.Network((x, y), {"image": flip(x), "mask": flip(y), "other": other(x)})
    graph = network.trace(training=True).graph
    masks = IMAGES[..., :1]
    found = load_backend("native").compile(graph)(x=IMAGES, y=masks, sample_key=keys(64))
    flags = mirrored(found["image"], IMAGES, 2)
    np.testing.assert_array_equal(mirrored(found["mask"], masks, 2), flags)
    assert not np.array_equal(mirrored(found["other"], IMAGES, 2), flags)


def test_a_layer_draws_the_same_whatever_else_there_is():
    alone = augmented(gcn.RandomFlip(name="mirror"), IMAGES, keys(64))
    layers = gcn.Sequential(gcn.RandomFlip(rate=0.0), gcn.RandomFlip(name="mirror"))
    np.testing.assert_array_equal(augmented(layers, IMAGES, keys(64)), alone)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_errors_flow_back_to_where_pixels_came_from(backend):
    """The gradient of the sum of squares is twice each pixel that was kept."""
    x = gcn.Input((8, 6, 3), "x")
    moved = gcn.Cutout(3)(gcn.RandomCrop(padding=2)(gcn.RandomFlip()(x)))
    graph = gcn.Network(x, gcn.sum(moved * moved)).trace(training=True).graph
    slopes = gcn.gradient(graph, of="output", wrt=["x"])
    found = load_backend(backend).compile(slopes)(x=IMAGES, sample_key=keys(64))["gradient(x)"]
    kept = found != 0
    np.testing.assert_array_equal(found[kept], 2 * IMAGES[kept])
    assert 0.5 < kept.mean() < 0.95
    whole = load_backend(backend).compile(graph)(x=IMAGES, sample_key=keys(64))["output"]
    np.testing.assert_allclose((np.where(kept, IMAGES, 0) ** 2).sum(), whole, rtol=1e-5)


# What layers take


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: gcn.RandomFlip("sideways"), "'sideways' is no way to mirror"),
        (lambda: gcn.RandomFlip(rate=1.5), "rate=1.5 is not a number from 0 to 1"),
        (lambda: gcn.RandomFlip(rate=0.3, alternating=True), "rate=0.3 does not alternate"),
        (lambda: gcn.RandomCrop(padding="same"), "padding='same' is no number of pixels"),
        (lambda: gcn.RandomCrop(padding=-1), "unknown padding -1"),
        (lambda: gcn.RandomCrop(padding=1, padding_mode="mirror"), "'mirror' is no way of padding"),
        (lambda: gcn.Cutout(0), "size=0"),
        (lambda: gcn.Cutout(4, value="black"), "value='black'"),
        (lambda: gcn.RandomErasing(scale=(0.5, 0.2)), r"scale=\(0.5, 0.2\)"),
        (lambda: gcn.RandomErasing(scale=(0.5, 2.0)), "at most 1"),
        (lambda: gcn.RandomErasing(ratio=3), "ratio=3 is not a pair"),
        (lambda: gcn.RandomAffine((-10, 10)), r"degrees=\(-10, 10\) is not a number from 0 to 360"),
        (lambda: gcn.RandomAffine(translate=(0.1, 2)), r"translate=\(0.1, 2\)"),
        (lambda: gcn.RandomAffine(scale=(0, 1)), r"scale=\(0, 1\)"),
        (lambda: gcn.ColorJitter(-0.1), "brightness=-0.1 is not a number of at least 0"),
    ],
)
def test_arguments_that_are_not_allowed_are_named(make, problem):
    with pytest.raises(OptionError, match=problem):
        make()


def test_only_images_of_samples_are_changed():
    with pytest.raises(ShapeError, match="RandomFlip takes images"):
        gcn.RandomFlip()(gcn.Input((4,)))
    with pytest.raises(ShapeError, match="Cutout changes each sample by itself"):
        gcn.Cutout(2)(gcn.Input((2, 4, 4, 1), batch=False))
    with pytest.raises(ShapeError, match="windows of 9x6 pixels"):
        gcn.RandomCrop((9, 6))(gcn.Input((8, 6, 3)))


def test_the_name_of_the_keys_is_not_that_of_an_input():
    x = gcn.Input((4, 4, 1), name="sample_key")
    network = gcn.Network(x, gcn.RandomFlip()(x))
    with pytest.raises(OptionError, match="'sample_key' of an input"):
        gcn.compile(network)


def test_other_frameworks_names_are_known():
    for name, advice in (
        ("RandomHorizontalFlip", r"gcn\.RandomFlip\(\)"),
        ("RandomRotation", r"gcn\.RandomAffine"),
    ):
        with pytest.raises(AttributeError, match=advice):
            getattr(gcn, name)
    with pytest.raises(OptionError, match=r"rate=0\.1"):
        gcn.RandomFlip(p=0.1)
