"""Sums over the batch and samples of all ranks, as nodes: where they are put, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import GraphError, OptionError, ShapeError
from graphcnn.transform import (
    computing_ranks,
    kept_elsewhere,
    require_distributed,
    sent_bytes,
    whole_inputs,
    without_collectives,
)


def step_graph(*layers, shape=(6, 6, 2), **options):
    model = gcn.compile(
        gcn.Sequential(*layers),
        input_shape=shape,
        loss=options.pop("loss", gcn.CrossEntropy()),
        optimizer=options.pop("optimizer", gcn.SGD(0.1, momentum=0.9)),
        backend="numpy",
        **options,
    )
    return model.step_graph


def convolutional():
    return step_graph(gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3))


def of(graph, kind):
    return [(key, node) for key, node in graph.items() if isinstance(node.op, kind)]


def test_each_sum_over_the_batch_is_read_by_its_all_reduce_alone():
    graph = gcn.distribute(convolutional())
    sums = [key for key, node in graph.items() if node.sums_samples]
    assert {type(graph.node(key).op) for key in sums} >= {
        ops.Sum,
        ops.Mean,
        ops.InverseDeviation,
        ops.Correlate2d,
    }
    for key in sums:
        for value in graph.results(key):
            readers = [graph.node(user) for user in graph.users(value)]
            assert len(readers) == 1 or not readers
            assert all(isinstance(reader.op, ops.AllReduce) for reader in readers)
            assert value not in graph.roots()


def test_a_product_over_samples_reads_the_samples_of_all_ranks():
    graph = gcn.distribute(step_graph(gcn.Flatten(), gcn.Dense(5), gcn.ReLU(), gcn.Dense(3)))
    products = [node for _, node in of(graph, ops.Matmul) if not any(type.has_batch for type in node.types)]
    assert len(products) == 2
    for product in products:
        turned, errors = (graph.node(operand.key) for operand in product.operands)
        assert isinstance(turned.op, ops.Transpose)
        assert isinstance(graph.node(turned.operands[0].key).op, ops.AllGather)
        assert isinstance(errors.op, ops.AllGather)


def test_the_text_says_what_goes_between_ranks():
    graph = gcn.distribute(convolutional())
    text = str(graph)
    assert "= all_reduce(%" in text
    assert "= all_gather(%" in text
    assert "| of all ranks" in text
    assert gcn.parse(text) == graph


def test_messages_name_the_layer_and_the_line_of_what_they_carry():
    graph = gcn.distribute(convolutional())
    for _, node in of(graph, ops.AllReduce | ops.AllGather):
        made = graph.node(node.operands[0].key).origin
        assert (node.origin.layer, node.origin.line) == (made.layer, made.line)
        assert node.origin.rule == "of all ranks"


def test_a_graph_that_is_distributed_already_stays_as_it_is():
    graph = gcn.distribute(convolutional())
    assert gcn.distribute(graph) == graph


def test_without_them_it_is_the_graph_from_before():
    before = convolutional()
    assert without_collectives(gcn.distribute(before)) == before
    assert without_collectives(before) is before


def test_the_meaning_is_that_of_one_process():
    before = convolutional()
    rng = np.random.default_rng(0)
    inputs = {}
    for label, value in before.inputs.items():
        shape = value.type.concrete(7)
        numbers = rng.uniform(0.5, 1.5, shape) if value.type.is_float else rng.integers(0, 3, shape)
        inputs[label] = numbers.astype(value.type.dtype)
    found = [gcn.evaluate(graph, **inputs) for graph in (before, gcn.distribute(before))]
    for label in found[0]:
        assert found[0][label].tobytes() == found[1][label].tobytes()


def test_a_second_result_that_nobody_reads_is_not_added_up():
    graph = gcn.Graph("deviations")
    x = graph.input("x", gcn.TensorType(("N", 3)))
    inverse, _ = graph.add_all(ops.InverseDeviation((0,)), x)
    graph.output("inverse", inverse)
    assert len(of(gcn.distribute(graph), ops.AllReduce)) == 1


def test_outputs_with_a_batch_are_gathered_once():
    graph = gcn.Graph("outputs")
    x = graph.input("x", gcn.TensorType(("N", 3)))
    y = graph.add(ops.Tanh(), x)
    for label in ("first", "second"):
        graph.output(label, y)
    assert len(of(gcn.distribute(graph), ops.AllGather)) == 1


def test_numbers_that_no_sample_decides_are_alike_on_all_ranks():
    graph = gcn.Graph("noise")
    x = graph.input("x", gcn.TensorType(("N", 3)))
    state = graph.input("state", ops.GENERATOR_STATE, role="state")
    numbers, following = graph.add_all(ops.RandomUniform(), state, graph.add(ops.Tanh(), x))
    graph.output("count", graph.add(ops.Count((0,)), graph.add(ops.Tanh(), x)))
    graph.output("total", graph.add(ops.Sum((0, 1)), numbers))
    graph.update("state", following)
    distributed = gcn.distribute(graph)
    assert not of(distributed, ops.AllGather)
    assert len(of(distributed, ops.AllReduce)) == 1
    assert whole_inputs(distributed) == frozenset()


def test_inputs_of_which_each_rank_needs_all_samples():
    mixed = gcn.distribute(step_graph(gcn.Mixup(0.4), gcn.Flatten(), gcn.Dense(3)))
    plain = gcn.distribute(convolutional())
    (images,) = [
        label for label, value in plain.inputs.items() if value.type.rank == 4 and value.type.has_batch
    ]
    assert images not in whole_inputs(plain)
    assert "sample_key" in whole_inputs(mixed)
    assert images in whole_inputs(mixed), "it is turned round before anything else"
    for graph in (mixed, plain):
        labels = {label for label, value in graph.inputs.items() if value.type.shape == ("N",)}
        assert labels <= whole_inputs(graph)


def test_turned_round_samples_are_gathered_first():
    layers = gcn.RandomFlip(), gcn.Mixup(0.4), gcn.Flatten(), gcn.Dense(3)
    graph = gcn.distribute(step_graph(*layers))
    turned = [node for _, node in of(graph, ops.Rot180) if 0 in node.op.axes]
    assert turned
    kinds = {type(graph.node(node.operands[0].key).op) for node in turned}
    assert ops.AllGather in kinds
    assert kinds <= {ops.AllGather, ops.Input}


def test_what_is_not_distributed_is_refused_at_the_users_line():
    graph = convolutional()
    with pytest.raises(GraphError) as caught:
        require_distributed(graph, 2)
    assert "ranks cannot share a batch like this" in str(caught.value)
    assert "Mend: gcn.distribute(graph)" in str(caught.value)
    assert "test_distribute.py" in str(caught.value)
    distributed = gcn.distribute(graph)
    assert require_distributed(distributed, 2) is distributed


def halved(build):
    graph = gcn.Graph("halved")
    emit = gcn.Emitter(graph)
    x = emit(ops.Tanh(), graph.input("x", gcn.TensorType(("N", 2))))
    build(graph, emit, x)
    return graph


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (
            lambda g, e, x: g.output("y", e(ops.Sum((0,)), x)),
            "'y' leaves the graph, and a rank has the sum over",
        ),
        (lambda g, e, x: g.output("y", x), "'y' leaves the graph, and a rank has its own samples"),
        (
            lambda g, e, x: g.output("y", e(ops.Negate(), e(ops.Sum((0,)), x))),
            "the sum %2 is read before ranks have added it up",
        ),
        (
            lambda g, e, x: g.output("y", e(ops.Max((0,)), x)),
            "max reads several samples of %1, of which a rank has some",
        ),
        (
            lambda g, e, x: g.output("y", e(ops.AllReduce(), e(ops.Max((0,)), e(ops.AllGather(), x)))),
            "%4 adds up %3, which is no sum over the batch",
        ),
    ],
)
def test_what_ranks_would_not_tell(build, problem):
    graph = halved(build)
    with pytest.raises(GraphError) as caught:
        require_distributed(graph, 2)
    assert problem in str(caught.value)
    require_distributed(gcn.distribute(graph), 2)


def test_types_that_do_not_fit():
    graph = gcn.Graph("types")
    samples, numbers = graph.input("x", gcn.TensorType(("N", 2))), graph.input("w", gcn.TensorType((2,)))
    with pytest.raises(ShapeError, match=r"all_reduce adds up sums over the batch"):
        graph.add(ops.AllReduce(), samples)
    with pytest.raises(ShapeError, match=r"all_gather takes samples \[N, ...\], not \[2\]"):
        graph.add(ops.AllGather(), numbers)


def test_bytes_are_those_of_a_message():
    graph = halved(lambda g, e, x: g.output("y", e(ops.AllReduce(), e(ops.Sum((0,)), e(ops.AllGather(), x)))))
    costs = {type(node.op): node.cost(10) for _, node in graph.items()}
    assert (costs[ops.AllGather].flops, costs[ops.AllGather].bytes) == (0, 10 * 2 * 4)
    assert (costs[ops.AllReduce].flops, costs[ops.AllReduce].bytes) == (0, 2 * 4)


def owned(owners):
    """Return a step that adds a velocity to a parameter, distributed; both are of ranks."""
    graph = gcn.Graph("step")
    w, v = (
        graph.input(name, gcn.TensorType((3,), "float32"), role=role)
        for name, role in (("w", "parameter"), ("w.velocity", "state"))
    )
    new = graph.add(ops.Add(), v, w)
    graph.update("w.velocity", new)
    graph.update("w", graph.add(ops.Subtract(), w, new))
    graph.output("norm", graph.add(ops.Sum((0,)), w))
    return gcn.distribute(graph, owners)


def test_what_one_rank_computes_goes_to_all_or_stays_there():
    graph = owned({"w": 2, "w.velocity": 2})
    new, velocity = (graph.node(graph.updates[label].key) for label in ("w", "w.velocity"))
    assert (new.op, velocity.op) == (ops.BroadcastFrom(2), ops.KeepOn(2))
    assert (new.cost(1).bytes, velocity.cost(1).bytes) == (12, 0)
    assert new.origin.rule == velocity.origin.rule == "of all ranks"
    assert "broadcast_from(" in str(graph) and gcn.parse(str(graph)) == graph
    assert sent_bytes(graph, 1, 4) == {graph.updates["w"].key: 9}  # of four ranks, each with a quarter
    assert without_collectives(graph) == owned({}) == gcn.distribute(graph)


def test_a_rank_computes_what_it_needs():
    graph = owned({"w": 2, "w.velocity": 2})
    needed = computing_ranks(graph)
    by_one = {graph.node(key).op.name for key, ranks in needed.items() if ranks == 1 << 2}
    assert by_one == {"input", "add", "subtract", "keep_on"}
    assert all(ranks in (-1, 1 << 2) for ranks in needed.values())
    assert [sorted(kept_elsewhere(graph, rank)) for rank in (0, 2)] == [["w.velocity"], []]
    assert set(computing_ranks(owned({})).values()) == {-1}


def test_a_state_that_others_need_cannot_stay_on_one_rank():
    with pytest.raises(GraphError, match=r"rank 1 alone keeps the state 'w\.velocity', and other"):
        owned({"w.velocity": 1})
    with pytest.raises(GraphError, match=r"rank 1 alone keeps"):
        owned({"w": 0, "w.velocity": 1})
    with pytest.raises(GraphError, match="distributed over more ranks than these 2: rank 2 computes alone"):
        require_distributed(owned({"w": 2, "w.velocity": 2}), 2)
    with pytest.raises(OptionError, match="-1 is not the number of a rank"):
        ops.KeepOn(-1)
    graph = gcn.Graph()
    samples = graph.input("x", gcn.TensorType(("N", 2)))
    with pytest.raises(ShapeError, match="broadcast_from takes what no rank has a part of"):
        graph.add(ops.BroadcastFrom(0), samples)
