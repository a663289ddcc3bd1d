"""The gradient graph: the article's equations, node by node, with origins that tell where each came from."""

from pathlib import Path

import networkx
import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import evaluate
from graphcnn.errors import DifferentiationError
from graphcnn.ir import Emitter, Graph, Input, Origin, TensorType, verify
from graphcnn.ops import Convolve2d, Correlate2d
from graphcnn.transform import differentiate, gradient

SCALAR = TensorType((), "float64")


def images(*shape):
    return TensorType(("N", *shape), "float64")


def convolution(op, filters=(3, 3, 2, 4)):
    """Return E = Σ (I op K)² with an origin for the convolution, and the convolution's key."""
    graph = Graph("convolution")
    x = graph.input("image", images(6, 5, filters[2] * op.groups))
    w = graph.input("filters", TensorType(filters, "float64"), role="parameter")
    y = graph.add(op, x, w, origin=Origin("/home/me/train.py", 12, "conv1", "Eq. 7"))
    graph.output("loss", graph.add(ops.Sum((0, 1, 2, 3)), graph.add(ops.Multiply(), y, y)))
    return graph, y.key


def derived(graph, *wrt):
    result, gradients = differentiate(
        graph, graph.outputs["loss"], {name: graph.inputs[name] for name in wrt}
    )
    return verify(result), gradients


def nodes_of(result, key):
    """Return the gradient nodes of one forward node: op names and rules."""
    return [(node.op.name, node.origin.rule) for _, node in result.items() if node.origin.forward == key]


def test_the_plain_case_is_the_articles_equations():
    graph, key = convolution(Correlate2d())
    result, _ = derived(graph, "image", "filters")
    assert [node for node in nodes_of(result, key) if node[0] != "add"] == [
        ("rot180", "Eq. 21"),
        ("transpose", "Eq. 21"),
        ("correlate2d", "Eq. 21"),
        ("rot180", "Eq. 14"),
        ("convolve2d", "Eq. 14"),
    ]


def test_true_convolution_takes_the_filters_unflipped():
    graph, key = convolution(Convolve2d())
    result, _ = derived(graph, "image", "filters")
    nodes = nodes_of(result, key)
    assert ("correlate2d", "Eq. 21, flipped") in nodes
    assert ("rot180", "Eq. 21, flipped") not in nodes
    assert ("correlate2d", "Eq. 13, flipped") in nodes


@pytest.mark.parametrize(
    ("op", "filters", "told", "extra"),
    [
        (Correlate2d(stride=(2, 1)), (3, 3, 2, 4), "with stride 2x1", "zero_insert"),
        (Correlate2d(dilation=(1, 2)), (3, 2, 2, 4), "with dilation 1x2", "correlate2d"),
        (Correlate2d(groups=2), (3, 3, 2, 4), "with 2 groups", "reshape"),
        (Correlate2d(stride=(2, 2), groups=2), (2, 2, 1, 4), "with stride 2x2, 2 groups", "crop"),
    ],
)
def test_the_general_rule_says_in_what_it_is_more_general(op, filters, told, extra):
    graph, key = convolution(op, filters)
    nodes = nodes_of(derived(graph, "image", "filters")[0], key)
    assert ("correlate2d", f"Eq. 21, {told}") in nodes
    assert ("convolve2d", f"Eq. 14, {told}") in nodes
    assert extra in [name for name, _ in nodes]


def test_padding_keeps_the_equations_names_and_crops():
    graph, key = convolution(Correlate2d(padding=((1, 0), (0, 2))))
    assert ("crop", "Eq. 21") in nodes_of(derived(graph, "image")[0], key)


def test_every_gradient_node_has_its_forward_node_line_layer_and_rule():
    graph, _ = convolution(Correlate2d(stride=(2, 2)))
    result, _ = derived(graph, "image", "filters")
    added = list(result.items())[len(graph) :]
    assert added
    for _, node in added:
        assert node.origin.forward is not None
        assert node.origin.forward < len(graph)
        assert node.origin.rule
        forward = graph.node(node.origin.forward).origin
        assert (node.origin.file, node.origin.line, node.origin.layer) == (
            forward.file,
            forward.line,
            forward.layer,
        ) or node.origin.rule == "dE/dE"
    assert any(node.origin.layer == "conv1" and node.origin.line == 12 for _, node in added)


def test_the_forward_graph_is_kept_as_it_was():
    graph, _ = convolution(Correlate2d())
    before = str(graph)
    result, _ = derived(graph, "filters")
    assert str(graph) == before
    assert list(result.items())[: len(graph)] == list(graph.items())
    assert result.outputs == graph.outputs


def test_only_what_is_asked_for_is_differentiated():
    graph, key = convolution(Correlate2d())
    both, _ = derived(graph, "image", "filters")
    assert {rule for _, rule in nodes_of(both, key)} >= {"Eq. 21", "Eq. 14"}
    apart = Graph("apart")
    x, w = apart.input("x", SCALAR), apart.input("w", SCALAR)
    frozen = apart.add(ops.Exp(), x)
    apart.output("loss", apart.add(ops.Multiply(), frozen, w))
    result, _ = derived(apart, "w")
    assert not nodes_of(result, frozen.key)


def test_the_gradient_of_a_shared_value_is_summed():
    graph = Graph("shared")
    x = graph.input("x", SCALAR)
    graph.output("loss", graph.add(ops.Add(), graph.add(ops.Multiply(), x, x), graph.add(ops.Exp(), x)))
    result, gradients = derived(graph, "x")
    assert nodes_of(result, x.key) == [("add", "sum over the paths")] * 2
    result.output("gradient", gradients["x"])
    found = evaluate(result, x=3.0)
    assert found["gradient"] == pytest.approx(6 + np.exp(3.0), rel=1e-15)


def test_a_value_in_the_middle_can_be_differentiated_by():
    graph = Graph("middle")
    x = graph.input("x", SCALAR)
    square = graph.add(ops.Multiply(), x, x)
    graph.output("loss", graph.add(ops.Exp(), square))
    found = evaluate(gradient(graph, "loss", [square, "x"]), x=0.5)
    assert found[f"gradient(%{square.key})"] == pytest.approx(np.exp(0.25))
    assert found["gradient(x)"] == pytest.approx(np.exp(0.25))


def test_what_the_scalar_does_not_depend_on_has_a_gradient_of_zeros():
    graph = Graph("independent")
    x, y = graph.input("x", images(3)), graph.input("y", SCALAR)
    graph.input("z", images(2))
    graph.output("loss", graph.add(ops.Sum((0, 1)), graph.add(ops.ReluMask(), x)))
    graph.output("other", graph.add(ops.Exp(), y))
    found = evaluate(gradient(graph, "loss", ["x", "y", "z"]), x=np.ones((4, 3)), y=1.0, z=np.ones((4, 2)))
    assert {label: array.shape for label, array in found.items()} == {
        "gradient(x)": (4, 3),
        "gradient(y)": (),
        "gradient(z)": (4, 2),
    }
    assert not any(array.any() for array in found.values())


def test_the_gradient_of_a_value_by_itself_is_one():
    graph = Graph("itself")
    graph.output("loss", graph.add(ops.Exp(), graph.input("x", SCALAR)))
    assert evaluate(gradient(graph, "loss", ["loss"]), x=2.0)["gradient(loss)"] == 1


def test_gradients_differentiate_again():
    graph = Graph("cube")
    x = graph.input("x", SCALAR)
    graph.output("y", graph.add(ops.Power(4.0), x))
    for name, expected in (("y", 4 * 8), ("gradient(x)", 12 * 4), ("gradient(x)", 24 * 2)):
        graph = gradient(graph, name, ["x"])
        assert evaluate(graph, x=2.0)["gradient(x)"] == pytest.approx(expected)


def test_gradient_names_its_outputs_and_drops_those_of_the_graph():
    graph, _ = convolution(Correlate2d())
    result = verify(gradient(graph, "loss", ["image", "filters"]))
    assert list(result.outputs) == ["gradient(image)", "gradient(filters)"]
    assert result.outputs["gradient(filters)"].type == graph.inputs["filters"].type
    assert list(graph.outputs) == ["loss"]


def test_a_tensor_is_refused():
    graph = Graph("tensor")
    x = graph.input("x", images(3))
    y = graph.add(ops.Exp(), x)
    with pytest.raises(
        DifferentiationError, match=r"scalar can be differentiated, not float64\[N, 3\]"
    ) as caught:
        differentiate(graph, y, {"x": x})
    assert "gcn.sum" in str(caught.value)


def test_integers_are_refused_on_both_sides():
    graph = Graph("integers")
    labels = graph.input("labels", TensorType(("N",), "int64"))
    count = graph.add(ops.Constant(3, TensorType((), "int64")))
    loss = graph.add(ops.Constant(3.0, SCALAR))
    with pytest.raises(DifferentiationError, match="floating-point scalar"):
        differentiate(graph, count, {})
    with pytest.raises(DifferentiationError, match=r"'labels' is int64\[N\]"):
        differentiate(graph, loss, {"labels": labels})


def test_unknown_names_are_refused_with_the_known_ones():
    graph, _ = convolution(Correlate2d())
    with pytest.raises(DifferentiationError, match="no input or output 'weights'") as caught:
        gradient(graph, "loss", ["weights"])
    assert "image, filters" in str(caught.value)
    with pytest.raises(DifferentiationError, match="no input or output 'error'"):
        gradient(graph, "error", ["image"])


def test_an_op_without_a_rule_is_named_with_the_users_line(monkeypatch):
    graph = Graph("ruleless")
    x = graph.input("x", SCALAR)
    emit = Emitter(graph, Origin("/home/me/train.py", 5, "layer3"))
    graph.output("loss", emit(ops.Exp(), x))
    monkeypatch.delattr(ops.Exp, "gradient")
    with pytest.raises(DifferentiationError, match=r"layer3 \(train.py:5\): exp has no gradient rule"):
        gradient(graph, "loss", ["x"])


def batchnorm_residual():
    x = gcn.Input((8, 8, 3), name="image")
    h = gcn.relu(gcn.BatchNorm2d()(gcn.Conv2d(4, 3, padding="same", bias=False)(x)))
    h = gcn.relu(gcn.Conv2d(4, 3, padding="same")(gcn.Dropout(0.5)(h)) + h)
    return gcn.Network(x, gcn.Dense(10)(gcn.GlobalAvgPool2d()(gcn.AvgPool2d(2)(h))))


@pytest.mark.parametrize("name", [*gcn.zoo.ZOO, "batch normalisation and a branch"])
def test_every_gradient_node_tells_its_forward_node_line_and_rule(name):
    entry = gcn.zoo.ZOO.get(name)
    model = gcn.compile(
        entry.make() if entry else batchnorm_residual(),
        input_shape=entry.input_shape if entry else None,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1, momentum=0.9),
        metrics=[],
    )
    gradient_graph, step = model.gradient_graph, model.step_graph
    steps_towards_updates = networkx.ancestors(step.nx, step.outputs["loss"].key)
    updated = {value.key for value in step.updates.values()}
    updating = set().union(updated, *(networkx.ancestors(step.nx, key) for key in updated))
    checked = 0
    for graph, keys in (
        (gradient_graph, {k for k, _ in gradient_graph.items() if k > gradient_graph.outputs["loss"].key}),
        (step, {k for k in updating - steps_towards_updates if k > step.outputs["loss"].key}),
    ):
        for key in keys:
            origin = graph.node(key).origin
            if isinstance(graph.node(key).op, Input) and graph.role(graph.node(key).op.label) == "setting":
                continue
            assert origin.forward is not None and origin.forward < key, key
            assert origin.rule, key
            assert origin.line > 0 and Path(origin.file).is_file(), key
            checked += 1
    assert checked > len(gradient_graph) // 3
