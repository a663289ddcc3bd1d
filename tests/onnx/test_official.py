"""ONNX's own test cases: those that are listed pass, and the others fail with an error of graphcnn's."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import graphcnn as gcn
from tests.onnx.official import OF_NETWORKS, PAGE, cases, comparison, failure, listed, operators

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


def test_the_page_says_how_many_operators_of_another_list_pass(official):
    assert comparison(official, listed()) in PAGE.read_text()


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


LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize("name", ["shufflenet", "squeezenet"])
def test_networks_of_the_model_zoo(name):
    check_light(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "vgg19", "zfnet512"],
)
def test_large_networks_of_the_model_zoo(name):
    check_light(name)


def check_light(name):
    """Compare the outputs of a network that comes with onnx, for an image of ones, with those beside it."""
    network = gcn.from_onnx(LIGHT / f"light_{name}.onnx")
    image = np.ones((1, *network.inputs[0].shape[1:]), np.float32)
    expected = onnx.numpy_helper.to_array(onnx.load_tensor(LIGHT / f"light_{name}_output_0.pb"))
    found = gcn.compile(network).predict(image)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-3, atol=1e-7)
