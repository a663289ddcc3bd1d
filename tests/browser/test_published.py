"""Every published network opens in the viewer, where layers lead to nodes, rules and lines."""

import pytest

import graphcnn as gcn
from graphcnn.zoo import PUBLISHED

pytestmark = pytest.mark.browser

SHAPES = {"lenet5_1998": (32, 32, 1), "unet": (188, 188, 1), "alexnet": (64, 64, 3), "googlenet": (64, 64, 3)}
QUICK = ("lenet5_1998", "unet", "squeezenet", "resnet18")
"""Those whose pages take a second or two; the others are for `pytest -m "browser and slow"`."""


def model_of(name):
    width = 1.0 if name == "lenet5_1998" else 0.1
    network = PUBLISHED[name].make(classes=3, input_shape=SHAPES.get(name, (32, 32, 3)), width=width)
    return gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.05), backend="numpy")


def choose(page, key):
    """Choose a node as a search by its number does, which opens the layers around it."""
    page.keys("/", f"%{key} ", "\ue007")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED]
)
def test_a_published_network_opens(page, tmp_path, name):
    model = model_of(name)
    graph = model.gradient_graph
    path = model.show(tmp_path / "graph.html", title=name, kernels=False, open=False)
    page.open(path)
    assert page.find("#title").text == name
    cards = page.run(
        "return [0, 1].map((side) => [...document.querySelectorAll(`.card.side${side}`)]"
        ".map((card) => [card.querySelector('.name').textContent, card.getBoundingClientRect().height]))"
    )
    assert cards[0][0][0].startswith("image")
    assert "loss" in [name.split()[-1] for name, _ in cards[0]], "to the loss"
    assert {name for name, _ in cards[1]} >= {name for name, _ in cards[0][1:] if name.startswith("relu")}
    assert all(height > 0 for side in cards for _, height in side)
    assert not page.all(".node")

    filters = graph.inputs_with_role("parameter")
    label, value = next((label, value) for label, value in filters.items() if value.type.rank == 4)
    layer = graph.node(value.key).origin.layer
    (forward,) = [
        key
        for key in graph.users(value)
        if graph.node(key).op.name == "correlate2d" and graph.node(key).origin.forward is None
    ]
    choose(page, forward)
    assert page.title() == "correlate2d"
    assert page.find(".box.chosen").is_displayed()
    assert page.marked("partner"), "its gradient nodes"
    assert layer.split(".")[-1] in page.panel()
    assert page.find(".line.here").text, "the line that made it"

    gradient = graph.outputs[f"gradient({label})"].key
    choose(page, gradient)
    node = graph.node(gradient)
    assert page.title() == node.op.name
    panel = page.panel()
    assert node.origin.rule in panel
    assert f"%{node.origin.forward}" in panel
    assert [mark.split(", ")[1] for mark in page.marked("partner")] == [f"%{node.origin.forward}"]
    assert page.find(".line.here").text
    assert page.problems() == []
    assert page.requests() == [path.as_uri()]
