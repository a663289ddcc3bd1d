import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import evaluate
from graphcnn.errors import GraphError
from graphcnn.inspection.equations import node_equation
from graphcnn.ir import BATCH, Graph, Op, TensorType
from graphcnn.ops.convolution import Convolve2d, Correlate2d
from graphcnn.transform import gradient


def compiled(network, shape, **options):
    return gcn.compile(network, input_shape=shape, optimizer=gcn.SGD(0.1, momentum=0.9), **options)


def equations(graph):
    return {key: node_equation(graph, key) for key, _ in graph.items()}


def of_output(graph, label):
    return node_equation(graph, graph.outputs[label].key)


@pytest.fixture(scope="module")
def two_convolutions():
    network = gcn.Sequential(gcn.Conv2d(3, 3), gcn.ReLU(), gcn.Conv2d(2, 2), gcn.Flatten(), gcn.Dense(4))
    return compiled(network, (7, 7, 1), loss=gcn.CrossEntropy()).gradient_graph


def test_the_filter_gradient_is_eq_14_with_the_layers_own_names(two_convolutions):
    found = of_output(two_convolutions, "gradient(conv2.filters)")
    assert found.article == "Eq. 14"
    assert found.note == ""
    assert found.latex == (
        r"\frac{\partial E}{\partial w^{\text{conv2}}_{m,n,c,d}} = \sum_{s=1}^{N} \sum_{i} \sum_{j} "
        r"\delta^{\text{conv2}}_{s,i,j,d}\, o^{\text{relu1}}_{s,i+m,j+n,c} "
        r"= (\text{rot}_{180^\circ}\{\delta^{\text{conv2}}\} \ast o^{\text{relu1}})_{m,n,c,d}"
    )


def test_the_input_gradient_is_eq_21_and_the_slope_makes_it_the_delta(two_convolutions):
    found = equations(two_convolutions).values()
    assert r"\frac{\partial E}{\partial o^{\text{relu1}}_{i,j,c}} = " in "".join(e.latex for e in found)
    slope = next(e for e in found if e.latex.startswith(r"\delta^{\text{conv1}} = "))
    assert slope.article == "Eq. 21"
    assert r"\frac{\partial E}{\partial o^{\text{relu1}}}\, f'(x^{\text{conv1}})" in slope.latex
    whole = next(e for e in found if r"\otimes \text{rot}_{180^\circ}\{w^{\text{conv2}}\}" in e.latex)
    assert whole.article == "Eq. 21"


def test_the_forward_pass_is_eq_7_and_8(two_convolutions):
    by_latex = {e.latex.partition(" = ")[0]: e for e in equations(two_convolutions).values()}
    assert by_latex[r"x^{\text{conv1}}"].latex.endswith(r" + b^{\text{conv1}}")
    assert by_latex[r"x^{\text{conv1}}"].article == "Eq. 7"
    assert by_latex[r"o^{\text{relu1}}"].article == "Eq. 8"


def test_what_the_general_rule_adds_is_noted():
    layer = gcn.Conv2d(4, 3, stride=2, padding=1, groups=2)
    graph = compiled(
        gcn.Sequential(layer, gcn.Flatten(), gcn.Dense(4)), (8, 8, 2), loss=gcn.CrossEntropy()
    ).gradient_graph
    found = of_output(graph, "gradient(conv1.filters)")
    assert (found.article, found.note) == ("Eq. 14", "stride 2x2, 2 groups, padding 1")
    assert "2i+m-1,2j+n-1" in found.latex


def test_a_true_convolution_says_what_is_flipped():
    network = gcn.Sequential(gcn.Conv2d(2, 3, flip=True), gcn.Flatten(), gcn.Dense(4))
    graph = compiled(network, (7, 7, 1), loss=gcn.CrossEntropy()).gradient_graph
    found = of_output(graph, "gradient(conv1.filters)")
    assert found.article == "Eq. 13"
    assert "true convolution" in found.note
    assert r"w^{\text{conv1}}_{2-m,2-n,c,d}" in found.latex


def test_the_updates_of_the_optimizer_have_equations():
    graph = compiled(gcn.zoo.digits(), (8, 8, 1), loss=gcn.CrossEntropy()).step_graph
    latex = node_equation(graph, graph.updates["conv1.filters"].key).latex
    assert latex.startswith(r"w^{\text{conv1}}_{\text{new}} = w^{\text{conv1}} - ")


def test_gradients_along_several_paths_are_told_apart():
    x = gcn.Input((6, 6, 2), "image")
    h = gcn.relu(gcn.Conv2d(2, 3, padding="same")(x))
    y = gcn.Dense(3)(gcn.Flatten()(gcn.relu(gcn.Conv2d(2, 3, padding="same")(h) + h)))
    graph = gcn.compile(gcn.Network(x, y), loss=gcn.CrossEntropy()).gradient_graph
    lefts = [e.latex.partition(" = ")[0] for e in equations(graph).values() if " = " in e.latex]
    plain = [re.sub(r"(?<=\})_\{[^{}]*\}", "", left) for left in lefts]
    assert len(set(plain)) == len(plain), "two nodes would define one quantity"


def test_gradients_of_gradients_claim_no_names_of_the_first_pass():
    x, w = gcn.Input((5, 5, 2), "x"), gcn.Input((3, 3, 2, 4), "w", batch=False)
    first = gradient(gcn.Network([x, w], gcn.sum(gcn.tanh(gcn.correlate2d(x, w)))).graph, "output", ["w"])
    assert any(e.latex.startswith(r"\delta") for e in equations(first).values())
    slope = first.outputs["gradient(w)"]
    square = first.add(ops.Multiply(), slope, slope)
    second = gradient(first, first.add(ops.Sum((0, 1, 2, 3)), square), ["x"])
    found = equations(second)
    assert not any(r"\delta" in e.latex or r"\partial" in e.latex for e in found.values())
    assert {e.article for e in found.values()} >= {"Eq. 14", "Eq. 21"}


def test_a_step_that_two_gradients_share_is_no_gradient():
    x = gcn.Input((4,), "x")
    h = gcn.tanh(gcn.Dense(4)(x))
    graph = gcn.compile(gcn.Network(x, gcn.Dense(4)(h) + h * h), loss=gcn.SquaredError()).gradient_graph
    graph = gcn.simplify(graph)
    for key, node in graph.items():
        if node.op.name == "subtract" and node.origin.rule.startswith("Eq. 21"):
            assert node_equation(graph, key).latex.startswith(f"v^{{({key})}} = 1 - ")


@pytest.mark.parametrize("name", gcn.zoo.ZOO)
@pytest.mark.parametrize("stage", ["forward", "gradient", "step", "step of ranks"])
def test_every_node_of_the_zoo_has_a_well_formed_equation(name, stage):
    entry = gcn.zoo.ZOO[name]
    model = compiled(entry.make(), entry.input_shape, loss=gcn.CrossEntropy())
    graph = gcn.distribute(model.step_graph) if stage == "step of ranks" else model.graph(stage)
    for key, found in equations(graph).items():
        assert "$" not in found.latex, key
        assert found.latex.count("{") == found.latex.count("}")
        assert ElementTree.fromstring(found.mathml).tag.endswith("math")


@pytest.mark.parametrize("op", ops.OPS.values(), ids=lambda op: op.name)
def test_every_op_has_a_formula_of_its_own(op):
    assert op.formula or op.latex is not Op.latex


@dataclass(frozen=True, slots=True)
class Third(Op):
    name: ClassVar[str] = "one_third"
    equation: ClassVar[str] = "y = x / 3"
    arity: ClassVar[int] = 1

    def result_types(self, *operands):
        return operands


def test_an_op_without_a_formula_is_its_name_as_a_function():
    graph = Graph()
    key = graph.add(Third(), graph.input("x", TensorType((BATCH, 3)))).key
    assert node_equation(graph, key).latex == rf"v^{{({key})}} = \text{{one\_third}}(o^{{\text{{x}}}})"


@gcn.pointwise(derivative=(lambda x, gate: gate, lambda x, gate: x))
def gated(x, gate):
    return x * gate


def test_functions_of_the_users_own_are_named():
    x = gcn.Input((4,), "x")
    h = gcn.Dense(3)(x)
    network = gcn.Network(x, gcn.Dense(2)(gated(h, gcn.Dense(3)(x))))
    graph = gcn.compile(network, loss=gcn.CrossEntropy()).gradient_graph
    latex = " ; ".join(e.latex for e in equations(graph).values())
    assert r"= \text{gated}(x^{\text{dense1}}, x^{\text{dense2}})" in latex
    assert (
        r"\frac{\partial\, \text{gated}}{\partial\, \text{gate}}(x^{\text{dense1}}, x^{\text{dense2}})"
        in latex
    )


HOSTILE = "<img src=x onerror=alert(1)> & \"q\" 'a' \\ ^ ~ $x $ {} _ # % \u202e rtl \u05e9"


@pytest.mark.parametrize("name", [HOSTILE, "]]><script>", "&lt;b&gt;", "Name0Name", "}{", "\\"])
def test_markup_in_names_is_inert(name):
    graph = Graph()
    x = graph.input(name, TensorType((BATCH, 3)))
    found = node_equation(graph, graph.add(ops.Relu(), x).key)
    texts = [e.text for e in ElementTree.fromstring(found.mathml).iter() if e.tag.endswith("mtext")]
    expected = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    assert expected[:30] in (texts[0] or "").replace("\N{NO-BREAK SPACE}", " ")
    assert {e.tag.rpartition("}")[2] for e in ElementTree.fromstring(found.mathml).iter()} <= {
        "math", "mrow", "msup", "mi", "mo", "mn", "mtext", "mspace"
    }  # fmt: skip


def test_long_names_are_cut():
    graph = Graph()
    x = graph.input("n" * 10_000, TensorType((BATCH, 3)))
    assert len(node_equation(graph, graph.add(ops.Relu(), x).key).mathml) < 2_000


@pytest.mark.parametrize("key", [-1, 2, "x"])
def test_a_key_that_is_not_there_is_an_error(key):
    graph = Graph("small")
    graph.add(ops.Relu(), graph.input("x", TensorType((BATCH, 3))))
    with pytest.raises(GraphError, match="'small' has no node"):
        node_equation(graph, key)


# The equations of convolutions, computed as they are written


def number(index, values):
    """Return the value of an index in LaTeX, such as `2i+m-1`; None where it is no integer."""
    code = re.sub(r"\\lfloor (\w)/(\d+) \\rfloor", r"(\1//\2)", index)
    code = code.replace(r" \bmod ", "%")
    code = re.sub(r"(?<=\d) ?(?=[a-z(])", "*", code)
    value = eval(code, {}, values)
    return int(value) if value == int(value) else None


def written(latex, arrays, shape, samples):
    """Return the left side of an equation, computed by loops over its right side; outside is 0."""
    left, _, right = latex.partition(" = ")
    right = right.partition(" = ")[0]
    sums = re.findall(r"\\sum_\{(\w)(?:=([^{}]*(?:\\\w+[^{}]*)*))?\}(?:\^\{([^{}]*)\})?", right)
    factors = re.findall(r"(A|B|D)_\{([^{}]*)\}", right)
    free = re.search(r"Y_\{([^{}]*)\}", left)[1].split(",")
    result = np.zeros(shape)
    names = "ijmncds"
    reach = range(max(max(array.shape) for array in arrays.values()))
    assert {letter for letter, _, _ in sums} <= set(names)

    def entry(name, index, values):
        places = [number(part, values) for part in index.split(",")]
        array = arrays[name]
        if len(places) < array.ndim:
            places = [values["s"], *places]
        inside = all(p is not None and 0 <= p < size for p, size in zip(places, array.shape, strict=True))
        return array[tuple(places)] if inside else 0.0

    def total(values, rest):
        if not rest:
            return np.prod([entry(name, index, values) for name, index in factors])
        (letter, low, high), *rest = rest
        if letter == "s":
            span = range(samples)
        elif high:
            span = range(number(low, values), number(high, values) + 1)
        else:
            span = reach
        return sum(total(values | {letter: value}, rest) for value in span)

    for place in itertools.product(*(range(size) for size in shape)):
        own = place if len(free) == len(shape) else place[1:]
        values = dict.fromkeys(names, 0)
        plain = all(len(letter) == 1 for letter in free)
        if not plain:  # a rotated left side, `2-m`: solved by trying
            for trial in itertools.product(*(range(size) for size in shape)):
                bound = dict(zip("mncd", trial, strict=True))
                if [number(part, values | bound) for part in free] == list(place):
                    values |= bound
        else:
            values |= dict(zip(free, own, strict=True))
        values["s"] = place[0] if len(own) < len(place) else 0
        result[place] = total(values, sums)
    return result


CONTRACTIONS = [
    Correlate2d(),
    Correlate2d(stride=(2, 1), padding=((1, 0), (0, 2))),
    Correlate2d(dilation=(1, 2), groups=2),
    Correlate2d(stride=(2, 2), groups=4),
    Convolve2d(stride=(1, 2), padding=((1, 1), (0, 1))),
    Convolve2d(groups=2, dilation=(2, 1)),
]


@pytest.mark.parametrize("op", CONTRACTIONS, ids=str)
def test_the_equations_of_a_convolution_say_what_it_computes(op):
    random = np.random.default_rng(0)
    images = random.standard_normal((2, 5, 6, 4))
    filters = random.standard_normal((2, 3, 4 // op.groups, 4))
    graph = Graph()
    x = graph.input("x", TensorType((BATCH, 5, 6, 4), "float64"))
    w = graph.input("w", TensorType(filters.shape, "float64"))
    y = graph.add(op, x, w)
    t = graph.input("t", y.type)
    graph.output("sum", graph.add(ops.Sum((0, 1, 2, 3)), graph.add(ops.Multiply(), y, t)))
    delta = random.standard_normal((2, *map(int, y.type.shape[1:])))
    gradients = evaluate(gradient(graph, "sum", ["x", "w"]), x=images, w=filters, t=delta)
    forward = Graph()
    forward.output("y", forward.add(op, *(forward.input(label, v.type) for label, v in (("x", x), ("w", w)))))
    arrays = {"A": images, "B": filters, "D": delta}
    cases = [
        (op.latex(x.type, w.type).replace("$y", "Y"), evaluate(forward, x=images, w=filters)["y"]),
        (op.gradient_latex(0, x.type, w.type).replace("$G", "Y"), gradients["gradient(x)"]),
        (op.gradient_latex(1, x.type, w.type).replace("$G", "Y"), gradients["gradient(w)"]),
    ]
    for latex, expected in cases:
        latex = latex.replace("$a", "A").replace("$b", "B").replace("$D", "D")
        np.testing.assert_allclose(written(latex, arrays, expected.shape, 2), expected, atol=1e-12)
