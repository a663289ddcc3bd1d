import io
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from rich.console import Console

import graphcnn as gcn
from graphcnn.errors import GraphError
from graphcnn.inspection.tables import layer_rows, layer_table, scaled


def lenet5() -> gcn.Model:
    return gcn.compile(
        gcn.zoo.lenet5(), input_shape=(28, 28, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1)
    )


def test_a_row_per_layer_in_the_networks_order() -> None:
    rows = layer_rows(lenet5().forward_graph)
    assert [row.layer for row in rows][:5] == ["image", "conv1", "relu1", "pool1", "conv2"]
    assert {row.layer: row.shape for row in rows}["pool2"] == "[N, 5, 5, 16]"


def test_parameters_of_lenet5() -> None:
    rows = {row.layer: row.parameters for row in layer_rows(lenet5().forward_graph)}
    assert rows["conv1"] == 5 * 5 * 1 * 6 + 6
    assert rows["dense1"] == 400 * 120 + 120
    assert sum(rows.values()) == 61_706


def test_flops_count_a_multiply_add_as_two_and_grow_with_the_batch() -> None:
    one, many = (
        {row.layer: row.cost for row in layer_rows(lenet5().forward_graph, batch)} for batch in (1, 64)
    )
    outputs = 10 * 10 * 16
    assert one["conv2"].flops == outputs * (2 * 5 * 5 * 6) + outputs
    assert many["conv2"].flops == 64 * one["conv2"].flops


def test_bytes_count_operands_and_results_once() -> None:
    x = gcn.Input((8, 8, 3))
    graph = gcn.Network(x, gcn.relu(x)).graph
    assert graph.cost(2).bytes == 2 * (2 * 8 * 8 * 3) * 4


def test_the_table_shows_totals() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(layer_table(lenet5().gradient_graph, 64))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "61,706" in text
    assert "batch 64" in text


@dataclass(frozen=True)
class Measured:
    nodes: Mapping[int, float]


def printed(graph: gcn.Graph, **options: object) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(layer_table(graph, **options))  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_forward_and_backward_are_told_apart() -> None:
    model = lenet5()
    rows = {row.layer: row for row in layer_rows(model.gradient_graph)}
    conv2 = 2 * (10 * 10) * (5 * 5) * 6 * 16
    assert rows["conv2"].forward.flops == conv2 + 1600
    assert rows["conv2"].backward.flops == 2 * conv2 + 1600
    assert "backward" in printed(model.gradient_graph)
    assert "backward" not in printed(model.forward_graph)


def test_times_are_summed_by_layer_and_side() -> None:
    graph = lenet5().step_graph
    times = {key: 1e-3 for key, node in graph.items() if node.origin.layer == "conv1"}
    forward = [key for key in times if graph.node(key).origin.forward is None]
    rows = {row.layer: row for row in layer_rows(graph, times=Measured(times))}
    expected = (len(forward) * 1e-3, (len(times) - len(forward)) * 1e-3)
    assert rows["conv1"].seconds == pytest.approx(expected)
    assert rows["dense1"].seconds == (0.0, 0.0)
    assert f"{len(forward)}.000" in printed(graph, times=Measured(times)).splitlines()[-2]


def test_receptive_fields_of_lenet5() -> None:
    fields = {row.layer: row.field for row in layer_rows(lenet5().forward_graph)}
    assert fields["conv1"] == (5, 5)
    assert fields["pool1"] == (6, 6)
    assert fields["conv2"] == (14, 14)
    assert fields["pool2"] == (16, 16)
    assert fields["dense1"] is None


def test_what_each_of_several_ranks_sends() -> None:
    graph = gcn.distribute(lenet5().step_graph)
    rows = {row.layer: row.sent for row in layer_rows(graph, 128, ranks=4)}
    assert rows["conv1"] == 2 * (5 * 5 * 6 * 4 + 6 * 8), "filters, and biases in float64"
    assert rows["pool1"] == 0
    assert rows["relu3"] == 3 * (128 // 4) * (120 + 120) * 4, "what dense2 reads, and the error behind dense1"
    assert "batch 128, 4 ranks" in printed(graph, batch=128, ranks=4)
    assert "sends" in printed(graph, batch=128, ranks=4)
    assert "sends" not in printed(graph, batch=128)
    assert {row.sent for row in layer_rows(graph, 128)} == {None}


def test_names_leave_the_table_in_shape() -> None:
    x = gcn.Input((4,), name="[red]x[/red]\x1b[31m\n" + "y" * 10_000)
    text = printed(gcn.Network(x, gcn.relu(x)).graph)
    assert "[red]x[/red]\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}yyy" in text
    assert max(map(len, text.splitlines())) < 120


def test_an_empty_graph_is_an_error() -> None:
    with pytest.raises(GraphError, match="'nothing' is empty"):
        layer_table(gcn.Graph("nothing"))


def test_a_graph_changed_behind_its_back_is_an_error() -> None:
    graph = lenet5().forward_graph
    graph.nx.add_edge(5, 2, key=2, result=0)
    with pytest.raises(GraphError, match="its edges run in a circle"):
        layer_table(graph)


def test_large_numbers_are_shown_with_a_unit() -> None:
    assert [scaled(n) for n in (7, 1_230, 4_560_000, 7_890_000_000)] == ["7", "1.23 k", "4.56 M", "7.89 G"]
