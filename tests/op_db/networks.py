"""Layers of networks: convolutions, pools, norms and what makes pictures larger."""

import math

import graphcnn as gcn
from tests.op_db.expressions import argument, expression, one, pair
from tests.op_db.written import Outside, channels_first

LAYER = "layer"


def layer(cls, *arguments, **options):
    return cls(*arguments, name=LAYER, **options)


# Convolutions


def padding_of(given):
    if isinstance(given, str):
        return given
    rows, columns = pair(given)
    return ((rows, rows), (columns, columns))


@expression("nn.functional.conv2d")
def conv2d(w, s):
    weight, bias = s.args[0], argument(s, 1, "bias")
    w.parameter(f"{LAYER}.filters", weight, (2, 3, 1, 0))
    if bias is not None:
        w.parameter(f"{LAYER}.bias", bias)
    made = layer(
        gcn.Conv2d,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=pair(argument(s, 2, "stride", 1)),
        padding=padding_of(argument(s, 3, "padding", 0)),
        dilation=pair(argument(s, 4, "dilation", 1)),
        groups=argument(s, 5, "groups", 1),
        bias=bias is not None,
    )
    return channels_first(made(w.images(s.input)), s.input)


@expression("nn.functional.conv1d")
def conv1d(w, s):
    weight, bias = s.args[0], argument(s, 1, "bias")
    w.parameter(f"{LAYER}.filters", weight, (2, 1, 0))
    if bias is not None:
        w.parameter(f"{LAYER}.bias", bias)
    padding = argument(s, 3, "padding", 0)
    made = layer(
        gcn.Conv1d,
        weight.shape[0],
        weight.shape[2],
        stride=one(argument(s, 2, "stride", 1)),
        padding=padding if isinstance(padding, str) else one(padding),
        dilation=one(argument(s, 4, "dilation", 1)),
        groups=argument(s, 5, "groups", 1),
        bias=bias is not None,
    )
    return channels_first(made(w.signals(s.input)), s.input)


@expression("nn.functional.conv_transpose2d")
def conv_transpose2d(w, s):
    weight, bias = s.args[0], argument(s, 1, "bias")
    groups = argument(s, 5, "groups", 1)
    channels, filters, *kernel = weight.shape

    def ordered(array):
        parts = array.reshape(groups, channels // groups, filters, *kernel)
        return parts.transpose(3, 4, 1, 0, 2).reshape(*kernel, channels // groups, groups * filters)

    w.parameter(f"{LAYER}.filters", weight, ordered)
    if bias is not None:
        w.parameter(f"{LAYER}.bias", bias)
    made = layer(
        gcn.ConvTranspose2d,
        weight.shape[1] * groups,
        tuple(weight.shape[2:]),
        stride=pair(argument(s, 2, "stride", 1)),
        padding=padding_of(argument(s, 3, "padding", 0)),
        output_padding=pair(argument(s, 4, "output_padding", 0)),
        groups=groups,
        dilation=pair(argument(s, 6, "dilation", 1)),
        bias=bias is not None,
    )
    return channels_first(made(w.images(s.input)), s.input)


# Pools


def sizes(s):
    size = argument(s, 0, "kernel_size")
    stride = argument(s, 1, "stride")
    return size, size if stride is None or stride == () else stride


@expression("nn.functional.max_pool2d")
def max_pool2d(w, s):
    size, stride = map(pair, sizes(s))
    w.leaves_out_places = bool(s.kwargs.get("return_indices"))
    padding, dilation = pair(s.kwargs.get("padding", 0)), pair(s.kwargs.get("dilation", 1))
    ceil_mode = s.kwargs.get("ceil_mode", False)
    if dilation == (1, 1):
        made = gcn.MaxPool2d(size, stride=stride, padding=padding_of(padding), ceil_mode=ceil_mode)
        return channels_first(made(w.images(s.input)), s.input)
    x = w.images(s.input)
    for axis in (0, 1):
        x = greatest_of_places(
            x, 1 + axis, size[axis], stride[axis], padding[axis], dilation[axis], ceil_mode
        )
    return channels_first(x, s.input)


def greatest_of_places(x, axis, size, stride, padding, dilation, ceil_mode):
    """Return the greatest of windows with holes along one axis: of slices of the padded value."""
    extent = x.shape[axis]
    reach = dilation * (size - 1) + 1
    room = extent + 2 * padding - reach
    count = room // stride + 1
    if ceil_mode and room % stride and count * stride < extent + padding:
        count += 1
    after = max(padding, (count - 1) * stride + reach - extent - padding)
    widths = [(0, 0)] * 4
    widths[axis] = (padding, after)
    x = gcn.pad(x, tuple(widths), value=-math.inf)
    parts = []
    for place in range(size):
        begin = place * dilation
        index = [slice(None)] * 4
        index[axis] = slice(begin, begin + (count - 1) * stride + 1, stride)
        parts.append(x[tuple(index)])
    return gcn.max(gcn.stack(*parts, axis=axis), axis)


@expression("nn.functional.max_pool1d")
def max_pool1d(w, s):
    size, stride = map(one, sizes(s))
    w.leaves_out_places = bool(s.kwargs.get("return_indices"))
    padding, dilation = one(s.kwargs.get("padding", 0)), one(s.kwargs.get("dilation", 1))
    ceil_mode = s.kwargs.get("ceil_mode", False)
    x = w.signals(s.input)
    if dilation == 1:
        made = gcn.MaxPool1d(size, stride=stride, padding=padding, ceil_mode=ceil_mode)
        return channels_first(made(x), s.input)
    samples, length, channels = x.shape
    images = gcn.reshape(x, (1, length, channels) if x.type.has_batch else (samples, 1, length, channels))
    y = greatest_of_places(images, 2, size, stride, padding, dilation, ceil_mode)
    shape = (y.shape[2], channels)
    return channels_first(gcn.reshape(y, shape if x.type.has_batch else (samples, *shape)), s.input)


@expression("nn.functional.avg_pool2d")
def avg_pool2d(w, s):
    size, stride = sizes(s)
    if (argument(s, 5, "divisor_override") or 1) < 1:
        raise Outside("a divisor below 1")
    made = gcn.AvgPool2d(
        pair(size),
        stride=pair(stride),
        padding=padding_of(argument(s, 2, "padding", 0)),
        ceil_mode=argument(s, 3, "ceil_mode", False),
        count_include_pad=argument(s, 4, "count_include_pad", True),
        divisor_override=argument(s, 5, "divisor_override"),
    )
    return channels_first(made(w.images(s.input)), s.input)


@expression("nn.functional.avg_pool1d")
def avg_pool1d(w, s):
    size, stride = sizes(s)
    made = gcn.AvgPool1d(
        one(size),
        stride=one(stride),
        padding=one(argument(s, 2, "padding", 0)),
        ceil_mode=argument(s, 3, "ceil_mode", False),
        count_include_pad=argument(s, 4, "count_include_pad", True),
    )
    return channels_first(made(w.signals(s.input)), s.input)


def adaptive(name):
    def write(w, s):
        w.leaves_out_places = bool(argument(s, 1, "return_indices"))
        size = s.args[0]
        given = [size] * 2 if isinstance(size, int) else list(size)
        rows, columns = (
            whole if one is None else one for one, whole in zip(given, s.input.shape[-2:], strict=True)
        )
        return channels_first(getattr(gcn, name)((rows, columns))(w.images(s.input)), s.input)

    return write


expression("nn.functional.adaptive_avg_pool2d")(adaptive("AdaptiveAvgPool2d"))
expression("nn.functional.adaptive_max_pool2d")(adaptive("AdaptiveMaxPool2d"))


# Norms


def scaled(w, weight, bias, size):
    w.parameter(f"{LAYER}.scale", weight, size=size, default=1.0)
    w.parameter(f"{LAYER}.shift", bias, size=size)


def maps(w, tensor):
    """Return [N, C], [N, C, L] or [N, C, H, W] as images, and how the result is turned back."""
    if tensor.dim() == 4:
        return w.images(tensor), lambda y: channels_first(y, tensor)
    if tensor.dim() not in (2, 3):
        raise Outside(f"maps of {tensor.dim()} axes")
    x = w.value(tensor, batch=True)
    if tensor.dim() == 2:
        return gcn.reshape(x, (1, 1, x.shape[1])), lambda y: gcn.reshape(y, tuple(tensor.shape[1:]))
    x = gcn.transpose(x, (0, 2, 1))
    length, channels = x.shape[1:]
    return gcn.reshape(x, (1, length, channels)), lambda y: gcn.transpose(
        gcn.reshape(y, (length, channels)), (0, 2, 1)
    )


@expression("nn.functional.batch_norm")
def batch_norm(w, s):
    mean, variance = s.args[:2]
    weight, bias = argument(s, 2, "weight"), argument(s, 3, "bias")
    momentum = s.kwargs.get("momentum", 0.1)
    if not 0 < momentum <= 1:
        momentum = 0.1  # of averages alone, which PyTorch's op does not return
    w.training = bool(s.kwargs.get("training", False))
    if s.input.dim() < 2:
        raise Outside("a tensor without elements")
    channels = s.input.shape[1]
    scaled(w, weight, bias, channels)
    if w.training:
        mean = variance = None
    w.parameter(f"{LAYER}.mean", mean, size=channels)
    w.parameter(f"{LAYER}.variance", variance, size=channels, default=1.0)
    x, back = maps(w, s.input)
    return back(layer(gcn.BatchNorm2d, momentum=momentum, epsilon=s.kwargs.get("eps", 1e-5))(x))


@expression("nn.functional.layer_norm")
def layer_norm(w, s):
    return normalised_over_last(gcn.LayerNorm, w, s, bias=argument(s, 2, "bias"))


@expression("nn.functional.rms_norm")
def rms_norm(w, s):
    return normalised_over_last(gcn.RMSNorm, w, s, bias=None)


def normalised_over_last(cls, w, s, bias):
    """Return a norm over the last axes, which are taken for one."""
    shape, weight = tuple(s.args[0]), argument(s, 1, "weight")
    size = math.prod(shape)
    epsilon = s.kwargs.get("eps")
    if epsilon is not None and epsilon <= 0:
        raise Outside("an epsilon below 0")
    if s.input.dim() == len(shape):
        raise Outside("a single sample without a batch")
    if epsilon is None and cls is gcn.RMSNorm:
        epsilon = 2.0**-23 if w.dtype == "float32" else 2.0**-52
    x = w.value(s.input, batch=True)
    front = tuple(x.shape[1 : len(x.shape) - len(shape)])
    flat = gcn.reshape(x, (*front, size))
    for part, tensor, default in (("scale", weight, 1.0), ("shift", bias, 0.0)):
        if part == "shift" and cls is not gcn.LayerNorm:
            continue
        if tensor is not None and tensor.dim() > 1:
            raise Outside("weights of several axes")
        w.parameter(f"{LAYER}.{part}", tensor, size=size, default=default)
    options = {} if epsilon is None else {"epsilon": epsilon}
    return gcn.reshape(layer(cls, **options)(flat), tuple(x.shape[1:]))


@expression("nn.functional.group_norm")
def group_norm(w, s):
    groups = s.args[0]
    scaled(w, argument(s, 1, "weight"), argument(s, 2, "bias"), s.input.shape[1])
    x, back = maps(w, s.input)
    epsilon = s.kwargs.get("eps", 1e-5)
    if epsilon <= 0:
        raise Outside("an epsilon below 0")
    return back(layer(gcn.GroupNorm, groups, epsilon=epsilon)(x))


@expression("nn.functional.instance_norm")
def instance_norm(w, s):
    if s.kwargs.get("use_input_stats") is False:
        raise Outside("an instance norm by running statistics")
    x, back = maps(w, s.input)
    weight, bias = s.kwargs.get("weight"), s.kwargs.get("bias")
    is_affine = weight is not None or bias is not None
    if is_affine:
        scaled(w, weight, bias, s.input.shape[1])
    return back(layer(gcn.InstanceNorm2d, epsilon=s.kwargs.get("eps", 1e-5), affine=is_affine)(x))


@expression("nn.functional.local_response_norm")
def local_response_norm(w, s):
    x, back = maps(w, s.input)
    made = gcn.LocalResponseNorm(
        s.args[0],
        alpha=s.kwargs.get("alpha", 1e-4),
        beta=s.kwargs.get("beta", 0.75),
        k=s.kwargs.get("k", 1.0),
    )
    return back(made(x))


# Pictures made larger


def shuffled(name):
    def write(w, s):
        factor = s.args[0] if s.args else next(iter(s.kwargs.values()))
        return channels_first(getattr(gcn, name)(factor)(w.images(s.input)), s.input)

    return write


expression("nn.functional.pixel_shuffle")(shuffled("PixelShuffle"))
expression("nn.functional.pixel_unshuffle")(shuffled("PixelUnshuffle"))


@expression("nn.functional.interpolate", "nn.functional.upsample_nearest")
def interpolate(w, s):
    return resized(w, s, s.kwargs.get("mode", "nearest"), s.kwargs.get("align_corners") or False)


@expression("nn.functional.upsample_bilinear")
def upsample_bilinear(w, s):
    return resized(w, s, "bilinear", True)


def resized(w, s, mode, corners):
    if s.input.dim() != 4:
        raise Outside("volumes and signals made larger")
    if mode not in ("nearest", "bilinear") or s.input.dim() != 4:
        raise Outside(f"pictures made larger by mode={mode!r}")
    size, factor = argument(s, 0, "size"), s.kwargs.get("scale_factor")
    extent = s.input.shape[2:]
    if size is None:
        factors = [factor] * 2 if isinstance(factor, float | int) else list(factor)
        is_whole = all(float(length * f).is_integer() for length, f in zip(extent, factors, strict=True))
        if not (mode == "nearest" or corners or is_whole or s.kwargs.get("recompute_scale_factor")):
            raise Outside("places by a factor that does not give the size")
        size = [int(length * each) for length, each in zip(extent, factors, strict=True)]
    x = w.images(s.input)
    if mode == "bilinear":
        return channels_first(gcn.resize2d(x, pair(size), align_corners=corners), s.input)
    if any(new % old for new, old in zip(pair(size), extent, strict=True)):
        raise Outside("pictures of the nearest pixels, by no whole number")
    factors = tuple(new // old for new, old in zip(pair(size), extent, strict=True))
    return channels_first(gcn.Upsample2d(factors)(x), s.input)
