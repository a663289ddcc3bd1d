"""The viewer in a browser, from disk: what a user sees and can do."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.inspection.viewer import show_difference

pytestmark = pytest.mark.browser

GRADIENT_OF_CONV2 = {"correlate2d, %73", "transpose, %72", "rot180, %71", "rot180, %74", "convolve2d, %75"}


def compiled(network, input_shape=None, **options):
    return gcn.compile(
        network,
        input_shape=input_shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.05, momentum=0.9),
        **options,
    )


def residual_network(blocks):
    """Conv, relu and add, as in ResNet; 24 blocks are 50 layers with weights."""
    x = gcn.Input((16, 16, 3), name="image")
    h = gcn.relu(gcn.Conv2d(8, 3, padding="same")(x))
    for _ in range(blocks):
        y = gcn.relu(gcn.Conv2d(8, 3, padding="same")(h))
        h = gcn.relu(h + gcn.Conv2d(8, 3, padding="same")(y))
    return gcn.Network(x, gcn.Dense(10)(gcn.GlobalAvgPool2d()(h)))


def model_of(name):
    if name == "residual":
        return compiled(residual_network(24))
    if name == "1500 nodes":
        return compiled(residual_network(46))
    entry = gcn.zoo.ZOO[name]
    return compiled(entry.make(), entry.input_shape)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Write the page of a network once, and return its path."""
    written = {}

    def path_of(name):
        if name not in written:
            path = tmp_path_factory.mktemp("pages") / "graph.html"
            kernels = name not in ("residual", "1500 nodes")
            written[name] = model_of(name).show(path, title=name, kernels=kernels, batch_size=64, open=False)
        return written[name]

    return path_of


@pytest.fixture
def lenet5(page, pages):
    page.open(pages("lenet5"))
    return page


@pytest.mark.parametrize(
    ("name", "layers"), [("lenet5", 13), ("vgg_small", 20), ("residual", 125), ("1500 nodes", 235)]
)
def test_a_page_opens_from_disk_without_errors_or_requests(page, pages, name, layers):
    path = pages(name)
    page.open(path)
    assert page.find("#title").text == name
    assert page.driver.title == f"{name} · graphcnn"
    assert page.find(".heading:nth-child(1)").text.startswith("forward")
    assert page.find(".heading:nth-child(2)").text.startswith("gradient")
    assert len(page.all(".card.side0")) == layers + 1, "every layer, the loss and the input, closed"
    assert not page.all(".node")
    assert page.labelled("conv1", "forward").is_displayed()
    assert page.labelled("conv1", "gradient").is_displayed()
    assert page.problems() == []
    assert page.requests() == [path.as_uri()]


def test_each_gradient_layer_stands_beside_its_layer_and_delta_runs_up(lenet5):
    def place(name, column):
        return lenet5.labelled(name, column).rect

    for name in ("conv1", "relu1", "pool1", "conv2", "dense1"):
        forward, gradient = place(name, "forward"), place(name, "gradient")
        assert abs(forward["y"] - gradient["y"]) < 2
        assert gradient["x"] > forward["x"] + forward["width"]
    ends = lenet5.run(
        "return [...document.querySelectorAll('.edge')].map((path) => ["
        "path.getPointAtLength(0), path.getPointAtLength(path.getTotalLength())].map(({x, y}) => [x, y]))"
    )
    middle = lenet5.run("return document.querySelector('.card.side1').getBBox().width") + 40
    down = [start for start, end in ends if start[1] < end[1]]
    up = [start for start, end in ends if start[1] > end[1]]
    assert len(down) == 13
    assert len(up) == 12
    assert max(x for x, _ in down) < middle < min(x for x, _ in up)


def test_choosing_a_node_shows_its_partners_operands_and_users(lenet5):
    lenet5.open_layer("conv2")
    lenet5.labelled("correlate2d, %9,").click()
    assert lenet5.title() == "correlate2d"
    found = {", ".join(label.split(", ")[:2]) for label in lenet5.marked("partner")}
    assert found == GRADIENT_OF_CONV2
    assert [label.split(",")[0] for label in lenet5.marked("chosen")] == ["correlate2d"]
    operands = " ".join(lenet5.marked("operand"))
    assert "conv2.filters" in operands
    assert "pool1" in operands
    assert any(label.startswith("add, %12") for label in lenet5.marked("user"))
    panel = lenet5.panel()
    for fact in ("[N, 10, 10, 16] float32", "30.7", "Eq. 7", "networks.py:", "Conv2d(16, 5),"):
        assert fact in panel
    assert lenet5.find(".line.here").text.endswith("Conv2d(16, 5),")

    lenet5.labelled("rot180, %71").click()
    assert [label.split(",")[1] for label in lenet5.marked("partner")] == [" %9"]
    lenet5.find("#graph").click()
    lenet5.keys("\ue00c")
    assert lenet5.marked("chosen") == lenet5.marked("partner") == []


def test_layers_open_and_close(lenet5):
    assert not lenet5.all(".node")
    lenet5.open_layer("conv1")
    assert {"conv1.filters", "correlate2d", "conv1.bias", "broadcast", "add"} <= set(
        lenet5.texts(".node.side0 > .name")
    )
    assert {"rot180", "convolve2d", "sum"} == set(lenet5.texts(".node.side1 > .name"))
    lenet5.find(".frame.side1 .fold").click()
    assert not lenet5.all(".node")
    lenet5.find("#expand").click()
    assert len(lenet5.all(".node")) == 82
    assert not lenet5.all(".card")
    lenet5.find("#collapse").click()
    assert not lenet5.all(".node")
    assert lenet5.problems() == []


def test_search_finds_opens_and_chooses(lenet5):
    lenet5.keys("/")
    lenet5.keys("rot180 conv1")
    found = [item.text for item in lenet5.all("#found li")]
    assert found[-1] == "1 found"
    assert "rot180" in found[0]
    lenet5.keys("\ue007")
    assert lenet5.title() == "rot180"
    assert "in conv1 · gradient" in lenet5.panel()
    chosen = lenet5.find(".box.chosen")
    assert chosen.is_displayed()
    assert chosen == lenet5.driver.switch_to.active_element
    lenet5.keys("/", "no such node")
    assert [item.text for item in lenet5.all("#found li")] == ["nothing found"]


def test_arrow_keys_walk_along_edges_and_to_the_other_side(lenet5):
    lenet5.labelled("conv1", "forward").click()
    for key, name, column in (
        ("\ue015", "relu1", "forward"),  # down
        ("\ue015", "pool1", "forward"),
        ("\ue014", "pool1", "gradient"),  # right
        ("\ue013", "relu1", "gradient"),  # up
        ("\ue012", "relu1", "forward"),  # left
        ("\ue013", "conv1", "forward"),
    ):
        lenet5.keys(key)
        assert lenet5.title() == name
        assert f"{column}, " in lenet5.panel()
    lenet5.keys("\ue007")
    assert "correlate2d" in lenet5.texts(".node > .name")
    lenet5.keys("\ue007")
    assert not lenet5.all(".node")


def test_zooming(lenet5):
    def width():
        return lenet5.labelled("conv1", "forward").rect["width"]

    before = width()
    lenet5.keys("+")
    assert width() > before * 1.2
    lenet5.keys("-", "-")
    assert width() < before * 0.9


def test_the_views_as_simplified_and_as_kernels(lenet5):
    views = {button.text: button for button in lenet5.all("#views button")}
    assert list(views) == ["As derived", "Simplified", "Kernels"]
    views["Simplified"].click()
    assert [heading.text.splitlines()[0] for heading in lenet5.all(".heading")] == [
        "forward",
        "gradient",
        "update",
    ]
    lenet5.open_layer("conv1")
    assert "convolve2d" not in lenet5.texts(".node > .name"), "simplified to correlate2d"
    assert {"conv1.filters.velocity", "subtract"} <= set(lenet5.texts(".node.side2 > .name"))
    views["Kernels"].click()
    lenet5.open_layer("conv1")
    fused = lenet5.labelled("correlate2d_relu, kernel")
    assert {text.split()[0] for text in fused.text.splitlines() if "%" in text} >= {
        "correlate2d",
        "broadcast",
        "add",
        "relu",
    }
    fused.click()
    lenet5.find("#panel .nodes .item").click()
    assert lenet5.find('#views [aria-checked="true"]').text == "Simplified"
    assert lenet5.title() == "correlate2d"
    assert "correlate2d_relu" in lenet5.panel(), "the node says which kernel it is fused in"


def test_colours_by_cost_rank_the_layers(lenet5):
    lenet5.find('#colour option[value="flops"]').click()
    heat = lenet5.run(
        "return Object.fromEntries([...document.querySelectorAll('.card.side0')].map((card) => "
        "[card.querySelector('.name').textContent, getComputedStyle(card.querySelector('.outline')).fill]))"
    )
    assert len(set(heat.values())) > 5
    assert heat["conv2"] != heat["image"]
    assert "30." in lenet5.labelled("conv2", "forward").text
    assert "FLOP" in lenet5.find("#legend").text
    assert not lenet5.find('#colour option[value="time"]').is_enabled(), "nothing was measured"


def numbers(text):
    return [float(part.replace("−", "-")) for part in re.findall(r"−?\d+(?:\.\d+)?(?:e[−+]?\d+)?", text)]


@pytest.mark.parametrize(
    ("layer", "node", "equation"),
    [
        ("conv2", "correlate2d, %9", "Eq. 7"),
        ("conv2", "convolve2d, %75", "Eq. 13"),
        ("conv2", "correlate2d, %73", "Eq. 20"),
    ],
)
def test_stepping_through_a_convolution_on_example_values(lenet5, layer, node, equation):
    lenet5.open_layer(layer)
    lenet5.labelled(node).click()
    panel = lenet5.panel()
    assert "example values" in panel
    assert equation in panel
    seen = set()
    for step in range(4):
        result = lenet5.run(
            "return [...document.querySelectorAll('.plates.three .grid')].at(-1).querySelectorAll('.digits')"
            f"[{step}].textContent"
        )
        terms = lenet5.texts(".term")
        total = sum(a * b for a, b in (numbers(term) for term in terms))
        shown = numbers(lenet5.find("#step-sum").text)[0]
        assert shown == total == numbers(result)[0]
        seen.add(lenet5.find(".stepper output").text)
        lenet5.find('[aria-label="Step on"]').click()
    assert len(seen) == 4
    assert not re.search(r"undefined|null|false|NaN|\[object", lenet5.panel())
    before = lenet5.find(".stepper output").text
    lenet5.find("#step-play").click()
    lenet5.wait(lambda: lenet5.find(".stepper output").text != before, "the animation goes on")
    lenet5.find("#step-play").click()


def test_the_rotation_is_drawn_on_the_parameter_s_own_values(page, tmp_path):
    model = model_of("digits")
    filters = np.zeros((3, 3, 1, 8), np.float32)
    filters[:, :, 0, 0] = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    model.parameters["conv1.filters"] = filters
    x = gcn.Input((8, 8, 1))
    network = gcn.Network(x, gcn.Dense(10)(gcn.Flatten()(gcn.Conv2d(8, 3)(gcn.relu(gcn.Conv2d(8, 3)(x))))))
    deep = compiled(network)
    first = np.zeros((3, 3, 8, 8), np.float32)
    first[:, :, 0, 0] = filters[:, :, 0, 0]
    deep.parameters["conv2.filters"] = first
    page.open(deep.show(tmp_path / "deep.html", open=False))
    page.keys("/", "rot180 conv2 [3,", "\ue007")
    assert page.title() == "rot180"
    assert "example values" not in page.panel()
    before, after = page.all("#panel .grid")
    assert "".join(before.text.split()) == "123456789"
    places = page.run(
        "return [...arguments[0].querySelectorAll('.digits')].map((text) => {"
        "const {x, y} = text.getBoundingClientRect();"
        "return [text.textContent, Math.round(y), Math.round(x)]})",
        after,
    )
    read = "".join(text for text, _, _ in sorted(places, key=lambda each: (each[1] // 8, each[2])))
    assert read == "987654321", "read from the screen, row by row"


def test_stepping_through_a_convolution_on_a_sample(page, tmp_path):
    model = compiled(gcn.Sequential(gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(10)), (6, 6, 1))
    random = np.random.default_rng(2)
    images = random.standard_normal((1, 6, 6, 1)).astype(np.float32)
    recording = model.inspect(images, np.array([4]))
    page.open(model.show(tmp_path / "sample.html", recording=recording, open=False))
    page.keys("/", "correlate2d conv1", "\ue007")
    assert "example values" not in page.panel()
    picked = page.find(".plates.three .grid.pick")
    picked.find_elements("css selector", ".cell")[2 * 4 + 1].click()
    assert page.find(".stepper output").text == "(2, 1)"
    result = next(value for key, value in recording.values.items() if key == 2)
    window = images[0, 2:5, 1:4, 0] * model.parameters["conv1.filters"][:, :, 0, 0]
    assert result[0, 2, 1, 0] == pytest.approx(window.sum(), abs=1e-6)
    assert numbers(page.find("#step-sum").text)[0] == pytest.approx(window.sum(), rel=2e-3)
    assert len(page.texts(".term")) == 9
    page.find('[aria-label="filter"] option[value="2"]').click()
    window = images[0, 2:5, 1:4, 0] * model.parameters["conv1.filters"][:, :, 0, 2]
    assert numbers(page.find("#step-sum").text)[0] == pytest.approx(window.sum(), rel=2e-3)
    page.keys("/", "add conv1", "\ue007")
    assert "Values" in page.panel()
    assert len(page.all("#panel .grid")) == 3
    assert page.problems() == []


GENERAL = (
    gcn.Conv2d(2, 3),
    gcn.Conv2d(2, 3, stride=2, padding=((1, 0), (2, 1))),
    gcn.Conv2d(2, 3, flip=True),
    gcn.Conv2d(2, 2, dilation=2),
)


@pytest.mark.parametrize("has_sample", [True, False], ids=["sample", "example"])
def test_the_sum_is_the_result_for_any_stride_dilation_padding_and_flip(page, tmp_path, has_sample):
    model = compiled(gcn.Sequential(*GENERAL, gcn.Flatten(), gcn.Dense(3)), (15, 14, 1))
    images = np.random.default_rng(4).standard_normal((1, 15, 14, 1)).astype(np.float32)
    recording = model.inspect(images, np.array([1])) if has_sample else None
    page.open(model.show(tmp_path / "general.html", recording=recording, open=False))
    page.find("#expand").click()
    convolutions = [
        (str(key), node)
        for key, node in model.gradient_graph.items()
        if node.op.name in ("correlate2d", "convolve2d")
    ]
    assert len(convolutions) == 11
    for key, node in convolutions:
        page.run(
            "document.querySelector(`[data-id='${arguments[0]}']`).dispatchEvent(new MouseEvent('click'))",
            key,
        )
        assert ("example values" in page.panel()) is not has_sample
        places = int(page.find("#step-slider").get_attribute("max"))
        for place in sorted({0, 1, places // 2, places}):
            sums, result = [], 0.0
            channels = page.all('[aria-label="channel"] option') or [None]
            for channel in channels:
                if channel is not None:
                    channel.click()
                page.run(
                    "const slider = document.querySelector('#step-slider'); slider.value = arguments[0];"
                    "slider.dispatchEvent(new Event('input'))",
                    place,
                )
                shown = page.texts(".total strong")
                sums.append(numbers(shown[0])[0])
                result = numbers(shown[-1])[0]
            is_summed_over_channels = node.op.sum_over == "channels"
            wanted = sum(sums) if is_summed_over_channels else sums[-1]
            assert wanted == pytest.approx(result, rel=5e-3, abs=2e-3 * max(1, abs(result))), (
                f"%{key} at {place}"
            )
            if has_sample and is_summed_over_channels:
                where = np.unravel_index(place, recording.values[int(key)].shape[1:3])
                assert result == pytest.approx(recording.values[int(key)][(0, *where, 0)], rel=1e-3, abs=1e-4)


def test_two_graphs_side_by_side(page, tmp_path):
    before = model_of("digits").gradient_graph
    after = gcn.simplify(before)
    keys = {str(node): key for key, node in before.items()}
    common = [(keys[str(node)], key) for key, node in after.items() if str(node) in keys]
    removed = [key for key, _ in before.items() if key not in dict(common)]
    added = [key for key, _ in after.items() if key not in {new for _, new in common}]
    difference = SimpleNamespace(common=common, changed=[], removed=removed, added=added)
    page.open(show_difference(before, after, difference, tmp_path / "difference.html", open=False))
    assert [heading.text.partition(" ")[0] for heading in page.all(".heading")] == ["before", "after"]
    assert page.find(".status.removed").text == str(len(removed))
    page.find("#expand").click()
    assert len(page.all(".node.status-removed")) == len(removed) > 0
    assert len(page.all(".node.status-added")) == len(added) > 0
    page.keys("/", "rot180 conv1", "\ue007")
    assert page.title() == "rot180"
    assert "removed" in page.panel()
    page.keys("/", "correlate2d conv1 eq. 7", "\ue007")
    assert [label.split(",")[0] for label in page.marked("partner")] == ["correlate2d"]
    assert page.problems() == []


def test_dragging_moves_the_graph(lenet5):
    from selenium.webdriver import ActionChains

    before = lenet5.labelled("conv1", "forward").rect
    stage = lenet5.find("#graph")
    ActionChains(lenet5.driver).move_to_element_with_offset(stage, 300, 100).click_and_hold().move_by_offset(
        -60, -40
    ).release().perform()
    after = lenet5.labelled("conv1", "forward").rect
    assert (round(after["x"] - before["x"]), round(after["y"] - before["y"])) == (-60, -40)


def test_the_graph_is_reached_by_the_tab_key(lenet5):
    lenet5.find("#theme").send_keys("\ue004")
    focused = lenet5.driver.switch_to.active_element
    assert focused.get_attribute("aria-label").startswith("image, forward, 1 node, closed")
    assert lenet5.title() == "image"
    lenet5.keys("\ue015")
    assert lenet5.driver.switch_to.active_element.get_attribute("aria-label").startswith("conv1, forward")


def test_the_equation_is_shown(lenet5):
    lenet5.open_layer("conv2")
    lenet5.labelled("rot180, %71").click()
    assert "180" in lenet5.find(".formula").text


def test_dark_and_light(lenet5):
    def paper():
        return lenet5.run("return getComputedStyle(document.documentElement).backgroundColor")

    light = paper()
    lenet5.find("#theme").click()
    assert paper() != light
    lenet5.find("#theme").click()
    assert paper() == light


HOSTILE = {
    "markup": "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>",
    "closing": "</script><script>document.title='hacked'</script><!--",
    "quotes": "\"'`><b>bold</b>&amp;",
    "long": "x" * 10_000,
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd \u202etxt.exe",
    "template": "{{data}} ${document.title='hacked'} {{script}}",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_inert(page, tmp_path, name):
    x = gcn.Input((8, 8, 1), name=name + " input")
    network = gcn.Network(x, gcn.Dense(10)(gcn.Flatten()(gcn.Conv2d(4, 3, name=name)(x))))
    path = compiled(network).show(tmp_path / "hostile.html", title=name, open=False)
    page.open(path)
    page.find("#expand").click()
    page.keys("/", "correlate2d", "\ue007")
    assert page.title() == "correlate2d"
    page.find("#panel .nodes .item").click()
    page.find('#views [data-view="simplified"]').click()
    page.keys("e")
    assert page.driver.title.endswith("· graphcnn")
    assert not page.all("#graph img, #panel img, #panel b, main script")
    start = name.replace("\u202e", "").split()[0][:8]
    shown = page.texts(".frame > .name")
    assert any(start in text for text in shown)
    assert not any("\u202e" in text for text in shown)
    overflow = page.run(
        "return [...document.querySelectorAll('.box, .frame')].filter((box) => {"
        "const width = box.querySelector('.outline').width.baseVal.value;"
        "return [...box.querySelectorAll(':scope > text')].map((text) => text.getBBox())"
        ".some((each) => each.x + each.width > width + 1)}).length"
    )
    assert overflow == 0, "names stay inside their boxes"
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    panel = page.run(
        "const panel = document.querySelector('#panel'); return panel.scrollWidth <= panel.clientWidth"
    )
    assert panel
    assert page.problems() == []
    assert page.requests() == [path.as_uri()]


def test_the_policy_stops_scripts_that_are_not_the_page_s_own(lenet5):
    lenet5.run(
        "const script = document.createElement('script'); script.textContent = \"document.title = 'hacked'\";"
        "document.body.append(script);"
        "const image = new Image(); image.src = 'https://example.invalid/x.png'; document.body.append(image);"
    )
    said = []
    lenet5.wait(lambda: said.extend(lenet5.problems()) or len(said) >= 2, "the browser says what it stopped")
    assert all("Content Security Policy" in message for message in said)
    assert {"script-src", "img-src"} == {re.search(r"\w+-src", message)[0] for message in said}
    assert lenet5.driver.title != "hacked"


def test_a_graph_of_its_own(page, tmp_path):
    x = gcn.Input((4, 4, 1), name="image")
    w = gcn.Input((3, 3, 1, 2), name="filters", batch=False)
    graph = gcn.Network([x, w], gcn.sum(gcn.correlate2d(x, w) ** 2)).graph
    page.open(gcn.gradient(graph, of="output", wrt=["filters"]).show(tmp_path / "graph.html", open=False))
    assert {"image", "filters", "correlate2d"} <= set(page.texts(".node.side0 > .name"))
    assert "convolve2d" in page.texts(".node.side1 > .name")
    assert page.problems() == []
