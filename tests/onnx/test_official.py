"""ONNX's own test cases: those that are listed pass, and the others fail with an error of graphcnn's."""

import pytest

from tests.onnx.official import OF_NETWORKS, cases, failure, listed, operators

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::graphcnn.GraphcnnWarning")


@pytest.fixture(scope="module")
def official():
    return cases()


def outcomes(official, backend, names):
    """Return the cases that pass although they are not listed, and those that fail although they are."""
    expected, passed = listed(), {name for name in names if not failure(official[name], backend)}
    return passed - expected, (expected & set(names)) - passed


def test_operators_of_networks_pass_on_the_reference(official):
    of = operators(official)
    names = [name for name in official if of[name] in OF_NETWORKS and "expanded" not in name]
    assert outcomes(official, "numpy", names) == (set(), set())
    assert len(set(names) & listed()) > 500


ON_NATIVE = (
    *("basic_conv_with_padding", "conv_with_strides_and_asymmetric_padding", "convtranspose_group_2"),
    *("maxpool_2d_ceil", "averagepool_2d_precomputed_pads_count_include_pad", "globalaveragepool"),
    *("batchnorm_epsilon", "gemm_all_attributes", "softmax_axis_1", "resize_upsample_sizes_cubic"),
)


def test_some_cases_pass_on_the_native_backend(official):
    names = [f"node/test_{name}" for name in ON_NATIVE]
    assert outcomes(official, "native", names) == (set(), set())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_all_cases(official, backend):
    assert outcomes(official, backend, list(official)) == (set(), set())
