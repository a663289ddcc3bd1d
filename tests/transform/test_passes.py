"""Passes: each stage sees what it should, what comes out is used, and what breaks a graph is named."""

from functools import partial

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import FileError, GraphError, OptionError
from graphcnn.ir import Emitter, Graph, TensorType
from graphcnn.transform import Passes

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 12)


def network():
    return gcn.Sequential(gcn.Dense(5), gcn.ReLU(), gcn.Dropout(0.5), gcn.Dense(3))


def compiled(**options):
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1, momentum=0.9), "seed": 1} | options
    return gcn.compile(network(), input_shape=(6,), **options)


def names(graph):
    return [node.op.name for _, node in graph.items()]


def tanh_for_relu(graph):
    """Not the same network, but one with the same inputs and outputs."""
    rules = [
        gcn.Rule(
            "swap", "relu → tanh", ops.Relu, lambda match, op, operands: match.emit(ops.Tanh(), *operands)
        )
    ]
    return gcn.simplify(graph, rules=rules)


def seen(graphs):
    def remember(graph):
        graphs.append(graph)
        return graph.copy()

    return remember


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_forward_pass_is_differentiated_trained_and_predicted_with(backend):
    model = compiled(passes={"forward": [tanh_for_relu]}, backend=backend)
    plain = compiled(backend=backend)
    for graph in (model.forward_graph, model.training_graph, model.gradient_graph, model.step_graph):
        assert "tanh" in names(graph)
        assert "relu" not in names(graph)
    assert not np.allclose(model.predict(X), plain.predict(X))
    first = model.train_step(X, Y)
    assert first["loss"] != plain.train_step(X, Y)["loss"]
    assert model.fit(X, Y, epochs=2, batch_size=4, progress=False)


def test_each_stage_sees_its_graph_and_in_order():
    forward, gradient, step = [], [], []
    model = compiled(passes={"forward": [seen(forward)], "gradient": [seen(gradient)], "step": [seen(step)]})
    assert [len(graphs) for graphs in (forward, gradient, step)] == [2, 1, 1]
    inference, training = forward
    assert inference == model.forward_graph
    assert training == model.training_graph
    assert "sample_uniform" in names(training)
    assert "sample_uniform" not in names(inference)
    parameters = list(training.inputs_with_role("parameter"))
    assert list(gradient[0].outputs) == ["loss", *(f"gradient({name})" for name in parameters), "accuracy"]
    assert step[0] == model.step_graph
    assert list(step[0].outputs) == ["loss", "accuracy"]
    assert "learning_rate" in step[0].inputs


def test_passes_that_change_nothing_change_nothing():
    copy = Graph.copy
    model = compiled(passes={stage: [copy, copy] for stage in ("forward", "gradient", "step")})
    plain = compiled()
    for graph in ("forward", "training", "gradient", "step"):
        assert getattr(model, f"{graph}_graph") == getattr(plain, f"{graph}_graph")


def clipped(graph, bound):
    """Return the graph with every gradient's elements bound from above."""
    result = graph.copy(outputs=False)
    for label, value in graph.outputs.items():
        if label.startswith("gradient"):
            emit = Emitter(result)
            negative = emit(ops.Negate(), value)
            limited = emit(ops.Maximum(), negative, ops.constant(emit, -bound, value.type))
            value = emit(ops.Negate(), limited)
        result.output(label, value)
    return result


def test_the_step_is_made_of_what_the_gradient_passes_return():
    optimizer = gcn.SGD(1.0)
    model = compiled(passes={"gradient": [partial(clipped, bound=0.0)]}, optimizer=optimizer)
    before = dict(model.parameters)
    model.train_step(X, Y)
    plain = compiled(optimizer=optimizer)
    plain.train_step(X, Y)
    for name, array in before.items():
        assert np.array_equal(model.parameters[name], np.maximum(plain.parameters[name], array)), name
    assert "maximum" in names(model.gradient_graph)


def test_the_step_passes_have_the_last_word():
    def frozen(graph):
        """Leave the first layer as it is."""
        result = graph.copy(updates=False)
        for label, value in graph.updates.items():
            result.update(label, graph.inputs[label] if label.startswith("dense1.") else value)
        return result

    model = compiled(passes={"step": [gcn.Pass("freeze", frozen), gcn.simplify]})
    assert [each.name for each in model.passes.step] == ["freeze", "simplify"]
    before = dict(model.parameters)
    model.train_step(X, Y)
    changed = {name for name, array in model.parameters.items() if not np.array_equal(array, before[name])}
    assert changed == {"dense2.weights", "dense2.bias"}


def without_output(graph):
    return graph.copy(outputs=False)


def with_more(graph):
    result = graph.copy()
    result.output("more", result.outputs["output"])
    return result


def narrower(graph):
    result = graph.copy(outputs=False)
    emit = Emitter(result)
    result.output("output", emit(ops.Crop(((0, 0), (0, 1))), graph.outputs["output"]))
    return result


def in_place(graph):
    graph.add(ops.Exp(), graph.outputs["output"])
    return graph


def without_updates(graph):
    return graph.copy(updates=False)


def in_another_order(graph):
    result = Graph(graph.name)
    inputs = {label: result.input(label, value.type, role=graph.role(label))
              for label, value in reversed(graph.inputs.items())}  # fmt: skip
    result.output("output", result.add(ops.Crop(((0, 0), (0, 3))), inputs["image"]))
    return result


def damaged(graph):
    result = graph.copy()
    del result.nx.nodes[1]["node"]
    return result


@pytest.mark.parametrize(
    ("stage", "broken", "told"),
    [
        ("forward", without_output, "output 'output' is gone"),
        ("forward", with_more, "output 'more' is new"),
        ("forward", narrower, "output 'output' was float32[N, 3], and is float32[N, 2]"),
        ("forward", in_place, "it changed the graph that it was given"),
        ("forward", in_another_order, "in another order"),
        ("forward", damaged, "networkx holds another node"),
        ("forward", lambda graph: None, "it returned None, not a graph"),
        ("step", without_updates, "update of 'dense1.weights' is gone"),
        ("gradient", without_output, "output 'gradient(dense1.weights)' is gone"),
    ],
)
def test_a_pass_that_breaks_a_graph_is_named(stage, broken, told):
    with pytest.raises(GraphError) as caught:
        compiled(passes={stage: [broken]})
    assert f"pass {broken.__name__!r} broke graph" in str(caught.value)
    assert told in str(caught.value)
    assert "Mend:" in str(caught.value)
    assert __file__.rpartition("/")[2] in str(caught.value)


def test_an_error_inside_a_pass_names_it():
    with pytest.raises(GraphError, match="another graph") as caught:
        compiled(passes={"forward": [gcn.Pass("mixed up", lambda graph: gcn.simplify(graph).copy().add(
            ops.Relu(), graph.outputs["output"]))]})  # fmt: skip
    assert "in pass 'mixed up' on graph" in str(caught.value)


def test_any_error_in_a_pass_says_which_pass():
    with pytest.raises(KeyError) as caught:
        compiled(passes={"step": [gcn.Pass("broken", lambda graph: graph.outputs["nothing"])]})
    assert caught.value.__notes__ == ["in pass 'broken' on graph 'network step'"]


@pytest.mark.parametrize(
    ("passes", "told"),
    [
        ({"backward": []}, "there is no stage 'backward'"),
        ({"forward": gcn.simplify}, "is not a list"),
        ({"forward": "simplify"}, "is not a list"),
        ([gcn.simplify], "is not a dictionary of lists"),
        ({"forward": [3]}, "3 is not a pass"),
        ({"forward": [gcn.Pass]}, "is not a pass"),
    ],
)
def test_what_is_no_pass_is_refused(passes, told):
    with pytest.raises(OptionError) as caught:
        compiled(passes=passes)
    assert told in str(caught.value)


def test_a_pass_without_a_name_or_function_is_refused():
    with pytest.raises(OptionError, match="the name of a pass"):
        gcn.Pass("", gcn.simplify)
    with pytest.raises(OptionError, match="is not a function"):
        gcn.Pass("nothing", None)


def test_passes_have_the_names_of_their_functions():
    class Callable:
        def __call__(self, graph):
            return graph

    given = {
        "forward": [tanh_for_relu, partial(clipped, bound=1.0), Callable(), gcn.Pass("mine", gcn.simplify)]
    }
    assert [each.name for each in Passes.of(given).forward] == [
        "tanh_for_relu",
        "clipped",
        "Callable",
        "mine",
    ]


def test_a_saved_model_asks_for_the_passes_of_its_training(tmp_path):
    passes = {"forward": [tanh_for_relu], "gradient": [partial(clipped, bound=0.01)], "step": [Graph.copy]}
    model = compiled(passes=passes)
    model.train_step(X, Y)
    path = tmp_path / "model.safetensors"
    model.save(path)
    with pytest.raises(OptionError, match="passes of its writer's own: clipped, copy") as caught:
        gcn.load(path)
    assert "passes={} to do without them" in str(caught.value)
    again = gcn.load(path, passes={stage: passes[stage] for stage in ("gradient", "step")})
    assert names(again.step_graph) == names(model.step_graph)
    assert again.train_step(X, Y) == model.train_step(X, Y)
    for name, array in model.parameters.items():
        assert np.array_equal(again.parameters[name], array)
    bare = gcn.load(path, passes={})
    assert "tanh" in names(bare.forward_graph), "what forward passes did is in the graphs of the file"
    assert "maximum" not in names(bare.step_graph)
    again.save(path)
    with pytest.raises(OptionError, match="clipped, copy"):
        gcn.load(path)


def test_a_pass_that_fails_while_a_model_is_loaded_is_no_damage_of_the_file(tmp_path):
    model = compiled(passes={"step": [Graph.copy]})
    path = tmp_path / "model.safetensors"
    model.save(path)
    with pytest.raises(GraphError, match="pass 'without_updates' broke graph") as caught:
        gcn.load(path, passes={"step": [without_updates]})
    assert not isinstance(caught.value, FileError)


def test_forward_passes_need_not_be_given_again(tmp_path):
    model = compiled(passes={"forward": [tanh_for_relu]})
    path = tmp_path / "model.safetensors"
    model.save(path)
    assert np.array_equal(gcn.load(path).predict(X), model.predict(X))


# A graph in the place of a network


def a_graph(output="output"):
    graph = Graph("mine")
    emit = Emitter(graph)
    x = graph.input("image", TensorType(("N", 6)))
    w = graph.input("w", TensorType((6, 3)), role="parameter")
    b = graph.input("b", TensorType((3,)), role="parameter")
    seen = graph.input("seen", TensorType(()), role="state")
    y = emit(ops.Add(), emit(ops.Matmul(), x, w), emit(ops.Broadcast(("N", 3)), b))
    graph.output(output, y)
    graph.update("seen", emit(ops.Add(), seen, emit(ops.Count((0,)), x)))
    return graph


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("output", ["output", "scores"])
def test_a_graph_is_compiled_like_a_network(backend, output):
    graph = a_graph(output)
    before = str(graph)
    model = gcn.compile(graph, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.5), backend=backend, seed=3)
    assert str(graph) == before
    assert list(model.forward_graph.outputs) == ["output"]
    assert not model.forward_graph.updates
    assert list(model.parameters) == ["w", "b"]
    assert np.std(model.parameters["w"]) > 0
    assert not np.any(model.parameters["b"])
    weights = model.parameters["w"]
    assert np.allclose(model.predict(X), X @ weights, atol=1e-6)
    model.train_step(X, Y)
    model.train_step(X, Y)
    assert model.state()["seen"] == 24
    other = gcn.compile(graph, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.5), backend=backend, seed=3)
    assert np.array_equal(other.parameters["w"], weights), "the seed tells the first values"


def test_first_values_are_given_by_name():
    weights = {"w": np.full((6, 3), 0.5), "seen": np.float32(7)}
    model = gcn.compile(a_graph(), weights=weights)
    assert np.all(model.parameters["w"] == 0.5)
    assert model.state()["seen"] == 7
    layers = gcn.compile(network(), input_shape=(6,), weights={"dense1.bias": [1.0, 2, 3, 4, 5]})
    assert layers.parameters["dense1.bias"].tolist() == [1, 2, 3, 4, 5]
    weights["w"][:] = 9
    assert np.all(model.parameters["w"] == 0.5), "the model has arrays of its own"


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"v": 0.0}, "there is no parameter or state 'v'"),
        ({"image": 0.0}, "there is no parameter or state 'image'"),
        ({"w": np.zeros((3, 6))}, "weights['w']"),
        ([1.0], "is not a dictionary"),
    ],
)
def test_first_values_that_do_not_fit_are_refused(weights, told):
    with pytest.raises(gcn.GraphcnnError) as caught:
        gcn.compile(a_graph(), weights=weights)
    assert told in str(caught.value)


def test_a_model_of_a_graph_is_saved_and_loaded(tmp_path):
    model = gcn.compile(a_graph(), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.5))
    model.train_step(X, Y)
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors")
    assert again.train_step(X, Y) == model.train_step(X, Y)
    assert again.state()["seen"] == 24


def test_a_forward_graph_can_be_compiled_again():
    model = compiled()
    again = gcn.compile(model.forward_graph, weights=dict(model.parameters))
    assert np.array_equal(again.predict(X), model.predict(X))


def test_a_graph_with_several_outputs_is_a_network_with_several():
    graph = a_graph("scores")
    graph.output("other", graph.outputs["scores"])
    outputs = gcn.compile(graph).predict(np.ones((2, 6), np.float32))
    assert list(outputs) == ["scores", "other"]


def test_a_graph_without_an_output_is_refused():
    with pytest.raises(gcn.GraphcnnError, match="has no output that a model could predict"):
        gcn.compile(Graph("empty"))


def a_setting(graph):
    graph.input("rate", TensorType(()), role="setting")


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (a_setting, {}, "has a setting among its inputs: rate"),
        (lambda graph: None, {"input_shape": (6,)}, "leave out input_shape"),
        (lambda graph: None, {"dtype": "float64"}, "leave out dtype"),
    ],
)
def test_a_graph_that_is_no_network_is_refused(change, options, told):
    graph = a_graph("scores")
    change(graph)
    with pytest.raises(gcn.GraphcnnError) as caught:
        gcn.compile(graph, **options)
    assert told in str(caught.value)


def test_of_several_outputs_the_one_of_that_name_is_predicted():
    graph = a_graph()
    graph.output("doubled", graph.add(ops.Add(), graph.outputs["output"], graph.outputs["output"]))
    assert list(gcn.compile(graph).forward_graph.outputs) == ["output"]
