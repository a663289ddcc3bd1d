"""Names that command a terminal or a page: none gets there, whatever shows them."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.cli import main
from graphcnn.errors import GraphcnnError
from graphcnn.inspection.benchmark import benchmark
from graphcnn.inspection.difference import difference
from graphcnn.visible import visible, visible_lines

COLOUR, TITLE, C1, OVERRIDE, LINES = (
    "\x1b[31m",
    "\x1b]0;owned\x07",
    "\x9b2J",
    "\u202egnp.exe",
    "\r\nError: line\x0b\x85",
)
HOSTILE = f"{COLOUR}{TITLE}{C1}{OVERRIDE}{LINES}\u2028\u2066\x7f"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066\u2067\ud800-\udfff]")
IMAGES = np.random.default_rng(0).random((4, 8, 8, 1)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3])


def name(kind):
    return f"{kind}{HOSTILE}"


def network():
    x = gcn.Input((8, 8, 1), name=name("input"))
    scale = gcn.Parameter((), name("scale"), initializer=gcn.Constant(1.0))
    convolved = gcn.BatchNorm2d(name=name("norm"))(gcn.Conv2d(3, 3, name=name("conv"))(x))
    pooled = gcn.ReLU(name=name("relu"))(convolved) * scale
    return gcn.Network(
        x, gcn.Dense(10, name=name("dense"))(gcn.Flatten(name=name("flatten"))(pooled)), name=name("net")
    )


@pytest.fixture(scope="module")
def model():
    return gcn.compile(network(), loss=gcn.CrossEntropy(), optimizer=gcn.Adam(), backend="native")


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    """Return the file of a model whose names, and its own, are hostile; its texts hold nothing visible."""
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / "plain.safetensors"
    model.save(path)
    return path.rename(folder / f"\x1b[31m{OVERRIDE}\n.safetensors")


def harmless(text):
    assert text
    found = COMMANDS.search(text)
    assert found is None, f"{found[0]!r} in {text[max(0, found.start() - 60) : found.end() + 20]!r}"
    assert "\nError: line" not in text


COMMAND_LINES = [
    ["show", "FILE"],
    *(["show", "FILE", "--stage", stage] for stage in ("forward", "step", "kernels", "llvm", "assembly")),
    *(["show", "FILE", "--as", form] for form in ("table", "dot", "mermaid", "latex", "svg", "html")),
    *(["show", "FILE", "--as", "svg", "--by", by] for by in ("layer", "node")),
    ["bench", "FILE", "--repeats", "1", "--batch-size", "2"],
    ["bench", "FILE", "--repeats", "1", "--batch-size", "2", "--mode", "infer", "--trace", "trace.json"],
    ["bench", "FILE", "--repeats", "1", "--batch-size", "2", "--backend", "numpy"],
    ["inspect", "FILE", "--batch-size", "2"],
    ["inspect", "FILE", "--batch-size", "2", "--data", "random", "--output", "images"],
    ["diff", "FILE"],
    ["diff", "FILE", "lenet5"],
    ["show", "FILE.missing.safetensors"],
    ["show", "FILE.txt"],
    ["inspect", "FILE", "--data", "FILE"],
    ["train", "--resume", "FILE"],
    ["train", "FILE", "--resume", f"missing{TITLE}"],
    ["bench", "FILE", "--trace", "missing\x1b[31m/trace.json", "--repeats", "1"],
]


@pytest.mark.parametrize("line", COMMAND_LINES, ids=[" ".join(line) for line in COMMAND_LINES])
def test_no_command_shows_them(file, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [part.replace("FILE", str(file)) for part in line])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    harmless(result.output)
    for written in tmp_path.glob("*.html"):
        harmless(re.sub("<script>.*?</script>", "", written.read_text(), flags=re.DOTALL))
    for written in tmp_path.glob("*.json"):
        harmless(written.read_text())


def displays(model):
    graph = model.gradient_graph
    recording = model.inspect(IMAGES, LABELS)
    profile = model.profile(IMAGES, LABELS, repeats=1, warmup=0)
    yield from (repr(model), repr(graph), str(graph), repr(model.parameters), repr(model.weights))
    yield from (
        repr(recording),
        str(recording),
        str(profile),
        str(benchmark(model, mode="infer", batch=2, repeats=1)),
    )
    yield from (model._repr_html_(), model._repr_svg_(), graph._repr_html_(), graph._repr_svg_())
    yield from (recording._repr_html_(), profile._repr_html_())
    yield str(difference(model.forward_graph, graph))
    yield from (repr(network()), repr(gcn.Conv2d(3, 3, name=name("conv"))))


def test_no_display_shows_them(model):
    for text in displays(model):
        harmless(text)


def test_histories_and_logs_of_gradients_show_no_names_either():
    log = gcn.GradientLog(every=1)
    other = gcn.compile(network(), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend="numpy")
    history = other.fit(IMAGES, LABELS, callbacks=[log], progress=False)
    history.epochs[0][HOSTILE] = 1.0
    for text in (repr(history), str(log), log._repr_html_()):
        harmless(text)


def test_the_first_value_that_is_no_number_is_told_without_them(model):
    images = IMAGES.copy()
    images[0, 0, 0, 0] = np.nan
    first = model.inspect(images).first_nonfinite
    assert first is not None
    harmless(str(first))


def test_pictures_take_names_as_they_are_and_not_as_formulas():
    pytest.importorskip("matplotlib")
    layers = gcn.Sequential(gcn.Conv2d(2, 3, name=r"$\frac{$"), gcn.Flatten(), gcn.Dense(10))
    formula = gcn.compile(layers, input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))
    log = gcn.GradientLog(every=1)
    history = formula.fit(IMAGES, LABELS, callbacks=[log], progress=False)
    history.epochs[0][r"$\frac{$"] = 1.0
    history.plot().canvas.draw()
    log.plot().canvas.draw()
    recording = formula.inspect(IMAGES, LABELS)
    recording.feature_maps(r"$\frac{$").plot().canvas.draw()


def broken(model):
    """Yield calls that fail with hostile names at hand."""
    yield lambda: model.parameters["conv" + HOSTILE]
    yield lambda: model.parameters.update({HOSTILE: 1})
    yield lambda: model.predict(np.zeros((2, 3)))
    yield lambda: model.inspect(IMAGES, LABELS).gradient(HOSTILE)
    yield lambda: gcn.compile(
        gcn.Network(x := gcn.Input((4,), name=name("x")), gcn.Conv2d(2, 3, name=name("c"))(x))
    )
    yield lambda: gcn.parse(f'graph "g"\n%0: float32[N] = {HOSTILE}')
    yield lambda: gcn.parse('graph "g"\n%0: float32[N] = input(label="\\u001b")\noutput "\\u001b" = %0')
    yield lambda: gcn.load(f"{HOSTILE}/model.safetensors")
    yield lambda: model.save(f"{HOSTILE}/model.safetensors")
    yield lambda: gcn.compile(network(), loss=gcn.CrossEntropy(), optimizer=gcn.Adam(), backend=HOSTILE)
    yield lambda: model.set_state({})
    yield lambda: gcn.gradient(model.forward_graph, "output", [HOSTILE])


def test_no_error_shows_them(model):
    for call in broken(model):
        with pytest.raises((GraphcnnError, OSError)) as caught:
            call()
        harmless(str(caught.value))


def test_a_loss_that_is_no_number_is_blamed_without_them(model):
    other = gcn.compile(network(), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(1e30), backend="native")
    with pytest.raises(GraphcnnError) as caught:
        other.fit(IMAGES, LABELS, epochs=30, progress=False)
    harmless(str(caught.value))


def test_what_is_escaped_and_what_stays():
    assert visible("naïve-Ωμέγα-图 conv1") == "naïve-Ωμέγα-图 conv1"
    assert visible("a\x1b[31m\n\x9b\u202e\ud800\u2068") == "a\\x1b[31m\\x0a\\x9b\\u202e\\ud800\\u2068"
    assert visible_lines("a\n\tb\x1b") == "a\n\tb\\x1b"
