"""Shape rules: the types they give, and what they say when operands do not fit."""

import pytest

from graphcnn import ops
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, SAMPLE_KEYS, TensorType
from graphcnn.ops import Convolve2d, Correlate2d


def f64(*shape):
    return TensorType(shape, "float64")


def images(*shape):
    return f64(BATCH, *shape)


LABELS = TensorType((BATCH,), "int64")
FITTING = {
    "valid": (Correlate2d(), [images(28, 27, 1), f64(5, 4, 1, 6)], images(24, 24, 6)),
    "stride": (Correlate2d(stride=(2, 3)), [images(28, 28, 1), f64(5, 5, 1, 6)], images(12, 8, 6)),
    "dilation": (Convolve2d(dilation=(2, 3)), [images(9, 9, 2), f64(3, 2, 2, 4)], images(5, 6, 4)),
    "padding": (
        Correlate2d(padding=((1, 2), (0, 3))), [images(5, 5, 2), f64(3, 3, 2, 4)], images(6, 6, 4)),
    "groups": (Correlate2d(groups=3), [images(5, 5, 6), f64(3, 3, 2, 9)], images(3, 3, 9)),
    "over the batch": (
        Correlate2d(sum_over="batch"), [images(6, 7, 2), images(4, 6, 5)], f64(3, 2, 2, 5)),
    "over the batch, groups": (
        Convolve2d(sum_over="batch", groups=2), [images(6, 7, 4), images(4, 6, 6)], f64(3, 2, 2, 6)),
    "max pool": (ops.MaxPool2d((3, 2), (2, 2)), [images(8, 7, 3)], images(3, 3, 3)),
    "padded pool": (
        ops.AveragePool2d((3, 3), (2, 2), ((1, 1), (1, 0))), [images(8, 7, 3)], images(4, 3, 3)),
    "matmul": (ops.Matmul(), [images(7), f64(7, 3)], images(3)),
    "matmul over the batch": (ops.Matmul(), [f64(7, BATCH), images(3)], f64(7, 3)),
    "matmul of many": (ops.Matmul(), [images(2, 5, 7), images(2, 7, 3)], images(2, 5, 3)),
    "matmul over the batch, of many": (ops.Matmul(), [f64(2, 5, BATCH), f64(2, BATCH, 3)], f64(2, 5, 3)),
    "max, kept": (ops.Max((0, 2), keep=True), [images(4, 7)], f64(1, 4, 1)),
    "pad with a number": (ops.Pad(((0, 0), (1, 2)), -1.0), [images(4)], images(7)),
    "take": (ops.Take(1, ((2, 2, -1), (0, 3, 1), (3, 4, 0))), [images(4, 3)], images(9, 3)),
    "scatter_sum": (ops.ScatterSum(1, ((2, 2, -1), (0, 3, 1)), 6), [images(5, 3)], images(6, 3)),
    "interpolate": (ops.Interpolate(1, 8), [images(4, 3)], images(8, 3)),
    "interpolate_transposed": (ops.InterpolateTransposed(2, 2), [images(4, 3)], images(4, 2)),
    "scalar and tensor": (ops.Add(), [f64(), images(3)], images(3)),
    "transpose": (ops.Transpose((3, 0, 2, 1)), [images(1, 2, 3)], f64(3, BATCH, 2, 1)),
    "reshape": (ops.Reshape((BATCH, 2, 3)), [images(6)], images(2, 3)),
    "broadcast": (ops.Broadcast((BATCH, 4, 3)), [f64(1, 3)], images(4, 3)),
    "concatenate": (ops.Concatenate(1), [images(2, 3), images(5, 3)], images(7, 3)),
    "zero_insert": (ops.ZeroInsert((2, 3)), [images(3, 3, 1)], images(5, 7, 1)),
    "subsample": (ops.Subsample((2, 3)), [images(4, 7, 1)], images(2, 3, 1)),
    "sum": (ops.Sum((0, 2)), [images(4, 7)], f64(4)),
    "sum, kept": (ops.Sum((0, 2), keep=True), [images(4, 7)], f64(1, 4, 1)),
    "argmax": (ops.ArgMax(1), [images(10)], LABELS),
    "greater": (ops.Greater(), [images(3), f64()], TensorType((BATCH, 3), "bool")),
    "logic": (ops.LogicalOr(), [TensorType((3,), "bool"), TensorType((), "bool")], TensorType((3,), "bool")),
    "one_hot": (ops.OneHot(4, "float32"), [LABELS], TensorType((BATCH, 4), "float32")),
    "cross-entropy": (ops.SoftmaxCrossEntropy(), [images(10), LABELS], f64(BATCH)),
    "squared error": (ops.SquaredError(), [images(3, 3, 1), images(3, 3, 1)], f64(BATCH)),
    "count": (ops.Count((0, 1)), [images(3)], f64()),
}  # fmt: skip


@pytest.mark.parametrize("case", FITTING)
def test_result_types(case):
    op, operands, expected = FITTING[case]
    assert op.result_types(*operands)[0] == expected


def test_a_large_pooling_window_needs_a_wide_index():
    assert ops.MaxPool2d((16, 16), (1, 1)).result_types(images(16, 16, 1))[1].dtype == "uint8"
    assert ops.MaxPool2d((17, 16), (1, 1)).result_types(images(17, 17, 1))[1].dtype == "int32"


UNFITTING = {
    "kernel too large": (
        Correlate2d(padding=((1, 0), (0, 0))), [images(3, 9, 1), f64(5, 5, 1, 2)],
        ["the 5x5 kernel is larger than its padded input [4, 9]", "height: 3 + 1 + 0 = 4 < 5 = kernel 5",
         "float64[N, 3, 9, 1]", "Mend: take a smaller kernel"]),
    "dilated kernel too large": (
        Correlate2d(dilation=(1, 4)), [images(9, 8, 1), f64(3, 3, 1, 2)],
        ["width: 8 + 0 + 0 = 8 < 9 = kernel 3 (dilated to 9)"]),
    "channels": (
        Correlate2d(), [images(9, 9, 3), f64(3, 3, 4, 2)],
        ["the filters take 4 channels, but the images have 3", "float64[N, 9, 9, 3]", "float64[3, 3, 4, 2]"]),
    "channels of groups": (
        Correlate2d(groups=2), [images(9, 9, 4), f64(3, 3, 4, 2)], ["take 8 channels", "have 4", "groups=2"]),
    "groups": (
        Correlate2d(groups=3), [images(9, 9, 4), f64(3, 3, 1, 6)],
        ["groups=3 does not divide the 4 channels and the 6 filters", "4 % 3 = 1", "Mend: choose a number"]),
    "image rank": (
        Correlate2d(), [images(9, 9), f64(3, 3, 1, 6)],
        ["needs images of shape [N, H, W, C]", "float64[N, 9, 9], which has 3 axes"]),
    "filter rank": (Convolve2d(), [images(9, 9, 1), f64(3, 3)], ["[k1, k2, C / groups, D]", "has 2 axes"]),
    "different precision": (
        Correlate2d(), [images(9, 9, 1), TensorType((3, 3, 1, 6))],
        ["one floating-point type", "float64[N, 9, 9, 1], float32[3, 3, 1, 6]"]),
    "different batches": (
        Correlate2d(sum_over="batch"), [images(9, 9, 1), f64(4, 3, 3, 2)], ["sums over the batch", "differ"]),
    "pool too large": (
        ops.MaxPool2d((3, 3), (2, 2)), [images(2, 9, 1)],
        ["the 3x3 pooling window is larger than its input", "height: 2 + 0 + 0 = 2 < 3", "Mend: take a"]),
    "pool of integers": (
        ops.MaxPool2d((1, 1), (1, 1)), [TensorType((BATCH, 2, 2, 1), "uint8")], ["floating"]),
    "route to another size": (
        ops.RouteToWinner2d((2, 2), (2, 2), shape=(BATCH, 4, 4, 1)),
        [images(3, 3, 1), TensorType((BATCH, 3, 3, 1), "uint8")],
        ["takes float64[N, 2, 2, 1], uint8[N, 2, 2, 1], not float64[N, 3, 3, 1]"]),
    "add": (ops.Add(), [images(3), images(4)],
            ["operand 0: float64[N, 3]", "operand 1: float64[N, 4]", "Mend: make the shapes equal"]),
    "add of two types": (ops.Add(), [images(3), TensorType((BATCH, 3))], ["one floating-point type"]),
    "compare two types": (ops.Greater(), [images(3), TensorType((BATCH, 3))], ["one element type"]),
    "logic of numbers": (ops.LogicalAnd(), [images(3)] * 2, ["takes truth values", "Mend: compare first"]),
    "select by a number": (ops.Select(), [images(3)] * 3, ["condition", "not bool"]),
    "matmul": (ops.Matmul(), [images(7), f64(8, 3)], ["7 columns on the left, 8 rows on the right"]),
    "matmul of many": (
        ops.Matmul(), [images(2, 5, 7), images(3, 7, 3)], ["the same axes in front", "gcn.matmul(x, w)"]),
    "matmul of a vector": (ops.Matmul(), [images(7), f64(7)], ["the same axes in front", "float64[7]"]),
    "pad integers with a number": (ops.Pad(((0, 0),), 1.0), [LABELS], ["can be padded with 0 only"]),
    "take beyond the axis": (
        ops.Take(1, ((1, 3, 2),)), [images(5)], ["reaches from place 1 to 5", "the places are 0 to 4"]),
    "take before the axis": (ops.Take(1, ((1, 3, -1),)), [images(5)], ["reaches from place 1 to -1"]),
    "take of the batch": (ops.Take(0, ((0, 1, 1),)), [images(5)], ["is the batch"]),
    "scatter_sum of another length": (
        ops.ScatterSum(1, ((0, 3, 1),), 5), [images(4)], ["axis 1 is 4 long, and the runs are 3"]),
    "interpolate between samples": (ops.Interpolate(0, 8), [images(5)], ["is the batch"]),
    "interpolate integers": (ops.Interpolate(0, 8), [TensorType((4,), "int64")], ["floating-point"]),
    "reshape": (ops.Reshape((BATCH, 7)), [images(2, 3)],
                ["float64[N, 2, 3] cannot be reshaped to [N, 7]", "6 elements (a sample) before, 7 after"]),
    "reshape without batch": (ops.Reshape((6,)), [images(2, 3)], ["cannot be reshaped"]),
    "broadcast": (ops.Broadcast((2, 4)), [f64(3)], ["float64[3] cannot be broadcast to [2, 4]"]),
    "broadcast down": (ops.Broadcast((4,)), [f64(1, 4)], ["cannot be broadcast"]),
    "transpose": (ops.Transpose((1, 0)), [images(2, 3)], ["permutation of 2 axes does not fit"]),
    "crop": (ops.Crop(((0, 0), (2, 2))), [images(4)], ["leaves nothing"]),
    "pad the batch": (ops.Pad(((1, 0), (0, 0))), [images(4)], ["batch axis", "cannot be padded"]),
    "pad too few axes": (ops.Pad(((1, 0),)), [images(4)], ["1 pairs of widths", "2 axes"]),
    "sum over no axis": (ops.Sum((2,)), [images(4)], ["axis 2 does not exist in float64[N, 4]"]),
    "argmax over the batch": (ops.ArgMax(0), [images(4)], ["along the batch axis is not defined"]),
    "concatenate": (ops.Concatenate(1), [images(2, 3), images(2, 4)],
                    ["float64[N, 2, 3], float64[N, 2, 4] differ in more than axis 1"]),
    "labels as numbers": (
        ops.SoftmaxCrossEntropy(), [images(10), f64(BATCH)], ["integer label", "float64[N]"]),
    "too many labels": (
        ops.SoftmaxCrossEntropy(), [images(10), TensorType((BATCH, 10), "int64")], ["int64[N, 10]"]),
    "targets": (ops.SquaredError(), [images(3), images(4)], ["targets like the outputs float64[N, 3]"]),
    "softmax over the batch": (ops.LogSoftmax(), [f64(3, BATCH)], ["is the batch", "only at run time"]),
    "random state": (ops.RandomUniform(), [f64(2), images(4)], ["generator state int64[2]", "float64[2]"]),
    "keys of samples": (ops.SampleUniform(("N", 2), 0, "float32"), [images(2)], ["int64[N], not float64"]),
    "samples without a batch": (ops.SampleNormal((4,), 0, "float32"), [SAMPLE_KEYS], ["[N, ...], not [4]"]),
    "uniform integers": (ops.SampleUniform(("N",), 0, "int32"), [SAMPLE_KEYS], ["not int32"]),
    "flags": (ops.FlipSamples(1), [images(4, 4, 1), LABELS], ["not float64[N, 4, 4, 1] and int64[N]"]),
    "flip of an axis": (ops.FlipSamples(2), [images(4), TensorType((BATCH,), "bool")], ["axis 2"]),
    "corners": (ops.CropSamples((2, 2)), [images(4, 4, 1), LABELS, LABELS], ["int32[N]", "int64[N]"]),
    "windows of rows": (ops.PasteSamples((2, 2)), [images(4), LABELS, LABELS], ["[N, H, W, C]"]),
    "maps of numbers": (ops.WarpSamples(), [images(4, 4, 1)] + [images()] * 6, ["six times int64[N]"]),
    "boxes of integers": (ops.EraseSamples(), [LABELS] * 5, ["floating-point"]),
    "random integers": (ops.RandomUniform(), [ops.GENERATOR_STATE, LABELS], ["floating-point"]),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFITTING)
def test_operands_that_do_not_fit_are_explained(case):
    op, operands, parts = UNFITTING[case]
    with pytest.raises(ShapeError) as caught:
        op.result_types(*operands)
    for part in parts:
        assert part in str(caught.value)


UNALLOWED = {
    "stride 0": (lambda: Correlate2d(stride=(0, 1)), "stride=(0, 1) is not a pair of integers of at least 1"),
    "stride as a number": (lambda: Correlate2d(stride=2), "stride=2"),
    "boolean stride": (lambda: Correlate2d(stride=(True, 1)), "stride=(True, 1)"),
    "negative padding": (lambda: Correlate2d(padding=((0, -1), (0, 0))), "(0, -1)"),
    "flat padding": (lambda: Correlate2d(padding=(1, 1)), "not a pair"),
    "groups": (lambda: Correlate2d(groups=0), "groups=0"),
    "sum_over": (lambda: Correlate2d(sum_over="space"), "neither 'channels' nor 'batch'"),
    "pool padding": (lambda: ops.MaxPool2d((2, 2), (2, 2), ((2, 0), (0, 0))), "windows of padding alone"),
    "unsorted axes": (lambda: ops.Sum((1, 0)), "ascending"),
    "equal axes": (lambda: ops.Sum((1, 1)), "ascending"),
    "permutation": (lambda: ops.Transpose((0, 2)), "not an order of the axes"),
    "exponent": (lambda: ops.Power(float("inf")), "finite"),
    "classes": (lambda: ops.OneHot(0, "float32"), "classes=0"),
    "NaN": (lambda: ops.Constant(float("nan"), f64()), "NaN"),
    "fraction": (lambda: ops.Constant(0.5, TensorType((), "int64")), "int64"),
    "stream": (lambda: ops.SampleUniform(("N",), 2**32, "float32"), "stream=4294967296"),
    "alternating": (lambda: ops.SampleNormal(("N",), 0, "float32", alternating=1), "alternating=1"),
    "range": (lambda: ops.SampleIntegers(("N",), 0, 4, 3), "4 to 3"),
    "wide range": (lambda: ops.SampleIntegers(("N",), 0, 0, 2**31), "32 bits"),
    "flip of the batch": (lambda: ops.FlipSamples(0), "axis=0"),
    "window": (lambda: ops.CropSamples((0, 2)), "size=(0, 2)"),
    "what is erased": (lambda: ops.EraseSamples(float("nan")), "value=nan"),
    "keep": (lambda: ops.Sum((1,), keep=1), "keep=1"),
}


@pytest.mark.parametrize("case", UNALLOWED)
def test_attributes_that_are_not_allowed_are_named(case):
    make, part = UNALLOWED[case]
    with pytest.raises(OptionError) as caught:
        make()
    assert part in str(caught.value)


@pytest.mark.parametrize("shape", [(0,), (-1,), (2.0,), ("M",), (True,), ("N", "N"), (1,) * 9])
def test_types_that_cannot_be(shape):
    with pytest.raises(ShapeError):
        TensorType(shape)


def test_flops_count_a_multiply_add_as_two():
    op = Correlate2d(groups=2)
    operands = [images(6, 6, 4), f64(3, 3, 2, 8)]
    assert op.flops(operands, op.result_types(*operands), 5) == 2 * 5 * 4 * 4 * 8 * 3 * 3 * 2
    over_batch = Correlate2d(sum_over="batch", groups=2)
    operands = [images(6, 6, 4), images(4, 4, 8)]
    assert over_batch.flops(operands, over_batch.result_types(*operands), 5) == 2 * 5 * 4 * 4 * 8 * 3 * 3 * 2
