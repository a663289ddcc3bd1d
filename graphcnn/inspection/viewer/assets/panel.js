// What is known of the chosen node or layer.

const MATHML = "http://www.w3.org/1998/Math/MathML";
const MATH_TAGS = new Set([
  "math",
  "mrow",
  "mi",
  "mo",
  "mn",
  "ms",
  "mtext",
  "mspace",
  "msub",
  "msup",
  "msubsup",
  "munder",
  "mover",
  "munderover",
  "mfrac",
  "msqrt",
  "mroot",
  "mtable",
  "mtr",
  "mtd",
  "mstyle",
  "mpadded",
  "mphantom",
  "mmultiscripts",
]);
const MATH_ATTRIBUTES = new Set([
  "display",
  "mathvariant",
  "stretchy",
  "accent",
  "accentunder",
  "fence",
  "separator",
  "lspace",
  "rspace",
  "width",
  "height",
  "depth",
  "linethickness",
  "columnalign",
  "columnspacing",
  "rowspacing",
  "displaystyle",
  "scriptlevel",
  "form",
  "movablelimits",
  "largeop",
  "minsize",
  "maxsize",
  "symmetric",
]);

/** MathML from data: only known elements and attributes are made; of others there is the text alone. */
function mathematics(item) {
  if (typeof item === "string") return document.createTextNode(item);
  const [tag, attributes, children] = item;
  if (!MATH_TAGS.has(tag))
    return document.createTextNode(children.filter((child) => typeof child === "string").join(""));
  const allowed = Object.fromEntries(
    Object.entries(attributes).filter(([attribute]) => MATH_ATTRIBUTES.has(attribute)),
  );
  return make(MATHML, tag, allowed, children.map(mathematics));
}

/** An equation in lines: each further "=" begins a new one, and lines that are still too wide become smaller. */
function formula(item) {
  let parts = item[2];
  while (parts.length === 1 && Array.isArray(parts[0]) && parts[0][0] === "mrow") parts = parts[0][2];
  const lines = [[]];
  let seen = 0;
  for (const part of parts) {
    if (Array.isArray(part) && part[0] === "mo" && part[2][0] === "=" && (seen += 1) > 1) lines.push([]);
    lines.at(-1).push(part);
  }
  const written = el(
    "div",
    { class: "formula" },
    lines.map((line) => mathematics(["math", { display: "block" }, [["mrow", {}, line]]])),
  );
  requestAnimationFrame(() => {
    const ratio = written.clientWidth / written.scrollWidth;
    if (ratio < 1) written.style.fontSize = `${Math.max(0.68, ratio * 0.99)}em`;
  });
  return written;
}

const section = (title, ...children) => el("section", {}, title && el("h3", {}, title), ...children);

function facts(rows) {
  return el(
    "dl",
    { class: "facts" },
    rows
      .filter((row) => row && row[1] !== "" && row[1] !== undefined)
      .map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]),
  );
}

class Panel {
  constructor(element, onChoose, onToggle) {
    this.element = element;
    this.onChoose = onChoose;
    this.onToggle = onToggle;
  }

  show(view, chosen) {
    this.view = view;
    const content = !chosen
      ? this.#overview()
      : view.byId.has(chosen)
        ? this.#node(view.byId.get(chosen))
        : this.#layer(...this.#split(chosen));
    this.element.replaceChildren(...append(el("div"), content).childNodes);
    this.element.scrollTop = 0;
  }

  #split(chosen) {
    const [id, side] = chosen.split("/");
    return [this.view.groupsById.get(id), Number(side)];
  }

  #overview() {
    const { view } = this;
    const { totals, batch } = data;
    const sum = (side) => view.nodes.filter((node) => node.side === side);
    const flops = (side) => sum(side).reduce((total, node) => total + node.flops, 0);
    const hasGradient = view.sides.includes(1) && view.id !== "difference";
    const timed = view.nodes.some((node) => node.seconds !== undefined);
    const both = (text) => [0, 1].map((side) => text(sum(side))).join(" → ");
    const count = (status) => view.nodes.filter((node) => node.status === status).length;
    return [
      el(
        "header",
        {},
        el("h2", {}, name(view.id === "graph" || view.id === "difference" ? data.title : view.name)),
        view.about && el("p", { class: "lead" }, view.about),
      ),
      view.id === "difference" &&
        facts([
          ["removed", el("span", { class: "status removed" }, grouped(count("removed")))],
          ["added", el("span", { class: "status added" }, grouped(count("added")))],
          ["changed", el("span", { class: "status changed" }, grouped(count("changed") / 2))],
        ]),
      view.id === "difference" &&
        facts([
          ["nodes", both((nodes) => grouped(nodes.length))],
          ["FLOPs", both((nodes) => scaled(nodes.reduce((total, node) => total + node.flops, 0)))],
          ["peak memory", both((nodes) => scaled(Math.max(...nodes.map((node) => node.live)), "B"))],
        ]),
      view.id !== "difference" &&
        facts([
          totals.parameters && ["parameters", grouped(totals.parameters)],
          [
            view.id === "kernels" ? "kernels" : "nodes",
            grouped(view.nodes.filter((node) => view.id !== "kernels" || node.members).length),
          ],
          [
            "FLOPs",
            hasGradient
              ? `${scaled(flops(0))} forward, ${scaled(flops(1))} gradient`
              : scaled(view.nodes.reduce((total, node) => total + node.flops, 0)),
          ],
          ["peak memory", `${scaled(Math.max(...view.nodes.map((node) => node.live)), "B")} of values`],
          timed && ["time", `${duration(data.totals.seconds)} a step`],
          ["for", `${grouped(batch)} ${batch === 1 ? "sample" : "samples"}`],
        ]),
      hasGradient &&
        section(
          "How to read it",
          el(
            "p",
            {},
            "The network runs down on the left, from its input to the loss. There delta, the gradient of the loss, turns round and runs up on the right. Each layer’s gradient stands at the height of the layer itself.",
          ),
          el(
            "p",
            {},
            "Choose a node: its partners light up on the other side, a forward node’s gradient nodes or a gradient node’s forward node.",
          ),
        ),
      section(
        "Keys",
        el(
          "dl",
          { class: "keys" },
          [
            ["← ↑ ↓ →", "walk along the edges, or over to the other side"],
            ["Enter", "open or close a layer"],
            ["/", "search"],
            ["+ − 0", "zoom, whole graph"],
            ["E C", "open, close all layers"],
            ["Esc", "let go"],
          ].map(([key, what]) => [
            el(
              "dt",
              {},
              key.split(" ").map((each) => el("kbd", {}, each)),
            ),
            el("dd", {}, what),
          ]),
        ),
      ),
    ];
  }

  #layer(group, side) {
    const { view } = this;
    const ids = group.bySide[side];
    const nodes = ids.map((id) => view.byId.get(id));
    const total = (measure) => measured(view, ids, measure);
    const parameters = nodes.reduce((sum, node) => sum + (node.parameters ?? 0), 0);
    const isOpen = app.open.has(group.id);
    return [
      el(
        "header",
        {},
        el("h2", {}, name(group.name)),
        el(
          "p",
          { class: "lead" },
          `${view.columns[side]}, ${ids.length} ${ids.length === 1 ? "node" : "nodes"}`,
        ),
      ),
      el(
        "button",
        { type: "button", class: "wide", on: { click: () => this.onToggle(group.id) } },
        isOpen ? "Close the layer" : "Open the layer",
      ),
      facts([
        parameters > 0 && ["parameters", grouped(parameters)],
        ["FLOPs", scaled(total("flops"))],
        ["bytes moved", scaled(total("bytes"), "B")],
        total("sent") > 0 && ["a rank sends", scaled(total("sent"), "B")],
        ["live memory", scaled(total("live"), "B")],
        nodes.some((node) => node.seconds !== undefined) && ["time", duration(total("time"))],
        nodes.some((node) => node.seconds !== undefined) &&
          total("flops") > 0 && ["speed", speed(total("flops"), total("time"))],
      ]),
      section("Nodes", this.#list(ids)),
      this.#source(nodes.find((node) => node.source !== undefined)),
    ];
  }

  #node(node) {
    const { view } = this;
    const values = view.values?.[node.id];
    const partners = [...view.partners.get(node.id)];
    const forward = node.side === 0 || node.side === undefined;
    return [
      el(
        "header",
        {},
        el("h2", {}, name(node.title)),
        el(
          "p",
          { class: "lead" },
          el("code", {}, shownId(node)),
          node.title !== node.op && ` ${node.op}`,
          node.layer && [" in ", name(node.layer, 48)],
          node.side === 1 && view.id !== "difference" && " · gradient",
          node.side === 2 && " · update",
        ),
        node.status &&
          node.status !== "common" &&
          el("span", { class: `status ${node.status}` }, node.status),
      ),
      this.#equation(node),
      facts([
        [
          node.types.length > 1 ? "shapes" : "shape",
          node.types.map((type) =>
            el("div", {}, el("code", {}, type.replace(/^\w+/, "")), ` ${type.match(/^\w+/)?.[0] ?? ""}`),
          ),
        ],
        ...node.attributes.map(([key, value]) => [key, el("code", {}, clipped(value, 200))]),
        node.role && ["role", node.role],
        node.parameters && ["parameters", grouped(node.parameters)],
        (view.outputsOf.get(node.id) ?? []).length && [
          "leaves as",
          view.outputsOf.get(node.id).map((label) => el("div", {}, name(label, 60))),
        ],
        ["FLOPs", node.flops ? scaled(node.flops) : "0"],
        ["bytes moved", scaled(node.bytes, "B")],
        node.sent !== undefined && ["a rank sends", scaled(node.sent, "B")],
        ["live memory", scaled(node.live, "B")],
        node.seconds !== undefined && ["time", duration(node.seconds)],
        node.seconds > 0 && node.flops > 0 && ["speed", speed(node.flops, node.seconds)],
        node.kernel && ["fused in", this.#kernelLink(node.kernel)],
        node.details && ["built as", node.details],
      ]),
      node.op === "rot180" && !node.members && rotationPanel(node, values),
      (node.op === "correlate2d" || node.op === "convolve2d") && !node.members && stepperPanel(node, values),
      values?.summary && this.#values(values),
      node.members &&
        section(
          "Fused in it",
          el(
            "ul",
            { class: "nodes" },
            node.members.map((id) => this.#memberItem(id)),
          ),
        ),
      partners.length > 0 &&
        section(
          view.id === "difference" ? "Partner" : forward ? "Its gradient" : "Belongs to",
          this.#list(partners),
        ),
      section("Operands", this.#list(node.operands.map(([id]) => id))),
      section("Used by", this.#list(view.users.get(node.id))),
      this.#source(node),
    ];
  }

  #equation(node) {
    const equation = data.equations[node.equation];
    if (!equation) return null;
    const written = equation.math
      ? formula(equation.math)
      : el("div", { class: "formula" }, el("span", { class: "plain" }, equation.text));
    const rule = node.rule && node.rule !== equation.article ? node.rule : "";
    return el(
      "div",
      { class: "equation" },
      written,
      el(
        "div",
        { class: "chips" },
        equation.article && el("span", { class: "chip article" }, equation.article),
        rule && el("span", { class: "chip" }, clipped(rule, 80)),
      ),
      equation.note && el("p", { class: "hint" }, equation.note),
    );
  }

  #values({ summary, maps }) {
    const range =
      summary.least === undefined
        ? null
        : facts([
            ["values", `${digits(summary.least)} to ${digits(summary.greatest)}`],
            ["mean", digits(summary.mean)],
            summary.zeros > 0 && ["zeros", `${Math.round(summary.zeros * 100)}\u202f%`],
            summary["not finite"] > 0 && [
              "not finite",
              el("strong", { class: "alarm" }, grouped(summary["not finite"])),
            ],
          ]);
    const shown =
      maps &&
      el(
        "div",
        { class: "plates" },
        maps.maps.map((map, channel) =>
          plate(
            "",
            new Grid(maps.height, maps.width, map, { room: 112, title: `channel ${channel + 1}` }),
            `channel ${channel + 1}`,
          ),
        ),
      );
    return section("Values", range ?? el("p", { class: "alarm" }, "No value is finite."), shown);
  }

  #source(node) {
    const source = node && data.sources[node.source];
    if (!source) return null;
    return section(
      "Your line",
      el("p", { class: "hint" }, el("code", {}, `${clipped(source.file, 80)}:${source.line}`)),
      source.lines.length > 0 &&
        el(
          "pre",
          { class: "source" },
          source.lines.map(([number, text]) =>
            el(
              "span",
              { class: number === source.line ? "line here" : "line" },
              el("i", {}, number),
              el("bdi", {}, clipped(text, 160) || " "),
            ),
          ),
        ),
    );
  }

  #list(ids) {
    const unique = [...new Set(ids)].filter((id) => this.view.byId.has(id));
    if (!unique.length) return el("p", { class: "hint" }, "none");
    return el(
      "ul",
      { class: "nodes" },
      unique.slice(0, 60).map((id) => this.#item(this.view.byId.get(id), () => this.onChoose(id))),
      unique.length > 60 && el("li", { class: "hint" }, `and ${unique.length - 60} more`),
    );
  }

  #item(node, onClick) {
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: `item kind-${node.kind}`, on: { click: onClick } },
        el("i", { class: "dot" }),
        el("span", { class: "what" }, name(node.title, 60)),
        el("span", { class: "where" }, shownId(node)),
        el("span", { class: "shape" }, shapeOf(node)),
      ),
    );
  }

  #memberItem(id) {
    const node = memberNode(id);
    return this.#item(node, () => app.change("simplified", id));
  }

  #kernelLink(id) {
    const node = views.find((view) => view.id === "kernels").byId.get(id);
    return el(
      "button",
      { type: "button", class: "link", on: { click: () => app.change("kernels", id) } },
      node.title,
    );
  }
}

const speed = (flops, seconds) => `${(flops / seconds / 1e9).toPrecision(3)}\u202fGFLOP/s`;
