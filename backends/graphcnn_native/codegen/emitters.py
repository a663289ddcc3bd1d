"""Which code is written for which op: all built-in ops come in here, by the door that others take."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn import ops
from graphcnn.ir import Input, Op, TensorType
from graphcnn.ops.convolution import Convolve2d
from graphcnn.ops.shape import Reshape
from graphcnn_native.codegen.function import Function, Ssa
from graphcnn_native.kernels import (
    bfloat16_correlation,
    bfloat16_filter_gradient,
    bfloat16_filters,
    bfloat16_product,
    called,
    correlation,
    greatest,
    interpolation,
    movement,
    nest,
    panels,
    per_sample,
    phased,
    pooling,
    product,
    reduction,
    routed,
    rows,
    sample_moves,
    sample_warp,
    taking,
    winograd,
    winograd_filters,
)
from graphcnn_native.kernels.pointwise import POINTWISE
from graphcnn_native.kernels.registration import register
from graphcnn_native.kernels.samples_in_lanes import leave_to_neighbours
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.lowering.bfloat16 import (
    Bfloat16,
    Bfloat16Correlation,
    Bfloat16FilterGradient,
    Bfloat16Filters,
    Bfloat16Matmul,
    Bfloat16ProductOverSamples,
)
from graphcnn_native.lowering.layout import Layout
from graphcnn_native.lowering.panels import InPanels, PanelCorrelation, PanelMatmul
from graphcnn_native.lowering.program import Plan, PlannedKernel
from graphcnn_native.lowering.routing import RoutedCorrelation, RoutedFilterGradient
from graphcnn_native.lowering.schedule import GENERATED
from graphcnn_native.lowering.strides import FilterGradientOfTaps, PhasedCorrelation
from graphcnn_native.lowering.winograd import WinogradCorrelation, WinogradFilterGradient, WinogradFilters
from graphcnn_native.op_code import EMITTERS, SHIPPED, has_code
from graphcnn_native.target import Target

KERNELS: dict[type[Op], Callable[[Writer], None]] = {
    ops.Correlate2d: correlation.correlation,
    Bfloat16Filters: bfloat16_filters.bfloat16_filters,
    Bfloat16Correlation: bfloat16_correlation.bfloat16_correlation,
    Bfloat16FilterGradient: bfloat16_filter_gradient.bfloat16_filter_gradient,
    Bfloat16Matmul: bfloat16_product.bfloat16_matmul,
    Bfloat16ProductOverSamples: bfloat16_product.bfloat16_product_over_samples,
    InPanels: panels.in_panels,
    PanelCorrelation: correlation.correlation,
    PanelMatmul: product.matmul,
    WinogradFilters: winograd_filters.winograd_filters,
    WinogradCorrelation: winograd.winograd,
    WinogradFilterGradient: winograd.winograd_gradient,
    FilterGradientOfTaps: correlation.correlation,
    PhasedCorrelation: phased.phased,
    RoutedCorrelation: routed.routed_correlation,
    RoutedFilterGradient: routed.routed_filter_gradient,
    ops.Matmul: product.matmul,
    ops.MaxPool2d: pooling.max_pool,
    ops.GatherWinner2d: pooling.gather,
    ops.SumPool2d: pooling.sum_pool,
    ops.AveragePool2d: pooling.sum_pool,
    ops.L2Pool2d: pooling.sum_pool,
    ops.RouteToWinner2d: pooling.back,
    ops.SpreadToBlock2d: pooling.back,
    ops.Sum: reduction.reduction,
    ops.Mean: reduction.reduction,
    ops.Max: greatest.greatest,
    ops.ArgMax: rows.argmax,
    ops.LogSoftmax: rows.log_softmax,
    ops.SoftmaxCrossEntropy: rows.softmax_cross_entropy,
    ops.Transpose: movement.transpose,
    ops.Rot180: movement.view,
    ops.Crop: movement.view,
    ops.Subsample: movement.view,
    ops.Pad: movement.pad,
    ops.Take: taking.take,
    ops.ScatterSum: taking.scatter_sum,
    ops.Interpolate: interpolation.interpolate,
    ops.InterpolateTransposed: interpolation.interpolate_transposed,
    ops.ZeroInsert: movement.zero_insert,
    ops.Concatenate: movement.concatenate,
    ops.SampleUniform: per_sample.sample_numbers,
    ops.SampleNormal: per_sample.sample_numbers,
    ops.SampleIntegers: per_sample.sample_numbers,
    ops.FlipSamples: sample_moves.flip_samples,
    ops.CropSamples: sample_moves.crop_samples,
    ops.PasteSamples: sample_moves.paste_samples,
    ops.EraseSamples: sample_moves.erase_samples,
    ops.WarpSamples: sample_warp.warp_samples,
    ops.WarpSamplesTransposed: sample_warp.warp_samples_transposed,
}


def _as_it_is(f: Function, op: Bfloat16, x: list[Ssa], type: TensorType) -> Ssa:
    """Return a number that is rounded when it is stored (`Writer.put`)."""
    return x[0]


for _op, _kernel in KERNELS.items():
    register(_op, emitter=_kernel)
for _op, _lanes in POINTWISE.items():
    register(_op, lanes=_lanes)
register(Bfloat16, lanes=_as_it_is)

WITHOUT_KERNEL = (
    *(Input, Convolve2d, Reshape, ops.SquaredError, ops.InverseDeviation, ops.StopGradient),
    *(ops.AllReduce, ops.AllGather, ops.BroadcastFrom, ops.KeepOn),
    *GENERATED,
)
"""Ops that become others, or are written where they are read: there is nothing to register."""
SHIPPED.update(WITHOUT_KERNEL, KERNELS, POINTWISE, (Bfloat16,))
register(ops.UserFunction, pointwise=lambda op: op.function)


def written(plan: Plan, kernel: PlannedKernel, layout: Layout, target: Target) -> Writer:
    """Return the writer of a kernel, all of which is written; its function is named by what it is."""
    writer = Writer(plan, kernel, layout, target)
    op = kernel.op(plan.graph)
    if kernel.root is not None:
        writer.name_section(kernel.root)
    if kernel.is_optional:
        leave_to_neighbours(writer)
    if op is None:
        nest.pointwise(writer)
    else:
        (EMITTERS[type(op)].write if has_code(op) else called.call_reference)(writer)
    writer.f.end()
    writer.f.name = f"{kernel.title}_{writer.f.digest()}"
    return writer
