"""The viewer's document and page, as far as they show without a browser (tests/browser has the rest)."""

import hashlib
import json
import re
import subprocess
import sys
from base64 import b64encode
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.backend import KernelReport
from graphcnn.cli import main
from graphcnn.errors import GraphError, OptionError
from graphcnn.inspection.viewer import difference_document, graph_document, model_document, page
from graphcnn.inspection.viewer.grouping import MOST_MEMBERS
from graphcnn.ir import Graph, Input, Node, TensorType
from graphcnn.ops import Add, Constant, Relu


def zoo_model(name="lenet5", **options):
    entry = gcn.zoo.ZOO[name]
    return gcn.compile(
        entry.make(),
        input_shape=entry.input_shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.05, momentum=0.9),
        **options,
    )


@pytest.fixture(scope="module")
def lenet5():
    return zoo_model()


@pytest.fixture(scope="module")
def document(lenet5):
    kernels = lenet5.executable("step").report().kernels
    return model_document(lenet5, batch=64, kernels=kernels)


def view(document, id):
    return next(each for each in document["views"] if each["id"] == id)


def nodes(view):
    return {node["id"]: node for node in view["nodes"]}


def leaves(group):
    if "nodes" in group:
        return [group]
    return [leaf for child in group["groups"] for leaf in leaves(child)]


def test_a_node_says_what_the_graph_says(lenet5, document):
    graph = lenet5.gradient_graph
    shown = nodes(view(document, "derived"))
    assert list(shown) == [str(key) for key, _ in graph.items()]
    for key, node in graph.items():
        data = shown[str(key)]
        assert data["op"] == node.op.name
        assert data["types"] == [str(type) for type in node.types]
        assert data["operands"] == [[str(value.key), value.index] for value in node.operands]
        assert (data["flops"], data["bytes"]) == (node.cost(64).flops, node.cost(64).bytes)
        assert data.get("of") == (None if node.origin.forward is None else str(node.origin.forward))
        assert data["side"] == (0 if node.origin.forward is None else 1)
        assert data["rule"] == node.origin.rule
    correlation = shown["73"]
    assert ["padding", "((4, 4), (4, 4))"] in correlation["attributes"]
    source = document["sources"][correlation["source"]]
    assert source["file"] == "zoo/networks.py", "no more of the path than helps"
    assert dict(map(tuple, source["lines"]))[source["line"]].strip() == "Conv2d(16, 5),"
    assert sum(node.get("parameters", 0) for node in shown.values()) == 61_706


def test_live_memory_is_what_is_alive():
    graph = Graph("small")
    x = graph.input("x", TensorType(("N", 4)))
    a = graph.add(Relu(), x)  # 16 bytes a sample
    b = graph.add(Add(), a, a)
    c = graph.add(Relu(), b)
    graph.output("b", b)
    graph.output("c", c)
    shown = nodes(graph_document(graph, batch=10)["views"][0])
    assert [shown[str(value.key)]["live"] for value in (x, a, b, c)] == [0, 160, 320, 320]


def test_gradient_nodes_stand_in_the_layer_of_their_forward_node(document):
    for id in ("derived", "simplified"):
        shown = view(document, id)
        by_id = nodes(shown)
        home = {node: leaf["name"] for leaf in leaves(shown["groups"]) for node in leaf["nodes"]}
        assert set(home) == set(by_id)
        for node in by_id.values():
            if "of" in node:
                assert home[node["id"]] == home[node["of"]]
    assert [leaf["name"] for leaf in leaves(view(document, "derived")["groups"])][:5] == [
        "image",
        "conv1",
        "relu1",
        "pool1",
        "conv2",
    ]


def test_the_step_has_a_column_for_the_updates(document):
    updates = [node for node in view(document, "simplified")["nodes"] if node["side"] == 2]
    assert {node["rule"] for node in updates if node["op"] != "input"} == {"SGD"}
    assert {node["title"] for node in updates if node["op"] == "input"} >= {
        "learning_rate",
        "conv1.bias.velocity",
    }
    assert all(node["rule"] != "SGD" for node in view(document, "simplified")["nodes"] if node["side"] < 2)


def test_the_step_of_several_ranks(lenet5, tmp_path):
    shown = view(model_document(lenet5, batch=64, ranks=8), "ranks")
    assert shown["name"] == "Of 8 ranks"
    messages = [node for node in shown["nodes"] if node["kind"] == "collective"]
    assert {node["op"] for node in messages} == {"all_reduce", "all_gather"}
    sent = {node["types"][0]: node["sent"] for node in messages}
    assert sent["float32[5, 5, 6, 16]"] == 3 * 5 * 5 * 6 * 16 * 4
    assert sent["float32[N, 400]"] == 7 * 64 // 8 * 400 * 4
    assert all("sent" not in node for node in shown["nodes"] if node["kind"] != "collective")
    path = lenet5.show(tmp_path / "ranks.html", kernels=False, ranks=8, open=False)
    assert '"name":"Of 8 ranks"' in path.read_text(encoding="utf-8")
    with pytest.raises(OptionError, match="ranks=0 is not an integer of at least 1"):
        lenet5.show(tmp_path / "none.html", ranks=0, open=False)


def test_kernels_cover_the_step(lenet5, document):
    kernels = [node for node in view(document, "kernels")["nodes"] if "members" in node]
    covered = {member for kernel in kernels for member in kernel["members"]}
    computing = {
        str(key) for key, node in lenet5.step_graph.items() if not isinstance(node.op, Input | Constant)
    }
    assert len(covered & computing) > len(computing) * 0.9
    fused = next(kernel for kernel in kernels if kernel["title"] == "correlate2d_relu")
    simplified = nodes(view(document, "simplified"))
    assert [simplified[member]["op"] for member in fused["members"]] == [
        "correlate2d",
        "broadcast",
        "add",
        "relu",
    ]
    known = set(nodes(view(document, "kernels")))
    for kernel in kernels:
        assert {operand for operand, _ in kernel["operands"]} <= known
        assert kernel["id"] not in {operand for operand, _ in kernel["operands"]}


def test_a_layer_that_is_applied_twice_is_two_groups():
    x = gcn.Input((8, 8, 2), name="image")
    shared = gcn.Conv2d(2, 3, padding="same")
    graph = gcn.Network(x, shared(gcn.relu(shared(x)))).graph
    groups = graph_document(graph)["views"][0]["groups"]["groups"]
    assert [group["name"] for group in groups] == ["image", "conv1", "relu1", "conv1 · 2"]


def test_a_layer_that_is_alone_in_its_block_has_its_whole_name_and_no_block():
    x = gcn.Input((8, 8, 1), name="image")
    y = gcn.relu(gcn.Conv2d(2, 3, name="down.first")(x))
    y = gcn.Conv2d(2, 3, name="down.second")(y)
    groups = graph_document(gcn.Network(x, y).graph)["views"][0]["groups"]["groups"]
    assert [group["name"] for group in groups] == ["image", "down.first", "relu1", "down.second"]
    assert all("groups" not in group for group in groups)


def test_blocks_are_groups_of_layers():
    block = gcn.Sequential(gcn.Conv2d(2, 3), gcn.ReLU(), name="stem")
    x = gcn.Input((8, 8, 2), name="image")
    groups = graph_document(gcn.Network(x, gcn.Flatten()(block(x))).graph)["views"][0]["groups"]["groups"]
    assert [group["name"] for group in groups] == ["image", "stem", "flatten1"]
    assert [group["name"] for group in groups[1]["groups"]] == ["conv1", "relu1"]


def test_a_layer_of_very_many_nodes_is_cut_into_parts():
    graph = Graph("long")
    value = graph.input("x", TensorType(("N", 4)))
    origin = replace(graph.node(0).origin, layer="tower")
    for _ in range(3 * MOST_MEMBERS):
        value = graph.add(Relu(), value, origin=origin)
    graph.output("y", value)
    _, tower = graph_document(graph)["views"][0]["groups"]["groups"]
    assert tower["name"] == "tower"
    assert len(tower["groups"]) > 2
    assert [id for part in tower["groups"] for id in part["nodes"]] == [
        str(key) for key in range(1, len(graph))
    ]


def test_nodes_without_layers_are_gathered_in_parts():
    graph = Graph("bare")
    value = graph.input("x", TensorType(("N", 4)))
    for _ in range(2 * MOST_MEMBERS):
        value = graph.add(Relu(), value)
    graph.output("y", value)
    x, rest = graph_document(graph)["views"][0]["groups"]["groups"]
    assert x == {"name": "x", "nodes": ["0"]}
    assert rest["name"] == f"%1 to %{2 * MOST_MEMBERS}"
    assert rest["groups"][0]["name"].startswith("%1 to %")
    assert [id for part in rest["groups"] for id in part["nodes"]] == [
        str(key) for key in range(1, len(graph))
    ]


def test_a_layer_s_name_with_very_many_dots():
    graph = Graph("deep")
    origin = replace(Node(Relu(), (), ()).origin, layer=".".join("x" * 5000))
    x = graph.input("x", TensorType(("N", 4)))
    graph.output("y", graph.add(Relu(), x, origin=origin))
    assert page(graph_document(graph))


# Values


def test_values_of_a_sample_meet_in_a_convolution(lenet5):
    graph = lenet5.gradient_graph
    random = np.random.default_rng(3)
    images = random.standard_normal((2, 14, 14, 6)).astype(np.float32)
    filters = random.standard_normal((5, 5, 6, 16)).astype(np.float32)
    result = gcn.evaluate(_correlation(), images=images, filters=filters)["output"]
    values = view(model_document(lenet5, values={7: images, 8: filters, 9: result}), "derived")["values"]["9"]
    step = values["step"]
    assert step["summed"] == ["channels", 6]
    window = np.array(step["window"]["maps"])[:, 1].reshape(-1, 5, 5)  # channel, k1, k2 of the second filter
    seen = np.array(step["images"]["maps"]).reshape(-1, 14, 14)[:, 3:8, 2:7]
    rest = np.sum(images[0, 3:8, 2:7, 3:] * filters[:, :, 3:, 1])
    shown = np.array(step["result"]["maps"]).reshape(-1, 10, 10)[1, 3, 2]
    assert np.sum(seen * window) + rest == pytest.approx(shown, abs=0.02)
    assert values["summary"]["greatest"] == pytest.approx(result.max(), rel=1e-3)
    assert graph.node(9).op.name == "correlate2d"


def _correlation():
    x = gcn.Input((14, 14, 6), name="images")
    w = gcn.Input((5, 5, 6, 16), name="filters", batch=False)
    return gcn.Network([x, w], gcn.correlate2d(x, w)).graph


def test_the_rotation_has_the_parameter_s_values(lenet5, document):
    shown = view(document, "derived")["values"]["71"]["rot180"]
    filters = lenet5.parameters["conv2.filters"]
    assert (shown["height"], shown["width"], shown["of"]) == (5, 5, [6, 16])
    assert np.allclose(np.array(shown["maps"][2][1]).reshape(5, 5), filters[:, :, 2, 1], rtol=1e-3)


def test_values_that_are_not_finite_are_told_and_do_not_break_the_page(lenet5):
    values = np.zeros((1, 28, 28, 6), np.float32)
    values[0, 0, 0] = [np.nan, np.inf, -np.inf, 1, 1, 1]
    document = model_document(lenet5, values={5: values})
    shown = view(document, "derived")["values"]["5"]
    assert shown["summary"]["not finite"] == 3
    assert [shown["maps"]["maps"][channel][0] for channel in range(3)] == ["nan", "inf", "-inf"]
    assert page(document)


# Times


@dataclass(frozen=True)
class Times:
    nodes: dict
    kernels: tuple
    batch: int = 32
    seconds: float = 0.25


def test_times_of_a_profile(lenet5):
    kernel = KernelReport("correlate2d_relu", (2, 4, 5, 6), 1000, 100, seconds=0.125, details="as it is")
    document = model_document(lenet5, profile=Times({2: 0.1, 5: 0.025}, (kernel,)))
    simplified = nodes(view(document, "simplified"))
    assert simplified["2"]["seconds"] == 0.1
    assert "seconds" not in simplified["9"]
    assert simplified["2"]["kernel"] == "k0"
    shown = nodes(view(document, "kernels"))["k0"]
    assert (shown["seconds"], shown["flops"], shown["details"]) == (0.125, 1000, "as it is")
    assert document["batch"] == 32
    assert document["totals"]["seconds"] == 0.25


# Differences


@dataclass(frozen=True)
class Difference:
    common: tuple
    changed: tuple
    removed: tuple
    added: tuple


def test_two_graphs_side_by_side():
    def graph(layers):
        return gcn.compile(gcn.Sequential(*layers), input_shape=(8, 8, 1)).forward_graph

    before = graph([gcn.Conv2d(2, 3), gcn.ReLU(), gcn.Flatten()])
    after = graph([gcn.Conv2d(2, 3, padding=1), gcn.Flatten(), gcn.Dense(3)])
    difference = Difference(((0, 0), (1, 1)), ((2, 2),), (6,), (7, 8, 9, 10, 11))
    shown = view(difference_document(before, after, difference), "difference")
    by_id = nodes(shown)
    assert by_id["0/6"]["status"] == "removed"
    assert by_id["1/7"]["status"] == "added"
    assert (by_id["0/2"]["status"], by_id["0/2"]["partner"], by_id["1/2"]["partner"]) == (
        "changed",
        "1/2",
        "0/2",
    )
    assert by_id["0/0"]["status"] == "common"
    rows = {leaf["name"]: leaf["nodes"] for leaf in leaves(shown["groups"])}
    assert list(rows) == ["image", "conv1", "relu1", "flatten1", "dense1"]
    assert {id.split("/")[0] for id in rows["conv1"]} == {"0", "1"}
    assert {id.split("/")[0] for id in rows["relu1"]} == {"0"}


def test_a_graph_is_shown_against_another(tmp_path):
    before = zoo_model("digits").gradient_graph
    path = before.show(tmp_path / "difference.html", against=gcn.simplify(before), open=False)
    text = path.read_text(encoding="utf-8")
    assert '"id":"difference"' in text
    assert all(f'"status":"{status}"' in text for status in ("removed", "changed", "common"))
    with pytest.raises(GraphError, match="is empty"):
        before.show(tmp_path / "empty.html", against=Graph("nothing"), open=False)


# The page


HOSTILE = "</script><script>alert(1)</script><!-- {{data}} \u2028 \"'& \u202e"


def test_names_cannot_leave_the_data():
    x = gcn.Input((4,), name=HOSTILE)
    text = page(graph_document(gcn.Network(x, gcn.relu(x)).graph) | {"title": HOSTILE})
    assert "<script>alert" not in text
    assert text.count("<script") == 3
    data = re.search(r'<script type="application/json" id="document">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data[1])["views"][0]["nodes"][0]["title"] == HOSTILE


def test_the_policy_allows_the_page_s_own_script_and_nothing_else(document):
    text = page(document)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag in ("script", "style"):
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashes = {f"'sha256-{b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" for body in bodies}
        assert set(rules[f"{tag}-src"].split()) == hashes
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[-1]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|fetch\(|XMLHttp", script
    )
    assert not re.search(r'(?:src|href)="', text)
    assert "Copyright (c) 2012-2014 Chris Pettitt" in text, "the library's licence goes with it"


def test_showing_writes_a_file_and_opens_it(lenet5, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    path = tmp_path / "lenet5.html"
    path.write_text("old")
    assert lenet5.show(path, kernels=False) == path
    assert opened == [path.as_uri()]
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]
    elsewhere = lenet5.forward_graph.show(open=False)
    assert elsewhere.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert len(opened) == 1
    elsewhere.unlink()
    elsewhere.parent.rmdir()


def test_a_failed_write_leaves_the_old_page(lenet5, tmp_path, monkeypatch):
    path = tmp_path / "lenet5.html"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        lenet5.forward_graph.show(path, open=False)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_without_a_loss_shows_its_forward_graph(tmp_path):
    model = gcn.compile(gcn.Sequential(gcn.Conv2d(2, 3)), input_shape=(8, 8, 1))
    assert [each["name"] for each in model_document(model)["views"]] == ["As derived"]
    assert model.show(tmp_path / "forward.html", open=False).is_file()


def test_the_command_line_writes_the_page(tmp_path):
    path = tmp_path / "digits.html"
    result = CliRunner().invoke(main, ["show", "digits", "--as", "html", "--output", str(path)])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(path)
    assert "<title>digits · graphcnn</title>" in path.read_text(encoding="utf-8")
    timed = ["show", "digits", "--as", "html", "--profile", "--batch-size", "8", "--output", str(path)]
    result = CliRunner().invoke(main, timed)
    assert result.exit_code == 0, result.output
    data = re.search(r'id="document">(.*?)</script>', path.read_text(encoding="utf-8"))
    shown = nodes(view(json.loads(data[1]), "simplified"))
    correlation = next(node for node in shown.values() if node["op"] == "correlate2d")
    assert correlation["seconds"] > 0
    assert json.loads(data[1])["batch"] == 8
    result = CliRunner().invoke(main, ["show", "digits", "--profile"])
    assert result.exit_code == 1
    assert "--as html" in result.output


# Bad input


def with_cycle():
    graph = Graph("loop")
    x = graph.input("x", TensorType(("N", 4)))
    y = graph.add(Relu(), graph.add(Relu(), x))
    graph.output("y", y)
    graph.nx.add_edge(2, 1, key=1, result=0)
    return graph


def without_shapes():
    graph = Graph("shapeless")
    x = graph.input("x", TensorType(("N", 4)))
    y = graph.add(Relu(), x)
    graph._nodes[1] = Node(Relu(), (x,), ())
    graph.nx.nodes[1]["node"] = graph.node(1)
    graph.output("x", x)
    assert y.key == 1
    return graph


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Graph("nothing"), "graph 'nothing' is empty: it has no nodes to show"),
        (with_cycle(), "graph 'loop' has a cycle: %1 → %2 → %1"),
        (without_shapes(), "node %1 of graph 'shapeless' has no shapes"),
    ],
    ids=["empty", "cycle", "no shapes"],
)
def test_a_graph_that_cannot_be_drawn(graph, message, tmp_path):
    with pytest.raises(GraphError) as caught:
        graph.show(tmp_path / "graph.html", open=False)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_one(lenet5, tmp_path):
    with pytest.raises(OptionError, match="there is no folder"):
        lenet5.forward_graph.show(tmp_path / "missing" / "graph.html", open=False)
    with pytest.raises(OptionError, match="is a folder"):
        lenet5.forward_graph.show(tmp_path, open=False)
    with pytest.raises(OptionError, match="batch_size=0"):
        lenet5.show(tmp_path / "graph.html", batch_size=0, open=False)


def test_the_name_of_a_picture_is_mended_as_advised(lenet5, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for show in (lenet5.show, lenet5.forward_graph.show, partial(lenet5.forward_graph.show, against=Graph())):
        with pytest.raises(OptionError, match=r"test_viewer\.py:\d+: show writes a page in HTML") as caught:
            show(tmp_path / "network.PNG", open=False)
        assert not list(tmp_path.iterdir())
    assert caught.value.mend == "give 'network.html'"
    lenet5.show("network.html", open=False, kernels=False)
    exec(caught.value.facts[0].removeprefix("a picture: "), {"model": lenet5})
    assert (tmp_path / "network.svg").read_text(encoding="utf-8").startswith("<svg")


def test_a_recording_or_profile_that_is_not_of_the_step(lenet5, tmp_path):
    images = np.zeros((2, 28, 28, 1), np.float32)
    for wrong, message in (
        ({"recording": lenet5.inspect(images)}, "another graph"),
        ({"recording": 3}, "recording is 3"),
        ({"profile": lenet5.profile(images, repeats=1)}, "no profile of a training step"),
        ({"profile": "yes"}, "no profile of a training step"),
    ):
        with pytest.raises(OptionError, match=message):
            lenet5.show(tmp_path / "x.html", open=False, **wrong)


def test_no_browser(lenet5, tmp_path, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    path = tmp_path / "graph.html"
    with pytest.raises(gcn.GraphcnnError, match="there is no browser") as caught:
        lenet5.forward_graph.show(path)
    assert "graph.html" in str(caught.value)
    assert path.is_file(), "the page is there for another way to open it"


def test_the_wheel_holds_the_page_s_parts(tmp_path):
    root = Path(__file__).parents[2]
    code = (
        "import sys; from hatchling.builders.wheel import WheelBuilder;"
        f"print(next(WheelBuilder({str(root)!r}).build(directory={str(tmp_path)!r}, versions=['standard'])))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    names = ZipFile(result.stdout.split()[-1]).namelist()
    folder = root / "graphcnn" / "inspection" / "viewer"
    for part in [*(folder / "assets").iterdir(), *(folder / "vendor").iterdir()]:
        assert part.relative_to(root).as_posix() in names
    assert any(name.endswith("licenses/graphcnn/inspection/viewer/vendor/dagre.LICENSE") for name in names)
