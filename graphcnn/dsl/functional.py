"""Functions on values of a network. Each returns a new value; none has parameters."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.dsl.layers.dense import flat
from graphcnn.dsl.tensor import Tensor, apply_function, apply_op, at_users_line, broadcast_together
from graphcnn.errors import OptionError
from graphcnn.ir import Dim


def relu(x: Tensor) -> Tensor:
    """Return max(0, x), element by element."""
    return _activation(ops.Relu(), x)


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent of each element."""
    return _activation(ops.Tanh(), x)


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x) of each element."""
    return _activation(ops.Sigmoid(), x)


def _activation(op: ops.Relu | ops.Tanh | ops.Sigmoid, x: Tensor) -> Tensor:
    return apply_function(lambda build, value: build(op, value), op.name, x, rule="Eq. 8")


def exp(x: Tensor) -> Tensor:
    """Return e^x of each element."""
    return apply_op(ops.Exp(), x)


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm of each element."""
    return apply_op(ops.Log(), x)


def sqrt(x: Tensor) -> Tensor:
    """Return the square root of each element."""
    return apply_op(ops.Sqrt(), x)


def maximum(x: Tensor | float, y: Tensor | float) -> Tensor:
    """Return the greater of two values, element by element; shapes are broadcast together."""
    op = ops.Maximum()
    return apply_function(
        lambda build, a, b: build(op, *broadcast_together(build, op.name, a, b)), op.name, x, y
    )


def correlate2d(x: Tensor, filters: Tensor) -> Tensor:
    """Return the cross-correlation (Eq. 1, 4) of images [N, H, W, C] with filters [k1, k2, C, D]."""
    return apply_op(ops.Correlate2d(), x, filters)


def convolve2d(x: Tensor, filters: Tensor) -> Tensor:
    """Return the true convolution (Eq. 2-3) of images [N, H, W, C] with filters [k1, k2, C, D]."""
    return apply_op(ops.Convolve2d(), x, filters)


def log_softmax(x: Tensor) -> Tensor:
    """Return the logarithm of softmax along the last axis."""
    return apply_op(ops.LogSoftmax(), x)


def softmax(x: Tensor) -> Tensor:
    """Return e^x / Σ e^x along the last axis: probabilities that add up to 1."""
    return apply_function(lambda build, value: build(ops.Exp(), build(ops.LogSoftmax(), value)), "softmax", x)


def sum(x: Tensor, axes: int | tuple[int, ...] | None = None) -> Tensor:
    """Return the sum over axes (over all of them by default, the batch included)."""
    return apply_op(ops.Sum(_axes("sum", x, axes)), x)


def mean(x: Tensor, axes: int | tuple[int, ...] | None = None) -> Tensor:
    """Return the mean over axes (over all of them by default, the batch included)."""
    return apply_op(ops.Mean(_axes("mean", x, axes)), x)


def _axes(name: str, x: Tensor, axes: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the axes in ascending order, counted from the front."""
    _require_tensors(name, x)
    rank = len(x.shape)
    if axes is None:
        return tuple(range(rank))
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    wrong = [axis for axis in given if not isinstance(axis, int) or not -rank <= axis < rank]
    if wrong or len({axis % rank for axis in given}) < len(given):
        raise at_users_line(
            OptionError(
                f"axes={axes!r} are not distinct axes of {x.type}",
                mend=f"axes are {-rank} to {rank - 1}; 0 is the batch" if rank else "a scalar has no axes",
            ),
            layer=name,
        )
    return tuple(sorted(axis % rank for axis in given))


def _require_tensors(name: str, *tensors: object) -> None:
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise at_users_line(
                OptionError(
                    f"{name} takes values of a network, not {type(tensor).__name__}",
                    mend=f"gcn.{name}(*values)"
                    if isinstance(tensor, list | tuple)
                    else f"gcn.{name}(x), where x = gcn.Input(shape) or the result of a layer",
                )
            )


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return half the squared distance of each sample, ½Σ(t-y)² (Eq. 9), of shape [N]."""
    return apply_function(
        lambda build, y, t: build(ops.SquaredError(), y, t), "squared_error", outputs, targets, rule="Eq. 9"
    )


def concatenate(*tensors: Tensor, axis: int = -1) -> Tensor:
    """Return tensors joined along one axis (the channels by default)."""
    if not tensors:
        raise at_users_line(OptionError("concatenate takes at least one value", mend="gcn.concatenate(x, y)"))
    _require_tensors("concatenate", *tensors)
    return apply_op(ops.Concatenate(_axes("concatenate", tensors[0], axis)[0]), *tensors)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return each sample's elements in row-major order under another shape (without the batch axis)."""
    _require_tensors("reshape", x)
    full: tuple[Dim, ...] = ("N", *shape) if x.type.has_batch else tuple(shape)
    return apply_op(ops.Reshape(full), x)


def flatten(x: Tensor) -> Tensor:
    """Return [N, H, W, C] as [N, H·W·C]."""
    return apply_function(flat, "flatten", x)
