"""Kernels that differ in nothing but where their buffers lie are generated once."""

import re

import pytest

import graphcnn as gcn
from graphcnn.testing import random_step
from graphcnn.zoo import ZOO
from graphcnn_native.codegen.emitters import written
from graphcnn_native.codegen.module import generate
from graphcnn_native.lowering import lower
from graphcnn_native.lowering.layout import Layout, shared
from graphcnn_native.target import host_target


def step_of(network, shape):
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.05, momentum=0.9)}
    return gcn.compile(network, input_shape=shape, backend="numpy", **options).step_graph


def deep(blocks):
    """Return a network of alike layers: convolution, batch norm, relu, and a way around them."""
    image = gcn.Input((8, 8, 16))
    x = image
    for _ in range(blocks):
        x = gcn.relu(x + gcn.BatchNorm2d()(gcn.Conv2d(16, 3, padding="same", bias=False)(x)))
    return gcn.Network(image, gcn.Dense(10)(gcn.Flatten()(x)))


def graphs():
    yield from (step_of(entry.make(), entry.input_shape) for entry in ZOO.values())
    yield step_of(deep(6), None)
    yield from (random_step(seed).graph for seed in range(40))


def test_kernels_of_one_signature_are_written_alike():
    target, alike = host_target(), 0
    for graph in graphs():
        program = lower(graph, target)
        layouts = [Layout(program, kernel) for kernel in program.kernels]
        for kernel, layout, first in zip(program.kernels, layouts, shared(layouts), strict=True):
            if program.kernels[first] is not kernel:
                alike += 1
                texts = []
                for number in (first, kernel.number):
                    writer = written(program, program.kernels[number], layouts[number], target)
                    lines = str(writer.f).replace(f"@k{number}_", "@k_").splitlines()
                    texts.append("\n".join(line for line in lines if not line.startswith("  ;")))
                # The titles may differ where the ops do not: "multiply_add" and "add_multiply".
                assert texts[0].partition("(")[2] == texts[1].partition("(")[2], layout.signature
    assert alike > 100


@pytest.mark.parametrize("blocks", [4, 8])
def test_a_deep_network_has_as_many_functions_as_a_shallow_one(blocks):
    target = host_target()
    shallow, deeper = (
        sum(
            text.count("define")
            for text in generate(lower(step_of(deep(n), None), target), target).modules[1:]
        )
        for n in (4, blocks)
    )
    assert shallow == deeper


def test_code_says_what_it_computes():
    target = host_target()
    text = str(generate(lower(step_of(deep(2), None), target), target))
    assert re.search(r"^  ; stage \d+, kernel \d+: .*%\d+ \w+ of conv2", text, re.MULTILINE)
    assert re.search(r"^  ; %\d+ \w+ of conv1$", text, re.MULTILINE)
    for name in ("sample", "row", "point"):
        assert re.search(rf"%{name}\.\d+ = phi i64", text), name
