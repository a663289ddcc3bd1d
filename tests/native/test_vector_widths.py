"""Whole steps are right for vectors of any width, whether or not this processor has them.

LLVM splits vectors that are wider than the processor's, so that the code for 16 lanes can be run anywhere.
"""

import dataclasses

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.testing.cases import backend_cases, build_case
from graphcnn_native import NativeExecutable
from graphcnn_native.codegen.module import generate
from graphcnn_native.lowering import lower
from graphcnn_native.runtime.engine import assembly
from graphcnn_native.target import host_target, named_target

WIDTHS = {
    "16 bytes": {"vector_bytes": 16, "registers": 16, "masks": False, "broadcasts": False},
    "32 bytes": {"vector_bytes": 32, "registers": 16, "masks": False, "broadcasts": False},
    "64 bytes": {"vector_bytes": 64, "registers": 32, "masks": True, "broadcasts": True},
}
BATCHES = (1, 9, 40, 300)
"""One sample, a few, several blocks, and more than there is memory for at a time."""


def network(first, second):
    """Convolutions with padding on unequal sides, a pool that leaves a rest, and two dense layers.

    The first is deep enough for its error to go back by dot products."""
    return gcn.Sequential(
        gcn.Conv2d(first, 3, padding=((1, 2), (2, 0))),
        gcn.ReLU(),
        gcn.MaxPool2d(2),
        gcn.Conv2d(second, 2),
        gcn.Tanh(),
        gcn.Flatten(),
        gcn.Dense(71),
        gcn.ReLU(),
        gcn.Dense(5),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("first", "second"), [(1, 17), (3, 6), (6, 13), (10, 20), (24, 9), (16, 33)])
def test_a_step_agrees_with_numpy(width, first, second, dtype):
    model = gcn.compile(
        network(first, second),
        input_shape=(8, 9, 2),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.01, momentum=0.9),
        backend="numpy",
        dtype=dtype,
    )
    target = dataclasses.replace(host_target(), name=width, **WIDTHS[width])
    native = NativeExecutable(model.step_graph, target=target)
    reference = load_backend("numpy").compile(model.step_graph)
    random = np.random.default_rng(0)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for batch in BATCHES:
        inputs = {
            "image": random.standard_normal((batch, 8, 9, 2), dtype=dtype),
            "target": random.integers(0, 5, batch),
            "learning_rate": np.dtype(dtype).type(0.01),
        }
        found, expected = model.state(), model.state()
        loss, wanted = native.step(found, **inputs)["loss"], reference.step(expected, **inputs)["loss"]
        assert loss == pytest.approx(wanted, rel=tolerance)
        for name, array in expected.items():
            scale = 1 + np.abs(array).max()
            np.testing.assert_allclose(
                found[name], array, rtol=0, atol=2 * tolerance * scale, err_msg=f"{name}, {batch}"
            )


@pytest.mark.parametrize("name", ["avx512", "avx2", "baseline", "neon"])
def test_every_processor_has_code_for_vectors_that_are_wider_than_its_own(name, passes_of):
    target = dataclasses.replace(named_target(name), **WIDTHS["64 bytes"])
    for graph in passes_of(7, 16, 20, 3):  # 20 filters: a vector and a half
        for text in generate(lower(graph, target, winograd=False), target).modules:
            assert "ret" in assembly(text, target)


OF_SAMPLES = [name for name in backend_cases() if name.startswith(("sample", "flip_samples"))]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["sample_", "samples moved", "samples warped", "flip_samples"])
def test_what_samples_draw_and_how_they_move_agrees_with_numpy(width, kind):
    """Rows that begin anywhere are loaded by masks, where the processor has them, or else piece by piece."""
    target = dataclasses.replace(host_target(), name=width, **WIDTHS[width])
    names = [name for name in OF_SAMPLES if name.startswith(kind)]
    assert names
    for name in names[:: 6 if kind == "sample_" else 1]:
        case = build_case(name)
        found = NativeExecutable(case.graph, target=target)(**case.inputs)
        for label, wanted in load_backend("numpy").compile(case.graph)(**case.inputs).items():
            assert found[label].dtype == wanted.dtype
            if wanted.dtype.kind == "f":
                scale, tolerance = 1 + np.abs(wanted).max(), 1e-12 if wanted.dtype == np.float64 else 1e-5
                np.testing.assert_allclose(found[label], wanted, rtol=0, atol=tolerance * scale, err_msg=name)
            else:
                np.testing.assert_array_equal(found[label], wanted, err_msg=name)
