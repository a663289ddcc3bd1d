"""Cases of ops that draw random numbers of each sample, and of those that move its pixels by such numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.ir import BATCH, Dim, DType, Emitter, Op, Value
from graphcnn.testing.case import Case, Named
from graphcnn.transform import differentiate

DRAWN: tuple[tuple[int, ...], ...] = ((1,), (17,), (1, 3), (15, 7), (5, 2, 3), (3, 4, 5, 2), (2, 3, 40))
IMAGES: tuple[tuple[int, ...], ...] = (
    *((1, 4, 5, 1), (17, 5, 7, 3), (15, 3, 16, 2), (3, 33, 2, 4), (2, 2, 3, 7), (3, 3, 4, 9), (2, 3, 2, 33)),
    *((5, 1, 1, 1), (2, 2, 200, 3)),
)
"""Rows shorter and longer than a vector, of pixels that are narrower, as wide, and wider than that."""


def of_samples(dtype: DType) -> Named:
    for shape in DRAWN:
        for alternating in (False, True):
            kind = f"{list(shape)}{', alternating' if alternating else ''}"
            sizes: tuple[Dim, ...] = (BATCH, *shape[1:])
            for op in (
                *(ops.SampleUniform(sizes, stream, dtype, alternating=alternating) for stream in (0, 2**31)),
                *(
                    ops.SampleNormal(sizes, stream, dtype, alternating=alternating)
                    for stream in (7, 2**32 - 1)
                ),
                ops.SampleIntegers(sizes, 1, -3, 4, alternating=alternating),
                ops.SampleIntegers(sizes, 2**31, -(2**31), 2**31 - 1, alternating=alternating),
            ):
                yield f"{op.name}: stream {op.stream}, {kind}", partial(_drawn, op, shape[0])
    for shape in IMAGES:
        yield f"samples moved: {list(shape)}", partial(_moved, dtype, shape)
    yield "samples moved: far away", partial(_moved_far_away, dtype)
    yield "samples moved: then scaled by channels", partial(_scaled, dtype)
    yield "samples moved: then broadcast to what they are", partial(_of_one_pixel, dtype)
    for channels in (3, 5, 7):
        name = f"broadcast: {channels} channels, beside truth values"
        yield name, partial(_compared_by_channel, dtype, channels)
    yield "samples moved: a training step", partial(_trained, dtype)
    for shape in IMAGES:
        yield f"samples warped: {list(shape)}", partial(_warped, dtype, shape)
    for axis in (1, 2):
        yield f"flip_samples: axis {axis} of a matrix's rows", partial(_flipped_lines, dtype, axis)


def keys(case: Case, samples: int) -> Value:
    """Append keys of samples in several epochs."""
    drawn = case.random.integers(-(2**63), 2**63 - 1, samples)
    return case.input(drawn, batch=True)


def _drawn(op: Op, samples: int, case: Case) -> None:
    case.apply(op, keys(case, samples))


def _whole(case: Case, samples: int, low: int, high: int) -> Value:
    """Append a whole number of each sample, from low to high."""
    return case.input(case.random.integers(low, high + 1, samples).astype(np.int32), batch=True)


def _moved(dtype: DType, shape: Sequence[int], case: Case) -> None:
    """Every op, within the images and beyond them."""
    samples, height, width, _ = shape
    x = case.normal(dtype, *shape, batch=True)
    flags = case.input(case.random.random(samples) < 0.5, batch=True)
    rows, columns = _whole(case, samples, -height, height), _whole(case, samples, -width, width)
    sides = _whole(case, samples, -1, height + 1), _whole(case, samples, -1, width + 1)
    window = (height + 1, max(1, width - 2))
    for axis in (1, 2, 3):
        case.apply(ops.FlipSamples(axis), x, flags)
    case.apply(ops.CropSamples((height, width)), x, rows, columns)
    case.apply(ops.CropSamples(window, -1.5), x, rows, columns)
    pasted = [window, (height, width), (height, width + 3)]
    for size in pasted:
        case.apply(ops.PasteSamples(size), x, rows, columns)
    case.apply(ops.EraseSamples(), x, rows, columns, *sides)
    case.apply(ops.EraseSamples(2.5), x, rows, columns, *sides)
    images, flipped = case.array(x), case.array(flags)
    places, boxes = ([case.array(value) for value in values] for values in ((rows, columns), sides))
    chosen = flipped[:, None, None, None]
    case.expect(
        *(np.where(chosen, np.flip(images, axis), images) for axis in (1, 2, 3)),
        _window(images, (height, width), places, 0.0),
        _window(images, window, places, -1.5),
        *(_window(images, size, [-place for place in places], 0.0) for size in pasted),
        *(_erased(images, places, boxes, value) for value in (0.0, 2.5)),
    )  # fmt: skip


def _window(images: Array, size: tuple[int, int], places: Sequence[Array], value: float) -> Array:
    """Return windows out of images, cut from ones with a wide enough border."""
    border = [int(np.abs(place).max()) + size[axis] for axis, place in enumerate(places)]
    widths = ((0, 0), (border[0],) * 2, (border[1],) * 2, (0, 0))
    wide = np.pad(images, widths, constant_values=value)
    begins = [place + border[axis] for axis, place in enumerate(places)]
    return np.array(
        [
            image[row : row + size[0], column : column + size[1]]
            for image, row, column in zip(wide, *begins, strict=True)
        ]
    )


def _erased(images: Array, places: Sequence[Array], sides: Sequence[Array], value: float) -> Array:
    result = images.copy()
    for image, row, column, height, width in zip(result, *places, *sides, strict=True):
        if height > 0 and width > 0:
            image[max(0, row) : max(0, row + height), max(0, column) : max(0, column + width)] = value
    return result


def _moved_far_away(dtype: DType, case: Case) -> None:
    """As far as 32 bits can say, in every direction."""
    x = case.normal(dtype, 4, 3, 5, 3, batch=True)
    ends = np.array([-(2**31), 2**31 - 1, 2**31 - 1, -(2**31)], np.int32)
    rows, columns = case.input(ends, batch=True), case.input(np.roll(ends, 1), batch=True)
    for op in (ops.CropSamples((3, 5), 0.5), ops.PasteSamples((3, 5))):
        case.apply(op, x, rows, columns)
    case.apply(ops.EraseSamples(1.0), x, rows, columns, columns, rows)
    beside = np.zeros((4, 3, 5, 3))
    case.expect(beside + 0.5, beside, case.array(x))


def _scaled(dtype: DType, case: Case) -> None:
    """What follows in the same kernel: numbers of a channel, of a sample, of a pixel."""
    emit = Emitter(case.graph)
    for channels in (1, 3, 5, 16, 33):
        x = case.normal(dtype, 5, 4, 6, channels, batch=True)
        flags = case.input(case.random.random(5) < 0.5, batch=True)
        rows, columns = _whole(case, 5, -2, 2), _whole(case, 5, -2, 2)
        moved = emit(ops.FlipSamples(2), x, flags)
        moved = emit(ops.CropSamples((4, 6)), moved, rows, columns)
        by_channel, by_row = case.normal(dtype, channels), case.normal(dtype, 1, 1, 1, channels)
        by_sample = case.normal(dtype, 5, 1, 1, 1, batch=True)
        centred = emit(ops.Subtract(), moved, emit(ops.Broadcast(x.type.shape), by_channel))
        scaled = emit(ops.Multiply(), centred, emit(ops.Broadcast(x.type.shape), by_row))
        lit = emit(ops.Multiply(), scaled, emit(ops.Broadcast(x.type.shape), by_sample))
        case.graph.output(f"channels {channels}", lit)
        erased = emit(ops.EraseSamples(), lit, rows, columns, columns, rows)
        by_pixel = case.normal(dtype, 5, 4, 6, 1, batch=True)
        case.graph.output(f"pixels {channels}", emit(
            ops.Add(), erased, emit(ops.Broadcast(x.type.shape), by_pixel)))  # fmt: skip


def _of_one_pixel(dtype: DType, case: Case) -> None:
    """Images of a single number each, which a broadcast could take for numbers of the samples."""
    emit = Emitter(case.graph)
    x = case.normal(dtype, 5, 1, 1, 1, batch=True)
    flags = case.input(case.random.random(5) < 0.5, batch=True)
    rows, columns = _whole(case, 5, -1, 1), _whole(case, 5, -1, 1)
    for op, places in (
        (ops.FlipSamples(1), [flags]),
        (ops.CropSamples((1, 1)), [rows, columns]),
        (ops.PasteSamples((1, 1)), [rows, columns]),
        (ops.EraseSamples(2.0), [rows, columns, rows, columns]),
    ):
        spread = emit(ops.Broadcast(x.type.shape), emit(op, x, *places))
        case.graph.output(op.name, emit(ops.Greater(), spread, ops.constant(emit, 0.5, x.type)))


def _compared_by_channel(dtype: DType, channels: int, case: Case) -> None:
    """A kernel whose vectors hold as many truth values as there is room for, not as many numbers."""
    emit = Emitter(case.graph)
    x = case.normal(dtype, 3, 5, 4, channels, batch=True)
    by_channel = case.normal(dtype, channels)
    spread = emit(ops.Broadcast(x.type.shape), by_channel)
    case.apply(ops.Greater(), x, spread)
    case.apply(ops.Add(), x, spread)
    images, numbers = case.array(x), case.array(by_channel)
    case.expect(images > numbers, images + numbers)


def _trained(dtype: DType, case: Case) -> None:
    """Gradients of filters in front of the moves and behind them, by the key's numbers."""
    emit = Emitter(case.graph)
    samples = keys(case, 17)
    x = case.normal(dtype, 17, 6, 5, 2, batch=True)
    first, second = case.normal(dtype, 3, 3, 2, 3, state=True), case.normal(dtype, 2, 2, 3, 4, state=True)
    maps = emit(ops.Correlate2d(padding=((1, 1), (1, 1))), x, first)
    numbers = emit(ops.SampleUniform((BATCH,), 3, dtype), samples)
    flags = emit(ops.Greater(), ops.constant(emit, 0.5, numbers.type), numbers)
    rows, columns, sides = (
        emit(ops.SampleIntegers((BATCH,), stream, low, high), samples)
        for stream, low, high in ((4, -2, 2), (5, -1, 3), (6, 0, 4))
    )
    for axis in (1, 2):
        maps = emit(ops.FlipSamples(axis), maps, flags)
    maps = emit(ops.CropSamples((5, 4)), maps, rows, columns)
    maps = emit(ops.EraseSamples(), maps, rows, columns, sides, sides)
    found = emit(ops.Correlate2d(), maps, second)
    total = emit(ops.Sum((0, 1, 2, 3)), emit(ops.Multiply(), found, found))
    case.graph.output("total", total)
    case.graph, gradients = differentiate(case.graph, total, {"first": first, "second": second})
    for label, gradient in gradients.items():
        case.graph.output(f"gradient of {label}", gradient)


def _flipped_lines(dtype: DType, axis: int, case: Case) -> None:
    """Samples of fewer axes than images have."""
    shape = (17, 9, 5)[: axis + 1]
    x = case.normal(dtype, *shape, batch=True)
    flags = case.input(case.random.random(17) < 0.5, batch=True)
    case.apply(ops.FlipSamples(axis), x, flags)
    case.expect(
        np.where(case.array(flags).reshape(-1, *[1] * axis), np.flip(case.array(x), axis), case.array(x))
    )


def _warped(dtype: DType, shape: Sequence[int], case: Case) -> None:
    """Maps that turn, scale either axis and shift, to places between pixels and beside the image."""
    samples, height, width, _ = shape
    x = case.normal(dtype, *shape, batch=True)
    angles = case.random.uniform(-2, 2, samples)
    down, across = case.random.uniform(0.5, 2, (2, samples))
    cosines, sines = np.cos(angles), np.sin(angles)
    shifts = [case.random.uniform(-1, size + 1, samples) for size in (height, width)]
    numbers = np.stack(
        [down * cosines, -across * sines, shifts[0], down * sines, across * cosines, shifts[1]]
    )
    numbers[:, 0] = 1, 0, 0, 0, 1, 0  # the image itself
    units = np.round(numbers * 2.0**24).astype(np.int64) << 8  # the bits that count
    places = [case.input(each, batch=True) for each in units]
    case.apply(ops.WarpSamples(), x, *places)
    case.apply(ops.WarpSamplesTransposed(), x, *places)
    matrix = _shares(units / 2.0**32, height, width)
    images = case.array(x).astype(np.float64).reshape(samples, height * width, -1)
    case.expect((matrix @ images).reshape(shape), (np.swapaxes(matrix, 1, 2) @ images).reshape(shape))


def _shares(numbers: Array, height: int, width: int) -> Array:
    """Return what share each pixel has in each pixel of the result, [N, H W, H W]."""
    i, j = np.divmod(np.arange(height * width), width)
    a, b, c, d, e, f = numbers[:, :, None]
    rows, columns = a * i + b * j + c, d * i + e * j + f
    of_rows, of_columns = (
        np.maximum(0, 1 - np.abs(place[:, :, None] - pixel)) for place, pixel in ((rows, i), (columns, j))
    )
    shares: Array = of_rows * of_columns
    return shares
