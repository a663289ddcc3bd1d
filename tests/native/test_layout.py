"""Kernels that differ in nothing but where their buffers lie are generated once."""

import re

import graphcnn as gcn
from graphcnn.testing import random_step
from graphcnn.zoo import ZOO
from graphcnn_native.codegen.emitters import written
from graphcnn_native.codegen.module import SHARED, SMALL, generate
from graphcnn_native.lowering import lower
from graphcnn_native.lowering.layout import Layout, shared
from graphcnn_native.target import host_target

DEFINITION = re.compile(r"^define void @(\w+)(\(.*?^\})", re.MULTILINE | re.DOTALL)


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
                digests = {
                    written(program, program.kernels[number], layouts[number], target).f.digest()
                    for number in (first, kernel.number)
                }
                assert len(digests) == 1, layout.signature
    assert alike > 100


def test_a_deep_network_has_the_functions_of_a_shallow_one():
    target = host_target()
    shallow, deeper = (
        {kernel.function for kernel in generate(lower(step_of(deep(blocks), None), target), target).kernels}
        for blocks in (4, 8)
    )
    assert shallow == deeper


def test_functions_of_one_name_are_the_same_code_in_all_programs():
    target, named, met = host_target(), {}, 0
    for graph in graphs():
        code = generate(lower(graph, target), target)
        found = DEFINITION.findall("\n".join(code.modules[2:]))
        assert sorted(name for name, _ in found) == sorted({kernel.function for kernel in code.kernels})
        for name, text in found:
            lines = [line for line in text.splitlines() if not line.startswith("  ;")]
            met += name in named
            assert named.setdefault(name, lines) == lines
    assert met > 100


def test_a_module_of_kernels_is_one_function_or_some_small_ones():
    target = host_target()
    for graph in graphs():
        modules = generate(lower(graph, target), target).modules[2:]
        lengths = [[text.count("\n") for _, text in DEFINITION.findall(module)] for module in modules]
        several = [each for each in lengths if len(each) > 1]
        assert len(several) <= SHARED
        assert all(length < SMALL + 3 for each in several for length in each)


def test_the_step_is_the_same_code_for_all_programs():
    target = host_target()
    steps = {generate(lower(graph, target), target).modules[0] for graph in graphs()}
    assert len(steps) == 1


def test_code_says_what_it_computes():
    target = host_target()
    text = str(generate(lower(step_of(deep(2), None), target), target))
    assert re.search(r"^  ; stage \d+, kernel \d+: .*%\d+ \w+ of conv2", text, re.MULTILINE)
    assert re.search(r"^  ; %\d+ \w+ of conv1$", text, re.MULTILINE)
    for name in ("sample", "row", "point"):
        assert re.search(rf"%{name}\.\d+ = phi i64", text), name
