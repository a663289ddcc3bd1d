"""Losses: what they compute, their gradients, what they refuse, and that files keep them."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import evaluate
from graphcnn.errors import DataError, OptionError, ShapeError
from graphcnn.transform import differentiate

RANDOM = np.random.default_rng(11)
WEIGHTS = (0.5, 2.0, 1.0, 0.0)
ROWS = 3 * RANDOM.standard_normal((7, 4))
PIXELS = 3 * RANDOM.standard_normal((3, 2, 3, 4))
LABELS, PIXEL_LABELS = RANDOM.integers(0, 4, 7), RANDOM.integers(0, 4, (3, 2, 3))
SHARES = RANDOM.dirichlet(np.ones(4), 7)
PIXEL_SHARES = RANDOM.dirichlet(np.ones(4), (3, 2, 3))
MASKS = RANDOM.integers(0, 2, (3, 2, 3, 4)).astype(float)
FAR = RANDOM.standard_normal((7, 4))
REDUCTIONS = ("mean", "sum")


def log_softmax(y):
    shifted = y - y.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def softplus(y):
    return np.maximum(y, 0) + np.log1p(np.exp(-np.abs(y)))


def sigmoid(y):
    return np.exp(-softplus(-y))


def cross_entropy(y, t, mean, smoothing=0.0, weights=(1.0,) * 4, ignore=None):
    """PyTorch's formula: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html."""
    counts = np.ones(t.shape) if ignore is None else (t != ignore).astype(float)
    known = np.where(counts > 0, t, 0)
    w = np.array(weights)
    shares = (1 - smoothing) * np.eye(4)[known] + smoothing / 4
    each = -(w * shares * log_softmax(y)).sum(-1) * counts
    return each.sum() / (w[known] * counts).sum() if mean else each.sum()


def soft_cross_entropy(y, t, mean, smoothing=0.0, weights=(1.0,) * 4):
    shares = (1 - smoothing) * t + smoothing / 4
    each = -(np.array(weights) * shares * log_softmax(y)).sum(-1)
    return each.mean() if mean else each.sum()


def binary(y, t, mean, weights=1.0):
    each = np.array(weights) * t * softplus(-y) + (1 - t) * softplus(y)
    return each.mean() if mean else each.sum()


def focal(y, t, mean, gamma=2.0, alpha=0.25):
    p = sigmoid(y)
    right = p * t + (1 - p) * (1 - t)
    each = (t * softplus(-y) + (1 - t) * softplus(y)) * (1 - right) ** gamma
    each = each if alpha is None else each * (alpha * t + (1 - alpha) * (1 - t))
    return each.mean() if mean else each.sum()


def dice(y, t, mean, smooth=1.0, softmax=False):
    p = np.exp(log_softmax(y)) if softmax else sigmoid(y)
    both, either = (p * t).sum((1, 2)), p.sum((1, 2)) + t.sum((1, 2))
    each = 1 - (2 * both + smooth) / (either + smooth)
    return each.mean() if mean else each.sum()


def hinge(y, t, mean, margin=1.0, power=1):
    excess = np.maximum(0, margin - y[np.arange(len(y)), t][:, None] + y) ** power
    excess[np.arange(len(y)), t] = 0
    each = excess.sum(1) / 4
    return each.mean() if mean else each.sum()


def kl_divergence(y, t, mean):
    each = (t * (np.log(np.where(t > 0, t, 1)) - log_softmax(y))).sum(-1)
    return each.mean() if mean else each.sum()


def absolute(y, t, mean):
    return np.abs(y - t).mean() if mean else np.abs(y - t).sum()


def huber(y, t, mean, delta=1.0):
    e = np.abs(y - t)
    each = np.where(e <= delta, e**2 / 2, delta * (e - delta / 2))
    return each.mean() if mean else each.sum()


def cosine(y, t, mean):
    lengths = np.linalg.norm(y, axis=-1) * np.linalg.norm(t, axis=-1)
    each = 1 - (y * t).sum(-1) / lengths
    return each.mean() if mean else each.sum()


def sparse(labels, ignore):
    """Return the labels with some of them ignored."""
    return np.where(RANDOM.random(labels.shape) < 0.4, ignore, labels)


LOSSES = {
    "labels": (gcn.CrossEntropy, {}, ROWS, LABELS, cross_entropy, {}),
    "pixels": (gcn.CrossEntropy, {}, PIXELS, PIXEL_LABELS, cross_entropy, {}),
    "smoothing": (
        *(gcn.CrossEntropy, {"label_smoothing": 0.2}, ROWS, LABELS),
        *(cross_entropy, {"smoothing": 0.2}),
    ),
    "weights": (
        *(gcn.CrossEntropy, {"class_weights": WEIGHTS}, ROWS, LABELS),
        *(cross_entropy, {"weights": WEIGHTS}),
    ),
    "ignored": (
        *(gcn.CrossEntropy, {"ignore": -100}, ROWS, sparse(LABELS, -100)),
        *(cross_entropy, {"ignore": -100}),
    ),
    "an ignored class": (
        *(gcn.CrossEntropy, {"ignore": 0}, ROWS, LABELS),
        *(cross_entropy, {"ignore": 0}),
    ),
    "pixels, all three": (
        *(gcn.CrossEntropy, {"label_smoothing": 0.1, "class_weights": list(WEIGHTS), "ignore": 255}, PIXELS),
        *(sparse(PIXEL_LABELS, 255), cross_entropy, {"smoothing": 0.1, "weights": WEIGHTS, "ignore": 255}),
    ),
    "shares": (gcn.CrossEntropy, {"soft_targets": True}, ROWS, SHARES, soft_cross_entropy, {}),
    "shares of pixels": (
        *(gcn.CrossEntropy, {"soft_targets": True, "label_smoothing": 0.1, "class_weights": WEIGHTS}, PIXELS),
        *(PIXEL_SHARES, soft_cross_entropy, {"smoothing": 0.1, "weights": WEIGHTS}),
    ),
    "KL": (gcn.KLDivergence, {}, ROWS, SHARES, kl_divergence, {}),
    "KL of pixels": (gcn.KLDivergence, {}, PIXELS, np.eye(4)[PIXEL_LABELS], kl_divergence, {}),
    "hinge": (gcn.Hinge, {}, ROWS, LABELS, hinge, {}),
    "squared hinge": (
        *(gcn.Hinge, {"margin": 2.5, "power": 2}, ROWS, LABELS),
        *(hinge, {"margin": 2.5, "power": 2}),
    ),
    "binary": (gcn.BinaryCrossEntropy, {}, PIXELS, MASKS, binary, {}),
    "binary, soft": (gcn.BinaryCrossEntropy, {}, ROWS, SHARES, binary, {}),
    "binary, weights": (
        *(gcn.BinaryCrossEntropy, {"positive_weights": WEIGHTS}, PIXELS, MASKS),
        *(binary, {"weights": WEIGHTS}),
    ),
    "focal": (gcn.Focal, {}, PIXELS, MASKS, focal, {}),
    "focal, half": (
        *(gcn.Focal, {"gamma": 0.5, "alpha": None}, PIXELS, MASKS),
        *(focal, {"gamma": 0.5, "alpha": None}),
    ),
    "focal, 0": (gcn.Focal, {"gamma": 0, "alpha": 0.9}, ROWS, MASKS[0, 0, :1].repeat(7, 0), focal,
                 {"gamma": 0, "alpha": 0.9}),
    "Dice": (gcn.Dice, {}, PIXELS, MASKS, dice, {}),
    "Dice, softmax": (
        *(gcn.Dice, {"activation": "softmax", "smooth": 1e-5}, PIXELS, np.eye(4)[PIXEL_LABELS]),
        *(dice, {"smooth": 1e-5, "softmax": True}),
    ),
    "absolute": (gcn.AbsoluteError, {}, PIXELS, MASKS, absolute, {}),
    "Huber": (gcn.Huber, {}, ROWS, FAR, huber, {}),
    "Huber, wide": (gcn.Huber, {"delta": 2.5}, PIXELS, MASKS, huber, {"delta": 2.5}),
    "cosine": (gcn.CosineSimilarity, {}, ROWS, FAR, cosine, {}),
    "cosine of pixels": (gcn.CosineSimilarity, {}, PIXELS, PIXEL_SHARES, cosine, {}),
}  # fmt: skip


def compiled(loss, outputs, **options):
    """Return a model that gives what it is given."""
    network = gcn.Network(x := gcn.Input(outputs.shape[1:], name="y"), x * 1.0)
    given = {"loss": loss, "dtype": "float64", "backend": "numpy", "metrics": []} | options
    return gcn.compile(network, **given)


def loss_and_gradient(loss, outputs, targets):
    """Return the loss of the batch, and what it grows by with each output."""
    model = compiled(loss, outputs)
    graph = model.gradient_graph
    derived, gradients = differentiate(graph, graph.outputs["loss"], {"y": graph.inputs["y"]})
    derived.output("gradient", gradients["y"])
    found = evaluate(derived, y=outputs, target=targets)
    return float(found["loss"]), found["gradient"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("loss", "options", "y", "t", "reference", "given"), LOSSES.values(), ids=LOSSES)
def test_losses_follow_their_definition(loss, options, y, t, reference, given, reduction):
    is_mean = reduction == "mean"
    value, gradient = loss_and_gradient(loss(**options, reduction=reduction), y, t)
    assert value == pytest.approx(reference(y, t, is_mean, **given), abs=1e-13, rel=1e-12)
    step = 1e-6
    for place in RANDOM.permutation(y.size)[:12]:
        moved = np.zeros(y.size)
        moved[place] = step
        moved = moved.reshape(y.shape)
        slope = reference(y + moved, t, is_mean, **given) - reference(y - moved, t, is_mean, **given)
        assert gradient.flat[place] == pytest.approx(slope / (2 * step), abs=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "options", "y", "t", "reference", "given"), LOSSES.values(), ids=LOSSES)
def test_machine_code_computes_them_and_files_keep_them(
    tmp_path, loss, options, y, t, reference, given, dtype
):
    t = t.astype(dtype) if t.dtype.kind == "f" else t
    made = loss(**options)
    outputs = y.shape[-1]
    network = gcn.Sequential(gcn.Dense(outputs)) if y.ndim == 2 else gcn.Sequential(gcn.Conv2d(outputs, 1))
    model = gcn.compile(
        network, input_shape=y.shape[1:], loss=made, optimizer=gcn.SGD(0.1), dtype=dtype, backend="native"
    )
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", backend="numpy")
    assert again.loss == made
    x = y.astype(dtype)
    for _ in range(2):
        found, expected = model.train_step(x, t)["loss"], again.train_step(x, t)["loss"]
        assert found == pytest.approx(expected, rel=1e-5 if dtype == "float32" else 1e-12)
    for name, weights in model.parameters.items():
        accuracy = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(weights, again.parameters[name], rtol=accuracy, atol=accuracy)


TORCH = {
    "labels": lambda f, y, t, **o: f.cross_entropy(y, t, **o),
    "pixels": lambda f, y, t, **o: f.cross_entropy(y, t, **o),
    "smoothing": lambda f, y, t, **o: f.cross_entropy(y, t, label_smoothing=0.2, **o),
    "weights": lambda f, y, t, **o: f.cross_entropy(y, t, y.new_tensor(WEIGHTS), **o),
    "ignored": lambda f, y, t, **o: f.cross_entropy(y, t, **o),
    "an ignored class": lambda f, y, t, **o: f.cross_entropy(y, t, ignore_index=0, **o),
    "pixels, all three": lambda f, y, t, **o: f.cross_entropy(
        y, t, y.new_tensor(WEIGHTS), ignore_index=255, label_smoothing=0.1, **o
    ),
    "shares": lambda f, y, t, **o: f.cross_entropy(y, t, **o),
    "shares of pixels": lambda f, y, t, **o: f.cross_entropy(
        y, t, y.new_tensor(WEIGHTS), label_smoothing=0.1, **o
    ),
    "KL": lambda f, y, t, reduction: f.kl_div(
        f.log_softmax(y, 1), t, reduction="batchmean" if reduction == "mean" else "sum"
    ),
    "hinge": lambda f, y, t, **o: f.multi_margin_loss(y, t, **o),
    "squared hinge": lambda f, y, t, **o: f.multi_margin_loss(y, t, p=2, margin=2.5, **o),
    "binary": lambda f, y, t, **o: f.binary_cross_entropy_with_logits(y, t, **o),
    "binary, soft": lambda f, y, t, **o: f.binary_cross_entropy_with_logits(y, t, **o),
    "binary, weights": lambda f, y, t, **o: f.binary_cross_entropy_with_logits(
        y, t, pos_weight=y.new_tensor(WEIGHTS)[:, None, None], **o
    ),
    "absolute": lambda f, y, t, **o: f.l1_loss(y, t, **o),
    "Huber": lambda f, y, t, **o: f.huber_loss(y, t, **o),
    "Huber, wide": lambda f, y, t, **o: f.huber_loss(y, t, delta=2.5, **o),
    "cosine": lambda f, y, t, **o: f.cosine_embedding_loss(y, t, y.new_ones(len(y)), **o),
}


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", TORCH)
def test_losses_and_gradients_agree_with_pytorch(name, reduction):
    torch = pytest.importorskip("torch")
    loss, options, y, t, *_ = LOSSES[name]
    value, gradient = loss_and_gradient(loss(**options, reduction=reduction), y, t)
    outputs = torch.tensor(y, requires_grad=True)
    targets = torch.tensor(t)
    if y.ndim == 4:
        targets = targets.movedim(-1, 1) if t.ndim == 4 else targets
    total = TORCH[name](
        torch.nn.functional, outputs if y.ndim == 2 else outputs.movedim(-1, 1), targets, reduction=reduction
    )
    total.backward()
    assert value == pytest.approx(total.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, outputs.grad.numpy(), rtol=0, atol=1e-13)


# What is far away, and what counts for nothing


@pytest.mark.parametrize("size", [1e3, 1e8, 1e300])
@pytest.mark.parametrize(
    "loss", [gcn.BinaryCrossEntropy(), gcn.Focal(), gcn.CrossEntropy(label_smoothing=0.1)]
)
def test_outputs_that_are_very_sure_are_no_overflow(loss, size):
    y = np.array([[size, -size], [-size, size]])
    t = np.array([0, 0]) if isinstance(loss, gcn.CrossEntropy) else np.array([[1.0, 1.0], [0.0, 0.0]])
    value, gradient = loss_and_gradient(loss, y, t)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_small_losses_keep_their_digits():
    """ln(1 + e^-30) is no difference of large numbers, for yes and for no."""
    value, gradient = loss_and_gradient(
        gcn.BinaryCrossEntropy(), np.array([[30.0, -30.0]]), np.array([[1.0, 0.0]])
    )
    assert value == pytest.approx(np.log1p(np.exp(-30.0)), rel=1e-12)
    np.testing.assert_allclose(gradient, [[-np.exp(-30) / 2, np.exp(-30) / 2]], rtol=1e-12)


def test_a_batch_in_which_nothing_counts_has_no_loss_and_no_gradient():
    value, gradient = loss_and_gradient(gcn.CrossEntropy(ignore=-1), ROWS, np.full(7, -1))
    assert value == 0
    assert not gradient.any()


def test_what_is_ignored_may_be_anything():
    wild = PIXELS.copy()
    wild[0, 0, 0] = 1e300
    labels = PIXEL_LABELS.copy()
    labels[0, 0, 0] = 255
    loss = gcn.CrossEntropy(ignore=255)
    assert loss_and_gradient(loss, wild, labels)[0] == loss_and_gradient(loss, PIXELS, labels)[0]


def test_vectors_of_length_0_have_a_gradient():
    value, gradient = loss_and_gradient(gcn.CosineSimilarity(), np.zeros((2, 3)), np.ones((2, 3)))
    assert value == 1
    assert np.isfinite(gradient).all()


def test_accuracy_counts_pixels():
    model = compiled(gcn.CrossEntropy(), PIXELS, metrics=["accuracy"])
    expected = (PIXELS.argmax(-1) == PIXEL_LABELS).mean()
    assert model.evaluate(PIXELS, PIXEL_LABELS)["accuracy"] == pytest.approx(expected)


# What is refused


@pytest.mark.parametrize(
    ("make", "problem", "mend"),
    [
        (
            lambda: gcn.CrossEntropy(label_smoothing=1.5),
            "label_smoothing=1.5 is not a number from 0 to 1",
            "",
        ),
        (lambda: gcn.CrossEntropy(class_weights=3), "class_weights=3 is not a list", "class_weights=[3]"),
        (lambda: gcn.CrossEntropy(class_weights=[1, -1]), "are not finite numbers of at least 0", ""),
        (lambda: gcn.CrossEntropy(ignore=2.5), "ignore=2.5 is not a label", "ignore=255"),
        (lambda: gcn.CrossEntropy(soft_targets=1), "soft_targets=1 is neither True nor", "soft_targets=True"),
        (lambda: gcn.CrossEntropy(soft_targets=True, ignore=0), "ignore is a label", "shares of 0"),
        (lambda: gcn.Huber(0), "delta=0 is not a number above 0", ""),
        (lambda: gcn.Hinge(power=3), "power=3 is neither 1 nor 2", "power=1"),
        (lambda: gcn.Focal(gamma=float("inf")), "gamma=inf is not a number of at least 0", ""),
        (lambda: gcn.Focal(alpha=2), "alpha=2 is not a number from 0 to 1", ""),
        (lambda: gcn.Dice("relu"), "activation='relu' is neither", 'activation="sigmoid"'),
        (lambda: gcn.CosineSimilarity(-1), "epsilon=-1 is not a number above 0", ""),
        (lambda: gcn.AbsoluteError("max"), "reduction='max' is neither 'mean' nor 'sum'", 'reduction="mean"'),
    ],
)
def test_arguments_that_make_no_sense(make, problem, mend):
    with pytest.raises(OptionError) as caught:
        make()
    assert problem in str(caught.value)
    assert mend in str(caught.value).partition("Mend:")[2]
    assert str(caught.value).startswith("test_losses.py:")


@pytest.mark.parametrize(
    ("loss", "shape", "problem", "mend"),
    [
        (gcn.CrossEntropy(class_weights=[1, 2]), (3,), "2 numbers, but the network has 3 outputs", "give 3"),
        (gcn.BinaryCrossEntropy([1, 2]), (2, 2, 3), "2 numbers, but the network has 3 outputs", "give 3"),
        (gcn.Hinge(), (2, 2, 3), "Hinge takes outputs of shape [N, classes]", "gcn.Flatten()"),
        (gcn.Dice(), (3,), "Dice takes outputs of shape [N, H, W, classes]", "gcn.Conv2d(classes, 1)"),
    ],
)
def test_outputs_that_do_not_fit(loss, shape, problem, mend):
    with pytest.raises((ShapeError, OptionError)) as caught:
        compiled(loss, np.zeros((1, *shape)))
    assert problem in str(caught.value)
    assert mend in str(caught.value).partition("Mend:")[2]


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "problem", "mend"),
    [
        (gcn.CrossEntropy(), PIXELS, np.full((3, 2, 3), 255), "label 255 of sample 0, pixel (0, 0)", "=255"),
        (gcn.CrossEntropy(), PIXELS, np.full((3, 2, 3), -1), "label -1 of sample 0", "ignore=-1"),
        (gcn.CrossEntropy(ignore=9), PIXELS, np.full((3, 2, 3), 8), "label 8 of sample 0", "ignore=8"),
        (gcn.CrossEntropy(), PIXELS, PIXEL_SHARES, "look one-hot, but one integer", "argmax(axis=3)"),
        (gcn.CrossEntropy(), PIXELS, PIXEL_LABELS[..., None], "have the shape", "labels[..., 0]"),
        (gcn.CrossEntropy(), ROWS, SHARES, "soft_targets=True", "argmax(axis=1)"),
        (gcn.CrossEntropy(soft_targets=True), ROWS, LABELS, "targets have the shape", "np.eye"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit(loss, outputs, targets, problem, mend):
    with pytest.raises(DataError) as caught:
        compiled(loss, outputs).evaluate(outputs, targets)
    assert problem in str(caught.value)
    assert mend in str(caught.value).partition("Mend:")[2]
