"""The options of `graphcnn train`, on the command line and in a file."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import graphcnn as gcn
from graphcnn.cli import main
from graphcnn.cli.training_options import RATES, SCHEDULES


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def train(*options: str, network: str = "digits") -> Result:
    result = invoke("train", network, "--epochs", "2", "--output", "run", *options)
    assert result.exit_code == 0, result.output
    return result


def trained() -> gcn.Model:
    return gcn.load("run/model.safetensors")


def column(name: str) -> list[float]:
    with Path("run/history.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_the_digits_are_known_after_a_few_epochs_without_any_option() -> None:
    result = invoke("train", "digits", "--epochs", "15")
    accuracy = float(result.output.partition("test accuracy ")[2].partition("%")[0])
    assert accuracy > 90


@pytest.mark.parametrize("optimizer", RATES)
def test_every_optimizer_trains_at_its_own_rate(optimizer: str) -> None:
    train("--optimizer", optimizer, "--schedule", "constant")
    assert trained().learning_rate == RATES[optimizer]
    losses = column("loss")
    assert losses[1] < losses[0]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [[], ["--warmup", "0.5"]])
def test_every_schedule_ends_with_the_rate_that_the_model_has(schedule: str, warmup: list[str]) -> None:
    train("--learning-rate", "0.02", "--schedule", schedule, *warmup)
    assert trained().learning_rate == 0.02
    rates = column("learning_rate")
    assert 0 < rates[1] <= rates[0] <= 0.02 * (1 + 1e-9)
    assert (rates[1] < rates[0]) == (schedule != "constant")


def test_an_interrupted_schedule_goes_on_where_it_was() -> None:
    train("--epochs", "4")
    whole = column("learning_rate")
    model = gcn.compile(
        gcn.zoo.digits(),
        input_shape=(8, 8, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.05, momentum=0.9),
    )
    digits = gcn.data.load_digits()
    model.fit(
        digits.images,
        digits.labels,
        epochs=2,
        batch_size=32,
        callbacks=[gcn.one_cycle(0.05, 4)],
        progress=False,
    )
    model.save("half.safetensors")
    train("--epochs", "2", network="half.safetensors")
    assert column("learning_rate")[2:] == pytest.approx(whole[2:])


def test_what_a_model_is_compiled_with() -> None:
    train(
        *("--label-smoothing", "0.1", "--weight-decay", "0.001", "--momentum", "0.8"),
        *("--clip-norm", "1", "--average", "0.9", "--metric", "f1", "--metric", "top3_accuracy"),
    )
    model = trained()
    assert model.loss == gcn.CrossEntropy(label_smoothing=0.1)
    assert [metric.name for metric in model.metrics] == ["accuracy", "f1", "top3_accuracy"]
    assert any(name.endswith(".average") for name in model.state())
    assert len(column("val_f1")) == 2


def test_products_of_bfloat16_are_trained_resumed_and_trained_on() -> None:
    train("--precision", "bfloat16")
    assert trained().precision == "bfloat16"
    assert "round_bfloat16" in Path("run/step.graph").read_text(encoding="utf-8")
    assert 'precision = "bfloat16"' in Path("run/train.toml").read_text(encoding="utf-8")
    whole = Path("run/model.safetensors").read_bytes()
    for again in (("train", "--config", "run/train.toml", "--output", "again"), ("train", "--resume", "run")):
        result = invoke(*again)
        assert result.exit_code == 0, result.output
    assert Path("again/model.safetensors").read_bytes() == whole == Path("run/model.safetensors").read_bytes()
    result = invoke("train", "--resume", "run", "--precision", "float32")
    assert "the training that is resumed has --precision already" in result.output
    train(network="run/model.safetensors")
    assert trained().precision == "bfloat16"
    train("--precision", "float32", network="run/model.safetensors")
    assert trained().precision == "float32"


def test_a_precision_that_there_is_not_and_one_that_a_model_does_not_have() -> None:
    result = invoke("train", "digits", "--precision", "float16")
    assert result.exit_code == 2
    assert "'float16' is not one of 'float32', 'bfloat16'" in result.output
    Path("script.py").write_text(
        "import graphcnn as gcn\nmodel = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1), "
        "loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))\n"
    )
    result = invoke("train", "script.py:model", "--precision", "bfloat16")
    assert result.exit_code == 1
    assert "script.py:model is a model whose products are of float32" in result.output
    assert "gcn.compile(..., precision='bfloat16')" in result.output


def test_what_fit_is_told() -> None:
    result = train(
        *("--validation-split", "0.2", "--steps-per-epoch", "8", "--validate-every", "5"),
        *("--class-weight", "balanced", "--best-weights", "--early-stopping", "5", "--batch-size", "16"),
    )
    assert "epoch 1/2  step 5  val_loss" in result.output
    assert "test accuracy" in result.output
    assert len(column("val_loss")) == 4  # after step 5 and at the end of each epoch


def test_the_best_weights_are_those_that_are_saved() -> None:
    train("--best-weights", "--epochs", "3", "--learning-rate", "2", "--schedule", "constant")
    digits = gcn.data.load_digits()
    found = trained().evaluate(digits.test_images, digits.test_labels)["loss"]
    assert found == pytest.approx(min(column("val_loss")))


def test_a_plateau_needs_a_constant_rate() -> None:
    result = invoke("train", "digits", "--reduce-on-plateau", "1")
    assert result.exit_code == 1
    assert "Mend: --schedule constant --reduce-on-plateau 3" in result.output
    train("--schedule", "constant", "--reduce-on-plateau", "0", "--epochs", "4", "--learning-rate", "3")
    assert len(set(column("learning_rate"))) > 1


def test_the_curves_are_drawn() -> None:
    train("--plot", "curves.png")
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_learning_rate_is_found_without_training() -> None:
    result = invoke("train", "digits", "--find-learning-rate", "--output", "run")
    assert result.exit_code == 0, result.output
    assert "it falls fastest at" in result.output
    assert not Path("run").exists()


def test_a_log_for_tensorboard_is_written() -> None:
    train("--tensorboard", "logs")
    assert list(Path("logs/training").iterdir())
    assert list(Path("logs/validation").iterdir())


def test_a_report_and_a_page_of_mistakes() -> None:
    result = train("--report")
    for part in ("precision", "weighted mean", "taken for", "test accuracy"):
        assert part in result.output
    page = Path("run/mistakes.html").read_text(encoding="utf-8")
    assert "<img" in page


# Options in a file


def test_a_file_has_options_and_the_command_line_comes_first() -> None:
    Path("run.toml").write_text(
        'optimizer = "adamw"\nlearning-rate = 0.003\nbatch-size = 16\nmetric = ["f1"]\nbest-weights = true\n'
    )
    train("--config", "run.toml", "--learning-rate", "0.002")
    model = trained()
    assert type(model.optimizer) is gcn.AdamW
    assert model.learning_rate == 0.002
    assert [metric.name for metric in model.metrics] == ["accuracy", "f1"]


def test_whether_ranks_cut_the_state_is_in_the_file_and_can_be_changed() -> None:
    train("--shard-optimizer")
    assert "shard-optimizer = true" in Path("run/train.toml").read_text(encoding="utf-8")
    for others in ((), ("--no-shard-optimizer",)):
        result = invoke("train", "--resume", "run", *others)
        assert result.exit_code == 0, result.output
    Path("script.py").write_text(
        "import graphcnn as gcn\nmodel = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1), "
        "loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))\n"
    )
    result = invoke("train", "script.py:model", "--shard-optimizer")
    assert "script.py:model is a model whose ranks all have the optimizer's state" in result.output


def test_the_options_of_a_training_are_in_a_file_that_makes_the_same_one() -> None:
    train(
        *("--metric", "f1", "--metric", "top3_accuracy", "--best-weights", "--class-weight", "balanced"),
        *("--learning-rate", "1e-2", "--validation-split", "0.25"),
    )
    whole = Path("run/model.safetensors").read_bytes()
    result = invoke("train", "--config", "run/train.toml", "--output", "again")
    assert result.exit_code == 0, result.output
    assert Path("again/model.safetensors").read_bytes() == whole
    result = invoke("train", "--resume", "run")  # it has come to its end
    assert result.exit_code == 0, result.output
    assert Path("run/model.safetensors").read_bytes() == whole


def test_a_file_may_name_the_network_and_serves_to_go_on() -> None:
    Path("run.toml").write_text('network = "digits"\nepochs = 1\noptimizer = "adam"\noutput = "run"\n')
    assert invoke("train", "--config", "run.toml").exit_code == 0
    result = invoke("train", "run/model.safetensors", "--config", "run.toml")
    assert result.exit_code == 0, result.output
    assert trained().epochs_done == 2
    Path("run.toml").write_text('optimizer = "lion"\n')
    result = invoke("train", "run/model.safetensors", "--config", "run.toml")
    assert result.exit_code == 1
    assert "leave out optimizer in the file" in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batchsize = 3\n", ["run.toml: there is no option 'batchsize'", "did you mean 'batch-size'"]),
        ("batch-size = \n", ["run.toml is no TOML file", "line 1"]),
        ("batch-size = [1]\n", ["batch-size of the type list is no value of this option"]),
        ("batch-size = true\n", ["batch-size = True is no value of this option"]),
        ("batch-size = 32.7\n", ["batch-size = 32.7 is no value of this option", "batch-size = 1"]),
        ("batch-size = 641e999717\n", ["batch-size = inf is no value of this option"]),
        ('best-weights = "yes"\n', ["best-weights = 'yes' is no value", "best-weights = true"]),
        ("[train]\nepochs = 3\n", ["there is no option 'train'"]),
        ("\xff\xfe", ["run.toml is no TOML file"]),
        ("#" * 2**21, ["run.toml has more than 65,536 bytes"]),
        ("a." * 2000 + "a = 1", ["run.toml has more than 1,000 dots"]),
        ("epochs = " + "9" * 5000, ["run.toml is no TOML file", "4300 digits"]),
        ("epochs = 0x" + "f" * 5000, ["epochs of the type int is no value of this option"]),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_message(text: str, said: list[str]) -> None:
    Path("run.toml").write_bytes(text.encode("latin-1"))
    result = invoke("train", "digits", "--config", "run.toml")
    assert result.exit_code == 1
    for part in ["Error: ", *said]:
        assert part in result.output
    assert "Traceback" not in result.output


def test_a_value_that_the_command_line_would_not_take_either() -> None:
    Path("run.toml").write_text('schedule = "sawtooth"\n')
    result = invoke("train", "digits", "--config", "run.toml")
    assert result.exit_code == 2
    assert "'sawtooth' is not one of" in result.output


def test_a_file_that_is_not_there() -> None:
    result = invoke("train", "digits", "--config", "missing.toml")
    assert result.exit_code == 1
    assert "missing.toml cannot be read" in result.output
