"""Models in forks, in other processes, as copies; compiling where threads are scarce or the process ends."""

import copy
import os
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import graphcnn as gcn

IMAGES = np.random.default_rng(0).standard_normal((256, 8, 8, 2)).astype(np.float32)
LABELS = np.arange(256) % 3


def made(backend="native", **options):
    network = gcn.Sequential(gcn.Conv2d(8, 3), gcn.ReLU(), gcn.Conv2d(8, 3), gcn.Flatten(), gcn.Dense(3))
    options = {"optimizer": gcn.SGD(0.05, momentum=0.9), "backend": backend, **options}
    if backend == "native":
        options["threads"] = 2
    return gcn.compile(network, input_shape=(8, 8, 2), loss=gcn.CrossEntropy(), **options)


def in_fork(act, seconds=60):
    """Return the exit code of a fork that runs `act`, 0 if it returned True; None if it hangs."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if act() else 2
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_call_uses_the_model():
    model, stop = made(), threading.Event()
    wanted = model.predict(IMAGES).tobytes()

    def predict():
        while not stop.is_set():
            model.predict(IMAGES)

    thread = threading.Thread(target=predict)
    thread.start()
    try:
        found = [in_fork(lambda: model.predict(IMAGES).tobytes() == wanted) for _ in range(8)]
    finally:
        stop.set()
        thread.join()
    assert found == [0] * 8


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_compiles_compiles_too(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", "off")
    wanted, stop = made().predict(IMAGES).tobytes(), threading.Event()

    def compile():
        while not stop.is_set():
            made().predict(IMAGES)

    thread = threading.Thread(target=compile)
    thread.start()
    try:
        found = [in_fork(lambda: made().predict(IMAGES).tobytes() == wanted) for _ in range(4)]
    finally:
        stop.set()
        thread.join()
    assert found == [0] * 4


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
def test_a_copy_is_the_model_and_goes_its_own_way(backend, is_used, copied):
    model = made(backend)
    if is_used:
        model.train_step(IMAGES, LABELS)
        model.predict(IMAGES)
    twin = copied(model)
    wanted = model.predict(IMAGES).tobytes()
    assert twin.predict(IMAGES).tobytes() == wanted
    twin.train_step(IMAGES, LABELS)
    assert twin.predict(IMAGES).tobytes() != wanted
    assert model.predict(IMAGES).tobytes() == wanted


def test_an_executable_can_be_copied():
    executable = made().executable("forward")
    twin = pickle.loads(pickle.dumps(copy.deepcopy(executable)))
    state = made().state()
    assert twin.step(dict(state), image=IMAGES)["output"].shape == (256, 3)


def run_process(code):
    start = (
        "import os, threading, time\nimport numpy as np, graphcnn as gcn, graphcnn_native\n"
        "graphcnn_native.executable.WORTH_SHARING = -(10**9)\n"
        "x = np.ones((4, 6, 6, 1), np.float32)\n"
        "def made(): return gcn.compile(gcn.Sequential(gcn.Conv2d(4, 3), gcn.Flatten(), gcn.Dense(3)),\n"
        "                               input_shape=(6, 6, 1), threads=3)\n"
        "def act(): print(made().predict(x).shape, flush=True)\n"
    )
    environment = {**os.environ, "GRAPHCNN_CACHE": "off"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", start + code],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


AFTER_MAIN = "def later():\n    time.sleep(0.3)\n    act()\nthreading.Thread(target=later).start()"
NO_THREADS = """
def none(self): raise RuntimeError("can't start new thread")
threading.Thread.start = none
act()
"""


@pytest.mark.parametrize("code", [AFTER_MAIN, "import atexit; atexit.register(act)", NO_THREADS])
def test_the_first_compilation_may_come_late_and_without_threads(code):
    done = run_process(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "(4, 3)\n"
