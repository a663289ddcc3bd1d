"""Processes that train one model come to the bits of one process, stop together, and go on in any number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import graphcnn as gcn

pytestmark = pytest.mark.mpi

SCRIPT = r"""
import hashlib
import os
import sys
import numpy as np
import graphcnn as gcn

ranks, backend, threads, folder, *cut = sys.argv[1:]
random = np.random.default_rng(5)
images, labels = random.random((96, 8, 8, 3)).astype(np.float32), random.integers(0, 4, 96)
options = {"threads": int(threads)} if backend == "native" else {}
options["shard_optimizer"] = bool(cut)
if os.path.isdir(folder):
    model = gcn.resume(folder, ranks=ranks or None, **options)
else:
    network = gcn.Sequential(
        gcn.RandomFlip(), gcn.Conv2d(6, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Flatten(), gcn.Dropout(0.3),
        gcn.Dense(4),
    )
    model = gcn.compile(
        network, input_shape=(8, 8, 3), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.05, momentum=0.9),
        backend=backend, ranks=ranks or None, **options,
    )

class Signalled(gcn.Callback):
    def on_step_end(self, model, epoch, step, logs):
        if (model.rank, epoch, step) == (int(os.environ.get("SIGNALLED", -1)), 2, 1):
            os.kill(os.getpid(), 15)

model.fit(
    images, labels, epochs=3, batch_size=48, progress=False, callbacks=[Signalled()],
    validation_data=(images[:30], labels[:30]), checkpoint=gcn.Checkpoint(folder, every=100),
)
state = model.whole_state(model.state())
content = b"".join(state[name].tobytes() for name in sorted(state))
os.write(1, f"{model.ranks} ranks: {hashlib.sha256(content).hexdigest()}\n".encode())
"""
COMMAND = "import sys; from graphcnn.cli import main; main(sys.argv[1:])"


def bits(output):
    """Return the digests that all ranks have written, which are the same."""
    found = {line.partition(": ")[2] for line in output.splitlines() if " ranks: " in line}
    assert len(found) == 1, output
    return found.pop()


def of_one_process(*arguments):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, "", *arguments], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return bits(result.stdout)


@pytest.mark.parametrize(
    ("backend", "threads", "ranks"), [("native", 1, 2), ("native", 2, 4), ("native", 1, 16), ("numpy", 1, 4)]
)
def test_processes_come_to_the_bits_of_one(backend, threads, ranks, start, tmp_path):
    found = {}
    for count in (1, ranks):
        ended = start(SCRIPT, "mpi", backend, str(threads), str(tmp_path / f"{count}"), ranks=count).ended(
            300
        )
        assert ended.code == 0, ended.output
        assert ended.output.count(" ranks: ") == count
        found[count] = bits(ended.output)
    assert found[1] == found[ranks]
    if backend == "native":
        assert of_one_process(backend, str(threads), str(tmp_path / "alone")) == found[1]


@pytest.mark.parametrize(("signalled", "then"), [(0, 2), (2, 4), (1, 0)])
def test_a_signal_to_one_rank_ends_all_and_any_number_goes_on(signalled, then, start, tmp_path, monkeypatch):
    expected = of_one_process("native", "1", str(tmp_path / "whole"))
    folder = str(tmp_path / "cut")
    monkeypatch.setenv("SIGNALLED", str(signalled))
    ended = start(SCRIPT, "mpi", "native", "1", folder, ranks=3).ended(300)
    monkeypatch.delenv("SIGNALLED")
    assert ended.code == 128 + signal.SIGTERM, ended.output
    assert ended.output.count("Training ended by SIGTERM") == 1
    assert "after step 1 of epoch 2" in ended.output
    if then:
        ended = start(SCRIPT, "mpi", "native", "1", folder, ranks=then).ended(300)
        assert bits(ended.output) == expected
    else:
        assert of_one_process("native", "1", folder) == expected


@pytest.mark.parametrize(
    ("first", "then"), [((3, "cut"), (2,)), ((2,), (4, "cut")), ((4, "cut"), (0, "cut"))]
)
def test_a_state_that_is_cut_over_ranks_goes_on_whole(first, then, start, tmp_path, monkeypatch):
    expected = of_one_process("native", "1", str(tmp_path / "whole"))
    run = ["native", "1", str(tmp_path / "parted")]
    monkeypatch.setenv("SIGNALLED", "1")
    ended = start(SCRIPT, "mpi", *run, *first[1:], ranks=first[0]).ended(300)
    monkeypatch.delenv("SIGNALLED")
    assert "after step 1 of epoch 2" in ended.output
    if not then[0]:
        assert of_one_process(*run, *then[1:]) == expected
        return
    ended = start(SCRIPT, "mpi", *run, *then[1:], ranks=then[0]).ended(300)
    assert bits(ended.output) == expected
    assert ended.output.count(f"{then[0]} ranks: ") == then[0]


def test_the_command_trains_on_ranks_and_goes_on_with_others(start, tmp_path):
    options = ["train", "digits", "--epochs", "2", "--batch-size", "64", "--checkpoint-every", "5"]
    subprocess.run(
        [sys.executable, "-c", COMMAND, *options, "--output", str(tmp_path / "whole")],
        check=True,
        timeout=300,
    )
    folder = str(tmp_path / "cut")
    job = start(COMMAND, *options, "--output", folder, "--shard-optimizer", ranks=2)
    job.wait_for("epoch 1/2")
    os.kill(job.process.pid, signal.SIGINT)
    ended = job.ended(60)
    assert ended.code != 0
    assert ended.output.count("Training ended by Ctrl-C") == 1, ended.output
    assert ended.output.count("epoch 1/2") == 1
    assert "Traceback" not in ended.output
    ended = start(COMMAND, "train", "--resume", folder, ranks=3).ended(300)
    assert ended.code == 0, ended.output
    assert ended.output.count("test accuracy") == 1
    one, other = (gcn.load(tmp_path / each / "model.safetensors") for each in ("whole", "cut"))
    assert {name: array.tobytes() for name, array in one.state().items()} == {
        name: array.tobytes() for name, array in other.state().items()
    }


def test_mistakes_are_said_once(start, tmp_path):
    for arguments, said in (
        (["train", "no such network"], "there is no network"),
        (["train", "--bogus"], "No such option"),
        (["classify", "model.safetensors", "photo.jpg"], "graphcnn classify runs in one process"),
        (["train", "--resume", str(tmp_path)], "is not the folder of a training"),
    ):
        ended = start(COMMAND, *arguments, ranks=3).ended(60)
        assert ended.code != 0
        assert ended.output.count(said) == 1, ended.output
        assert "Traceback" not in ended.output


def test_ranks_that_differ_are_told_once_what_differs(start, tmp_path):
    code = SCRIPT.replace("batch_size=48", 'batch_size=48 + int(os.environ["PMI_RANK"])')
    ended = start(code, "mpi", "native", "1", str(tmp_path / "run"), ranks=3).ended(60)
    assert ended.code != 0
    assert ended.output.count("batch_size: 48 on rank 0, 49 on rank 1, 50 on rank 2") == 1, ended.output
    assert "Mend: call fit with the same arguments on every rank" in ended.output
