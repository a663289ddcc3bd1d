"""Values whose axes count samples and others together, as attention of PyTorch has them."""

import numpy as np
import pytest

import graphcnn as gcn
from tests.onnx.models import Writer, reference

TOKENS, HEADS, SIZE = 5, 3, 4


def drawn(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def attention(batch):
    """Return a file of attention with tokens in front, as nn.MultiheadAttention is exported.

    batch: the number that the file has for it; "N" is computed from the shape of its input, as it is there.
    """
    w = Writer()
    columns = HEADS * SIZE
    count = iter(range(100))

    def constant(values):
        return w.array(f"sizes{next(count)}", values, np.int64)

    def sizes(*numbers):
        """A shape in which None stands for HEADS · batch."""
        if isinstance(batch, int):
            return constant([HEADS * batch if n is None else n for n in numbers])
        heads = w.node("Mul", w.node("Gather", w.node("Shape", "x"), constant(0)), constant(HEADS))
        heads = w.node("Unsqueeze", heads, constant([0]))
        parts = [heads if n is None else constant([n]) for n in numbers]
        return w.node("Concat", *parts, axis=0)

    tokens = w.node("Transpose", "x", perm=[1, 0, 2])  # [T, N, C]
    query, key, value = (
        w.node(
            "Transpose",
            w.node(
                "Reshape", w.node("MatMul", tokens, w.weight(n, columns, columns)), sizes(TOKENS, None, SIZE)
            ),
            perm=[1, 0, 2],
        )
        for n in ("q.weight", "k.weight", "v.weight")
    )  # [heads of samples, T, SIZE]
    scores = w.node(
        "MatMul", w.node("Mul", query, w.array("scale", 0.5)), w.node("Transpose", key, perm=[0, 2, 1])
    )
    h = w.node("MatMul", w.node("Softmax", scores, axis=2), value)
    h = w.node("Reshape", w.node("Transpose", h, perm=[1, 0, 2]), w.array("rows", [-1, columns], np.int64))
    h = w.node("Gemm", h, w.weight("o.weight", columns, columns), w.weight("o.bias", columns), transB=1)
    h = w.node("Reshape", h, w.array("back", [TOKENS, -1, columns], np.int64))
    return w.model({"x": (batch, TOKENS, columns)}, w.node("Transpose", h, perm=[1, 0, 2]))


@pytest.mark.parametrize("batch", ["N", 1, 2], ids=str)
def test_attention_of_heads_of_samples(batch):
    network = gcn.from_onnx(attention(batch).SerializeToString())
    model = gcn.compile(network, loss=gcn.SquaredError(), optimizer=gcn.SGD(0.001))
    x = drawn(4, TOKENS, HEADS * SIZE)
    (expected,) = reference(attention(4), x=x)
    np.testing.assert_allclose(model.predict(x), expected, atol=1e-6)
    losses = [model.train_step(x, np.zeros_like(expected))["loss"] for _ in range(3)]
    assert losses[2] < losses[0]


def test_no_axis_moves_that_need_not():
    """Tokens are in front in the file; here samples are, and their rows are multiplied where they lie."""
    graph = gcn.from_onnx(attention("N").SerializeToString()).graph
    moved = [node.op.permutation for _, node in graph.items() if isinstance(node.op, gcn.ops.Transpose)]
    assert moved == [(0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3), (0, 2, 1, 3)]  # heads and back


def test_single_elements_of_merged_axes():
    w = Writer()
    h = w.node("Reshape", "x", w.array("rows", [-1, 4], np.int64))  # [3 N, 4]
    h = w.node("Sigmoid", w.node("Add", w.node("Mul", h, w.weight("scale", 4)), w.weight("one", 1, 1)))
    h = w.node("Mul", h, h)
    model = w.model({"x": ("N", 3, 4)}, w.node("Reshape", h, w.array("back", [-1, 3, 4], np.int64)))
    x = drawn(2, 3, 4)
    found = gcn.compile(gcn.from_onnx(model.SerializeToString())).predict(x)
    np.testing.assert_allclose(found, reference(model, x=x)[0], rtol=1e-6)


def refused(model, **options):
    with pytest.raises(gcn.InterchangeError) as error:
        gcn.from_onnx(model.SerializeToString(), **options)
    return str(error.value)


def test_what_mixes_samples_is_in_the_way():
    w = Writer()
    mixed = w.node("Reshape", "x", w.array("shape", [2, -1, 3], np.int64), name="mixed")
    frames = w.node("Reshape", "y", w.array("frames", [-1, 3, 6, 6], np.int64))
    maps = w.node("Conv", frames, w.weight("w", 4, 3, 3, 3), name="conv")
    summed = w.node("Softmax", w.node("Reshape", "x", w.array("all", [-1], np.int64)), axis=0, name="soft")
    said = refused(w.model({"x": ("N", 3, 4), "y": ("N", 5, 3, 6, 6)}, mixed, maps, summed))
    assert "Reshape ('mixed'): its shape [2, -1, 3] mixes the samples of a batch" in said
    assert "Conv ('conv'): it is of [5·N, 3, 6, 6], which counts samples and others along one axis" in said
    assert "Softmax ('soft'): it is along axis 0 of [12·N]" in said


def test_an_output_whose_samples_are_counted_with_others():
    w = Writer()
    model = w.model(
        {"x": ("N", 3, 4)}, w.node("Reshape", "x", w.array("rows", [-1, 4], np.int64), name="rows")
    )
    assert "[3·N, 4], which counts samples and others along one axis" in refused(model)
