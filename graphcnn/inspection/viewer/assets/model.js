// The document, indexed: who uses whom, which node belongs to which layer, who is whose partner.

const data = JSON.parse(byId("document").textContent);

const KINDS = [
  ["convolution", "convolution"],
  ["linear", "matrix product"],
  ["pointwise", "pointwise"],
  ["pooling", "pooling"],
  ["reduction", "sum, mean"],
  ["shape", "moves data"],
  ["loss", "loss"],
  ["normalization", "normalisation"],
  ["random", "random"],
  ["collective", "between ranks"],
  ["user", "your own"],
  ["parameter", "parameter"],
  ["input", "input"],
];

class View {
  constructor(source, simplified) {
    Object.assign(this, source);
    this.byId = new Map(source.nodes.map((node) => [node.id, node]));
    this.users = new Map(source.nodes.map((node) => [node.id, []]));
    for (const node of source.nodes) {
      for (const id of new Set(node.operands.map(([operand]) => operand))) this.users.get(id)?.push(node.id);
    }
    this.groupsById = new Map();
    this.leafOf = new Map();
    this.root = this.#group(source.groups, null, "g");
    this.sides = [...new Set(source.nodes.map((node) => node.side))].sort();
    this.outputsOf = new Map();
    for (const [label, id] of Object.entries(source.outputs)) {
      if (!this.outputsOf.has(id)) this.outputsOf.set(id, []);
      this.outputsOf.get(id).push(label);
    }
    this.#pairUp(simplified);
  }

  #group(source, parent, id) {
    const group = {
      id,
      name: source.name,
      parent,
      depth: parent ? parent.depth + 1 : 0,
      groups: [],
      nodes: [],
    };
    this.groupsById.set(id, group);
    if (source.groups) {
      group.groups = source.groups.map((child, index) => this.#group(child, group, `${id}.${index}`));
      group.nodes = group.groups.flatMap((child) => child.nodes);
    } else {
      group.nodes = source.nodes;
      for (const node of source.nodes) this.leafOf.set(node, group);
    }
    group.isLeaf = !source.groups;
    group.bySide = [0, 1, 2].map((side) => group.nodes.filter((node) => this.byId.get(node).side === side));
    return group;
  }

  /** Forward node ↔ its gradient nodes; kernels ↔ the kernels that hold their nodes' partners. */
  #pairUp(simplified) {
    this.partners = new Map(this.nodes.map((node) => [node.id, new Set()]));
    const pair = (a, b) => {
      if (a === b || !this.partners.has(a) || !this.partners.has(b)) return;
      this.partners.get(a).add(b);
      this.partners.get(b).add(a);
    };
    const home = new Map();
    for (const node of this.nodes)
      for (const member of node.members ?? []) if (!home.has(member)) home.set(member, node.id);
    for (const node of this.nodes) {
      if (node.partner) pair(node.id, node.partner);
      if (node.members) {
        for (const member of node.members) {
          if (home.get(member) !== node.id) continue;
          const of = simplified?.byId.get(member)?.of;
          if (of !== undefined) pair(node.id, home.get(of) ?? of);
        }
      } else if (node.of !== undefined) pair(node.id, node.of);
    }
  }

  /** The groups around a node, outermost first, without the root. */
  around(id) {
    const result = [];
    for (let group = this.leafOf.get(id); group && group.parent; group = group.parent) result.unshift(group);
    return result;
  }
}

const views = [];
for (const source of data.views) {
  views.push(
    new View(
      source,
      views.find((view) => view.id === "simplified"),
    ),
  );
}

/** What cards can be coloured by. */
const MEASURES = {
  flops: { name: "FLOPs", of: (node) => node.flops, show: (value) => scaled(value, "FLOP"), total: true },
  bytes: { name: "bytes moved", of: (node) => node.bytes, show: (value) => scaled(value, "B"), total: true },
  sent: { name: "bytes sent", of: (node) => node.sent ?? 0, show: (value) => scaled(value, "B"), total: true },
  live: { name: "live memory", of: (node) => node.live, show: (value) => scaled(value, "B"), total: false },
  time: { name: "time", of: (node) => node.seconds ?? 0, show: duration, total: true },
};

function measured(view, ids, measure) {
  const values = ids.map((id) => MEASURES[measure].of(view.byId.get(id)));
  return MEASURES[measure].total ? values.reduce((a, b) => a + b, 0) : Math.max(0, ...values);
}
