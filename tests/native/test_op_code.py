"""Native code for ops of one's own: functions of numbers, elements, and the reference's kernels."""

import functools
import gc
import math
import weakref
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import graphcnn as gcn
import graphcnn_native
import graphcnn_numpy
from graphcnn import ops
from graphcnn.errors import BackendError, DataError, OptionError
from graphcnn.testing import check_op
from graphcnn_native import op_code

X = gcn.TensorType(("N", 3, 5))


@dataclass(frozen=True)
class Bent(gcn.Op):
    """x where it is positive, slope · x elsewhere; times the second operand, where there is one."""

    slope: float = 0.25

    name: ClassVar[str] = "bent"
    equation: ClassVar[str] = "y = x if x > 0 else slope · x"
    arity: ClassVar[int] = -1

    def result_types(self, *operands):
        return (operands[-1],)

    def gradient(self, emit, operands, results, delta):
        if len(operands) == 1:
            return (emit(self, operands[0], delta),)
        return None, emit(self, operands[0], delta)


def bent_kernel(op, operands, batch):
    x, y = operands[0], operands[-1]
    return np.where(x > 0, y, y * y.dtype.type(op.slope))


def bent_function(op):
    slope = op.slope
    return lambda x, y: y if x > 0 else slope * y


@dataclass(frozen=True)
class Roll(gcn.Op):
    """Moves elements along an axis; those that leave at one end come in at the other."""

    shift: int
    axis: int = 1

    name: ClassVar[str] = "roll"
    equation: ClassVar[str] = "y(i) = x((i - shift) mod size)"
    arity: ClassVar[int] = 1

    def result_types(self, *operands):
        return (operands[0],)

    def gradient(self, emit, operands, results, delta):
        return (emit(Roll(-self.shift, self.axis), delta),)


@dataclass(frozen=True)
class Unknown(Roll):
    """An op that is not registered."""


def roll_kernel(op, operands, batch):
    return np.roll(operands[0], op.shift, op.axis)


def roll_element(e, op):
    indices, size = list(e.indices), e.sizes[op.axis]
    moved = e.add(indices[op.axis], e.multiply(size, abs(op.shift)), -op.shift)
    indices[op.axis] = e.remainder(moved, size)
    return e.load(0, *indices)


@pytest.fixture
def bent():
    gcn.register_op(Bent)
    graphcnn_numpy.register(Bent, bent_kernel)
    return Bent


@pytest.fixture
def roll():
    gcn.register_op(Roll)
    graphcnn_numpy.register(Roll, roll_kernel)
    return Roll


def compiled(op, *types, **options):
    graph = gcn.Graph("alone")
    operands = [graph.input(f"x{number}", type) for number, type in enumerate(types)]
    for index, result in enumerate(graph.add_all(op, *operands)):
        graph.output(f"y{index}", result)
    return graphcnn_native.backend.compile(graph, **options)


def details(executable):
    return " ".join(kernel.details for kernel in executable.report().kernels)


CALLED = "by the reference backend's kernel"


# The forms


def test_a_function_of_numbers_is_compiled_into_the_loops_around_it(bent):
    graphcnn_native.register(bent, pointwise=bent_function)
    check_op(bent(0.5), X, X)
    check_op(bent(0.5), gcn.TensorType((), "float32"), X, order=1)
    graph = gcn.Graph("fused")
    x = graph.input("x", X)
    graph.output("y", graph.add(ops.Tanh(), graph.add(bent(0.5), x, graph.add(ops.Exp(), x))))
    executable = graphcnn_native.backend.compile(graph)
    assert len(executable.report().kernels) == 1
    assert CALLED not in details(executable)


@pytest.mark.parametrize("by_sample", [False, True])
def test_an_element(roll, by_sample):
    graphcnn_native.register(roll, element=roll_element, by_sample=by_sample)
    for op, type in ((roll(2), X), (roll(-1, 2), X), (roll(1, 0), gcn.TensorType((7, 3)))):
        check_op(op, type)
    assert ("samples" if by_sample else "whole") in details(compiled(roll(1), X))
    assert CALLED not in details(compiled(roll(1), X))


def test_an_element_across_samples(roll):
    graphcnn_native.register(roll, element=roll_element)
    check_op(roll(1, 0), X)


def test_what_lies_outside_of_an_operand_is_zero(roll):
    graphcnn_native.register(
        roll, element=lambda e, op: e.load(0, e.indices[0], e.add(e.indices[1], op.shift), 7)
    )
    found = compiled(roll(-2), gcn.TensorType(("N", 4, 9)))(x0=np.ones((2, 4, 9), np.float32))["y0"]
    assert found[:, 2:].min() == found.max() == 1
    assert found[:, :2].max() == 0


def test_a_sum_in_an_element():
    @gcn.register_op
    @dataclass(frozen=True)
    class Norms(gcn.Op):
        name: ClassVar[str] = "norms"
        equation: ClassVar[str] = "y(n) = √Σ x(n, i)², z(n) = y(n) > 1"
        arity: ClassVar[int] = 1

        def result_types(self, *operands):
            shape = operands[0].shape[:1]
            return operands[0].with_shape(shape), gcn.TensorType(shape, "bool")

    def element(e, op):
        def square(k):
            x = e.load(0, e.indices[0], k)
            return e.f.binary("fmul", x, x)

        root = e.f.intrinsic("sqrt", e.sum(e.operand_sizes(0)[1], square))
        return root, e.f.compare("ogt", root, e.number(1.0))

    def kernel(op, operands, batch):
        norm = np.sqrt((operands[0] ** 2).sum(1))
        return norm, norm > 1

    graphcnn_numpy.register(Norms, kernel)
    graphcnn_native.register(Norms, element=element, by_sample=True)
    check_op(Norms(), gcn.TensorType(("N", 6)), order=0)


def test_code_is_replaced_and_taken_for_what_is_compiled_later(bent):
    executables = []
    for slope in (2.0, 3.0):
        graphcnn_native.register(bent, pointwise=lambda op, slope=slope: lambda x: x * slope)
        executables.append(compiled(bent(), X))
    ones = np.ones((1, 3, 5), np.float32)
    assert [executable(x0=ones)["y0"].max() for executable in executables] == [2.0, 3.0]


# Ops without code


def test_ops_without_code_are_left_to_the_reference(bent, roll):
    check_op(bent(0.5), X, X)
    check_op(roll(1, 0), X)
    check_op(roll(2, 0), gcn.TensorType((4, 3)))
    for executable in (compiled(bent(), X, X), compiled(roll(1), gcn.TensorType((3, 2), "uint8"))):
        assert CALLED in details(executable)
    assert {bent, roll} <= graphcnn_native.backend.ops


def mixed(threads):
    """Return a model with an op of each kind among others, which share values and follow from each other."""
    x = gcn.Input((8, 8, 1))
    y = gcn.Conv2d(4, 3)(x)
    y = gcn.apply_op(Bent(0.2), y, y) + y
    y = gcn.relu(gcn.apply_op(Roll(2), gcn.apply_op(Bent(0.5), y, y * y))) + y
    network = gcn.Network(x, gcn.Dense(10)(gcn.Flatten()(y)))
    options = {"backend": "numpy"} if not threads else {"backend": "native", "threads": threads}
    return gcn.compile(
        network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.02, momentum=0.5), dtype="float64", **options
    )


@pytest.mark.parametrize("with_code", [False, True])
def test_they_train_as_on_the_reference_on_any_number_of_threads(bent, roll, with_code):
    if with_code:
        graphcnn_native.register(bent, pointwise=bent_function)
        graphcnn_native.register(roll, element=roll_element)
    digits = gcn.data.load_digits()
    states = []
    for threads in (0, 1, 2, 4):
        model = mixed(threads)
        model.fit(digits.images[:77], digits.labels[:77], epochs=2, batch_size=16, progress=False)
        states.append(model.state())
    for name, expected in states[0].items():
        np.testing.assert_allclose(states[1][name], expected, rtol=1e-9, atol=1e-9)
        assert states[1][name].tobytes() == states[2][name].tobytes() == states[3][name].tobytes()


def test_denormals_are_those_of_the_caller_in_the_references_kernel(roll):
    tiny = np.full((2, 3, 5), 1e-40, np.float32)
    for _ in range(3):
        graphcnn_numpy.register(
            roll, lambda op, operands, batch: operands[0] * np.float32(0.5) * np.float32(2**60)
        )
        found = compiled(roll(1), X)(x0=tiny)["y0"]
        np.testing.assert_array_equal(found, tiny * np.float32(0.5) * np.float32(2**60))
        assert found.min() > 0


class Failing:
    """A kernel that raises at its second call."""

    def __init__(self, error):
        self.error, self.calls = error, 0

    def __call__(self, op, operands, batch):
        self.calls += 1
        if self.calls == 2:
            raise self.error
        return roll_kernel(op, operands, batch)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("of mine"), KeyboardInterrupt()], ids=["error", "interrupt"]
)
def test_what_a_kernel_raises_comes_out_and_leaves_the_state_as_it_was(roll, error):
    digits = gcn.data.load_digits()
    batch = digits.images[:8], digits.labels[:8]
    x = gcn.Input((8, 8, 1))
    network = gcn.Network(x, gcn.Dense(10)(gcn.Flatten()(gcn.apply_op(roll(1), x))))
    models = [gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), threads=2) for _ in "ab"]
    models[1].train_step(*batch)
    graphcnn_numpy.register(roll, Failing(error))
    models[0].train_step(*batch)
    before = models[0].state()
    with pytest.raises(type(error)) as caught:
        models[0].train_step(*batch)
    if isinstance(error, Exception):
        (note,) = caught.value.__notes__
        assert "in the reference's kernel of 'roll', roll1" in note
        assert "test_op_code.py:" in note
    assert all(np.array_equal(models[0].state()[name], array) for name, array in before.items())
    assert models[0].train_step(*batch) == models[1].train_step(*batch)


def test_an_interrupt_before_a_failure_comes_out(roll, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    graphcnn_numpy.register(roll, Failing(ZeroDivisionError()))
    executable, ones = compiled(roll(1), X), np.ones((2, 3, 5), np.float32)
    executable(x0=ones)
    with monkeypatch.context() as patched:
        patched.setattr(graphcnn_native.reference.ReferenceKernels, "raise_failure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            executable(x0=ones)
    np.testing.assert_array_equal(executable(x0=ones)["y0"], ones)


def test_a_kernel_of_another_shape_than_its_rule_says(roll):
    graphcnn_numpy.register(roll, lambda op, operands, batch: operands[0][:, :1])
    with pytest.raises(BackendError) as caught:
        compiled(roll(1), X)(x0=np.ones((2, 3, 5), np.float32))
    assert "the kernel of roll, <lambda> (test_op_code.py:" in str(caught.value)
    assert "returned float32[2, 1, 5]; the shape rule says float32[2, 3, 5]" in str(caught.value)


def test_operands_cannot_be_written_to(roll):
    def kernel(op, operands, batch):
        operands[0][...] = 0
        return operands[0]

    graphcnn_numpy.register(roll, kernel)
    with pytest.raises(ValueError, match="read-only"):
        compiled(roll(1), X)(x0=np.ones((2, 3, 5), np.float32))


def test_the_batch_size_of_an_op_that_takes_nothing():
    @gcn.register_op
    @dataclass(frozen=True)
    class Counted(gcn.Op):
        name: ClassVar[str] = "counted"
        equation: ClassVar[str] = "y(n) = n"
        arity: ClassVar[int] = 0

        def result_types(self, *operands):
            return (gcn.TensorType(("N",), "int64"),)

    graphcnn_numpy.register(Counted, lambda op, operands, batch: np.arange(batch))
    graph = gcn.Graph("counting")
    graph.output("x", graph.input("given", gcn.TensorType(("N",))))
    graph.output("y", graph.add(Counted()))
    executable = graphcnn_native.backend.compile(graph)
    for batch in (3, 1, 5):
        assert executable(given=np.zeros(batch, np.float32))["y"].tolist() == list(range(batch))


def test_a_result_that_nobody_reads():
    @gcn.register_op
    @dataclass(frozen=True)
    class Halves(gcn.Op):
        name: ClassVar[str] = "halves"
        equation: ClassVar[str] = "y = x(left), z = x(right)"
        arity: ClassVar[int] = 1

        def result_types(self, *operands):
            (x,) = operands
            width = x.shape[1] // 3
            return x.with_shape((x.shape[0], width)), x.with_shape((x.shape[0], x.shape[1] - width))

    graphcnn_numpy.register(Halves, lambda op, x, batch: tuple(np.split(x[0], [x[0].shape[1] // 3], axis=1)))
    check_op(Halves(), gcn.TensorType(("N", 6)), order=0)
    graph = gcn.Graph("right")
    _, right = graph.add_all(Halves(), graph.input("x", gcn.TensorType(("N", 6))))
    graph.output("twice", graph.add(ops.Add(), right, right))
    found = graphcnn_native.backend.compile(graph)(x=np.arange(12.0, dtype=np.float32).reshape(2, 6))
    assert found["twice"].tolist() == [[4, 6, 8, 10], [16, 18, 20, 22]]


def test_the_executable_is_freed(roll):
    def known():
        return [each for each in gc.get_objects() if type(each) is graphcnn_native.reference.ReferenceKernels]

    before = known()
    executable = compiled(roll(1), X)
    executable(x0=np.ones((2, 3, 5), np.float32))
    (own,) = (weakref.ref(each) for each in known() if not any(each is old for old in before))
    del executable
    gc.collect()
    assert own() is None


def test_numba_needs_machine_code(roll):
    x = gcn.Input((4,))
    model = gcn.compile(gcn.Network(x, gcn.Dense(2)(gcn.apply_op(roll(1), x))))
    with pytest.raises(OptionError) as caught:
        model.numba_function()
    assert "left to the reference backend's kernels: roll" in str(caught.value)
    graphcnn_native.register(roll, element=roll_element)
    fresh = gcn.compile(gcn.Network(x, gcn.Dense(2)(gcn.apply_op(roll(1), x))))
    images = np.ones((3, 4), np.float32)
    np.testing.assert_allclose(fresh.numba_function()(images), fresh.predict(images))


def test_unfit_labels_are_still_named(roll):
    x = gcn.Input((4,))
    network = gcn.Network(x, gcn.Dense(2)(gcn.apply_op(roll(1), x)))
    model = gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))
    with pytest.raises(DataError):
        model.train_step(np.ones((2, 4), np.float32), np.array([0, 2]))


# What is refused


@pytest.mark.parametrize(
    ("arguments", "forms", "problem"),
    [
        ((Roll,), {}, "an op gets native code in one form, not in 0"),
        ((Roll,), {"pointwise": bent_function, "element": roll_element}, "in one form, not in 2"),
        ((Roll,), {"element": 3}, "element=3 is not a function"),
        ((Roll(1),), {"element": roll_element}, "is not a class of ops"),
        ((int,), {"pointwise": bent_function}, "is not a class of ops"),
        ((gcn.Op,), {"pointwise": bent_function}, "is not a class of ops"),
        ((Roll, roll_element), {}, "an op gets native code by the name of its form"),
        ((Roll,), {"pointwise": lambda: None}, "takes (), but is called with (op)"),
        ((Roll,), {"element": lambda e: None}, "takes (e), but is called with (e, op)"),
        ((Roll,), {"lanes": lambda f, x: None}, "takes (f, x), but is called with (f, op, x, type)"),
        ((Roll,), {"emitter": lambda: None}, "takes (), but is called with (w)"),
        ((Unknown,), {"emitter": lambda w: None}, "Unknown is not registered"),
    ],
)
def test_what_is_no_code(arguments, forms, problem, own_tables_of_ops):
    before = [table.copy() for table in own_tables_of_ops]
    with pytest.raises(OptionError) as caught:
        graphcnn_native.register(*arguments, **forms)
    assert problem in str(caught.value)
    assert str(caught.value).startswith("test_op_code.py:"), "the user's line"
    assert list(own_tables_of_ops) == before


@pytest.mark.parametrize(
    ("pointwise", "problem"),
    [
        (lambda x: 2.0 * x, "raised TypeError: unsupported operand type(s) for *: 'float' and 'Bent'"),
        (lambda x: x, "returned Bent("),
        (lambda op: math.tanh, "returned <built-in function tanh>"),
        (lambda op: lambda x: x, "is a function of 1 numbers, but it has 2 operands"),
        (lambda op: lambda x, y, slope=0.5: x, "is a function of 3 numbers, but it has 2 operands"),
    ],
)
def test_a_form_that_makes_no_function_of_the_operands(bent, pointwise, problem):
    graphcnn_native.register(bent, pointwise=pointwise)
    with pytest.raises(BackendError) as caught:
        compiled(bent(), X, X)
    assert problem in str(caught.value)
    assert "test_op_code.py:" in str(caught.value), "where it is written"
    assert "pointwise=lambda op: lambda x: ..." in str(caught.value).partition("Mend: ")[2]


def test_an_op_that_nobody_has():
    with pytest.raises(BackendError) as caught:
        compiled(Roll(1), X)
    assert "backend 'native' has no kernel for roll" in str(caught.value)


def test_a_function_of_numbers_on_other_operands(bent):
    graphcnn_native.register(bent, pointwise=bent_function)
    for types in ([gcn.TensorType(("N", 2), "int64")] * 2, [gcn.TensorType((3,)), gcn.TensorType(("N", 3))]):
        with pytest.raises(
            BackendError, match="bent has native code for floating-point tensors of one shape"
        ):
            compiled(bent(), *types)


def test_an_element_that_does_not_fit(roll):
    for element, problem in (
        (
            lambda e, op: e.f.compare("ogt", e.load(0, *e.indices), e.number(0)),
            "the element of roll is i1, not float",
        ),
        (lambda e, op: e.load(0, *e.indices[1:]), "which 2 indices do not fit"),
        (lambda e, op: (e.number(1), e.number(1)), "the element of roll is float, float, not float"),
    ):
        graphcnn_native.register(roll, element=element)
        with pytest.raises(BackendError, match=problem):
            compiled(roll(1), X)


@functools.cache
def builtin():
    return {op for op in ops.OPS.values() if op.__module__.startswith("graphcnn.")}


def test_no_op_of_graphcnn_is_left_to_the_reference():
    own = {*op_code.POINTWISE, *op_code.LANES, *op_code.EMITTERS}
    rewritten_or_generated = {
        *(ops.Input, ops.Constant, ops.Count, ops.Broadcast, ops.OneHot),
        *(ops.RandomUniform, ops.RandomNormal),
        *(ops.Reshape, ops.Convolve2d, ops.SquaredError, ops.InverseDeviation, ops.StopGradient),
        *(ops.AllReduce, ops.AllGather, ops.BroadcastFrom, ops.KeepOn),
    }
    assert builtin() <= own | rewritten_or_generated


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_the_c_library_have_the_bits_of_the_ops(dtype):
    @gcn.pointwise
    def own(x):
        return math.erf(x) + math.sin(x) * math.cos(x) + math.exp(math.tanh(x))

    x = gcn.Input((33,))
    of_ops = gcn.erf(x) + gcn.sin(x) * gcn.cos(x) + gcn.exp(gcn.tanh(x))
    rows = np.random.default_rng(0).normal(size=(50, 33)) * 3
    found = [gcn.compile(gcn.Network(x, y), dtype=dtype).predict(rows) for y in (own(x), of_ops)]
    assert np.array_equal(*found)
