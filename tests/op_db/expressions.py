"""How PyTorch's ops are written with graphcnn's public names. `write(w, sample)` returns the results."""

import math

import graphcnn as gcn
from tests.op_db.written import Outside

EXPRESSIONS = {}


def expression(*names):
    def register(write):
        EXPRESSIONS.update(dict.fromkeys(names, write))
        return write

    return register


def argument(sample, position, name, default=None):
    """Return an argument that may be given by position or by name."""
    if len(sample.args) > position:
        return sample.args[position]
    return sample.kwargs.get(name, default)


def pair(value):
    if isinstance(value, int):
        return (value, value)
    value = tuple(value)
    return value * 2 if len(value) == 1 else value


def one(value):
    return value if isinstance(value, int) else next(iter(value))


# Element by element


def elementwise(name, function):
    EXPRESSIONS[name] = lambda w, s: function(w.value(s.input))


for _name, _function in {
    "abs": gcn.abs,
    "cos": gcn.cos,
    "erf": gcn.erf,
    "exp": gcn.exp,
    "log": gcn.log,
    "neg": lambda x: -x,
    "nn.functional.hardsigmoid": lambda x: gcn.hardsigmoid(x),
    "nn.functional.hardswish": lambda x: gcn.hardswish(x),
    "nn.functional.mish": lambda x: gcn.mish(x),
    "nn.functional.relu": gcn.relu,
    "nn.functional.relu6": lambda x: gcn.relu6(x),
    "nn.functional.selu": lambda x: gcn.selu(x),
    "nn.functional.silu": lambda x: gcn.silu(x),
    "nn.functional.softsign": lambda x: gcn.softsign(x),
    "nn.functional.logsigmoid": lambda x: -gcn.softplus(-x),
    "nn.functional.tanhshrink": lambda x: x - gcn.tanh(x),
    "reciprocal": lambda x: 1.0 / x,
    "rsqrt": lambda x: 1.0 / gcn.sqrt(x),
    "sigmoid": gcn.sigmoid,
    "sign": gcn.sign,
    "sin": gcn.sin,
    "sqrt": gcn.sqrt,
    "square": lambda x: x * x,
    "tanh": gcn.tanh,
}.items():
    elementwise(_name, _function)


@expression("nn.functional.leaky_relu")
def leaky_relu(w, s):
    return gcn.leaky_relu(w.value(s.input), argument(s, 0, "negative_slope", 0.01))


@expression("nn.functional.elu")
def elu(w, s):
    return gcn.elu(w.value(s.input), argument(s, 0, "alpha", 1.0))


@expression("nn.functional.celu")
def celu(w, s):
    return gcn.celu(w.value(s.input), argument(s, 0, "alpha", 1.0))


@expression("nn.functional.gelu")
def gelu(w, s):
    return gcn.gelu(w.value(s.input), s.kwargs.get("approximate", "none"))


@expression("nn.functional.softplus")
def softplus(w, s):
    beta, threshold = argument(s, 0, "beta", 1.0), argument(s, 1, "threshold", 20.0)
    x = w.value(s.input)
    return gcn.where(x * beta > threshold, x, gcn.softplus(x * beta) / beta)


@expression("nn.functional.threshold")
def threshold(w, s):
    x = w.value(s.input)
    return gcn.where(x > argument(s, 0, "threshold"), x, argument(s, 1, "value"))


@expression("nn.functional.hardtanh")
def hardtanh(w, s):
    low, high = argument(s, 0, "min_val", -1.0), argument(s, 1, "max_val", 1.0)
    if low == high:
        raise Outside("bounds that leave a single number")
    return gcn.hardtanh(w.value(s.input), low, high)


@expression("nn.functional.hardshrink", "nn.functional.softshrink")
def shrink(w, s):
    raise Outside("shrinkage of a signal, which no activation of networks is")


@expression("nn.functional.prelu")
def prelu(w, s):
    weight = argument(s, 0, "weight")
    x, slope = w.value(s.input), w.value(weight)
    if weight.numel() > 1 and s.input.dim() > 1:
        slope = gcn.reshape(slope, (weight.numel(), *(1,) * (s.input.dim() - 2)))
    elif weight.dim():
        slope = gcn.reshape(slope, ())
    return gcn.where(x > 0.0, x, slope * x)


@expression("clamp")
def clamp(w, s):
    low, high = argument(s, 0, "min"), argument(s, 1, "max")
    if len({each.dtype for each in (s.input, low, high) if hasattr(each, "dtype")}) > 1:
        raise Outside("numbers of two kinds together")
    return gcn.clip(w.value(s.input), w.number_or_value(low), w.number_or_value(high))


@expression("clamp_min")
def clamp_min(w, s):
    return gcn.clip(w.value(s.input), w.number_or_value(s.args[0]), None)


@expression("clamp_max")
def clamp_max(w, s):
    return gcn.clip(w.value(s.input), None, w.number_or_value(s.args[0]))


def binary(function):
    def write(w, s):
        other = s.args[0] if s.args else s.kwargs["other"]
        if s.kwargs.get("rounding_mode"):
            raise Outside("a quotient that is rounded")
        scale = s.kwargs.get("alpha", 1)
        y = w.number_or_value(other)
        return function(w.value(s.input), y if scale == 1 else y * scale)

    return write


EXPRESSIONS |= {
    "add": binary(lambda x, y: x + y),
    "sub": binary(lambda x, y: x - y),
    "mul": binary(lambda x, y: x * y),
    "div": binary(lambda x, y: x / y),
    "true_divide": binary(lambda x, y: x / y),
    "__radd__": binary(lambda x, y: y + x),
    "__rsub__": binary(lambda x, y: y - x),
    "__rmul__": binary(lambda x, y: y * x),
    "__rdiv__": binary(lambda x, y: y / x),
    "maximum": binary(gcn.maximum),
    "minimum": binary(gcn.minimum),
    "gt": binary(lambda x, y: x > y),
    "ge": binary(lambda x, y: x >= y),
    "lt": binary(lambda x, y: x < y),
    "le": binary(lambda x, y: x <= y),
    "eq": binary(gcn.equal),
}


@expression("rsub")
def rsub(w, s):
    return w.number_or_value(s.args[0] if s.args else s.kwargs["other"]) - w.value(s.input) * float(
        s.kwargs.get("alpha", 1)
    )


@expression("pow")
def power(w, s):
    if hasattr(s.args[0], "numel"):
        raise Outside("an exponent that is computed: gcn.exp(y * gcn.log(x)), for positive x")
    return w.value(s.input) ** s.args[0]


@expression("where")
def where(w, s):
    # PyTorch's op takes the condition second in its samples: input.where(condition, other).
    condition, other = s.args
    return gcn.where(w.value(condition), w.value(s.input), w.number_or_value(other))


# Reductions


def axes_of(s, position=0):
    dim = argument(s, position, "dim")
    if dim is None or dim == ():
        return tuple(range(s.input.dim()))
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    return axes if s.input.dim() else ()


def reduction(function):
    def write(w, s):
        if s.kwargs.get("dtype") not in (None, s.input.dtype):
            raise Outside("a sum in another precision")
        return function(w.value(s.input), axes_of(s), keepdims=argument(s, 1, "keepdim", False))

    return write


EXPRESSIONS |= {
    "sum": reduction(gcn.sum),
    "mean": reduction(gcn.mean),
    "amax": reduction(gcn.max),
    "amin": reduction(gcn.min),
}


@expression("var")
def var(w, s):
    if s.args and isinstance(s.args[0], bool):
        axes, correction = tuple(range(s.input.dim())), float(s.args[0])
    else:
        axes = axes_of(s)
        correction = s.kwargs.get("correction", float(argument(s, 1, "unbiased", True)))
        correction = 1.0 if correction is None else correction
    x = w.value(s.input)
    count = math.prod(s.input.shape[axis] for axis in axes)
    if count - correction <= 0:
        raise Outside("the variance of fewer numbers than are subtracted")
    keep = s.kwargs.get("keepdim", False)
    return gcn.var(x, axes, keepdims=keep) * (count / (count - correction))


@expression("argmax")
def argmax(w, s):
    dim, keep = argument(s, 0, "dim"), s.kwargs.get("keepdim", False)
    if dim is None or not s.input.dim():
        raise Outside("the place of the greatest of all numbers, batch included")
    return gcn.argmax(w.value(s.input), dim, keepdims=keep)


def softmax_of(function, sign=1.0):
    def write(w, s):
        dtype = s.kwargs.get("dtype")
        if dtype not in (None, s.input.dtype):
            raise Outside("a result of another precision")
        x = w.value(s.input)
        if not s.input.dim():
            raise Outside("a softmax of a single number")
        axis = argument(s, 0, "dim") % s.input.dim()
        last = s.input.dim() - 1
        order = tuple(last if a == axis else axis if a == last else a for a in range(last + 1))
        x = x if axis == last else gcn.transpose(x, order)
        y = function(x if sign > 0 else -x)
        return y if axis == last else gcn.transpose(y, order)

    return write


EXPRESSIONS |= {
    "softmax": softmax_of(gcn.softmax),
    "log_softmax": softmax_of(gcn.log_softmax),
    "nn.functional.softmin": softmax_of(gcn.softmax, -1.0),
}


# Products


@expression("matmul", "bmm", "mm")
def matmul(w, s):
    x, y = w.value(s.input), w.value(s.args[0])
    return _product(x, y)


@expression("__rmatmul__")
def rmatmul(w, s):
    return _product(w.value(s.args[0]), w.value(s.input))


def _product(x, y):
    """Return torch.matmul of values of any ranks: vectors are rows and columns."""
    left, right = len(x.shape), len(y.shape)
    x = gcn.reshape(x, (1, *x.shape)) if left == 1 else x
    y = gcn.reshape(y, (*y.shape, 1)) if right == 1 else y
    z = gcn.matmul(x, y)
    shape = list(z.shape)
    if right == 1:
        shape.pop(-1)
    if left == 1:
        shape.pop(-1 if right == 1 else -2)
    return z if tuple(shape) == z.shape else gcn.reshape(z, tuple(shape))


@expression("addmm", "baddbmm")
def addmm(w, s):
    x, y = w.value(s.args[0]), w.value(s.args[1])
    beta, alpha = s.kwargs.get("beta", 1), s.kwargs.get("alpha", 1)
    return w.value(s.input) * float(beta) + gcn.matmul(x, y) * float(alpha)


@expression("nn.functional.linear")
def linear(w, s):
    weights = gcn.transpose(w.value(s.args[0])) if s.args[0].dim() == 2 else w.value(s.args[0])
    y = _product(w.value(s.input), weights)
    bias = argument(s, 1, "bias")
    return y if bias is None else y + w.value(bias)


# Shapes


@expression("permute", "permute_copy")
def permute(w, s):
    dims = s.args[0] if isinstance(s.args[0], tuple | list) else s.args
    return gcn.transpose(w.value(s.input), tuple(dims))


@expression("transpose", "transpose_copy")
def transpose(w, s):
    rank = s.input.dim()
    if not rank:
        return w.value(s.input)
    first, second = (axis % rank for axis in s.args)
    order = list(range(rank))
    order[first], order[second] = second, first
    return gcn.transpose(w.value(s.input), tuple(order))


@expression("reshape", "view")
def reshape(w, s):
    given = s.args[0] if isinstance(s.args[0], tuple | list) else s.args
    x = w.value(s.input)
    known = math.prod(size for size in given if size != -1)
    return gcn.reshape(x, tuple(s.input.numel() // known if size == -1 else size for size in given))


@expression("cat")
def cat(w, s):
    dim = argument(s, 0, "dim", 0)
    return gcn.concatenate(*map(w.value, s.input), axis=dim)


@expression("stack")
def stack(w, s):
    return gcn.stack(*map(w.value, s.input), axis=argument(s, 0, "dim", 0))


@expression("split", "split_with_sizes")
def split(w, s):
    sizes, axis = s.args[0], argument(s, 1, "dim", 0)
    length = s.input.shape[axis]
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    if 0 in sizes:
        raise Outside("a tensor without elements")
    return gcn.split(w.value(s.input), list(sizes), axis=axis)


@expression("__getitem__")
def getitem(w, s):
    index = s.args[0]
    parts = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(part, int | slice) or part is Ellipsis or part is None for part in parts):
        raise Outside("elements chosen by computed numbers or conditions")
    return w.value(s.input)[index]


@expression("flip")
def flip(w, s):
    dims = {axis % max(s.input.dim(), 1) for axis in argument(s, 0, "dims")}
    if not dims:
        return w.value(s.input)
    index = tuple(slice(None, None, -1) if axis in dims else slice(None) for axis in range(s.input.dim()))
    return w.value(s.input)[index]


@expression("nn.functional.pad")
def pad(w, s):
    return _padded(w, s, s.args[0], argument(s, 1, "mode", "constant"), argument(s, 2, "value", 0.0))


def _padded(w, s, widths, mode, value):
    pairs = [(0, 0)] * s.input.dim()
    for number in range(len(widths) // 2):
        pairs[-1 - number] = (widths[2 * number], widths[2 * number + 1])
    x = w.value(s.input)
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "circular"}
    crop = tuple(
        slice(max(0, -a), size - max(0, -b)) for (a, b), size in zip(pairs, s.input.shape, strict=True)
    )
    if any(part.stop <= part.start for part in crop):
        raise Outside("a tensor without elements")
    grow = tuple((max(0, a), max(0, b)) for a, b in pairs)
    if min(widths) < 0:
        if mode != "constant":
            raise Outside("padding that crops and repeats at once")
        x = x[crop]
    return gcn.pad(x, grow, mode=modes[mode], **({"value": value or 0.0} if mode == "constant" else {}))


@expression("constant_pad_nd")
def constant_pad(w, s):
    return _padded(w, s, argument(s, 0, "pad"), "constant", argument(s, 1, "value", 0.0))
