import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.cli import main
from graphcnn.inspection.benchmark import benchmark


@pytest.fixture
def model() -> gcn.Model:
    return digits("numpy")


def digits(backend: str) -> gcn.Model:
    return gcn.compile(
        gcn.zoo.digits(),
        input_shape=(8, 8, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1, momentum=0.9),
        backend=backend,
    )


def test_every_kernel_is_listed_slowest_first(model: gcn.Model) -> None:
    result = benchmark(model, batch=16, repeats=5)
    assert [k.seconds for k in result.kernels] == sorted((k.seconds for k in result.kernels), reverse=True)
    assert sum(k.kernel.flops for k in result.kernels) == result.flops == model.step_graph.cost(16).flops


def test_a_kernel_names_its_layer_and_rule(model: gcn.Model) -> None:
    places = {(k.kernel.name, k.layers, k.rules) for k in benchmark(model, batch=4, repeats=2).kernels}
    assert ("correlate2d", "conv1", "Eq. 7") in places
    assert ("correlate2d", "conv1", "Eq. 14") in places


def test_a_fused_kernel_names_all_its_layers_and_rules() -> None:
    kernels = benchmark(digits("native"), batch=4, repeats=2).kernels
    places = {(k.kernel.name, k.layers, k.rules) for k in kernels}
    assert ("correlate2d_relu", "conv1, relu1", "Eq. 7, Eq. 8") in places
    assert ("total_add_subtract", "conv1", "SGD") in places
    assert all(k.seconds >= 0 for k in kernels)


def test_the_model_is_not_trained_by_it(model: gcn.Model) -> None:
    before = model.state()
    benchmark(model, batch=4, repeats=2)
    assert all((model.state()[name] == before[name]).all() for name in before)


def test_inference_needs_no_loss() -> None:
    predictor = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1))
    assert benchmark(predictor, mode="infer", batch=2, repeats=2).seconds > 0
    with pytest.raises(gcn.GraphcnnError, match="compiled without"):
        benchmark(predictor, mode="train")


def test_the_command_prints_a_table() -> None:
    result = CliRunner().invoke(main, ["bench", "digits", "--batch-size", "8", "--repeats", "3"])
    assert result.exit_code == 0, result.output
    for part in ("batch 8", "images/s", "correlate2d", "GFLOP/s"):
        assert part in result.output
