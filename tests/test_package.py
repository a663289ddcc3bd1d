"""The package as a whole: what importing costs, the zoo, and how backends are found."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
import types
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

import graphcnn as gcn
import graphcnn.backend
from graphcnn.displays import display
from graphcnn.errors import BackendError, GraphcnnError

HEAVY = ("numba", "llvmlite", "networkx", "rich", "click", "matplotlib", "numpy")


def fresh(code):
    """Return what code prints in an interpreter of its own."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_graphcnn_imports_nothing_heavy():
    code = "import sys; before = set(sys.modules); import graphcnn; print(*(set(sys.modules) - before))"
    imported = fresh(code).split()
    assert "graphcnn" in imported
    assert [name for name in imported if name.partition(".")[0] in HEAVY] == []


def test_training_imports_no_drawing_or_command_line():
    code = (
        "import sys, graphcnn as gcn\n"
        "gcn.compile(gcn.Dense(2), input_shape=(3,), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))"
        ".fit([[[0.0, 1.0, 2.0]]][0], [1], progress=False)\n"
        "print(*sys.modules)"
    )
    imported = {name.partition(".")[0] for name in fresh(code).split()}
    assert imported.isdisjoint({"matplotlib", "click", "rich", "networkx"})


def test_what_is_imported_is_required_and_nothing_else_is():
    """safetensors, for one, is what tests read files with, and not what graphcnn writes them with."""
    root = Path(__file__).parent.parent
    files = [*root.glob("graphcnn/**/*.py"), *root.glob("backends/**/*.py")]
    imported = {name for file in files for name in imported_by(file)}
    imported = {IMPORTED_AS.get(name, name) for name in imported - sys.stdlib_module_names}
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = {
        each
        for extra in ("plot", "onnx", "keras", "images", "tensorboard", "mpi")
        for each in project["optional-dependencies"][extra]
    }
    required, optional = (
        {re.match(r"[\w-]+", each)[0] for each in group} for group in (project["dependencies"], extras)
    )
    assert required <= imported
    assert imported - required - optional == {"graphcnn", "graphcnn_numpy", "graphcnn_native"}


IMPORTED_AS = {"PIL": "pillow", "google": "protobuf"}


def imported_by(file):
    """Yield the packages that a file names in its import statements."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (gcn.Graph.show, "show_graph"),
        (gcn.Graph._repr_svg_, "graph_svg"),
        (gcn.Graph._repr_html_, "graph_html"),
        (gcn.Model.show, "show_model"),
        (gcn.Model.profile, "profile"),
        (gcn.Model.inspect, "record"),
        (gcn.Model.summary, "model_summary"),
        (gcn.Model._repr_html_, "model_html"),
    ],
)
def test_displays_take_what_their_methods_take(method, name):
    taken, offered = (
        [
            (p.name, p.default, p.kind)
            for p in list(inspect.signature(function).parameters.values())[1:]
            if p.name != "by_layer"
        ]
        for function in (display(name), method)
    )
    assert taken == offered


def test_every_display_is_where_the_package_says():
    for functions in gcn._DISPLAYS.values():
        for function in functions:
            assert callable(display(function))


@pytest.mark.parametrize(
    ("name", "meant"), [("Conv2D", "Conv2d"), ("Sequental", "Sequential"), ("crossentropy", "CrossEntropy")]
)
def test_an_unknown_name_is_told_what_it_resembles(name, meant):
    with pytest.raises(AttributeError, match=f"did you mean '{meant}'"):
        getattr(gcn, name)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("from graphcnn import Linear", "'Linear' from 'graphcnn': from graphcnn import Dense; Dense(10)"),
        ("from graphcnn import Dense, CrossEntropyLoss", "from graphcnn import CrossEntropy; CrossEntropy()"),
        ("from graphcnn import nn", "from graphcnn import Conv2d, ReLU, CrossEntropy, Adam; all else"),
        ("from graphcnn import conv2D", "did you mean 'Conv2d'?"),
        ("from graphcnn import save", 'model.save("model.safetensors")'),
        ("from graphcnn.data import mnist", "gcn.data.load_idx_folder"),
        ("from graphcnn.zoo import resnet19", "did you mean 'resnet18'?"),
        ("from graphcnn.ops import ReLU", "did you mean 'Relu'?"),
        ("from graphcnn.testing import check_gradient", "did you mean 'check_gradients'?"),
        ("from graphcnn import zzzzzz", "cannot import name 'zzzzzz' from 'graphcnn'"),
    ],
)
def test_importing_a_name_that_there_is_not_says_what_there_is(statement, said):
    with pytest.raises(ImportError, match=re.escape(said)) as caught:
        exec(statement)
    advice = re.search(r": (from graphcnn import [\w, ]+)", str(caught.value))
    if advice:
        exec(advice[1])


def test_modules_that_are_not_loaded_yet_are_imported_all_the_same():
    said = fresh("from graphcnn import compiler, unknown_names; print(compiler.load, unknown_names.meant)")
    assert said.startswith("<function load")


@pytest.mark.parametrize(("package", "name"), [("data", "load_digit"), ("zoo", "resnet19"), ("ops", "ReLU")])
def test_names_that_a_package_inside_has_not_are_told_what_they_resemble(package, name):
    with pytest.raises(AttributeError, match=f"module 'graphcnn.{package}' has no attribute '{name}': did"):
        getattr(getattr(gcn, package), name)


@pytest.mark.parametrize("name", ["__wrapped__", "zzzzzz"])
def test_a_name_that_resembles_nothing_is_unknown(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'$"):
        getattr(gcn, name)


def test_every_public_name_resolves():
    for name in gcn.__all__:
        assert getattr(gcn, name) is not None
    assert len(set(gcn.__all__)) == len(gcn.__all__)
    assert set(gcn.__all__) <= set(dir(gcn))


def test_public_names_are_those_that_type_checkers_see():
    source = Path(gcn.__file__).read_text(encoding="utf-8")
    seen = {
        line.rpartition(" as ")[2] for line in source.splitlines() if line.startswith("    from graphcnn")
    }
    assert seen | {"__version__"} == set(gcn.__all__)


def test_every_public_name_is_documented():
    undocumented = [
        name
        for name in gcn.__all__
        if name != "__version__" and not (getattr(gcn, name).__doc__ or "").strip()
    ]
    assert undocumented == []


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'graphcnn' has no attribute 'Conv3d'"):
        gcn.Conv3d  # noqa: B018


# The zoo


def conv(kernel, channels, filters):
    return kernel * kernel * channels * filters + filters


def dense(channels, units):
    return channels * units + units


PARAMETERS = {
    "digits": conv(3, 1, 8) + dense(3 * 3 * 8, 10),
    "lenet5": conv(5, 1, 6) + conv(5, 6, 16) + dense(5 * 5 * 16, 120) + dense(120, 84) + dense(84, 10),
    "lecun1989": conv(5, 1, 12) + conv(5, 12, 12) + dense(4 * 4 * 12, 30) + dense(30, 10),
    "mnist_cnn": conv(3, 1, 32) + conv(3, 32, 64) + dense(12 * 12 * 64, 128) + dense(128, 10),
    "vgg_small": conv(3, 3, 32)
    + conv(3, 32, 32)
    + conv(3, 32, 64)
    + conv(3, 64, 64)
    + conv(3, 64, 128)
    + conv(3, 128, 128)
    + dense(4 * 4 * 128, 128)
    + dense(128, 10),
}


def zoo_model(name):
    entry = gcn.zoo.ZOO[name]
    return gcn.compile(
        entry.make(),
        input_shape=entry.input_shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.001),
    )


def test_the_counts_in_the_documentation():
    assert set(PARAMETERS) == set(gcn.zoo.ZOO)
    assert PARAMETERS["digits"] == 810
    assert PARAMETERS["lenet5"] == 61_706


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_of_the_zoo_trains(name):
    model = zoo_model(name)
    assert sum(value.size for value in model.parameters.values()) == PARAMETERS[name]
    images = np.random.default_rng(0).random((2, *gcn.zoo.ZOO[name].input_shape)).astype(np.float32)
    losses = [model.train_step(images, [3, 7])["loss"] for _ in range(3)]
    assert model.predict(images).shape == (2, 10)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_gradient_node_tells_its_story(name):
    """Each node of a gradient says which forward node it belongs to, which rule made it, and which line."""
    graph = zoo_model(name).gradient_graph
    source = Path(gcn.zoo.__file__).parent / "networks.py"
    lines = source.read_text(encoding="utf-8").splitlines()
    gradient = [(key, node) for key, node in graph.items() if node.origin.forward is not None]
    assert len(gradient) > len(PARAMETERS)
    for key, node in gradient:
        origin = node.origin
        assert 0 <= origin.forward < key
        assert graph.node(origin.forward).origin.forward is None
        assert origin.rule
        assert origin.layer
        assert Path(origin.file) == source
        assert lines[origin.line - 1].strip()
    backward = [key for key, _ in gradient]
    first = backward[0]
    assert backward == list(range(first, len(graph))), "every node after the loss belongs to the gradient"
    assert {f"gradient({label})" for label in graph.inputs_with_role("parameter")} <= graph.outputs.keys()


def test_the_article_s_equations_are_named_in_lenet5():
    rules = {node.origin.rule for _, node in zoo_model("lenet5").gradient_graph.items()}
    assert {"Eq. 7", "Eq. 14", "Eq. 21", "max-pool: to the winning unit"} <= rules


# Backends


def installed(monkeypatch, **modules):
    """Let these entry points be the installed backends: name → "module:attribute"."""
    points = EntryPoints(
        EntryPoint(name.rstrip("_"), value, graphcnn.backend.GROUP) for name, value in modules.items()
    )
    monkeypatch.setattr(graphcnn.backend, "entry_points", lambda *, group: points.select(group=group))


def test_the_numpy_backend_is_found_without_importing_it():
    code = "import sys, graphcnn; print(*graphcnn.backends()); print('graphcnn_numpy' in sys.modules)"
    names, imported = fresh(code).splitlines()
    assert "numpy" in names.split()
    assert imported == "False"


def test_two_backends_of_one_name(monkeypatch):
    installed(monkeypatch, fast="one_package:backend", fast_="another_package:backend")
    for call in (gcn.backends, lambda: gcn.compile(gcn.Dense(2), input_shape=(3,), backend="fast")):
        with pytest.raises(BackendError) as caught:
            call()
        message = str(caught.value)
        assert "two installed packages offer a backend 'fast'" in message
        assert "one_package:backend and another_package:backend" in message
        assert "Mend: uninstall one of them" in message


def test_one_backend_listed_twice_is_one_backend(monkeypatch):
    installed(monkeypatch, numpy="graphcnn_numpy:backend", numpy_="graphcnn_numpy:backend")
    assert list(gcn.backends()) == ["numpy"]


def test_an_unknown_backend_lists_the_installed_ones(monkeypatch):
    installed(monkeypatch, numpy="graphcnn_numpy:backend", fast="one_package:backend")
    with pytest.raises(BackendError, match=r"no backend 'fsat'\n(.*\n)*  installed: fast, numpy\n  Mend: "):
        gcn.compile(gcn.Dense(2), input_shape=(3,), backend="fsat")


def test_a_backend_that_lacks_a_package_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "needy_backend.py").write_text("import package_that_is_not_there.part\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed(monkeypatch, needy="needy_backend:backend")
    with pytest.raises(BackendError) as caught:
        gcn.compile(gcn.Dense(2), input_shape=(3,), backend="needy")
    message = str(caught.value)
    assert "backend 'needy' cannot be loaded: No module named 'package_that_is_not_there'" in message
    assert "Mend: pip install package_that_is_not_there" in message


@pytest.mark.parametrize(
    "content",
    ["other = 1\n", "raise OSError('libLLVM.so cannot be opened')\n", None],
    ids=["name", "library", "gone"],
)
def test_a_backend_that_is_broken(monkeypatch, tmp_path, content):
    if content is not None:
        (tmp_path / "broken_backend.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_backend", raising=False)
    installed(monkeypatch, broken="broken_backend:backend")
    with pytest.raises(BackendError, match="backend 'broken' cannot be loaded") as caught:
        gcn.compile(gcn.Dense(2), input_shape=(3,), backend="broken")
    assert "broken_backend:backend" in str(caught.value)
    assert "Mend: pip install --force-reinstall broken" in str(caught.value)


def test_a_backend_that_lacks_an_op_says_which_and_who_has_it(monkeypatch):
    numpy = graphcnn.backend.load_backend("numpy")
    from graphcnn import ops

    class Poor:
        name = "poor"
        ops = numpy.ops - {type(gcn.ReLU().op)}

        def compile(self, graph):
            graphcnn.backend.require_ops(self, graph)

    monkeypatch.setitem(sys.modules, "poor_backend", types.SimpleNamespace(backend=Poor()))
    installed(monkeypatch, numpy="graphcnn_numpy:backend", poor="poor_backend:backend")
    assert ops.Relu not in Poor.ops
    model = gcn.compile(gcn.Sequential(gcn.Dense(2), gcn.ReLU()), input_shape=(3,), backend="poor")
    with pytest.raises(BackendError) as caught:
        model.predict(np.zeros((1, 3), np.float32))
    message = str(caught.value)
    assert message.startswith(f"relu1 ({Path(__file__).name}:")
    assert "backend 'poor' has no kernel for relu" in message
    assert "backends that have it: numpy" in message


def test_every_error_is_a_graphcnn_error():
    from graphcnn import errors

    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert len(classes) > 5
    assert all(issubclass(each, GraphcnnError) for each in classes if not issubclass(each, Warning))
