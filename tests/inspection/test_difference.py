"""What two graphs have in common: simplification, two networks, hand-made cases."""

import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn import ops
from graphcnn.cli import main
from graphcnn.errors import GraphError
from graphcnn.inspection.difference import difference
from graphcnn.ir import BATCH, Emitter, Graph, TensorType


def gradient_graph(network: gcn.Sequential, shape: tuple[int, ...] = (8, 8, 1)) -> Graph:
    return gcn.compile(network, input_shape=shape, loss=gcn.CrossEntropy()).gradient_graph


def network(kernel: int = 3, *more: gcn.Layer) -> gcn.Sequential:
    return gcn.Sequential(
        gcn.Conv2d(4, kernel), gcn.ReLU(), *more, gcn.Conv2d(2, 2), gcn.Flatten(), gcn.Dense(3)
    )


def names(graph: Graph, keys: tuple[int, ...]) -> list[str]:
    return [graph.node(key).op.name for key in keys]


@pytest.mark.parametrize("name", gcn.zoo.ZOO)
@pytest.mark.parametrize("stage", ["forward", "gradient", "step"])
def test_a_graph_equals_itself_built_anew(name: str, stage: str) -> None:
    entry = gcn.zoo.ZOO[name]
    one, two = (
        gcn.compile(
            entry.make(), input_shape=entry.input_shape, loss=gcn.CrossEntropy(), optimizer=gcn.Adam()
        )
        for _ in range(2)
    )
    found = difference(getattr(one, f"{stage}_graph"), getattr(two, f"{stage}_graph"))
    assert not found
    assert found.common == tuple((key, key) for key, _ in getattr(one, f"{stage}_graph").items())
    assert "0 changed, 0 removed, 0 added" in str(found)
    assert len(str(found).splitlines()) == 2


def test_simplification_turns_eq_14_into_eq_13() -> None:
    before = gradient_graph(network())
    after = gcn.simplify(before)
    found = difference(before, after)
    assert found.added == ()
    assert names(before, found.removed).count("rot180") == 2
    contractions = [(old, new) for old, new in found.changed if before.node(old).op.name == "convolve2d"]
    assert len(contractions) == 2
    for old, new in contractions:
        assert after.node(new).op.name == "correlate2d"
        assert before.node(old).origin.layer == after.node(new).origin.layer
    text = str(found)
    assert "conv2: gradient" in text
    assert '\n- %43: float32[2, 2, 4, 2] = convolve2d(%6, %42, sum_over="batch")' in text
    assert '\n+ %43: float32[2, 2, 4, 2] = correlate2d(%6, %37, sum_over="batch")' in text


def test_every_node_is_in_one_place() -> None:
    before = gradient_graph(network())
    after = gradient_graph(network(5, gcn.MaxPool2d(2)), (14, 14, 1))
    found = difference(before, after)
    olds = [old for old, _ in (*found.common, *found.changed)] + list(found.removed)
    news = [new for _, new in (*found.common, *found.changed)] + list(found.added)
    assert sorted(olds) == [key for key, _ in before.items()]
    assert sorted(news) == [key for key, _ in after.items()]
    assert "max_pool2d" in names(after, found.added)
    assert "max_pool2d" not in names(before, found.removed)


def test_a_changed_attribute_is_shown_on_both_sides() -> None:
    before = gcn.compile(gcn.Conv2d(4, 3), input_shape=(8, 8, 1)).forward_graph
    after = gcn.compile(gcn.Conv2d(4, 3, stride=2), input_shape=(8, 8, 1)).forward_graph
    found = difference(before, after)
    assert (found.removed, found.added) == ((), ())
    lines = str(found).splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("- %2"))
    assert "float32[N, 6, 6, 4] = correlate2d(%0, %1)" in lines[place]
    assert "float32[N, 3, 3, 4] = correlate2d(%0, %1, stride=(2, 2))" in lines[place + 1]


def test_keys_and_lines_of_scripts_make_no_difference() -> None:
    def built(first: str) -> Graph:
        graph = Graph("sum")
        values = {label: graph.input(label, TensorType((BATCH, 2))) for label in sorted("xy", key=first.find)}
        graph.output("z", graph.add(ops.Subtract(), values["x"], values["y"]))
        return graph

    found = difference(built("xy"), built("yx"))
    assert not found
    assert found.common == ((1, 0), (0, 1), (2, 2))


def test_exchanged_operands_are_a_change() -> None:
    def built(*order: int) -> Graph:
        graph = Graph("difference")
        values = [graph.input(label, TensorType((BATCH, 2))) for label in "xy"]
        graph.output("z", graph.add(ops.Subtract(), *(values[position] for position in order)))
        return graph

    found = difference(built(0, 1), built(1, 0))
    assert found.changed == ((2, 2),)
    assert "- %2: float32[N, 2] = subtract(%0, %1)" in str(found)
    assert "+ %2: float32[N, 2] = subtract(%1, %0)" in str(found)


def test_another_output_is_a_difference() -> None:
    def built(which: int) -> Graph:
        graph = Graph("outputs")
        x = graph.input("x", TensorType((BATCH, 2)))
        emit = Emitter(graph)
        graph.output("y", (emit(ops.Relu(), x), emit(ops.Tanh(), x))[which])
        return graph

    found = difference(built(0), built(1))
    assert found
    assert len(found.common) == 3
    assert "~ output y is another value" in str(found)
    before, after = built(0), built(0)
    after.output("more", after.inputs["x"])
    assert "+ output more" in str(difference(before, after))


def test_numbers_that_are_equal_but_not_the_same_are_told_apart() -> None:
    def built(value: float) -> Graph:
        graph = Graph("zero")
        x = graph.input("x", TensorType((BATCH, 2)))
        graph.output("y", graph.add(ops.Divide(), x, ops.constant(Emitter(graph), value, x.type)))
        return graph

    assert difference(built(0.0), built(-0.0)).changed == ((1, 1),)


def test_a_large_difference_reads_quickly_and_names_are_inert() -> None:
    layers = [gcn.Sequential(gcn.Conv2d(4, 3, padding=1), gcn.ReLU()) for _ in range(30)]
    end = [gcn.Flatten(), gcn.Dense(2, name="\x1b[31m\u202e" + "n" * 10_000)]
    before = gradient_graph(gcn.Sequential(*layers, *end))
    text = str(difference(before, gcn.simplify(before)))
    assert max(map(len, text.splitlines())) < 400
    assert text.replace("\n", "").isprintable()


def test_what_is_no_graph_is_an_error() -> None:
    with pytest.raises(GraphError, match="graphs are compared, not str"):
        difference(Graph("x"), "y")  # type: ignore[arg-type]


def test_empty_graphs_are_the_same() -> None:
    assert not difference(Graph("a"), Graph("b"))


def test_the_command_line_compares() -> None:
    result = CliRunner().invoke(main, ["diff", "digits"])
    assert result.exit_code == 0, result.output
    assert "- %" in result.output
    assert "convolve2d" in result.output
    result = CliRunner().invoke(main, ["diff", "digits", "lecun1989", "--stage", "forward"])
    assert result.exit_code == 0, result.output
    assert "max_pool2d" in result.output
    assert "0 changed, 0 removed, 0 added" in CliRunner().invoke(main, ["diff", "digits", "digits"]).output
