"""Functions of the user's own: what they compute on both backends, their gradients, mistakes, and files."""

import json
import math
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.errors import (
    DifferentiationError,
    FileError,
    FunctionError,
    OptionError,
    ParseError,
    ShapeError,
)
from graphcnn.ir import Graph, TensorType
from graphcnn.testing import check_gradients

FILE = Path(__file__).name
RANDOM = np.random.default_rng(5)
SLOPE = 0.1
COEFFICIENTS = (0.5, -0.25, 2.0)


def one_plus_exp(x):
    return 1.0 + math.exp(-x)


def swish_slope(x):
    s = 1.0 / one_plus_exp(x)
    return s + x * s * (1.0 - s)


@gcn.pointwise(derivative=swish_slope)
def swish(x):
    return x / one_plus_exp(x)


@gcn.pointwise(
    derivative=(
        lambda x, y: y * math.cos(x * y),
        lambda x, y: x * math.cos(x * y),
    )
)
def wave(x, y):
    return math.sin(x * y)


def line_of(text):
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return 1 + next(number for number, line in enumerate(lines) if text in line)


def computed(function, backend, *arrays):
    """Return what a function yields for arrays with a batch axis in front."""
    graph = Graph("one function")
    operands = [
        graph.input(f"x{n}", TensorType(("N", *array.shape[1:]), array.dtype.name))
        for n, array in enumerate(arrays)
    ]
    graph.output("y", graph.add(function.op, *operands))
    executable = load_backend(backend).compile(graph)
    return executable(**{f"x{n}": array for n, array in enumerate(arrays)})["y"]


# What they compute


def straight(x):
    return 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0)))


def with_whole_numbers(x):
    return 1 / (1 + math.exp(-x)) + x**2


def with_branches(x):
    if x < -1.0:
        y = math.exp(x)
    elif x < 0.0:
        y = math.sin(x)
    elif x < 1.0:
        y = math.sqrt(x) if x * x < 0.5 else x
        y += 1.0
    else:
        y = math.log(x)
    return y * SLOPE


def with_early_returns(x):
    if x < -1.0:
        return -1.0
    if x > 1.0:
        return 1.0
    return x


def with_a_sum(x):
    total = 0.0
    for coefficient in COEFFICIENTS:
        total = total * x + coefficient
    return total


def with_a_loop(x):
    """The square root of |x| by Newton's method, which would never end for NaN if it asked otherwise."""
    x = abs(x)
    y = x + 1.0
    while abs(y * y - x) > 1e-3 * x:
        y = 0.5 * (y + x / y)
    return y


def with_memory(x):
    return math.frexp(x)[0]


def with_integers(x):
    if int(abs(x)) % 3 == 0:
        return 1.0
    return x


def with_a_switch(x):
    whole = int(2.0 * x)
    if whole == 0:
        return 1.0
    if whole == 1:
        return x
    if whole == 2:
        return -x
    return 7.0


def with_numpy(x):
    return np.sqrt(np.abs(x)) + np.maximum(x, 0.0) + np.floor(x) + np.sign(x)


def with_the_library(x):
    return math.atan2(x, 2.0) + math.copysign(1.0, x) + math.gamma(abs(x) + 1.0) + x % 0.7


def a_truth(x):
    return x > 0


def a_constant(x):
    return 2.5


def of_three(x, y, z):
    return x * y if z > 0 else swish(x - y)


FUNCTIONS = (
    *(straight, with_whole_numbers, with_branches, with_early_returns, with_a_sum, with_a_loop, with_memory),
    *(with_integers, with_a_switch, with_numpy, with_the_library, a_truth, a_constant, of_three),
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_both_backends_compute_what_python_computes(function, dtype):
    pointwise = gcn.pointwise(function)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for shape in [(5,), (3, 7), (9, 2, 3, 5), (2, 33)]:
        arrays = [(2 * RANDOM.standard_normal(shape)).astype(dtype) for _ in pointwise.arguments]
        expected = np.vectorize(function, otypes=[dtype])(*arrays)
        for backend in ("numpy", "native"):
            result = computed(pointwise, backend, *arrays)
            assert result.dtype == dtype
            np.testing.assert_allclose(result, expected, tolerance, tolerance, err_msg=backend)


def test_numbers_are_of_the_precision_of_the_values():
    """Computed in float64, 1e8 + x - 1e8 would not lose x."""
    absorbing = gcn.pointwise(lambda x: (x + 1e8) - 1e8)
    for backend in ("numpy", "native"):
        assert computed(absorbing, backend, np.ones((1, 3), np.float32)).tolist() == [[0.0, 0.0, 0.0]]
        assert computed(absorbing, backend, np.ones((1, 3), np.float64)).tolist() == [[1.0, 1.0, 1.0]]


def test_what_overflows_or_divides_by_zero_becomes_infinity():
    x = np.array([[-1000.0, 0.0, np.nan]], np.float32)
    inverse = gcn.pointwise(lambda x: 1.0 / x)
    for backend in ("numpy", "native"):
        assert computed(swish, backend, x).tolist()[0][:2] == [0.0, 0.0]
        result = computed(inverse, backend, x)[0]
        assert result[1] == np.inf
        assert np.isnan(result[2])


def test_a_number_beyond_float32():
    bounded = gcn.pointwise(lambda x: min(x, 1e300))
    for backend in ("numpy", "native"):
        assert computed(bounded, backend, np.full((1, 2), 7, np.float32)).tolist() == [[7.0, 7.0]]


def test_a_function_with_what_it_closes_over():
    def leaky(slope):
        return gcn.pointwise(lambda x: x if x > 0.0 else slope * x)

    x = np.array([[-2.0, 3.0]], np.float32)
    for backend in ("numpy", "native"):
        assert computed(leaky(0.5), backend, x).tolist() == [[-1.0, 3.0]]
        assert computed(leaky(0.25), backend, x).tolist() == [[-0.5, 3.0]]


def test_calls_of_functions_that_numba_has_compiled():
    import numba

    double = numba.njit(error_model="numpy")(lambda x: 2.0 * x)
    for function in (gcn.pointwise(lambda x: double(x) + 1.0), gcn.pointwise(numba.njit(one_plus_exp))):
        x = RANDOM.random((2, 3)).astype(np.float32)
        expected = np.vectorize(function.python)(x)
        for backend in ("numpy", "native"):
            np.testing.assert_allclose(computed(function, backend, x), expected, 1e-6)


def test_two_functions_with_loops_in_one_network():
    other = gcn.pointwise(lambda x: with_a_loop(x) + 1.0)
    x = gcn.Input((5,))
    network = gcn.Network(x, gcn.pointwise(with_a_loop)(x) * other(x + 1.0))
    array = RANDOM.random((6, 5)).astype(np.float32)
    results = [gcn.compile(network, backend=backend).predict(array) for backend in ("numpy", "native")]
    np.testing.assert_allclose(*results, 1e-6)


def test_only_elements_that_exist_get_into_a_loop():
    """What lies behind the last one in a vector could keep it going for ever."""
    graph = Graph("one function")
    x = graph.input("x", TensorType(("N", 3)))
    graph.output("y", graph.add(gcn.pointwise(with_a_loop).op, x))
    text = load_backend("native").compile(graph).llvm_ir()
    assert text.count("call float @user_") == 3


def test_the_code_of_a_function_is_part_of_the_kernel_that_uses_it():
    x = gcn.Input((64,))
    model = gcn.compile(gcn.Network(x, with_branches_pointwise(x + 1.0) * 2.0))
    executable = model.executable("forward")
    assert [kernel.nodes for kernel in executable.report().kernels] == [
        tuple(
            key
            for key, node in model.forward_graph.items()
            if not isinstance(node.op, ops.Input | ops.Constant)
        )
    ]
    assert "@user_" not in executable.llvm_ir(), "straight code is written out, not called"


with_branches_pointwise = gcn.pointwise(with_branches)


# In networks


def test_in_a_network_of_values():
    x = gcn.Input((3, 4))
    row = gcn.Input((4,), "row", batch=False)
    assert swish(x).type == x.type
    assert wave(x, 2.0).type == x.type
    assert wave(2, x).type == x.type
    assert wave(x, row).type == x.type
    assert gcn.pointwise(of_three)(row, x, gcn.mean(x)).type == x.type
    network = gcn.Network((x, row), wave(x, row))
    images, numbers = RANDOM.random((2, 3, 4)), RANDOM.random(4)
    for backend in ("numpy", "native"):
        model = gcn.compile(network, backend=backend, dtype="float64")
        np.testing.assert_allclose(model.predict([images, numbers]), np.sin(images * numbers), 1e-12)


def test_on_numbers_it_is_the_function_itself():
    assert swish(2.0) == 2.0 / (1.0 + math.exp(-2.0))
    assert wave(1.0, 2.0) == math.sin(2.0)
    assert repr(swish) == f"<function swish(x), {FILE}:{line_of('def swish(x)')}>"


def test_layers_are_named_after_the_function():
    network = gcn.Sequential(
        gcn.Activation(swish), gcn.Dense(2), gcn.Activation(swish), gcn.Activation(swish, name="last")
    )
    graph = gcn.compile(network, input_shape=(3,)).forward_graph
    layers = [n.origin.layer for _, n in graph.items() if isinstance(n.op, ops.UserFunction)]
    assert layers == ["swish1", "swish2", "last"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_is_the_same_on_both_backends(dtype):
    network = gcn.Sequential(
        gcn.Conv2d(3, 3),
        gcn.Activation(swish),
        gcn.MaxPool2d(2),
        gcn.Flatten(),
        gcn.Dense(12),
        gcn.Activation(gcn.pointwise(lambda x: math.tanh(x), derivative=lambda x: 1.0 - math.tanh(x) ** 2)),
        gcn.Dense(4),
    )
    images = RANDOM.random((40, 8, 8, 1)).astype(dtype)
    labels = RANDOM.integers(0, 4, 40)
    losses = []
    for backend in ("numpy", "native"):
        model = gcn.compile(
            network,
            input_shape=(8, 8, 1),
            loss=gcn.CrossEntropy(),
            optimizer=gcn.SGD(0.1, momentum=0.9),
            backend=backend,
            dtype=dtype,
        )
        losses.append(model.fit(images, labels, epochs=4, batch_size=16, progress=False)["loss"])
    np.testing.assert_allclose(*losses, 1e-4 if dtype == "float32" else 1e-11)
    assert losses[0][-1] < losses[0][0]


def test_a_layer_of_ones_own_builds_with_the_op():
    class Gate(gcn.Layer):
        kind = "gate"

        def build(self, build, *values):
            return build(swish.op, values[0])

    assert gcn.compile(gcn.Sequential(Gate()), input_shape=(3,)).predict(np.zeros((1, 3), "f")).tolist() == [
        [0.0, 0.0, 0.0]
    ]


# Gradients


def checked(function, order=1, backend="numpy"):
    graph = Graph("gradient")
    arrays = {name: RANDOM.standard_normal((3, 4)) for name in function.arguments}
    operands = [graph.input(name, TensorType(("N", 4), "float64")) for name in arrays]
    value = graph.add(function.op, *operands)
    check_gradients(graph, value, list(arrays), arrays, order=order, backend=backend)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_gradients(backend):
    checked(swish, backend=backend)
    checked(wave, backend=backend)


def test_a_gradient_that_is_wrong_is_found():
    with pytest.raises(AssertionError, match="user_function"):
        checked(gcn.pointwise(lambda x: x * x, derivative=lambda x: x))


def test_second_derivatives():
    cube = gcn.pointwise(
        lambda x: x**3,
        derivative=gcn.pointwise(
            lambda x: 3.0 * x**2, derivative=gcn.pointwise(lambda x: 6.0 * x, derivative=lambda x: 6.0)
        ),
    )
    checked(cube, order=2)
    with pytest.raises(DifferentiationError, match="d swish/d x has no derivative"):
        checked(swish, order=2)


def test_a_derivative_that_is_zero():
    scaled = gcn.pointwise(lambda x, y: x * math.floor(y), derivative=(lambda x, y: math.floor(y), None))
    graph = Graph("gradient")
    x, y = (graph.input(name, TensorType(("N", 2), "float64")) for name in "xy")
    graph.output("total", graph.add(ops.Sum((0, 1)), graph.add(scaled.op, x, y)))
    gradient = gcn.gradient(graph, "total", ["x", "y"])
    results = gcn.evaluate(gradient, x=np.ones((1, 2)), y=np.array([[1.5, 2.5]]))
    assert results["gradient(x)"].tolist() == [[1.0, 2.0]]
    assert results["gradient(y)"].tolist() == [[0.0, 0.0]]


def test_a_scalar_operand_gets_the_sum_of_the_gradients():
    x = gcn.Input((3,))
    scale = gcn.Parameter((), "scale", initializer=gcn.Constant(0.5))
    model = gcn.compile(
        gcn.Network(x, wave(x, scale)), loss=gcn.SquaredError(), optimizer=gcn.SGD(1.0), dtype="float64"
    )
    images = RANDOM.random((4, 3))
    model.train_step(images, np.zeros((4, 3)))
    angles = 0.5 * images
    slope = (np.sin(angles) * np.cos(angles) * images).sum()
    assert model.parameters["scale"] == pytest.approx(0.5 - slope)


def test_the_gradient_graph_names_function_rule_and_place():
    model = gcn.compile(
        gcn.Sequential(gcn.Dense(2), gcn.Activation(swish)), input_shape=(3,), loss=gcn.SquaredError()
    )
    text = str(model.gradient_graph)
    assert f'user_function(%5, function="swish", defined="{FILE}:{line_of("def swish(x)")}")' in text
    place = line_of("def swish_slope")
    assert f'user_function(%5, function="d swish/d x", defined="{FILE}:{place}")' in text
    assert "swish1 | " in text
    assert "Eq. 21, · f'(x) | of %6" in text


# Mistakes


def refused(kind, function):
    with pytest.raises(kind) as caught:
        function()
    message = str(caught.value)
    assert message.splitlines()[-1].startswith("  Mend: "), message
    return message


def run(function, backend="native", dtype="float32"):
    return computed(gcn.pointwise(function), backend, np.ones((1, 3), dtype))


def test_training_without_a_derivative():
    relu6 = gcn.pointwise(lambda x: min(max(x, 0.0), 6.0))
    network = gcn.Sequential(gcn.Dense(2), gcn.Activation(relu6))
    gcn.compile(network, input_shape=(3,)).predict(np.zeros((1, 3), np.float32))
    message = refused(
        DifferentiationError, lambda: gcn.compile(network, input_shape=(3,), loss=gcn.SquaredError())
    )
    assert message.startswith(f"function1 ({FILE}:")
    assert "function has no derivative" in message
    assert f"defined at {FILE}:{line_of('relu6 = ')}" in message


def with_a_word(x):
    y = 2.0
    return "word" if x > y else "other"


def with_a_method(x):
    return x.cosine()


def calls_with_a_method(x):
    return 1.0 + with_a_method(x)


def without_an_answer(x):
    if x > 0:
        return x
    return None


def of_complex_numbers(x):
    return 1j * x


def unheard_of(x):
    return x + there_is_no_such_name(x)  # noqa: F821


def endless(x):
    return endless(x - 1.0) if x > 0 else x


def importing(x):
    import math as mathematics

    return mathematics.exp(x)


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize(
    ("function", "line", "reason"),
    [
        (with_a_word, "def with_a_word", "not a number"),
        (with_a_method, "return x.cosine()", "Unknown attribute 'cosine' of type float32"),
        (calls_with_a_method, "return x.cosine()", "Unknown attribute 'cosine' of type float32"),
        (without_an_answer, "def without_an_answer", "not a number"),
        (of_complex_numbers, "return 1j * x", "it returns complex128, not a number"),
        (unheard_of, "def unheard_of", "the name 'there_is_no_such_name' is not defined"),
        (endless, "def endless", "endless calls itself"),
        (importing, "def importing", "IMPORT_NAME"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_numba_cannot_compile(function, line, reason, backend):
    message = refused(FunctionError, lambda: run(function, backend))
    first, last = line_of(f"def {function.__name__}"), line_of(line)
    assert message.startswith(f"{function.__name__} ({FILE}:"), message
    found = int(message.partition(f"{FILE}:")[2].partition(")")[0])
    assert min(first, last) <= found <= max(first + 3, last), message
    assert reason in message


def raising(x):
    if x < 0.0:
        raise ValueError("negative")
    return math.sqrt(x)


def printing(x):
    print(x)
    return x


def allocating(x):
    return [x, 2.0 * x][1]


def out_of_range(x):
    return COEFFICIENTS[int(x)]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (raising, "it can raise an exception"),
        (out_of_range, "it can raise an exception"),
        (printing, "it prints"),
        (allocating, "it makes a list, an array or another object"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_machine_code_only_computes(function, reason):
    message = refused(FunctionError, lambda: run(function))
    assert message.startswith(f"{function.__name__} ({FILE}:{line_of(f'def {function.__name__}')}): {reason}")
    assert 'backend="numpy"' in message


def test_numpy_lets_exceptions_through():
    assert run(raising, "numpy").tolist() == [[1.0, 1.0, 1.0]]
    with pytest.raises(ValueError, match="negative"):
        computed(gcn.pointwise(raising), "numpy", -np.ones((1, 3)))


def test_a_wrong_number_of_values():
    x = gcn.Input((3,))
    assert "swish takes 1 values, not 2" in refused(OptionError, lambda: swish(x, x))
    message = refused(OptionError, lambda: wave(x))
    assert message.startswith(f"wave ({FILE}:")
    assert "its arguments: x, y" in message
    assert "takes values of a network, not nothing" in refused(OptionError, lambda: wave())


def test_values_that_do_not_fit_together():
    x = gcn.Input((3,))
    message = refused(ShapeError, lambda: gcn.pointwise(of_three)(x, gcn.Input((4,)), gcn.Input((5,))))
    assert "of_three cannot bring [N, 3] and [N, 4] and [N, 5] to one shape" in message
    assert re.search(r"axis 1: 3 \(\w+, line \d+\) and 4 \(\w+, line \d+\) and 5 \(", message)
    labels = gcn.Input((3,), "labels", dtype="int64")
    assert "wave takes tensors of one floating-point type" in refused(ShapeError, lambda: wave(x, labels))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: gcn.pointwise(math.tanh), "not a function that is written in Python"),
        (lambda: gcn.pointwise(3), "function=3 is not a function"),
        (lambda: gcn.pointwise(lambda *x: 1.0), "takes other arguments than a fixed number of values"),
        (lambda: gcn.pointwise(lambda: 1.0), "takes other arguments than a fixed number of values"),
        (lambda: gcn.pointwise(lambda x, y=2: x), "has an argument with a default value"),
        (lambda: gcn.pointwise(lambda x: (yield x)), "is a generator or a coroutine"),
        (lambda: gcn.pointwise(straight, derivative="tanh"), "derivative='tanh' is not a function"),
        (lambda: gcn.pointwise(straight, derivative=of_three), "takes other arguments than straight"),
        (
            lambda: gcn.pointwise(of_three, derivative=of_three),
            "of_three(x, y, z) needs 3 derivatives, not 1",
        ),
        (lambda: gcn.Activation("relu"), "function='relu' is not a function that gcn.pointwise has made"),
        (lambda: gcn.Activation(straight), "is not a function that gcn.pointwise has made"),
        (lambda: gcn.Activation(wave), "wave takes 2 values, but a layer gives it one"),
        (lambda: gcn.Sequential(gcn.Dense(2), swish), "item 1 of Sequential is the function swish"),
        (lambda: gcn.parse("", functions=[straight]), "which gcn.pointwise has not made"),
    ],
)
def test_what_is_no_function_of_numbers(make, reason):
    message = refused(OptionError, make)
    assert reason in message


# Text and files


def test_text_comes_back_with_its_functions():
    model = gcn.compile(
        gcn.Sequential(gcn.Dense(2), gcn.Activation(swish)), input_shape=(3,), loss=gcn.SquaredError()
    )
    graph = model.gradient_graph
    assert gcn.parse(str(graph), functions=[swish, wave]) == graph
    assert gcn.parse(str(graph), functions=[gcn.pointwise(straight), swish]) == graph
    with pytest.raises(ParseError, match="there is no function 'swish' among those that came"):
        gcn.parse(str(graph))
    same_name = gcn.pointwise(swish.python, derivative=swish_slope)
    assert gcn.parse(str(graph), functions=[same_name]) != graph
    with pytest.raises(OptionError, match="two functions have the name 'swish'"):
        gcn.parse(str(graph), functions=[swish, same_name])


@pytest.fixture
def trained():
    model = gcn.compile(
        gcn.Sequential(gcn.Dense(4), gcn.Activation(swish), gcn.Dense(2)),
        input_shape=(3,),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.Adam(0.01),
    )
    images, labels = RANDOM.random((8, 3)).astype(np.float32), RANDOM.integers(0, 2, 8)
    model.fit(images, labels, epochs=2, progress=False)
    return model, images, labels


def test_a_saved_model_comes_back_with_its_functions(trained, tmp_path):
    model, images, labels = trained
    path = tmp_path / "model.safetensors"
    model.save(path)
    assert b"exp" not in path.read_bytes(), "the file holds no code"
    again = gcn.load(path, functions=[swish, wave])
    assert np.array_equal(again.predict(images), model.predict(images))
    assert again.train_step(images, labels) == model.train_step(images, labels)


def test_a_saved_model_without_its_functions(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    trained[0].save(path)
    for functions in ([], [wave]):
        message = refused(OptionError, lambda functions=functions: gcn.load(path, functions=functions))
        assert "uses functions of its writer's own: swish" in message
        assert "gcn.load(path, objects=[swish])" in message


@pytest.mark.parametrize("text", ["", "[", "3", "[3]", "[" * 100_000, "{}", '["\\n"]'])
def test_damaged_names_of_functions(trained, tmp_path, text):
    path = tmp_path / "model.safetensors"
    trained[0].save(path)
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert json.loads(metadata["functions"]) == ["swish"]
    save_file(tensors, path, metadata | {"functions": text})
    with pytest.raises(FileError, match=r"the metadata of .* is damaged") as caught:
        gcn.load(path)
    assert "there is no function 'swish'" in str(caught.value)
    gcn.load(path, functions=[swish])


def test_functions_of_one_name_cannot_be_told_apart_in_a_file(tmp_path):
    x = gcn.Input((3,))
    double, triple = gcn.pointwise(lambda x: 2.0 * x), gcn.pointwise(lambda x: 3.0 * x)
    model = gcn.compile(gcn.Network(x, triple(double(x))))
    path = tmp_path / "model.safetensors"
    message = refused(OptionError, lambda: model.save(path))
    assert "two functions have the name 'function'" in message
    assert not path.exists()


# What it costs


def test_numba_is_imported_only_to_compile_a_function():
    code = """
        import json, sys
        import graphcnn as gcn
        square = gcn.pointwise(lambda x: x * x, derivative=lambda x: 2.0 * x)
        network = gcn.Sequential(gcn.Dense(2), gcn.Activation(square))
        model = gcn.compile(network, input_shape=(3,), loss=gcn.SquaredError(), optimizer=gcn.SGD(0.1))
        before = "numba" in sys.modules
        model.predict([[1.0, 2.0, 3.0]])
        print(json.dumps([before, "numba" in sys.modules]))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [False, True]
