// The picture: cards, frames, nodes and edges as SVG. Elements are kept between layouts and only moved.

class Drawing {
  constructor(view, { onChoose, onToggle }) {
    this.view = view;
    this.onChoose = onChoose;
    this.onToggle = onToggle;
    this.elements = new Map();
    this.paths = new Map();
    this.layer = {
      frames: svg("g"),
      links: svg("g", { class: "links" }),
      edges: svg("g", { class: "edges" }),
      overlay: svg("g", { class: "overlay" }),
      boxes: svg("g"),
    };
    this.root = svg("g", {}, ...Object.values(this.layer));
    this.colour = { by: "kind" };
  }

  show(layout) {
    this.layout = layout;
    this.#update(
      this.elements,
      layout.boxes,
      (box) => this.#box(box),
      (element, box) => {
        element.setAttribute("transform", `translate(${round(box.x)} ${round(box.y)})`);
        if (box.kind !== "frame") return;
        const outline = element.firstChild;
        outline.setAttribute("width", box.width);
        outline.setAttribute("height", box.height);
      },
    );
    this.#update(
      this.paths,
      layout.edges,
      (edge) => this.#edge(edge),
      (element, edge) => {
        edge.element = element;
        element.setAttribute("d", curve([edge.start, ...edge.points, edge.end]));
      },
    );
    this.#links();
    this.paint(this.colour);
  }

  #update(elements, wanted, create, move) {
    for (const [id, element] of elements) {
      if (wanted.has(id) && element.kind === (wanted.get(id).kind ?? "edge")) continue;
      element.remove();
      elements.delete(id);
    }
    for (const [id, item] of wanted) {
      let element = elements.get(id);
      if (!element) {
        element = create(item);
        element.kind = item.kind ?? "edge";
        elements.set(id, element);
      }
      item.element = element;
      move(element, item);
    }
  }

  #edge(edge) {
    const path = svg("path", { class: "edge", "marker-end": "url(#arrow)" });
    this.layer.edges.append(path);
    return path;
  }

  #box(box) {
    if (box.kind === "frame") return this.#frame(box);
    const element = box.kind === "card" ? this.#card(box) : this.#node(box);
    this.layer.boxes.append(element);
    return element;
  }

  #frame(box) {
    const { group, side } = box;
    const open = svg(
      "g",
      {
        class: "fold",
        role: "button",
        "aria-label": `Close ${clipped(group.name, 80)}`,
        "aria-expanded": "true",
        on: {
          click: (event) => {
            event.stopPropagation();
            this.onToggle(group.id);
          },
        },
      },
      svg("rect", { x: 6, y: 6, width: 24, height: 24, rx: 6 }),
      svg("path", { d: "M14 16l4 4 4-4" }),
    );
    const element = svg(
      "g",
      {
        class: `frame side${side} depth${Math.min(group.depth, 3)}`,
        tabindex: -1,
        "data-id": box.id,
        role: "group",
        "aria-label": `${clipped(group.name, 80)}, ${this.view.columns[side]}, open`,
        on: {
          click: (event) => {
            event.stopPropagation();
            this.onChoose(box.id);
          },
          dblclick: () => this.onToggle(group.id),
        },
      },
      svg("rect", { class: "outline", rx: 12 }),
      open,
      label(group.name, 34, 22, box.width - 60, "600 12.5px", { class: "name" }),
    );
    this.layer.frames.append(element);
    return element;
  }

  #card(box) {
    const { group, side } = box;
    const ids = group.bySide[side];
    const count = ids.length;
    const note = this.#cardNote(group, side);
    const statuses = this.#statuses(group, side);
    const status = statuses.length > 1 ? "changed" : (statuses[0]?.[0] ?? "common");
    const colour = this.view.id === "difference" ? `status-${status}` : `kind-${this.#mainKind(group, side)}`;
    return svg(
      "g",
      {
        class: `card box side${side} ${colour}`,
        tabindex: -1,
        "data-id": box.id,
        role: "button",
        "aria-expanded": "false",
        "aria-label": `${clipped(group.name, 80)}, ${this.view.columns[side]}, ${count} ${count === 1 ? "node" : "nodes"}, closed. ${note}`,
        on: {
          click: (event) => {
            event.stopPropagation();
            this.onChoose(box.id);
          },
          dblclick: () => this.onToggle(group.id),
        },
      },
      count > 1 && svg("rect", { class: "stack", x: 4, y: 4, width: box.width, height: box.height, rx: 9 }),
      svg("rect", { class: "outline", width: box.width, height: box.height, rx: 9 }),
      svg("path", { class: "stripe", d: stripe(box.height) }),
      label(group.name, 18, 20, box.width - 62, "600 13px", { class: "name" }),
      label(note, 18, 37, box.width - 62, "11px", { class: "note" }),
      svg(
        "g",
        {
          class: "fold",
          role: "button",
          "aria-label": `Open ${clipped(group.name, 80)}`,
          on: {
            click: (event) => {
              event.stopPropagation();
              this.onToggle(group.id);
            },
          },
        },
        svg("rect", { x: box.width - 36, y: 12, width: 28, height: 24, rx: 6 }),
        svg("path", { d: `M${box.width - 25} 20l4 4-4 4` }),
      ),
    );
  }

  /** The kind of op that a layer is there for. */
  #mainKind(group, side) {
    const kinds = new Map();
    const nodes = group.bySide[side].map((id) => this.view.byId.get(id));
    const weight = { convolution: 9, linear: 9, shape: 0.1, parameter: 0, input: 0 };
    for (const { kind } of nodes) kinds.set(kind, (kinds.get(kind) ?? 0) + (weight[kind] ?? 1));
    return [...kinds].sort((a, b) => b[1] - a[1])[0][0];
  }

  /** How many nodes of a layer differ from the other graph's, by how. */
  #statuses(group, side) {
    const counts = new Map();
    for (const id of group.bySide[side]) {
      const { status } = this.view.byId.get(id);
      if (status && status !== "common") counts.set(status, (counts.get(status) ?? 0) + 1);
    }
    return [...counts];
  }

  /** What a closed layer says of itself: the shape it makes, or the rules its gradient follows. */
  #cardNote(group, side) {
    const nodes = group.bySide[side].map((id) => this.view.byId.get(id));
    if (this.view.id === "difference") {
      return (
        this.#statuses(group, side)
          .map(([status, count]) => `${count} ${status}`)
          .join(", ") || "the same"
      );
    }
    if (side === 0) {
      const last = [...nodes].reverse().find((node) => node.op !== "input") ?? nodes.at(-1);
      return shapeOf(last);
    }
    const rules = [...new Set(nodes.map((node) => node.rule).filter(Boolean))];
    return rules.join(" · ") || shapeOf(nodes.at(-1));
  }

  #node(box) {
    const { node, width, height } = box;
    const members = node.members && node.members.length > 1 ? node.members : [];
    const tag = node.members ? "" : (node.rule.match(/^Eq\. \d+/)?.[0] ?? "");
    const status = node.status && node.status !== "common" ? `, ${node.status}` : "";
    return svg(
      "g",
      {
        class: `node box kind-${node.kind} side${node.side} status-${node.status ?? "none"}`,
        tabindex: -1,
        "data-id": box.id,
        role: "button",
        "aria-label": `${clipped(node.title, 80)}, ${shownId(node)}, ${node.layer ? clipped(node.layer, 60) : "no layer"}, ${shapeOf(node)}${tag ? `, ${tag}` : ""}${status}`,
        on: {
          click: (event) => {
            event.stopPropagation();
            this.onChoose(box.id);
          },
        },
      },
      svg("rect", { class: "outline", width, height, rx: 8 }),
      svg("path", { class: "stripe", d: stripe(height) }),
      label(node.title, 17, 18, width - (tag ? 70 : 28), "600 12px", { class: "name" }),
      tag && svg("text", { class: "tag", x: width - 10, y: 18, "text-anchor": "end" }, tag),
      label(shapeOf(node), 17, 34, width - 28, "11px", { class: "note" }),
      ...members.map((id, index) => {
        const member = memberNode(id);
        const y = NODE.height + index * MEMBER;
        return svg(
          "g",
          { class: `member kind-${member.kind}` },
          svg("rect", { x: 12, y: y - 3, width: width - 24, height: MEMBER - 3, rx: 4 }),
          svg("circle", { cx: 21, cy: y + 5, r: 3 }),
          label(`${member.title}  %${id}`, 30, y + 9, width - 48, "10.5px"),
        );
      }),
    );
  }

  /** Dotted lines between the parts of one layer in neighbouring columns: what belongs together. */
  #links() {
    const { boxes } = this.layout;
    const lines = [];
    for (const box of boxes.values()) {
      if (box.kind === "node" || !box.group || (box.kind === "frame" && !box.group.isLeaf)) continue;
      const others = this.view.sides
        .filter((side) => side > box.side)
        .map((side) => boxes.get(`${box.group.id}/${side}`));
      const other = others.find(Boolean);
      if (!other) continue;
      const y = box.kind === "card" ? box.y + box.height / 2 : box.y + 18;
      lines.push(svg("path", { d: `M${box.x + box.width + 10} ${y}H${other.x - 10}` }));
    }
    this.layer.links.replaceChildren(...lines, ...this.#turn());
  }

  /** The turning point: where the loss ends and delta begins. */
  #turn() {
    const start = this.view.nodes.find((node) => node.side === 1);
    if (!start || this.view.id === "difference" || this.view.id === "kernels") return [];
    const from = this.#shown(start.of ?? "");
    const to = this.#shown(start.id);
    if (!from || !to) return [];
    const [a, b] = [
      { x: middle(from), y: from.y + from.height },
      { x: middle(to), y: to.y + to.height },
    ];
    const low = Math.max(a.y, b.y) + 40;
    return [
      svg("path", {
        class: "turn",
        d: `M${a.x} ${a.y}C${a.x} ${low} ${a.x} ${low} ${a.x + 60} ${low}H${b.x - 60}C${b.x} ${low} ${b.x} ${low} ${b.x} ${b.y + 3}`,
        "marker-end": "url(#arrow)",
      }),
      svg(
        "text",
        { class: "turn-note", x: (a.x + b.x) / 2, y: low - 8, "text-anchor": "middle" },
        "δ starts here: ∂E/∂E = 1",
      ),
    ];
  }

  #shown(id) {
    if (!this.view.byId.has(id)) return null;
    const closed = this.view
      .around(id)
      .find(
        (group) =>
          !this.layout.boxes.has(`${group.id}/${this.view.byId.get(id).side}`) ||
          this.layout.boxes.get(`${group.id}/${this.view.byId.get(id).side}`).kind === "card",
      );
    return this.layout.boxes.get(closed ? `${closed.id}/${this.view.byId.get(id).side}` : id) ?? null;
  }

  boxOf(id) {
    return this.layout.boxes.get(id) ?? this.#shown(id);
  }

  /** Colours by kind of op, or by a cost, whose greatest value among what is shown is the end of the scale. */
  paint(colour) {
    this.colour = colour;
    const costs = new Map();
    if (colour.by !== "kind") {
      for (const box of this.layout.boxes.values()) {
        if (box.kind === "frame") continue;
        const ids = box.kind === "card" ? box.group.bySide[box.side] : [box.id];
        costs.set(box, measured(this.view, ids, colour.by));
      }
    }
    const greatest = Math.max(0, ...costs.values());
    for (const box of this.layout.boxes.values()) {
      const { element } = box;
      const cost = costs.get(box);
      element.classList.toggle("by-cost", cost !== undefined);
      const share = greatest ? (cost ?? 0) / greatest : 0;
      element.style.setProperty("--heat", String(Math.round(Math.sqrt(share) * 100) / 100));
      const note = element.querySelector(":scope > .note");
      if (!note) continue;
      note.before_cost ??= note.textContent;
      note.textContent = cost === undefined ? note.before_cost : MEASURES[colour.by].show(cost);
    }
    return greatest;
  }

  /** Marks what is chosen and what it has to do with. */
  mark(chosen) {
    for (const element of this.marked ?? [])
      element.classList.remove("chosen", "inside", "partner", "operand", "user");
    for (const path of this.markedEdges ?? []) path.classList.remove("into", "out");
    this.marked = new Set();
    this.markedEdges = [];
    this.layer.overlay.replaceChildren();
    this.root.classList.toggle("has-choice", Boolean(chosen));
    const box = chosen && this.boxOf(chosen);
    if (!box) return;
    const set = (id, mark) => {
      const other = this.boxOf(id);
      if (!other || (other === box && mark !== "chosen")) return null;
      other.element.classList.add(mark);
      this.marked.add(other.element);
      return other;
    };
    const isNode = box.kind === "node";
    const ids = isNode ? [box.id] : box.group.bySide[box.side];
    const inside = new Set(ids);
    set(box.id, "chosen");
    if (!isNode) {
      const within = ({ kind, id, side, group }) =>
        side === box.side && (kind === "node" ? inside.has(id) : group.id.startsWith(`${box.group.id}.`));
      for (const other of this.layout.boxes.values()) if (within(other)) set(other.id, "inside");
    }
    const links = new Map();
    const relate = (id, mark) => {
      if (inside.has(id)) return;
      const other = set(id, mark);
      if (isNode && other && other.side !== box.side && !links.has(other.id))
        links.set(other.id, [other, mark]);
    };
    for (const id of ids) for (const partner of this.view.partners.get(id)) relate(partner, "partner");
    for (const id of ids) {
      for (const [operand] of this.view.byId.get(id).operands) relate(operand, "operand");
      for (const user of this.view.users.get(id)) relate(user, "user");
    }
    if (!isNode) {
      // Between layers one line says it all: from this one to the same layer in the other columns.
      for (const side of this.view.sides) {
        const other = side !== box.side && this.layout.boxes.get(`${box.group.id}/${side}`);
        if (other) links.set(other.id, [other, "partner"]);
        if (other?.kind === "card") set(other.id, "partner");
      }
    }
    for (const edge of this.layout.edges.values()) {
      const mark = edge.from === box ? "out" : edge.to === box ? "into" : "";
      if (!mark) continue;
      edge.element.classList.add(mark);
      this.markedEdges.push(edge.element);
    }
    for (const [other, mark] of links.values()) this.layer.overlay.append(bridge(box, other, mark));
  }
}

const shapeOf = (node) =>
  node.types.length ? node.types[0].replace(/^float32/, "").replace(/^\[\]$/, "scalar") : "";
const shownId = (node) =>
  node.members
    ? `kernel ${node.id.slice(1)}`
    : node.id.includes("/")
      ? `%${node.id.split("/")[1]}`
      : `%${node.id}`;
const stripe = (height) => `M8 11V${Math.min(height, NODE.height) - 11}`;

function memberNode(id) {
  return views.find((view) => view.id === "simplified").byId.get(id);
}

/** The line from the chosen box to a relative in another column. */
function bridge(from, to, mark) {
  const right = to.x > from.x;
  const start = { x: right ? from.x + from.width : from.x, y: from.y + Math.min(from.height / 2, 24) };
  const end = { x: right ? to.x : to.x + to.width, y: to.y + Math.min(to.height / 2, 24) };
  const bend = Math.max(40, Math.abs(end.x - start.x) / 2.4) * (right ? 1 : -1);
  return svg("path", {
    class: `bridge ${mark}`,
    d: `M${start.x} ${start.y}C${start.x + bend} ${start.y} ${end.x - bend} ${end.y} ${end.x} ${end.y}`,
  });
}
