"""DOT, Mermaid, LaTeX, SVG and what notebooks display: right for every network, inert for every name."""

import html.parser
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn import ops
from graphcnn.cli import main
from graphcnn.errors import GraphError
from graphcnn.inspection.dot import graph_dot
from graphcnn.inspection.labels import FILLS, shown
from graphcnn.inspection.latex import latex_document
from graphcnn.inspection.mermaid import graph_mermaid
from graphcnn.inspection.svg import graph_svg
from graphcnn.ir import BATCH, TensorType
from graphcnn.transform import gradient

WRITERS = {"dot": graph_dot, "mermaid": graph_mermaid, "latex": latex_document, "svg": graph_svg}
SVG = "{http://www.w3.org/2000/svg}"


def compiled(name: str) -> gcn.Model:
    entry = gcn.zoo.ZOO[name]
    return gcn.compile(
        entry.make(),
        input_shape=entry.input_shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1, momentum=0.9),
    )


@pytest.fixture(scope="module")
def digits() -> gcn.Model:
    return compiled("digits")


HOSTILE = [
    "<script>alert(1)</script>",
    '"] ; evil [label="',
    'a\\" \\N \\l \\',
    "]] --> x; end %%{init: {}}%%\nflowchart",
    "#quot;#lt;b#gt; &lt; &#60; `x` $x$ \\end{document} \\input{/etc/passwd}",
    "x\u0000\u001b[31m\u2028 y",
    "\u202e\u05e9\u05dc\u05d5\u05dd\u2066",
    "n" * 10_000,
]


def named(name: str) -> gcn.Graph:
    """Return a gradient graph in which an input, a layer, an output and the graph bear a name."""
    x = gcn.Input((8, 8, 1), name=name)
    hidden = gcn.Conv2d(2, 3, name=f"{name} layer")(x)
    network = gcn.Network(x, gcn.Dense(3)(gcn.Flatten()(gcn.relu(hidden))))
    return gcn.compile(network, loss=gcn.CrossEntropy()).gradient_graph.copy(name)


# DOT


DOT_LINE = re.compile(
    r"""(?:digraph\ "(?:[^"\\]|\\.)*"\ \{ | \s*subgraph\ cluster_\d+\ \{ | \s*\} | \}
    | \s*(?:graph|node|edge|n\d+|out\d+)\ \[(?:[a-z]+=(?:"(?:[^"\\]|\\.)*"|\w+)(?:,\ )?)+\]
    | \s*label="(?:[^"\\]|\\.)*" | \s*n\d+\ ->\ (?:n|out)\d+(?:\ \[style=dashed\])? | )""",
    re.VERBOSE,
)


@pytest.mark.parametrize("stage", ["forward", "gradient", "step"])
def test_dot_has_every_node_and_edge(digits: gcn.Model, stage: str) -> None:
    graph = getattr(digits, f"{stage}_graph")
    text = graph_dot(graph)
    assert all(DOT_LINE.fullmatch(line) for line in text.splitlines())
    assert text.count("{") == text.count("}")
    assert len(re.findall(r"^ +n\d+ \[", text, re.MULTILINE)) == len(graph)
    edges = {(int(a), int(b)) for a, b in re.findall(r"n(\d+) -> n(\d+)", text)}
    assert edges == set(graph.nx.edges())


def test_dot_sets_the_gradient_apart(digits: gcn.Model) -> None:
    text = graph_dot(digits.gradient_graph)
    assert 'label="conv1: gradient"' in text
    assert r'"convolve2d\nEq. 14\n[3, 3, 1, 8]", fillcolor="#ffedd5"' in text
    assert "style=dashed" in text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_inert_in_dot(name: str) -> None:
    text = graph_dot(named(name))
    assert all(DOT_LINE.fullmatch(line) for line in text.splitlines())
    assert len(text) < 40_000


# Mermaid

MERMAID_LINE = re.compile(
    r"""flowchart\ TB | \s*classDef\ \w+\ [\w#:,]+ | \s*end | \s*subgraph\ layer\d+\["(TEXT)"\]
    | \s*n\d+(?:\(\["(TEXT)"\]\)|\["(TEXT)"\]):::\w+ | \s*n\d+\ (?:-->|-\.->)\ (?:n|out)\d+
    | \s*out\d+\[/"(TEXT)"/\]""".replace("TEXT", r"(?:[^\"<>#&`;]|\#\d+;|<br/>)*"),
    re.VERBOSE,
)


@pytest.mark.parametrize("stage", ["forward", "gradient", "step"])
def test_mermaid_has_every_node_and_edge(digits: gcn.Model, stage: str) -> None:
    graph = getattr(digits, f"{stage}_graph")
    text = graph_mermaid(graph)
    assert all(MERMAID_LINE.fullmatch(line) for line in text.splitlines())
    assert text.count("subgraph ") == len(re.findall(r"^  end$", text, re.MULTILINE))
    edges = {(int(a), int(b)) for a, b in re.findall(r"n(\d+) \S+ n(\d+)", text)}
    assert edges == set(graph.nx.edges())


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_inert_in_mermaid(name: str) -> None:
    text = graph_mermaid(named(name))
    assert all(MERMAID_LINE.fullmatch(line) for line in text.splitlines())
    assert len(text) < 60_000


# LaTeX


def check_latex(text: str) -> None:
    """Assert that groups, environments and \\left-\\right pairs close, and that text mode holds no math."""
    assert text.startswith("\\documentclass")
    assert text.endswith("\\end{document}\n")
    stack: list[str] = []
    depth = 0
    for token in re.findall(r"\\begin\{[a-z*]+\}|\\end\{[a-z*]+\}|\\.|[{}]", text, re.DOTALL):
        if token.startswith("\\begin"):
            stack.append(token[6:])
        elif token.startswith("\\end"):
            assert stack.pop() == token[4:]
        elif token in "{}":
            depth += 1 if token == "{" else -1
            assert depth >= 0
    assert stack == []
    assert depth == 0
    body = text.partition("\\begin{document}")[2]
    words = re.sub(r"\\begin\{gather\*\}.*?\\end\{gather\*\}", "", body, flags=re.DOTALL)
    words = re.sub(r"\$[^$]*\$", "", words)
    assert not re.search(r"(?<!\\)[_^&#%$]", words)


@pytest.mark.parametrize("name", gcn.zoo.ZOO)
@pytest.mark.parametrize("stage", ["forward", "gradient", "step"])
def test_latex_of_whole_networks(name: str, stage: str) -> None:
    text = latex_document(getattr(compiled(name), f"{stage}_graph"))
    check_latex(text)
    assert "\\subsection*{Forward pass}" in text
    assert ("\\subsection*{Gradient}" in text) == (stage != "forward")
    if stage == "gradient":
        assert "\\tag*{Eq.~14" in text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_inert_in_latex(name: str) -> None:
    text = latex_document(named(name))
    check_latex(text)
    assert "\\input" not in text
    assert text.count("\\end{document}") == 1


# SVG


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Return the boxes of a picture by title: left, top, right, bottom."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        text = next(group.iter(f"{SVG}text")).text or ""
        found[f"{rect.attrib['fill']} {text} {len(found)}"] = x, y, x + width, y + height
    return found


def texts(svg: str) -> list[tuple[str, float, float, float]]:
    """Return each text with where it begins and ends, about, and its baseline."""
    found = []
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        width = len(text.text or "") * float(text.attrib["font-size"]) * 0.5
        x = float(text.attrib["x"]) - (width / 2 if text.attrib["text-anchor"] == "middle" else 0)
        found.append((text.text or "", x, x + width, float(text.attrib["y"])))
    return found


def segments(svg: str) -> list[tuple[float, float, float, float]]:
    found = []
    for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        found += [(*a, *b) for a, b in pairwise(points)]
    return found  # type: ignore[return-value]


def branches() -> gcn.Graph:
    x = gcn.Input((8, 8, 2), name="image")
    h = gcn.relu(gcn.BatchNorm2d()(gcn.Conv2d(2, 3, padding="same")(x)))
    h = gcn.relu(gcn.Conv2d(2, 3, padding="same")(h) + h)
    y = gcn.Dense(3)(gcn.GlobalAvgPool2d()(gcn.concatenate(h, gcn.tanh(h))))
    return gcn.compile(gcn.Network(x, y), loss=gcn.CrossEntropy(), optimizer=gcn.Adam()).step_graph


PICTURES = {
    "digits": lambda: compiled("digits").gradient_graph,
    "digits, whole step": lambda: compiled("digits").step_graph,
    "lenet5": lambda: compiled("lenet5").gradient_graph,
    "branches": branches,
    "forward alone": lambda: compiled("lecun1989").forward_graph,
}


@pytest.mark.parametrize("case", PICTURES)
@pytest.mark.parametrize("by_layer", [True, False])
def test_no_line_crosses_a_box_or_text(case: str, by_layer: bool) -> None:
    svg = graph_svg(PICTURES[case](), by_layer)
    rects = list(boxes(svg).values())
    labels = texts(svg)
    assert segments(svg)
    for x0, y0, x1, y1 in segments(svg):
        left, right, top, bottom = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        for a, b, c, d in rects:
            assert right <= a + 0.5 or left >= c - 0.5 or bottom <= b + 0.5 or top >= d - 0.5
        for text, start, end, baseline in labels:
            apart = right < start or left > end or bottom < baseline - 8 or top > baseline
            assert apart, (text, (x0, y0, x1, y1))


@pytest.mark.parametrize("case", PICTURES)
@pytest.mark.parametrize("by_layer", [True, False])
def test_boxes_do_not_overlap_and_lie_in_the_picture(case: str, by_layer: bool) -> None:
    svg = graph_svg(PICTURES[case](), by_layer)
    rects = list(boxes(svg).values())
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for n, (a, b, c, d) in enumerate(rects):
        assert 0 <= a < c <= width
        assert 0 <= b < d <= height
        assert all(c < e or g < a or d < f or h < b for e, f, g, h in rects[:n])


def test_forward_is_at_the_left_and_gradients_at_the_right(digits: gcn.Model) -> None:
    found = boxes(graph_svg(digits.gradient_graph))
    forward = [box for name, box in found.items() if name.startswith("#dbeafe")]
    gradient = [box for name, box in found.items() if name.startswith("#ffedd5")]
    assert len(forward) > 5
    assert max(box[2] for box in forward) < min(box[0] for box in gradient)
    svg = graph_svg(digits.gradient_graph)
    for part in ("Eq. 14", "→ gradient(conv1.filters)", "[N, 6, 6, 8]", "max-pool: to the winning unit"):
        assert part in svg


@pytest.mark.parametrize("by_layer", [True, False])
def test_updates_have_a_column_of_their_own(by_layer: bool) -> None:
    found = boxes(graph_svg(branches(), by_layer))
    left = {
        fill: min(box[0] for name, box in found.items() if name.startswith(fill)) for fill in FILLS.values()
    }
    assert left["#dbeafe"] < left["#ffedd5"] < left["#dcfce7"]


def test_sums_over_paths_are_gradients_and_no_updates() -> None:
    x = gcn.Input((4,), "x")
    graph = gradient(gcn.Network(x, gcn.sum(gcn.tanh(x) * x)).graph, "output", ["x"])
    assert "#dcfce7" not in graph_svg(graph)


def test_a_large_graph_is_drawn_by_layer() -> None:
    x = gcn.Input((8, 8, 2), name="image")
    h = x
    for _ in range(50):
        h = gcn.relu(gcn.Conv2d(2, 3, padding="same")(h) + h)
    network = gcn.Network(x, gcn.Dense(3)(gcn.Flatten()(h)))
    graph = gcn.compile(network, loss=gcn.CrossEntropy()).gradient_graph
    assert len(graph) > 800
    svg = graph_svg(graph)
    assert len(boxes(svg)) < 320
    assert "conv50" in svg


def test_a_large_graph_without_layers_is_drawn_node_by_node() -> None:
    graph = gcn.Graph("chain")
    value = graph.input("x", TensorType((BATCH, 3)))
    for _ in range(200):
        value = graph.add(ops.Tanh(), value)
    assert len(boxes(graph_svg(graph))) == 201


def test_a_long_chain_of_sums_has_equations_and_a_picture() -> None:
    x = gcn.Input((4,), "x")
    h = gcn.Dense(4)(x)
    for _ in range(1500):
        h = h + 1.0
    graph = gcn.compile(gcn.Network(x, gcn.Dense(2)(h)), loss=gcn.CrossEntropy()).gradient_graph
    assert "gradient(dense1.weights)" in graph_svg(graph, by_layer=False)
    assert r"\partial w^{\text{dense1}}" in latex_document(graph)


def test_a_graph_of_a_parameter_alone_is_drawn() -> None:
    graph = gcn.Graph("alone")
    graph.input("w", TensorType((3,)), role="parameter")
    assert [name.split()[1] for name in boxes(graph_svg(graph))] == ["w"]


def test_scopes_are_one_box_where_there_are_many_layers() -> None:
    block = [gcn.Sequential(gcn.Conv2d(2, 3, padding=1), gcn.ReLU(), name=f"block{n}") for n in range(40)]
    network = gcn.Sequential(*block, gcn.Flatten(), gcn.Dense(2))
    graph = gcn.compile(network, input_shape=(4, 4, 2), loss=gcn.CrossEntropy()).gradient_graph
    titles = [name.split()[1] for name in boxes(graph_svg(graph))]
    assert "block39" in titles
    assert "block39.conv1" not in titles


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("by_layer", [True, False])
def test_names_are_inert_in_svg(name: str, by_layer: bool) -> None:
    svg = graph_svg(named(name), by_layer)
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "title", "rect", "text", "polyline", "polygon"}
    assert len(svg) < 120_000
    assert not re.search(r"[\u0000-\u0008\u202a-\u202e\u2066\u2067\ud800-\udfff]", svg)


def test_a_picture_needs_nothing_from_elsewhere(digits: gcn.Model) -> None:
    svg = graph_svg(digits.gradient_graph)
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert "href" not in svg
    assert "url(" not in svg


# Notebooks


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["conv", *HOSTILE], ids=str)
def test_notebooks_display_a_model_with_table_and_picture(name: str) -> None:
    layer = gcn.Conv2d(2, 3, name=f"{name} layer")
    model = gcn.compile(
        gcn.Sequential(layer, gcn.Flatten(), gcn.Dense(2)), input_shape=(8, 8, 1), loss=gcn.CrossEntropy()
    )
    tags = Tags()
    tags.feed(model._repr_html_())
    assert tags.open == []
    assert {"table", "svg", "polyline"} <= tags.seen
    assert "script" not in tags.seen
    assert "20" in model._repr_html_()
    assert model._repr_svg_() == model.gradient_graph._repr_svg_()


def test_a_model_without_a_loss_displays_its_forward_graph() -> None:
    model = gcn.compile(gcn.Dense(2), input_shape=(3,))
    assert model._repr_svg_() == graph_svg(model.forward_graph)
    assert "<table" in model._repr_html_()


def test_an_empty_graph_displays_as_text() -> None:
    assert gcn.Graph()._repr_svg_() is None
    assert gcn.Graph()._repr_html_() is None


# Bad input


@pytest.mark.parametrize("form", WRITERS)
def test_an_empty_graph_is_an_error(form: str) -> None:
    with pytest.raises(GraphError, match="'nothing' is empty"):
        WRITERS[form](gcn.Graph("nothing"))


@pytest.mark.parametrize("form", WRITERS)
def test_a_circle_made_by_hand_is_an_error_that_shows_it(form: str) -> None:
    graph = compiled("digits").forward_graph
    graph.nx.add_edge(6, 2, key=2, result=0)
    with pytest.raises(GraphError, match="its edges run in a circle") as caught:
        WRITERS[form](graph)
    assert "%2 → %5 → %6 → %2" in str(caught.value)
    assert "graph.nx is for reading" in str(caught.value)


@pytest.mark.parametrize("form", WRITERS)
def test_an_edge_added_by_hand_is_an_error_that_names_the_node(form: str) -> None:
    graph = compiled("digits").forward_graph
    graph.nx.add_edge(0, 6, key=1, result=0)
    with pytest.raises(GraphError, match=r"relu1 .*node %6 .*its edges differ from its operands"):
        WRITERS[form](graph)


@pytest.mark.parametrize("form", WRITERS)
def test_a_node_added_by_hand_is_an_error(form: str) -> None:
    graph = compiled("digits").forward_graph
    graph.nx.add_node("mine")
    with pytest.raises(GraphError, match="networkx holds other nodes than the graph"):
        WRITERS[form](graph)


@pytest.mark.parametrize("form", WRITERS)
def test_what_is_no_graph_is_an_error(form: str) -> None:
    with pytest.raises(GraphError, match="a graph is shown, not Sequential"):
        WRITERS[form](gcn.zoo.digits())  # type: ignore[arg-type]


def test_names_are_shown_short_and_isolated() -> None:
    assert shown("conv1") == "conv1"
    assert shown("x" * 100) == "x" * 39 + "…"
    assert shown("\ud800") == "\N{REPLACEMENT CHARACTER}"
    assert shown("a\nb") == "a\N{REPLACEMENT CHARACTER}b"
    assert shown("\u05e9") == "\N{FIRST STRONG ISOLATE}\u05e9\N{POP DIRECTIONAL ISOLATE}"


# The command line


@pytest.mark.parametrize("form", WRITERS)
def test_the_command_line_writes_each_form(digits: gcn.Model, form: str) -> None:
    result = CliRunner().invoke(main, ["show", "digits", "--as", form])
    assert result.exit_code == 0, result.output
    tooltips = re.compile("<title>.*?</title>", re.DOTALL)  # they name the line that compiles
    expected = WRITERS[form](digits.gradient_graph)
    assert tooltips.sub("", result.output) == tooltips.sub("", expected)


def test_the_command_line_draws_by_layer_or_by_node() -> None:
    numbers = [
        len(boxes(CliRunner().invoke(main, ["show", "digits", "--as", "svg", "--by", by]).output))
        for by in ("layer", "node")
    ]
    assert numbers == [7 + 6, 10 + 19]  # forward and gradient
