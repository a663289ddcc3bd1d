// Where everything stands. A layer has one row for all columns: its gradient is drawn at the height of its forward
// part, and runs upwards. Dagre lays out the nodes inside a layer, and the layers; chains of layers are laid out as one
// box, which keeps them straight and dagre fast.

const CARD = { width: 212, height: 48 };
const NODE = { width: 172, height: 44 };
const HEAD = 34;
const INSIDE = 14;
const GAP = 26;
const COLUMN_GAP = 84;
const MEMBER = 19;
/** From here on all columns get the same widths, so that one run of dagre serves them all within a click's time. */
const FEW_CHAINS = 20;

function nodeSize(node) {
  const rows = node.members && node.members.length > 1 ? node.members.length : 0;
  return { width: NODE.width, height: NODE.height + (rows ? rows * MEMBER + 6 : 0) };
}

function dagreGraph(direction, separation) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: direction, nodesep: 22, ranksep: separation, edgesep: 14 });
  graph.setDefaultEdgeLabel(() => ({}));
  return graph;
}

const shapes = new Map();

/** Lays out a small graph; layers of the same shape, of which deep networks have many, are laid out once. */
function laidOut(graph) {
  const names = graph.nodes();
  const edges = graph.edges();
  const number = new Map(names.map((each, index) => [each, index]));
  const sizes = names.map((each) => `${graph.node(each).width}x${graph.node(each).height}`);
  const shape = [
    graph.graph().rankdir,
    ...sizes,
    ...edges.map(({ v, w }) => `${number.get(v)}>${number.get(w)}`),
  ].join(" ");
  if (!shapes.has(shape)) {
    dagre.layout(graph);
    const { width, height } = graph.graph();
    shapes.set(shape, {
      width,
      height,
      places: names.map((each) => graph.node(each)),
      points: edges.map((edge) => graph.edge(edge).points.slice(1, -1)),
    });
  }
  const { width, height, places, points } = shapes.get(shape);
  return {
    width,
    height,
    places: new Map(names.map((each, index) => [each, places[index]])),
    edges: new Map(edges.map(({ v, w }, index) => [`${v}>${w}`, points[index]])),
  };
}

class Layout {
  constructor(view) {
    this.view = view;
    this.inner = new Map();
    this.structures = new Map();
  }

  /** Returns boxes, edges, columns and the size of the whole, for a set of open groups. */
  compute(open) {
    this.open = open;
    this.arranged = new Map();
    const { view } = this;
    const size = this.#size(view.root);
    const columns = [];
    const boxes = new Map();
    let x = 0;
    for (const side of view.sides) {
      const width = Math.max(size.widths[side], CARD.width);
      columns[side] = { side, x, width };
      this.#place(view.root, side, x + (width - size.widths[side]) / 2, 0, boxes);
      x += width + COLUMN_GAP;
    }
    const edges = this.#edges(boxes);
    return { boxes, edges, columns, width: x - COLUMN_GAP, height: size.height };
  }

  isOpen(group) {
    return !group.parent || this.open.has(group.id);
  }

  /** The height of a group, which all columns share, and its width in each. */
  #size(group) {
    const widths = [0, 0, 0];
    if (!this.isOpen(group)) {
      for (const side of this.view.sides) if (group.bySide[side].length) widths[side] = CARD.width;
      return { widths, height: CARD.height };
    }
    if (!group.isLeaf) return this.#arrange(group);
    let height = 0;
    for (const side of this.view.sides) {
      const inside = this.#nodesOf(group, side);
      if (!inside) continue;
      widths[side] = Math.max(inside.width + 2 * INSIDE, CARD.width);
      height = Math.max(height, inside.height + HEAD + INSIDE);
    }
    return { widths, height };
  }

  /** The nodes of one layer in one column, laid out once. */
  #nodesOf(group, side) {
    const id = `${group.id}/${side}`;
    if (this.inner.has(id)) return this.inner.get(id);
    const ids = group.bySide[side];
    let result = null;
    if (ids.length) {
      const graph = dagreGraph(side === 1 && this.view.id !== "difference" ? "BT" : "TB", 24);
      const inside = new Set(ids);
      const isHere = (operand) =>
        this.view.byId.get(operand)?.side === side &&
        phaseOf(this.view.byId.get(operand)) === phaseOf(this.view.byId.get(ids[0]));
      for (const node of ids) graph.setNode(node, nodeSize(this.view.byId.get(node)));
      for (const node of ids) {
        const operands = this.view.byId.get(node).operands.map(([operand]) => operand);
        const isSource = !operands.some((operand) => inside.has(operand));
        for (const operand of operands) {
          if (inside.has(operand)) graph.setEdge(operand, node);
          else if (!isSource && side !== 2 && isHere(operand)) {
            // A free lane for what comes from outside, so that its line does not run behind other nodes.
            graph.setNode(`in ${operand}`, { width: 4, height: 1 });
            graph.setEdge(`in ${operand}`, node);
          }
        }
        const users = this.view.users.get(node);
        if (
          side !== 2 &&
          users.some((user) => inside.has(user)) &&
          users.some((user) => !inside.has(user) && isHere(user))
        ) {
          graph.setNode(`out ${node}`, { width: 4, height: 1 });
          graph.setEdge(node, `out ${node}`);
        }
      }
      const { width, height, places, edges } = laidOut(graph);
      result = { width, height, nodes: new Map(), lanes: new Map(), edges };
      for (const [node, place] of places) result[inside.has(node) ? "nodes" : "lanes"].set(node, place);
    }
    this.inner.set(id, result);
    return result;
  }

  /** The groups inside a group: their heights decide the rows, their widths the places in each column. */
  #arrange(group) {
    const sizes = new Map(group.groups.map((child) => [child, this.#size(child)]));
    const { chains, edges } = this.#structure(group);
    const placed = { children: new Map(), waypoints: new Map(), widths: [0, 0, 0], height: 0 };
    const head = group.parent ? HEAD : 0;
    const margin = group.parent ? INSIDE : 0;
    let known = null;
    for (const side of this.view.sides) {
      const sides = chains.length > FEW_CHAINS ? this.view.sides : [side];
      const widths = chains.map((chain) =>
        Math.max(2, ...chain.flatMap((child) => sides.map((each) => sizes.get(child).widths[each]))),
      );
      const same = known && widths.every((width, index) => width === known.widths[index]);
      const graph = same ? known.graph : this.#layers(chains, edges, sizes, widths);
      known = { widths, graph };
      const used = group.bySide[side].length > 0;
      chains.forEach((chain, index) => {
        const box = graph.node(String(index));
        let y = box.y - box.height / 2;
        for (const child of chain) {
          const { widths: own, height } = sizes.get(child);
          if (!placed.children.has(child)) placed.children.set(child, []);
          placed.children.get(child)[side] = { x: margin + box.x - own[side] / 2, y: head + y };
          y += height + GAP;
        }
      });
      for (const edge of graph.edges()) {
        const points = graph
          .edge(edge)
          .points.slice(1, -1)
          .map(({ x, y }) => ({ x: margin + x, y: head + y }));
        placed.waypoints.set(`${side}/${edge.v}>${edge.w}`, points);
      }
      placed.widths[side] = used
        ? Math.max(graph.graph().width + 2 * margin, group.parent ? CARD.width : 0)
        : 0;
      placed.height = graph.graph().height + head + margin;
    }
    this.arranged.set(group, placed);
    return placed;
  }

  #layers(chains, edges, sizes, widths) {
    const graph = dagreGraph("TB", GAP);
    chains.forEach((chain, index) => {
      const height = chain.reduce((sum, child) => sum + sizes.get(child).height + GAP, -GAP);
      graph.setNode(String(index), { width: widths[index], height });
    });
    for (const [from, to] of edges) graph.setEdge(String(from), String(to));
    // Past this many, the search for fewer crossings takes longer than a click may.
    dagre.layout(graph, { disableOptimalOrderHeuristic: chains.length > 45 });
    return graph;
  }

  /** Which groups follow which, in the direction of the forward pass, with chains taken together. */
  #structure(group) {
    if (this.structures.has(group)) return this.structures.get(group);
    const { view } = this;
    const childOf = new Map();
    for (const child of group.groups) for (const node of child.nodes) childOf.set(node, child);
    const next = new Map(group.groups.map((child) => [child, new Set()]));
    const before = new Map(group.groups.map((child) => [child, new Set()]));
    const order = new Map(group.groups.map((child, index) => [child, index]));
    for (const id of group.nodes) {
      const node = view.byId.get(id);
      for (const [operand] of node.operands) {
        let [from, to] = [childOf.get(operand), childOf.get(id)];
        if (!from || from === to) continue;
        const side = view.byId.get(operand).side;
        const backwards = view.id !== "difference" && side === 1 && node.side === 1;
        if (backwards) {
          // The forward pass decides the rows; gradients do only where a layer has no forward part.
          if (from.bySide[0].length && to.bySide[0].length) continue;
          [from, to] = [to, from];
        } else if (side !== node.side || isUpdate(node) || phaseOf(view.byId.get(operand)) !== phaseOf(node))
          continue;
        if (order.get(from) > order.get(to)) continue;
        next.get(from).add(to);
        before.get(to).add(from);
      }
    }
    group.groups.forEach((child, index) => {
      // What nothing leads to or from, such as the learning rate, stands below the group before it; and so does the
      // first gradient of a graph that is compared with another.
      const begins = phaseOf(view.byId.get(child.nodes[0])) > 0 && !before.get(child).size;
      if (!index || (!begins && (before.get(child).size || next.get(child).size))) return;
      const above = group.groups[index - 1];
      next.get(above).add(child);
      before.get(child).add(above);
    });
    const chains = [];
    const chainOf = new Map();
    for (const child of group.groups) {
      const [only] = before.get(child);
      const follows = before.get(child).size === 1 && next.get(only).size === 1;
      const chain = follows ? chains[chainOf.get(only)] : [];
      if (!follows) chains.push(chain);
      chain.push(child);
      chainOf.set(child, follows ? chainOf.get(only) : chains.length - 1);
    }
    const edges = [];
    for (const [from, followers] of next) {
      for (const to of followers)
        if (chainOf.get(from) !== chainOf.get(to)) edges.push([chainOf.get(from), chainOf.get(to)]);
    }
    const followers = new Map(chains.map((chain, index) => [index, []]));
    for (const [from, to] of edges) followers.get(from).push(to);
    const structure = { chains, edges, childOf, chainOf, followers };
    this.structures.set(group, structure);
    return structure;
  }

  #place(group, side, x, y, boxes) {
    if (!group.bySide[side].length) return;
    const isOpen = this.isOpen(group);
    if (group.parent) {
      const size = isOpen && !group.isLeaf ? this.arranged.get(group) : this.#size(group);
      const id = `${group.id}/${side}`;
      const kind = isOpen ? "frame" : "card";
      boxes.set(id, { id, kind, group, side, x, y, width: size.widths[side], height: size.height });
    }
    if (!isOpen) return;
    if (!group.isLeaf) {
      const arranged = this.arranged.get(group);
      for (const [child, places] of arranged.children) {
        this.#place(child, side, x + places[side].x, y + places[side].y, boxes);
      }
      return;
    }
    const inside = this.#nodesOf(group, side);
    const frame = boxes.get(`${group.id}/${side}`);
    const left = x + (frame.width - inside.width) / 2;
    // Gradients begin at the bottom of their row, where their delta comes from.
    const rest = frame.height - HEAD - INSIDE - inside.height;
    const top = y + HEAD + (side === 1 && this.view.id !== "difference" ? rest : 0);
    frame.inside = { left, top };
    for (const [id, place] of inside.nodes) {
      const { width, height } = place;
      boxes.set(id, {
        id,
        kind: "node",
        node: this.view.byId.get(id),
        side,
        x: left + place.x - width / 2,
        y: top + place.y - height / 2,
        width,
        height,
      });
    }
  }

  #edges(boxes) {
    const { view } = this;
    const edges = new Map();
    const closed = new Map();
    for (const group of view.groupsById.values()) {
      if (group.parent) closed.set(group, closed.get(group.parent) ?? (this.isOpen(group) ? null : group));
    }
    // The box that stands for a node: its own, or the card of the outermost closed group around it.
    const shown = new Map(
      view.nodes.map((node) => {
        const group = closed.get(view.leafOf.get(node.id));
        return [node.id, boxes.get(group ? `${group.id}/${node.side}` : node.id)];
      }),
    );
    for (const node of view.nodes) {
      for (const [operand] of node.operands) {
        const source = view.byId.get(operand);
        if (!source) continue;
        const [from, to] = [shown.get(operand), shown.get(node.id)];
        if (!from || !to || from === to) continue;
        const crosses = source.side !== node.side || phaseOf(source) !== phaseOf(node);
        const apart = isUpdate(source) && view.leafOf.get(operand) !== view.leafOf.get(node.id);
        const id = `${from.id}>${to.id}`;
        if (crosses || apart || edges.has(id)) continue;
        edges.set(id, { id, from, to, points: this.#waypoints(operand, node.id, source.side, boxes) });
      }
    }
    this.#ports([...edges.values()]);
    return edges;
  }

  #waypoints(operand, user, side, boxes) {
    const [above, below] = [this.view.around(operand), this.view.around(user)];
    let level = 0;
    while (level < above.length && level < below.length && above[level] === below[level]) level += 1;
    if (level === above.length && level === below.length) {
      const leaf = above.at(-1);
      const points = this.inner.get(`${leaf.id}/${side}`)?.edges.get(`${operand}>${user}`) ?? [];
      const { left, top } = boxes.get(`${leaf.id}/${side}`).inside;
      return points.map(({ x, y }) => ({ x: x + left, y: y + top }));
    }
    const group = level ? above[level - 1] : this.view.root;
    const { chainOf } = this.structures.get(group);
    const [from, to] = [chainOf.get(above[level]), chainOf.get(below[level])];
    const origin = group.parent ? boxes.get(`${group.id}/${side}`) : { x: this.#rootX(side), y: 0 };
    const shift = ({ x, y }) => ({ x: x + origin.x, y: y + origin.y });
    const between = this.#between(group, side, from, to).map(shift);
    const leaving = this.#lane(above.at(-1), side, boxes, `out ${operand}`, `${operand}>out ${operand}`);
    const arriving = this.#lane(
      below.at(-1),
      side,
      boxes,
      `in ${operand}`,
      `in ${operand}>${user}`,
    ).reverse();
    return [...leaving, ...between, ...arriving];
  }

  /** The points between two chains of a group, over others where nothing leads from one to the other at once. */
  #between(group, side, from, to) {
    if (from === to) return [];
    const { waypoints } = this.arranged.get(group);
    const { followers } = this.structures.get(group);
    // Chains are numbered in an order in which they can be computed.
    const [start, end] = from < to ? [from, to] : [to, from];
    const before = new Map([[start, null]]);
    const queue = [start];
    while (queue.length && !before.has(end)) {
      const at = queue.shift();
      for (const next of followers.get(at)) {
        if (before.has(next) || next > end) continue;
        before.set(next, at);
        queue.push(next);
      }
    }
    if (!before.has(end)) return [];
    const points = [];
    for (let at = end; before.get(at) !== null; at = before.get(at))
      points.unshift(...waypoints.get(`${side}/${before.get(at)}>${at}`));
    return from < to ? points : points.reverse();
  }

  /** The points of a lane inside an open layer, from its node to the border. */
  #lane(leaf, side, boxes, lane, edge) {
    const inside = this.inner.get(`${leaf.id}/${side}`);
    const frame = boxes.get(`${leaf.id}/${side}`);
    const place = frame?.inside && inside?.lanes.get(lane);
    if (!place || !inside.edges.has(edge)) return [];
    const points = edge.startsWith("in ") ? [...inside.edges.get(edge)].reverse() : inside.edges.get(edge);
    const { left, top } = frame.inside;
    const upwards = side === 1 && this.view.id !== "difference";
    const border = { x: place.x, y: edge.startsWith("in ") === upwards ? inside.height + INSIDE : -8 };
    return [...points, place, border].map(({ x, y }) => ({ x: x + left, y: y + top }));
  }

  #rootX(side) {
    const { widths } = this.arranged.get(this.view.root);
    let x = 0;
    for (const each of this.view.sides) {
      const width = Math.max(widths[each], CARD.width);
      if (each === side) return x + (width - widths[side]) / 2;
      x += width + COLUMN_GAP;
    }
    return 0;
  }

  /** Spreads the ends of edges along the sides of their boxes, in the order of what they lead to. */
  #ports(edges) {
    const ends = new Map();
    for (const edge of edges) {
      const up = edge.from.y > edge.to.y;
      edge.up = up;
      for (const [box, isStart] of [
        [edge.from, true],
        [edge.to, false],
      ]) {
        const id = `${box.id}|${isStart === up ? "top" : "bottom"}`;
        if (!ends.has(id)) ends.set(id, []);
        const toward = edge.points.length
          ? edge.points[isStart ? 0 : edge.points.length - 1].x
          : middle(isStart ? edge.to : edge.from);
        ends.get(id).push({ edge, isStart, toward, box, y: isStart === up ? box.y : bottom(box) });
      }
    }
    for (const list of ends.values()) {
      const starts = list.filter((end) => end.isStart);
      const arrivals = list.filter((end) => !end.isStart).sort((a, b) => a.toward - b.toward);
      const step = Math.min(26, (list[0].box.width - 40) / Math.max(arrivals.length - 1, 1));
      arrivals.forEach((end, index) => {
        end.edge.end = { x: middle(end.box) + (index - (arrivals.length - 1) / 2) * step, y: end.y };
      });
      for (const end of starts) end.edge.start = { x: middle(end.box), y: end.y };
    }
  }
}

const bottom = (box) =>
  box.y + box.height + (box.kind === "card" && box.group.bySide[box.side].length > 1 ? 4 : 0);
/** Where two graphs are compared, whether a node of either is forward or gradient. */
const phaseOf = (node) => node.phase ?? 0;
const isUpdate = (node) => node.side === 2 || node.phase === 2;
const middle = (box) => box.x + box.width / 2;

/** A smooth line through points that leaves and arrives vertically. */
function curve(points) {
  let path = `M${round(points[0].x)} ${round(points[0].y)}`;
  for (let index = 1; index < points.length; index += 1) {
    const [from, to] = [points[index - 1], points[index]];
    const half = (from.y + to.y) / 2;
    path +=
      Math.abs(from.x - to.x) < 0.5
        ? `L${round(to.x)} ${round(to.y)}`
        : `C${round(from.x)} ${round(half)} ${round(to.x)} ${round(half)} ${round(to.x)} ${round(to.y)}`;
  }
  return path;
}

const round = (value) => Math.round(value * 10) / 10;
