// The page itself: one state (view, open layers, choice, colour), and what changes it.

const MANY_NODES = 220;

const app = {
  view: null,
  chosen: null,
  colour: "kind",
  open: new Set(),
  states: new Map(),

  /** Shows a view, with its layers as they were left, and chooses a node in it. */
  change(id, chosen = null) {
    const view = views.find((each) => each.id === id);
    this.view = view;
    if (!this.states.has(id)) {
      const open = new Set();
      if (view.nodes.length <= MANY_NODES && smallEnough(view))
        for (const group of view.groupsById.values()) open.add(group.id);
      else if (id === "difference") for (const group of differing(view)) open.add(group.id);
      else if (view.root.groups.length === 1) open.add(view.root.groups[0].id);
      const drawing = new Drawing(view, {
        onChoose: (box) => this.choose(box),
        onToggle: (group) => this.toggle(group),
      });
      this.states.set(id, { open, drawing, layout: new Layout(view) });
    }
    const state = this.states.get(id);
    this.open = state.open;
    this.drawing = state.drawing;
    canvas.replaceChildren(markers(), state.drawing.root);
    for (const button of byId("views").children)
      button.setAttribute("aria-checked", String(button.dataset.view === id));
    const timed = view.nodes.some((node) => node.seconds !== undefined);
    for (const option of byId("colour").options) if (option.value === "time") option.disabled = !timed;
    if (this.colour === "time" && !timed) this.colour = byId("colour").value = "kind";
    this.drawing.colour = { by: this.colour };
    this.arrange();
    navigation.fit();
    this.choose(chosen, { reveal: true });
  },

  /** Lays out and draws; a box that `keep` names stays where it is on the screen. */
  arrange(keep = null) {
    const { layout, drawing } = this.states.get(this.view.id);
    const before = keep && this.layout?.boxes.get(keep);
    this.layout = layout.compute(this.open);
    drawing.show(this.layout);
    navigation.attach(drawing.root, this.layout);
    const after = keep && this.layout.boxes.get(keep);
    if (!canvas.querySelector('[tabindex="0"]')) canvas.querySelector(".box")?.setAttribute("tabindex", "0");
    if (before && after) navigation.hold(before, after);
    this.paint();
  },

  paint() {
    const greatest = this.drawing.paint({ by: this.colour });
    legend(byId("legend"), this.view, this.colour, greatest);
  },

  toggle(id, side = null) {
    const group = this.view.groupsById.get(id);
    if (this.open.has(id)) {
      for (const each of [...this.open]) if (each === id || each.startsWith(`${id}.`)) this.open.delete(each);
    } else this.open.add(id);
    const used = side ?? group.bySide.findIndex((nodes) => nodes.length);
    this.arrange(`${id}/${used}`);
    const stillThere = this.chosen && (this.layout.boxes.has(this.chosen) || this.view.byId.has(this.chosen));
    this.choose(stillThere ? this.chosen : `${id}/${used}`);
  },

  openAll(isOpen) {
    for (const group of this.view.groupsById.values())
      if (group.parent) this.open[isOpen ? "add" : "delete"](group.id);
    this.arrange();
    navigation.fit();
    this.choose(this.chosen);
  },

  choose(id, { reveal = false, focus = false } = {}) {
    if (id && this.view.byId.has(id) && reveal) {
      const closed = this.view.around(id).filter((group) => !this.open.has(group.id));
      if (closed.length) {
        for (const group of closed) this.open.add(group.id);
        this.arrange();
      }
    }
    this.chosen = id;
    this.drawing.mark(id);
    this.panel.show(this.view, id);
    const box = id && this.drawing.boxOf(id);
    if (!box) return;
    if (reveal) navigation.reveal(box);
    for (const element of canvas.querySelectorAll('[tabindex="0"]')) element.setAttribute("tabindex", "-1");
    box.element.setAttribute("tabindex", "0");
    if (focus) box.element.focus({ preventScroll: true });
  },

  walk(direction) {
    const box = (this.chosen && this.drawing.boxOf(this.chosen)) ?? null;
    const next = box
      ? neighbour(this.layout, box, direction)
      : [...this.layout.boxes.values()].find((each) => each.kind !== "frame");
    if (next) this.choose(next.id, { focus: true });
    if (next) navigation.reveal(next);
  },
};

/** Small views open at once: as long as everything can be read on one or two screens. */
function smallEnough(view) {
  return view.nodes.length <= 40;
}

/** The layers in which two graphs differ, unless they are so many that nobody could look at them at once. */
function differing(view) {
  const groups = [...view.groupsById.values()].filter(
    (group) => group.parent && group.nodes.some((id) => view.byId.get(id).status !== "common"),
  );
  return groups.length <= 24 ? groups : [];
}

function markers() {
  const arrow = (id) =>
    svg(
      "marker",
      {
        id,
        viewBox: "0 0 8 8",
        refX: 7,
        refY: 4,
        markerWidth: 7,
        markerHeight: 7,
        orient: "auto-start-reverse",
        markerUnits: "userSpaceOnUse",
      },
      svg("path", { class: id, d: "M0.5 0.8L7.5 4L0.5 7.2z" }),
    );
  return svg("defs", {}, arrow("arrow"), arrow("arrow-strong"));
}

function headings() {
  const { view, layout } = app;
  if (!layout) return;
  const shown = layout.columns.filter(Boolean);
  const apart = shown.length > 1 ? (shown[1].x - shown[0].x) * navigation.scale : Infinity;
  byId("headings").hidden = apart < 120;
  const notes =
    view.id === "difference" ? [] : ["↓ down to the loss", "↑ delta runs back up", "the new parameters"];
  byId("headings").replaceChildren(
    ...shown.map((column) => {
      const heading = el(
        "div",
        { class: "heading" },
        el("strong", {}, name(view.columns[column.side], 40)),
        apart > 180 && (view.sides.length > 1 || column.side)
          ? el("span", {}, notes[column.side] ?? "")
          : null,
      );
      heading.style.left = `${navigation.x + (column.x + column.width / 2) * navigation.scale}px`;
      return heading;
    }),
  );
}

const canvas = byId("graph");
const navigation = new Navigation(byId("stage"), canvas, headings);
app.panel = new Panel(
  byId("panel"),
  (id) => app.choose(id, { reveal: true }),
  (id) => app.toggle(id),
);
const search = new Search(byId("search"), byId("found"), (id) =>
  app.choose(id, { reveal: true, focus: true }),
);

byId("title").append(name(data.title, 80));
byId("views").append(
  ...views.map((view) =>
    el(
      "button",
      {
        type: "button",
        role: "radio",
        "data-view": view.id,
        title: view.about,
        on: { click: () => app.change(view.id) },
      },
      view.name,
    ),
  ),
);
byId("views").hidden = views.length < 2;
byId("colour").append(
  el("option", { value: "kind" }, data.views[0].id === "difference" ? "change" : "kind of op"),
  ...Object.entries(MEASURES)
    .filter(([id]) => id !== "sent" || views.some((view) => view.id === "ranks"))
    .map(([id, measure]) => el("option", { value: id }, measure.name)),
);
byId("colour").addEventListener("change", (event) => {
  app.colour = event.target.value;
  app.paint();
});
byId("expand").addEventListener("click", () => app.openAll(true));
byId("collapse").addEventListener("click", () => app.openAll(false));
byId("zoom-in").addEventListener("click", () => navigation.zoom(1.3));
byId("zoom-out").addEventListener("click", () => navigation.zoom(1 / 1.3));
byId("zoom-fit").addEventListener("click", () => navigation.fit(true));
canvas.addEventListener("click", () => app.choose(null));
setUpTheme(byId("theme"));

const ARROWS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };
document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select, textarea")) return;
  if (target.matches("button") && (event.key === "Enter" || event.key === " ")) return;
  const actions = {
    "/": () => {
      byId("search").focus();
      byId("search").select();
    },
    Escape: () => app.choose(null),
    "+": () => navigation.zoom(1.3),
    "=": () => navigation.zoom(1.3),
    "-": () => navigation.zoom(1 / 1.3),
    0: () => navigation.fit(true),
    e: () => app.openAll(true),
    c: () => app.openAll(false),
    Enter: () => toggleChosen(),
    " ": () => toggleChosen(),
  };
  const action = ARROWS[event.key] ? () => app.walk(ARROWS[event.key]) : actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

function toggleChosen() {
  const box = app.chosen && app.drawing.boxOf(app.chosen);
  if (!box?.group) return;
  app.toggle(box.group.id, box.side);
  app.choose(box.id, { focus: true });
}

// On the stage, as an SVG element that listens to focus takes part in it.
byId("stage").addEventListener("focusin", ({ target }) => {
  const { id } = target.dataset;
  if (id && id !== app.chosen && target.matches(":focus-visible")) app.choose(id);
});
addEventListener("resize", headings);
let theme = "";
addEventListener("beforeprint", () => {
  theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  const { width, height } = app.layout;
  canvas.setAttribute("viewBox", `-20 -20 ${width + 40} ${height + 80}`);
  app.drawing.root.removeAttribute("transform");
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = theme;
  canvas.removeAttribute("viewBox");
  navigation.zoom(1);
});

app.change(views[0].id);
document.documentElement.dataset.ready = "yes";
performance.mark("first picture");

// The first layouts after a change would be slow, as their code is new to the browser: have that done before a click.
if (app.view.nodes.length > MANY_NODES) {
  const leaves = [...app.view.groupsById.values()].filter((group) => group.isLeaf && group.parent);
  leaves.sort((a, b) => b.nodes.length - a.nodes.length);
  leaves
    .slice(0, 3)
    .forEach((leaf, index) =>
      setTimeout(() => new Layout(app.view).compute(new Set([leaf.id])), 60 + 120 * index),
    );
}
