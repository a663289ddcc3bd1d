import csv
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import graphcnn as gcn
from graphcnn.cli import main

SCRIPT = """
import graphcnn as gcn

network = gcn.Sequential(gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(10))
x = gcn.Input((8, 8, 1))
with_branches = gcn.Network(x, gcn.Dense(10)(gcn.Flatten()(gcn.relu(x + 1.0))))
wide = gcn.Sequential(
    gcn.Conv2d(4, 9),
)
number = 3

def made():
    return gcn.zoo.digits()

def failing():
    return {}["network"]

model = gcn.compile(
    network, input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.Adam(), backend="numpy"
)

if __name__ == "__main__":
    raise SystemExit("the command line must not run a script's main part")
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "nets.py"
    path.write_text(SCRIPT)
    return path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_train_writes_weights_history_and_graphs(script: Path, tmp_path: Path) -> None:
    result = invoke("train", "digits", "--epochs", "3", "--output", "run")
    assert result.exit_code == 0, result.output
    assert "test accuracy" in result.output
    assert str(Path("run") / "gradient.graph") in result.output
    model = gcn.load(tmp_path / "run" / "model.safetensors")
    assert (tmp_path / "run" / "step.graph").read_text(encoding="utf-8").count("update ") > 4
    graph = gcn.parse((tmp_path / "run" / "gradient.graph").read_text(encoding="utf-8"))
    assert graph.outputs.keys() == model.gradient_graph.outputs.keys()
    page = (tmp_path / "run" / "graphs.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert all(f'"name":"{view}"' in page for view in ("As derived", "Simplified", "Kernels"))
    with (tmp_path / "run" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    digits = gcn.data.load_digits()
    scores = model.evaluate(digits.test_images, digits.test_labels)
    assert scores["accuracy"] == pytest.approx(float(rows[-1]["val_accuracy"]))


@pytest.mark.parametrize("variable", ["network", "with_branches", "made", "model"])
def test_train_takes_a_network_from_a_script(script: Path, variable: str) -> None:
    options = [] if variable == "model" else ["--optimizer", "adam"]
    result = invoke("train", f"nets.py:{variable}", "--epochs", "1", *options)
    assert result.exit_code == 0, result.output
    assert Path("runs/nets/model.safetensors").is_file()


def test_same_seed_same_weights(script: Path) -> None:
    for folder in ("a", "b"):
        assert invoke("train", "digits", "--epochs", "1", "--seed", "5", "--output", folder).exit_code == 0
    assert Path("a/model.safetensors").read_bytes() == Path("b/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("stage", "expected"), [("forward", "Eq. 7"), ("gradient", "Eq. 14"), ("step", "SGD")]
)
def test_show_prints_each_stage(stage: str, expected: str) -> None:
    result = invoke("show", "lenet5", "--stage", stage)
    assert result.exit_code == 0, result.output
    assert expected in result.output
    gcn.parse(result.output)


def test_show_as_table_and_of_a_saved_model(script: Path) -> None:
    assert invoke("train", "digits", "--epochs", "1", "--output", "run").exit_code == 0
    result = invoke("show", "run/model.safetensors", "--as", "table", "--stage", "forward")
    assert result.exit_code == 0, result.output
    assert "dense1" in result.output
    assert "810" in result.output


def test_show_of_a_script_needs_a_shape(script: Path) -> None:
    assert "Mend: --input-shape HEIGHT WIDTH CHANNELS" in invoke("show", "nets.py:network").output
    assert invoke("show", "nets.py:network", "--input-shape", "8", "8", "1").exit_code == 0
    begun = (
        "import graphcnn as gcn\nnet = gcn.Sequential(gcn.Input((8, 8, 1)), gcn.Flatten(), gcn.Dense(2))\n"
    )
    Path("begun.py").write_text(begun)
    assert "[N, 8, 8, 1]" in invoke("show", "begun.py:net", "--stage", "forward").output
    assert "leave out --input-shape" in invoke("show", "begun.py:net", "--input-shape", "8", "8", "1").output


def test_backends_are_listed() -> None:
    result = invoke("backends")
    assert result.exit_code == 0
    assert "numpy" in result.output
    assert "(default)" in result.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "lenet6"], ["no network 'lenet6'", "zoo: digits", "SCRIPT.py:VARIABLE"]),
        (["train", "missing.py:net"], ["no script missing.py"]),
        (["train", "nets.py:absent"], ["no variable 'absent'", "network, with_branches, wide"]),
        (["train", "nets.py:number"], ["'number' of nets.py is int"]),
        (["train", "nets.py:wide"], ["conv1 (nets.py:8)", "9x9 kernel", "8 + 0 + 0 = 8 < 9", "Mend"]),
        (["train", "digits", "--data", "nowhere"], ["nowhere", "train-images-idx3-ubyte"]),
        (["train", "digits", "--backend", "cuda"], ["no backend 'cuda'", "installed: "]),
        (["train", "lenet5"], ["[N, 28, 28, 1]", "[N, 8, 8, 1]", "--data PATH"]),
        (
            ["train", "nets.py"],
            ["nets.py is a script", "network, with_branches, wide, model", "nets.py:network"],
        ),
        (["show", "nets.py:failing"], ["KeyError: 'network'", "nets.py:16"]),
        (["show", "nets.py:model", "--backend", "native"], ["backend 'numpy'", "leave out --backend"]),
        (["show", "nets.py:model", "--input-shape", "8", "8", "1"], ["leave out --input-shape"]),
        (["show", "digits", "--as", "svg", "--stage", "llvm"], ["leave out --as"]),
        (["show", "digits", "--input-shape", "8", "8", "0"], ["0 in the shape (8, 8, 0)"]),
        (["show", "missing.safetensors"], ["missing.safetensors does not exist"]),
    ],
)
def test_errors_are_one_readable_message(script: Path, arguments: list[str], expected: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    for part in ["Error: ", *expected]:
        assert part in result.output, result.output


def test_debug_raises_the_error_itself(script: Path) -> None:
    result = invoke("--debug", "train", "lenet6")
    assert isinstance(result.exception, gcn.GraphcnnError)


def test_show_prints_what_the_step_was_compiled_to():
    result = CliRunner().invoke(main, ["show", "digits", "--stage", "kernels"])
    assert result.exit_code == 0, result.output
    assert "correlate2d_relu" in result.output
    assert "new conv1.filters" in result.output
    assert "@step(" in CliRunner().invoke(main, ["show", "digits", "--stage", "llvm"]).output
    assert "step:" in CliRunner().invoke(main, ["show", "digits", "--stage", "assembly"]).output


def test_show_tells_the_work_of_kernels_at_a_batch_size():
    lines = invoke("show", "lenet5", "--stage", "kernels", "--batch-size", "64").output.splitlines()
    assert " kernels for batch 64, backend native" in lines[0]
    pool = next(line for line in lines if "max_pool2d" in line)
    if "done by kernel" in pool:  # where 6 filters leave vectors of this processor mostly empty
        number = int(pool.partition("done by kernel ")[2].split()[0])
        assert lines[1 + number].split()[:2] == [str(number), "correlate2d_relu"]
        assert " 0FLOP 0B " in pool
    assert " kernels for batch 1, " in invoke("show", "lenet5", "--stage", "kernels").output


def test_a_backend_without_code_says_so():
    result = CliRunner().invoke(main, ["show", "digits", "--stage", "llvm", "--backend", "numpy"])
    assert result.exit_code == 1
    assert "backend 'numpy' generates no llvm" in result.output


def test_inspect_prints_layers_of_a_network_and_of_a_saved_model(script: Path) -> None:
    assert invoke("train", "digits", "--epochs", "1", "--output", "run").exit_code == 0
    for name in ("digits", "run/model.safetensors", "nets.py:network", "nets.py:with_branches"):
        result = invoke("inspect", name, "--batch-size", "16")
        assert result.exit_code == 0, result.output
        assert max(map(len, result.output.splitlines())) <= 80
        for part in ("batch 16", "gradient", "dead", "dense1", "loss"):
            assert part in result.output


def test_inspect_names_the_first_nan_of_a_saved_model(script: Path) -> None:
    model = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy())
    model.parameters["dense1.bias"] = [float("nan")] * 10
    model.save("broken.safetensors")
    result = invoke("inspect", "broken.safetensors")
    assert result.exit_code == 0, result.output
    assert "'dense1.bias' holds NaN" in result.output
    assert "Mend: " in result.output


def test_inspect_writes_images(script: Path) -> None:
    result = invoke("inspect", "lenet5", "--data", "random", "--batch-size", "2", "--output", "images")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in Path("images").iterdir())
    assert names[:3] == ["000 conv1.filters.png", "001 conv2.filters.png", "002 conv1_ sample 0.png"]
    assert len(names) == 2 + 6


def test_inspect_of_a_network_for_other_images_says_which() -> None:
    result = invoke("inspect", "lenet5")
    assert result.exit_code == 1
    assert "takes [N, 28, 28, 1]" in result.output
    assert "--data random" in result.output


def test_a_model_of_a_script_is_shown_as_it_is(script: Path) -> None:
    result = invoke("show", "nets.py:model", "--stage", "step")
    assert result.exit_code == 0, result.output
    assert "Adam" in result.output


def test_the_step_of_several_ranks_is_shown(script: Path) -> None:
    step = ["show", "digits", "--stage", "step", "--ranks", "8"]
    text = invoke(*step).output
    assert "= all_reduce(%" in text
    assert text == str(gcn.parse(text))
    table = invoke(*step, "--as", "table", "--batch-size", "64").output
    assert "batch 64, 8 ranks" in table
    assert "a rank" in table
    for form in ("dot", "mermaid", "latex", "svg"):
        assert invoke(*step, "--as", form).exit_code == 0
    assert "all_gather" in invoke(*step, "--as", "dot").output
    assert "= broadcast_from(%" not in text
    cut = invoke(*step, "--shard-optimizer").output
    assert "= broadcast_from(%" in cut and "= keep_on(%" in cut
    page = invoke("show", "digits", "--as", "html", "--ranks", "8", "--output", "page.html")
    assert page.exit_code == 0, page.output
    assert "Of 8 ranks" in Path("page.html").read_text(encoding="utf-8")
    refused = invoke("show", "digits", "--ranks", "2")
    assert refused.exit_code == 1
    assert "--ranks is for the step, not for gradient" in refused.output
    assert "Mend: --stage step" in refused.output
    refused = invoke("show", "digits", "--stage", "step", "--shard-optimizer")
    assert "--shard-optimizer is for several ranks" in refused.output


@pytest.mark.parametrize("form", ["text", "table", "dot", "mermaid", "latex", "svg"])
def test_every_form_can_be_written_to_a_file(script: Path, form: str) -> None:
    printed = invoke("show", "digits", "--as", form)
    result = invoke("show", "digits", "--as", form, "--output", "graph.out")
    assert (result.exit_code, result.output) == (0, "graph.out\n"), result.output
    written, said = Path("graph.out").read_text(encoding="utf-8"), printed.output
    if form == "table":  # on paper without blanks at the ends of its lines
        said = "\n".join(line.rstrip() for line in said.splitlines()).strip("\n") + "\n"
    assert written == said


@pytest.mark.parametrize("stage", ["kernels", "llvm", "assembly"])
def test_code_can_be_written_to_a_file(script: Path, stage: str) -> None:
    assert invoke("show", "digits", "--stage", stage, "--output", "code.txt").exit_code == 0
    assert len(Path("code.txt").read_text(encoding="utf-8").splitlines()) > 5


def test_errors_in_a_script_show_the_users_lines_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shapes.py").write_text("import numpy as np\n\ndef size(x):\n    return np.reshape(x, (2, 3))\n")
    Path("broken.py").write_text("from shapes import size\n\nwide = size([1])\n")
    result = invoke("show", "broken.py:wide")
    assert result.exit_code == 1
    said = result.output.splitlines()
    assert said[0].startswith("Error: shapes.py:4: the script broken.py fails: ValueError: cannot reshape")
    assert said[1].strip() == "return np.reshape(x, (2, 3))"
    assert said[2].strip() == "called in broken.py:3"
    assert len(said) == 3
    with pytest.raises(ValueError, match="reshape"):
        raise invoke("--debug", "show", "broken.py:wide").exception.__cause__


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (1,\n", "broken.py:1: the script broken.py fails: SyntaxError"),
        ("import sys\nsys.exit('enough')\n", "broken.py:2: the script broken.py fails: SystemExit: enough"),
    ],
)
def test_scripts_that_cannot_be_run_say_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text(text)
    assert said in invoke("show", "broken.py:net").output


@pytest.mark.parametrize("arguments", [["--input-shape", "8", "8", "0"], ["--seed", "-1"]])
def test_no_line_of_another_program_is_blamed(script: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "graphcnn", "train", "nets.py:network", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert ".py:" not in result.stderr.replace("nets.py:network", "")


# Training that ends early, and goes on


def begin(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Begin a training that would take for ever, and return when its first epoch is over."""
    command = [sys.executable, "-m", "graphcnn", "train", "digits", "--epochs", "100000", *arguments]
    process = subprocess.Popen(
        [*command, "--output", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("epoch 1/"):
        assert process.poll() is None
    return process


@pytest.mark.parametrize(
    ("number", "name", "code"), [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143)]
)
@pytest.mark.usefixtures("signals_of_a_terminal")
def test_a_signal_saves_a_checkpoint_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str, code: int
) -> None:
    place = tmp_path / "a run"
    options = ("--batch-size", "32", "--momentum", "0.5", "--schedule", "constant")
    process = begin(place, *options)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert f"Training ended by {name}" in said
    lines = [line for line in said.splitlines() if "go on with " in line]
    command = shlex.split(lines[0].partition("go on with ")[2])
    assert command == ["graphcnn", "train", "--resume", str(place)]
    done = gcn.resume(place / "checkpoints").epochs_done
    assert done >= 1
    result = invoke(*command[1:], "--epochs", str(done + 2))
    assert result.exit_code == 0, result.output
    assert f"epoch {done + 2}/{done + 2}" in result.output
    with (place / "history.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, done + 3))
    expected = tmp_path / "whole"
    whole = invoke("train", "digits", "--epochs", str(done + 2), *options, "--output", str(expected))
    assert whole.exit_code == 0, whole.output
    assert (place / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("signals_of_a_terminal")
def test_a_training_that_has_not_ended_is_not_begun_anew_in_its_folder(tmp_path: Path) -> None:
    process = begin(tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate()
    result = invoke("train", "digits", "--output", str(tmp_path))
    assert result.exit_code == 1
    assert "has the checkpoints of a training that has not ended" in result.output
    assert f"graphcnn train --resume {tmp_path}" in result.output
    for option in ("--seed=1", "--optimizer=adam", "--output=elsewhere", "--batch-size=7"):
        result = invoke("train", "--resume", str(tmp_path), option)
        assert result.exit_code == 1
        assert f"leave out {option.partition('=')[0]}" in result.output
    result = invoke("train", "lenet5", "--resume", str(tmp_path))
    assert "leave out NETWORK" in result.output


OWN_LOSS = """
from dataclasses import dataclass

import graphcnn as gcn
from graphcnn import ops

@dataclass(frozen=True)
class Mine:
    reduction: str = "mean"

    def target_type(self, output):
        return gcn.CrossEntropy().target_type(output)

    def per_sample(self, emit, output, target):
        return gcn.CrossEntropy().per_sample(emit, output, target)

network = gcn.Sequential(gcn.Flatten(), gcn.Dense(10))
model = gcn.compile(
    network, input_shape=(8, 8, 1), loss=Mine(), optimizer=gcn.Adam(), backend="numpy",
    passes={"step": [gcn.Pass("same", lambda graph: graph)]},
)
"""


def test_a_training_that_has_ended_is_resumed_with_what_its_script_has_of_its_own(script: Path) -> None:
    Path("own.py").write_text(OWN_LOSS)
    result = invoke("train", "own.py:model", "--epochs", "1", "--checkpoint-every", "50", "--output", "run")
    assert result.exit_code == 0, result.output
    content = Path("run/model.safetensors").read_bytes()
    result = invoke("train", "--resume", "run")
    assert result.exit_code == 0, result.output
    assert Path("run/model.safetensors").read_bytes() == content
    result = invoke("train", "--resume", "run", "--epochs", "2")
    assert result.exit_code == 0, result.output
    assert "epoch 2/2" in result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not the folder of a training"),
        ("x = 1", "there is no option 'x'"),
        ("{", "is no TOML file"),
    ],
)
def test_a_folder_that_is_none_of_a_training_is_named(script: Path, content: str | None, said: str) -> None:
    Path("run").mkdir()
    if content is not None:
        Path("run/train.toml").write_text(content)
    result = invoke("train", "--resume", "run")
    assert result.exit_code == 1
    assert said in result.output


def test_a_saved_model_is_trained_on_to_the_bits_of_one_run(script: Path) -> None:
    assert (
        invoke("train", "digits", "--epochs", "4", "--schedule", "constant", "--output", "whole").exit_code
        == 0
    )
    assert (
        invoke("train", "digits", "--epochs", "2", "--schedule", "constant", "--output", "half").exit_code
        == 0
    )
    options = ["--schedule", "constant", "--output", "rest"]
    result = invoke("train", "half/model.safetensors", "--epochs", "2", *options)
    assert result.exit_code == 0, result.output
    whole, rest = (Path(folder, "model.safetensors").read_bytes() for folder in ("whole", "rest"))
    assert whole == rest


@pytest.mark.parametrize(
    "option", ["--optimizer=adam", "--momentum=0.5", "--seed=1", "--label-smoothing=0.1", "--metric=f1"]
)
def test_what_a_saved_model_has_already_cannot_be_chosen(script: Path, option: str) -> None:
    assert invoke("train", "digits", "--epochs", "1", "--output", "run").exit_code == 0
    result = invoke("train", "run/model.safetensors", option)
    assert result.exit_code == 1
    assert f"leave out {option.partition('=')[0]}" in result.output


def test_output_that_nobody_reads_ends_training_as_it_ends_other_programs(tmp_path: Path) -> None:
    process = begin(tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert process.returncode == 141
    assert "nobody reads its output any more" in said
    assert f"graphcnn train --resume {tmp_path}" in said
    assert "Traceback" not in said and "Exception" not in said
    assert gcn.load(tmp_path / "model.safetensors").epochs_done >= 1


def test_a_table_that_nobody_reads_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "graphcnn", "show", "digits", "--as", "table"]
    process = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (process.returncode, process.stderr) == (141, b"")
