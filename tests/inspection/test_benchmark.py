import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.cli import main
from graphcnn.errors import OptionError
from graphcnn.inspection.benchmark import benchmark
from graphcnn.inspection.fit_overhead import fit_overhead


def test_every_kernel_is_listed_with_its_work() -> None:
    result = benchmark(digits("numpy"), batch=16, repeats=2)
    assert sum(kernel.flops for kernel in result.kernels) == result.flops
    assert result.batch == 16
    assert result.title == "network, train, batch 16, backend numpy"


def test_inference_needs_no_loss() -> None:
    predictor = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1))
    assert benchmark(predictor, mode="infer", batch=2, repeats=2).seconds > 0
    with pytest.raises(gcn.GraphcnnError, match="compiled without"):
        benchmark(predictor, mode="train")


def test_networks_with_images_as_targets_and_integers_as_labels() -> None:
    autoencoder = gcn.compile(
        gcn.Sequential(gcn.Conv2d(1, 3, padding="same")),
        input_shape=(6, 6, 1),
        loss=gcn.SquaredError(),
        optimizer=gcn.SGD(0.01),
    )
    assert benchmark(autoencoder, batch=3, repeats=1).kernels
    assert benchmark(digits("native"), batch=3, repeats=1).kernels


def test_the_command_prints_a_table() -> None:
    result = CliRunner().invoke(main, ["bench", "digits", "--batch-size", "8", "--repeats", "3"])
    assert result.exit_code == 0, result.output
    for part in ("batch 8", "images/s", "correlate2d", "GFLOP/s", "threads wait", "Python"):
        assert part in result.output


def test_what_fit_costs_is_measured_and_leaves_the_rate_as_it_was() -> None:
    model = digits("native")
    found = fit_overhead(model, batch=512, rounds=2)
    assert (found.batch, found.rounds) == (512, 2)
    assert found.ready > 0
    assert found.fitted > 0
    assert model.learning_rate == 0.1
    result = CliRunner().invoke(main, ["bench", "digits", "--fit", "--batch-size", "512", "--repeats", "2"])
    assert result.exit_code == 0, result.output
    for part in ("train_step on ready batches", "fit on arrays", "%"):
        assert part in result.output


def test_what_fit_costs_is_refused_for_networks_that_are_trained_on_no_labels() -> None:
    model = gcn.compile(
        gcn.Dense(2), input_shape=(3,), loss=gcn.SquaredError(), optimizer=gcn.SGD(0.1), backend="numpy"
    )
    with pytest.raises(OptionError, match="trained on labels"):
        fit_overhead(model)


def digits(backend: str) -> gcn.Model:
    return gcn.compile(
        gcn.zoo.digits(),
        input_shape=(8, 8, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1, momentum=0.9),
        backend=backend,
    )


def test_the_precision_of_products_is_said() -> None:
    result = CliRunner().invoke(main, ["bench", "digits", "--repeats", "2", "--precision", "bfloat16"])
    assert result.exit_code == 0, result.output
    assert "backend native, products of bfloat16" in result.output
