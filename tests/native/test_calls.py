"""Calls as programs make them: any arrays, many threads, forks, interrupts, errors in between."""

import ctypes
import resource
import subprocess
import sys
import threading

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.errors import DataError
from graphcnn.ir import BATCH, Emitter, Graph, TensorType
from graphcnn_native import NativeExecutable
from graphcnn_native.runtime.engine import compile_module
from graphcnn_native.target import host_target

PROCESSOR = host_target().triple.partition("-")[0].replace("arm64", "aarch64")
MODES = {
    "x86_64": (
        """
        declare void @llvm.x86.sse.stmxcsr(ptr)
        declare void @llvm.x86.sse.ldmxcsr(ptr)
        define i64 @mode() {
          %place = alloca i32
          call void @llvm.x86.sse.stmxcsr(ptr %place)
          %short = load i32, ptr %place
          %mode = zext i32 %short to i64
          ret i64 %mode
        }
        define void @set(i64 %mode) {
          %place = alloca i32
          %short = trunc i64 %mode to i32
          store i32 %short, ptr %place
          call void @llvm.x86.sse.ldmxcsr(ptr %place)
          ret void
        }
        """,
        *(0x1F80, 0x8040, 0x6000, 0x3F),
    ),
    "aarch64": (
        """
        declare i64 @llvm.aarch64.get.fpcr()
        declare void @llvm.aarch64.set.fpcr(i64)
        define i64 @mode() {
          %mode = call i64 @llvm.aarch64.get.fpcr()
          ret i64 %mode
        }
        define void @set(i64 %mode) {
          call void @llvm.aarch64.set.fpcr(i64 %mode)
          ret void
        }
        """,
        *(0, 1 << 24, 3 << 22, 0),
    ),
}
"""Code that reads and sets the mode; the ordinary mode; its bits that flush denormals and that round
towards 0; and flags beside it, which computing raises."""


def accumulator(dtype="float32"):
    """Return an executable: total ← total + Σ over the batch of x · w, and y = x · w."""
    graph = Graph("accumulator")
    emit = Emitter(graph)
    total = graph.input("total", TensorType((3, 4), dtype), role="state")
    w = graph.input("w", TensorType((5, 12), dtype), role="parameter")
    x = graph.input("x", TensorType((BATCH, 5), dtype))
    y = emit(ops.Reshape((BATCH, 3, 4)), emit(ops.Matmul(), x, w))
    graph.update("total", emit(ops.Add(), total, emit(ops.Sum((0,)), y)))
    graph.output("y", y)
    return NativeExecutable(graph, threads=2)


RANDOM = np.random.default_rng(3)
X, W = RANDOM.integers(-9, 9, (7, 5)).astype(np.float32), RANDOM.integers(-9, 9, (5, 12)).astype(np.float32)
Y = (X @ W).reshape(7, 3, 4)


def require_right(outputs, state, calls=1):
    assert np.array_equal(outputs["y"], Y)
    assert np.array_equal(state["total"], calls * Y.sum(0))


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def not_aligned(array):
    """Return the same numbers at an address that is no multiple of their size."""
    room = np.zeros(array.nbytes + 1, np.uint8)[1:]
    moved = room.view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def every_second(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::2]
    wide[...] = array
    return wide


LAYOUTS = {
    "read-only": read_only,
    "not aligned": not_aligned,
    "every second element": every_second,
    "in Fortran's order": np.asfortranarray,
    "backwards": lambda array: array[::-1].copy()[::-1],
    "of another precision": lambda array: array.astype(np.float64),
    "of the other byte order": lambda array: array.astype(array.dtype.newbyteorder()),
    "a list": lambda array: array.tolist(),
    "a subclass": lambda array: array.view(np.matrix),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_inputs_may_lie_in_memory_as_they_like(layout):
    executable = accumulator()
    state = {"total": np.zeros((3, 4), np.float32), "w": layout(W)}
    for calls in (1, 2):
        require_right(executable.step(state, x=layout(X)), state, calls)
    require_right(executable.step(state, x=X), state, 3)


@pytest.mark.parametrize("layout", ["not aligned", "every second element", "in Fortran's order", "backwards"])
def test_states_are_overwritten_however_they_lie_in_memory(layout):
    executable = accumulator()
    state = {"total": LAYOUTS[layout](np.zeros((3, 4), np.float32)), "w": W}
    held = state["total"]
    for calls in (1, 2):
        require_right(executable.step(state, x=X), state, calls)
    assert state["total"] is held


def test_a_state_that_became_read_only_is_an_error():
    executable = accumulator()
    state = {"total": np.zeros((3, 4), np.float32), "w": W.copy()}
    require_right(executable.step(state, x=X), state)
    state["total"].flags.writeable = False
    with pytest.raises(DataError, match="overwritten"):
        executable.step(state, x=X)
    assert np.array_equal(state["total"], Y.sum(0))


def test_another_array_for_the_same_state_is_taken():
    executable = accumulator()
    state = {"total": np.zeros((3, 4), np.float32), "w": W}
    require_right(executable.step(state, x=X), state)
    state["total"], first = np.zeros((3, 4), np.float32), state["total"]
    require_right(executable.step(state, x=X), state)
    assert np.array_equal(first, Y.sum(0))
    state["w"] = 2 * W
    assert np.array_equal(executable.step(state, x=X)["y"], 2 * Y)
    assert np.array_equal(executable(**state, x=X)["y"], 2 * Y)
    require_right(executable.step({"total": first * 0, "w": W}, x=X), {"total": Y.sum(0)})


def test_results_stay_what_they_are_when_more_calls_are_made():
    executable = accumulator()
    state = {"total": np.zeros((3, 4), np.float32), "w": W}
    kept = [executable.step(state, x=X + number) for number in range(5)]
    for number, results in enumerate(kept):
        assert np.array_equal(results["y"], ((X + number) @ W).reshape(7, 3, 4))


def test_numbers_that_a_step_returns_stay_what_they_are_and_where_they_were():
    graph = Graph("numbers")
    emit = Emitter(graph)
    x = graph.input("x", TensorType((BATCH, 5)))
    double = emit(ops.Add(), x, x)
    graph.output("sum", emit(ops.Sum((0, 1)), x))
    graph.output("double", double)
    graph.output("sum of doubles", emit(ops.Sum((0, 1)), double))
    executable = NativeExecutable(graph, threads=1)
    kept = [executable.step({}, x=X + number) for number in range(3)]
    for number, results in enumerate(kept):
        assert [*results] == ["sum", "double", "sum of doubles"]
        total = (X + number).sum()
        assert (results["sum"], results["sum of doubles"]) == (total, 2 * total)
        assert np.array_equal(results["double"], 2 * (X + number))


def test_no_memory_is_made_for_a_batch_that_does_not_fit():
    executable = accumulator()
    state = {"total": np.zeros((3, 4), np.float32), "w": W}
    require_right(executable.step(state, x=X), state)
    with pytest.raises(DataError, match="x"):
        executable.step(state, x=np.broadcast_to(np.float32(0), (2**50, 4)))
    require_right(executable.step(state, x=X), state, 2)


def classifier(network=None, **options):
    network = network or gcn.Sequential(gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1, momentum=0.9), "threads": 2, **options}
    return gcn.compile(network, input_shape=(6, 6, 1), backend="native", **options)


IMAGES, LABELS = RANDOM.random((40, 6, 6, 1), np.float32), RANDOM.integers(0, 3, 40)


def bits(model):
    return {name: array.tobytes() for name, array in model.state().items()}


@pytest.mark.parametrize("label", [-1, 3, 2**40, -(2**63)])
@pytest.mark.parametrize("place", [0, 39])
def test_a_label_that_is_no_class_leaves_the_state_as_it_was(label, place):
    model = classifier()
    model.train_step(IMAGES, LABELS)
    before = bits(model)
    labels = LABELS.copy()
    labels[place] = label
    with pytest.raises(DataError, match="label"):
        model.executable("step").step(model._state, image=IMAGES, target=labels, learning_rate=0.1)
    with pytest.raises(DataError, match="label"):
        model.executable("step")(**model.state(), image=IMAGES, target=labels, learning_rate=0.1)
    assert bits(model) == before
    model.train_step(IMAGES, LABELS)
    assert bits(model) != before


def test_labels_of_32_bits_are_checked_too():
    graph = Graph("loss")
    logits, labels = graph.input("x", TensorType((BATCH, 3))), graph.input("t", TensorType((BATCH,), "int32"))
    graph.output("loss", graph.add(ops.SoftmaxCrossEntropy(), logits, labels))
    executable = NativeExecutable(graph)
    for wrong in (-1, 3, 2**31 - 1):
        with pytest.raises(DataError, match="t: 0 to 2"):
            executable(x=np.zeros((9, 3), np.float32), t=np.array([0] * 8 + [wrong], np.int32))


def test_labels_in_a_column_are_checked_too():
    graph = Graph("loss")
    logits, labels = (
        graph.input("x", TensorType((BATCH, 3))),
        graph.input("t", TensorType((BATCH, 1), "int64")),
    )
    column = graph.add(ops.Reshape((BATCH,)), labels)
    graph.output("loss", graph.add(ops.SoftmaxCrossEntropy(), logits, column))
    executable = NativeExecutable(graph)
    with pytest.raises(DataError, match="t: 0 to 2"):
        executable(x=np.zeros((9, 3), np.float32), t=np.array([[0]] * 8 + [[3]]))


def test_an_error_in_between_does_not_disturb_the_next_step():
    model, other = classifier(), classifier()
    for fault in ({"x": IMAGES[:, :5]}, {"x": IMAGES.astype(np.int64)}, {"y": LABELS[:3]}, {"y": LABELS + 7}):
        with pytest.raises(DataError):
            model.train_step(**{"x": IMAGES, "y": LABELS, **fault})
        for each in (model, other):
            each.train_step(IMAGES[:7], LABELS[:7])
        assert bits(model) == bits(other)


def test_a_batch_for_which_there_is_no_memory_leaves_a_usable_executable():
    graph = Graph("large")
    emit = Emitter(graph)
    x = emit(ops.Cast("float32"), graph.input("x", TensorType((BATCH, 1), "uint8")))
    wide = emit(ops.Tanh(), emit(ops.Broadcast((BATCH, 2**20)), x))
    graph.output("sum", emit(ops.Sum((1,)), emit(ops.Transpose((1, 0)), wide)))
    executable = NativeExecutable(graph, threads=1)
    expected = executable(x=np.ones((2, 1), np.uint8))["sum"]
    with pytest.raises(MemoryError):
        executable(x=np.zeros((2**28, 1), np.uint8))
    assert np.array_equal(executable(x=np.ones((2, 1), np.uint8))["sum"], expected)


# Threads and processes


def in_threads(*functions):
    """Run functions at the same time; raise what the first of them raised."""
    errors = []

    def run(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=run, args=(function,)) for function in functions]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for error in errors:
        raise error


def test_four_threads_call_one_executable():
    executable = accumulator()

    def calls(number):
        x = X[: number + 1] + number
        state = {"total": np.zeros((3, 4), np.float32), "w": W}
        for count in range(1, 100):
            if number % 2:
                y = executable.step(state, x=x)["y"]
                assert np.array_equal(state["total"], count * y.sum(0))
            else:
                y = executable(**state, x=x)["y"]
            assert np.array_equal(y, (x @ W).reshape(-1, 3, 4))

    in_threads(*(lambda number=number: calls(number) for number in range(4)))


def test_two_models_train_in_two_threads_as_they_do_one_after_the_other():
    def train(model):
        model.fit(IMAGES, LABELS, epochs=5, batch_size=8, progress=False)

    expected = []
    for seed in (0, 1):
        model = classifier(seed=seed)
        train(model)
        expected.append(bits(model))
    models = [classifier(seed=seed) for seed in (0, 1)]
    in_threads(*(lambda model=model: train(model) for model in models))
    assert [bits(model) for model in models] == expected


def run_script(script, **options):
    """Run a script in a process of its own, with a model that has taken a step; return what it prints."""
    start = (
        "import os, signal, sys, threading, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs have none
        "import numpy as np\n"
        "import graphcnn as gcn, graphcnn_native\n"
        "graphcnn_native.executable.WORTH_SHARING = -(10**9)\n"
        "random = np.random.default_rng(0)\n"
        "images, labels = random.random((40, 6, 6, 1), np.float32), random.integers(0, 3, 40)\n"
        "network = gcn.Sequential(gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3))\n"
        "model = gcn.compile(network, input_shape=(6, 6, 1), loss=gcn.CrossEntropy(),\n"
        "    optimizer=gcn.SGD(0.01), backend='native', threads=3)\n"
        "model.train_step(images, labels)\n"
    )
    command = [sys.executable, "-W", "error", "-c", start + script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    assert result.returncode == 0, (result.returncode, result.stderr)
    assert result.stderr == ""
    return result.stdout


def test_a_forked_child_goes_on_with_the_model():
    script = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
read, write = os.pipe()
child = os.fork()
for _ in range(3):
    model.train_step(images, labels)
state = b"".join(array.tobytes() for array in model.state().values())
if not child:
    os.write(write, state)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
print(os.read(read, len(state)) == state)
"""
    assert run_script(script) == "True\n"


def test_a_process_ends_while_its_threads_train():
    script = """
def train():
    while True:
        model.train_step(images, labels)

for _ in range(2):
    threading.Thread(target=train, daemon=True).start()
time.sleep(0.2)
print("end")
"""
    assert run_script(script) == "end\n"


def test_an_interrupt_leaves_a_usable_model():
    script = """
class Counter(gcn.Callback):
    epochs = 0

    def on_epoch_end(self, model, epoch, logs):
        self.epochs += 1

counter = Counter()
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    model.fit(images, labels, epochs=10**9, batch_size=4, progress=False, callbacks=[counter])
except KeyboardInterrupt:
    print("interrupted", counter.epochs > 0)
model.fit(images, labels, epochs=2, progress=False)
other = gcn.compile(network, input_shape=(6, 6, 1), backend='numpy')
for name, array in model.parameters.items():
    other.parameters[name] = array
print(np.allclose(model.predict(images), other.predict(images), rtol=1e-4, atol=1e-4))
"""
    assert run_script(script) == "interrupted True\nTrue\n"


@pytest.mark.skipif(PROCESSOR not in MODES, reason="reads the register of another processor")
def test_the_mode_for_denormal_numbers_is_the_callers_again():
    text, ordinary, flush, towards_0, flags = MODES[PROCESSOR]
    library = compile_module(text, host_target())
    mode = ctypes.CFUNCTYPE(ctypes.c_uint64)(library.address("mode"))
    set_mode = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(library.address("set"))
    executable, model = accumulator(), classifier()
    for wanted in (ordinary, ordinary | flush, ordinary | towards_0):
        try:
            set_mode(wanted)
            executable(total=np.zeros((3, 4), np.float32), w=W, x=X)
            after_a_call = mode()
            with pytest.raises(DataError):
                model.executable("step").step(
                    model._state, image=IMAGES, target=LABELS + 9, learning_rate=0.1
                )
            after_an_error = mode()
        finally:
            set_mode(ordinary)
        assert after_a_call & ~flags == wanted
        assert after_an_error & ~flags == wanted


def test_denormal_numbers_of_the_caller_survive_a_call():
    smallest = np.array([np.finfo(np.float32).smallest_subnormal])
    accumulator()(total=np.zeros((3, 4), np.float32), w=W, x=X)
    assert (smallest * np.float32(1))[0] > 0


# Memory


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def test_memory_does_not_grow_from_call_to_call():
    model = classifier()
    images, labels = RANDOM.random((500, 6, 6, 1), np.float32), RANDOM.integers(0, 3, 500)

    def calls():
        for size in (500, 7, 64, 500, 1):
            model.train_step(images[:size], labels[:size])
            model.predict(images[:size])
            model.executable("step").step(
                model._state, image=np.asfortranarray(images[:size]), target=labels[:size], learning_rate=0.01
            )

    for _ in range(20):
        calls()
    before = peak()
    for _ in range(100):
        calls()
    assert peak() - before < 8 << 20


def test_executables_give_their_memory_back():
    graph = Graph("wide")
    x = graph.input("x", TensorType((BATCH, 1 << 18)))
    emit = Emitter(graph)
    graph.output("y", emit(ops.Sum((1,)), emit(ops.Transpose((1, 0)), emit(ops.Tanh(), x))))
    images = np.ones((4, 1 << 18), np.float32)

    def calls(count):
        for _ in range(count):
            NativeExecutable(graph, threads=1)(x=images)

    calls(3)
    before = peak()
    calls(10)
    assert peak() - before < 32 << 20


# Who is asked, answers alike


def test_a_state_may_be_the_input_of_a_call():
    executable = accumulator()
    state = {"total": np.ones((3, 4), np.float32), "w": W}
    results = executable(**state, x=X)
    assert np.array_equal(results["total"], 1 + Y.sum(0))
    assert np.array_equal(state["total"], np.ones((3, 4)))


@pytest.mark.parametrize("rate", [0.1, np.float64(0.1), np.float32(0.1), np.array(0.1), 1])
def test_a_number_is_taken_as_the_reference_takes_it(rate):
    model = classifier()
    arguments = {"image": IMAGES, "target": LABELS, "learning_rate": rate}
    states = [model.state(), model.state()]
    try:
        load_backend("numpy").compile(model.step_graph).step(states[0], **arguments)
    except DataError:
        with pytest.raises(DataError):
            model.executable("step").step(states[1], **arguments)
        return
    model.executable("step").step(states[1], **arguments)
    for name, array in states[0].items():
        assert np.allclose(states[1][name], array, rtol=1e-4, atol=1e-6), name
