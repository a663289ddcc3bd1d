"""`check_op` passes right ops, and catches each of the ways in which one can be wrong."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import graphcnn as gcn
import graphcnn_native
import graphcnn_numpy
from graphcnn import ops
from graphcnn.errors import BackendError, DifferentiationError
from graphcnn.testing import check_op

X = gcn.TensorType(("N", 4))


@dataclass(frozen=True)
class Cubed(gcn.Op):
    """factor · x³"""

    factor: float = 1.0

    name: ClassVar[str] = "cubed"
    equation: ClassVar[str] = "y = factor · x³"
    arity: ClassVar[int] = 1

    def result_types(self, *operands):
        return (operands[0],)

    def gradient(self, emit, operands, results, delta):
        slope = emit(
            ops.Multiply(), ops.constant(emit, 3 * self.factor, delta.type), emit(ops.Power(2.0), operands[0])
        )
        return (emit(ops.Multiply(), delta, slope),)

    def flops(self, operands, results, batch):
        return 3 * results[0].elements(batch)


def cubed(op, operands, batch):
    return (op.factor * operands[0] ** 3).astype(operands[0].dtype)


@pytest.fixture(autouse=True)
def registered():
    gcn.register_op(Cubed)
    graphcnn_numpy.register(Cubed, cubed)


def check(op, *operands, kernel=None, **options):
    if kernel is not None or type(op) is not Cubed:
        ops.OPS["cubed"] = type(op)
        graphcnn_numpy.register(type(op), kernel or cubed)
    return check_op(op, *(operands or (X,)), backends=["numpy"], **options)


def made(**attributes):
    return dataclass(frozen=True)(type("Cubed", (Cubed,), attributes))()


def test_a_right_op():
    x = np.linspace(-2, 2, 12).reshape(3, 4)
    result = check(Cubed(0.5), inputs=[x], expected=0.5 * x**3)
    assert str(result) == ("op 'cubed': description, shape rule, text, gradient to order 2; 4 cases on numpy")
    assert check(Cubed(0.5)).cases == 20, (
        "itself and its gradient, at four sizes and in blocks, in two precisions"
    )


@pytest.mark.parametrize(
    ("op", "operands", "options"),
    [
        (ops.Correlate2d(), [gcn.TensorType(("N", 5, 4, 2)), gcn.TensorType((3, 3, 2, 3))], {}),
        (ops.MaxPool2d((2, 2), (2, 2)), [gcn.TensorType(("N", 4, 4, 2))], {"order": 1}),
        (ops.SoftmaxCrossEntropy(), [X, gcn.TensorType(("N",), "int64")], {}),
        (ops.Greater(), [X, X], {"order": 0}),
        (ops.Concatenate(1), [X, X, X], {}),
        (ops.Cast("float64"), [gcn.TensorType((3,), "uint8")], {"order": 0}),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_ops_of_graphcnn(op, operands, options):
    check_op(op, *operands, **options)


@pytest.mark.parametrize("order", [1, 2])
def test_wrong_gradients_are_caught(order):
    def twice(self, emit, operands, results, delta):
        (right,) = Cubed.gradient(self, emit, operands, results, delta)
        return (emit(ops.Add(), right, right),)

    with pytest.raises(AssertionError, match="cubed"):
        check(made(gradient=twice), order=order)


def test_a_gradient_that_is_right_once_alone():
    def hidden(self, emit, operands, results, delta):
        # The slope is right, but it is a constant for whoever differentiates again.
        (right,) = Cubed.gradient(self, emit, operands, results, delta)
        return (emit(Opaque(), right),)

    @dataclass(frozen=True)
    class Opaque(gcn.Op):
        name: ClassVar[str] = "opaque"
        equation: ClassVar[str] = "y = x"
        arity: ClassVar[int] = 1

        def result_types(self, *operands):
            return (operands[0],)

        def gradient(self, emit, operands, results, delta):
            return (None,)

    gcn.register_op(Opaque)
    graphcnn_numpy.register(Opaque, lambda op, operands, batch: operands[0])
    op = made(gradient=hidden)
    check(op, order=1)
    with pytest.raises(AssertionError, match="order 2"):
        check(op, order=2)


def test_no_gradient_where_there_should_be_one():
    op = made(gradient=gcn.Op.gradient)
    check(op, order=0)
    with pytest.raises(AssertionError, match=r"cubed has no gradient rule(.|\s)*order=0 says"):
        check(op)


def bad_kernels():
    def scaled(op, operands, batch):
        return cubed(op, operands, batch) * operands[0].dtype.type(1.01)

    def in_place(op, operands, batch):
        operands[0][...] = cubed(op, operands, batch)
        return operands[0]

    def double(op, operands, batch):
        return cubed(op, operands, batch).astype(np.float64)

    def smaller(op, operands, batch):
        return cubed(op, operands, batch)[:, :1]

    return [scaled, in_place, double, smaller]


@pytest.mark.parametrize("kernel", bad_kernels(), ids=lambda kernel: kernel.__name__)
def test_wrong_kernels_are_caught(kernel):
    x = np.linspace(-2, 2, 12).reshape(3, 4)
    with pytest.raises((AssertionError, ValueError), match=r"cubed|output0"):
        check(Cubed(), kernel=kernel, inputs=[x], expected=x**3)


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"flops": lambda self, *_: 1.5}, "its FLOPs are 1.5, not a whole number"),
        (
            {"latex": lambda self, *_: r"$y = $b^3"},
            r"the equation in LaTeX names $b, which stand for nothing",
        ),
        ({"latex": lambda self, *_: "x^3"}, "does not say what $y is"),
        ({"latex": lambda self, *_: "$y = {$a^3"}, "the braces of the equation in LaTeX do not match"),
        ({"gradient_latex": lambda self, *_: "$G = 3 $c"}, "the gradient of operand 0 in LaTeX names $c"),
        ({"__eq__": lambda self, other: self is other}, "does not equal"),
        ({"arity": 2}, "it takes 2 operands, not 1"),
    ],
)
def test_wrong_descriptions_are_caught(attributes, problem):
    with pytest.raises(AssertionError) as caught:
        check(made(**attributes))
    assert problem in str(caught.value)


def test_an_op_that_is_not_registered():
    del ops.OPS["cubed"]
    with pytest.raises(AssertionError, match=r"Cubed is not registered: gcn.register_op\(Cubed\)"):
        check_op(Cubed(), X)


def test_attributes_that_text_does_not_give_back():
    with pytest.raises(AssertionError, match=r"has no text: the attribute \(1\+1j\) has no text form"):
        check(Cubed(complex(1, 1)), order=0)
    with pytest.raises(AssertionError, match="plain, frozen attributes"):
        check(Cubed([1.0]), order=0)


def test_a_backend_without_a_kernel():
    del graphcnn_numpy.kernels.KERNELS[Cubed]
    with pytest.raises(AssertionError, match=r"backend 'numpy' has no kernel for cubed; graphcnn_numpy.regi"):
        check_op(Cubed(), X, backends=["numpy"])
    graph = gcn.Graph("cubes")
    graph.output("y", graph.add(Cubed(), graph.input("x", X)))
    with pytest.raises(BackendError, match=r"Mend: graphcnn_numpy\.register\(Cubed, kernel\)"):
        graphcnn_numpy.backend.compile(graph)


def test_an_op_without_a_gradient_names_what_it_lacks():
    op = made(gradient=gcn.Op.gradient)
    with pytest.raises(AssertionError, match=r"Mend: def gradient(.|\s)*order=0 says that it"):
        check(op)
    graph = gcn.Graph("cubes")
    graph.output("total", graph.add(ops.Sum((0, 1)), graph.add(op, graph.input("x", X))))
    with pytest.raises(DifferentiationError, match=r"Mend: def gradient.* in Cubed"):
        gcn.gradient(graph, "total", ["x"])


def test_a_gradient_that_does_not_fit_is_not_said_to_be_missing():
    op = made(gradient=lambda self, emit, operands, results, delta: None)
    with pytest.raises(AssertionError) as caught:
        check(op)
    assert "return a tuple with a value or None for each operand" in str(caught.value)
    assert "order=0" not in str(caught.value)


def test_the_backend_and_the_place_of_a_difference_are_named():
    def off_at_one_place(op, operands, batch):
        result = cubed(op, operands, batch)
        result[-1, 2] += 1
        return result

    x = np.linspace(-2, 2, 12).reshape(3, 4)
    with pytest.raises(AssertionError) as caught:
        check(Cubed(), kernel=off_at_one_place, inputs=[x], expected=x**3)
    assert "backend 'numpy': " in str(caught.value)
    assert "at [2, 2] it is " in str(caught.value)


def test_by_sample_is_named_where_samples_are_mixed():
    @dataclass(frozen=True)
    class Turned(gcn.Op):
        name: ClassVar[str] = "turned"
        equation: ClassVar[str] = "y(n) = x(N - 1 - n)"
        arity: ClassVar[int] = 1

        def result_types(self, *operands):
            return (operands[0],)

    gcn.register_op(Turned)
    graphcnn_numpy.register(Turned, lambda op, operands, batch: operands[0][::-1])
    for by_sample in (False, True):
        graphcnn_native.register(
            Turned,
            element=lambda e, op: e.load(
                0, e.subtract(e.subtract(e.sizes[0], 1), e.indices[0]), e.indices[1]
            ),
            by_sample=by_sample,
        )
        if not by_sample:
            check_op(Turned(), X, order=0)
    with pytest.raises(AssertionError, match="is native code of Turned registered with by_sample=True"):
        check_op(Turned(), X, order=0)
    Turned.by_sample = True
    graphcnn_native.register(Turned, element=lambda e, op: e.load(0, *e.indices), by_sample=False)
    said = "by_sample says that a sample's result depends on that sample alone, but that of sample 2 is"
    with pytest.raises(AssertionError, match=said):
        check_op(Turned(), X, order=0, backends=["numpy"])
