import io

from rich.console import Console

import graphcnn as gcn
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


def test_large_numbers_are_shown_with_a_unit() -> None:
    assert [scaled(n) for n in (7, 1_230, 4_560_000, 7_890_000_000)] == ["7", "1.23 k", "4.56 M", "7.89 G"]
