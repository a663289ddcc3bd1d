// Zooming, panning, and walking through the graph with the keyboard.

class Navigation {
  constructor(stage, canvas, onMove) {
    this.stage = stage;
    this.canvas = canvas;
    this.onMove = onMove;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.size = { width: 0, height: 0 };
    const observe = () => {
      const { width, height } = stage.getBoundingClientRect();
      this.size = { width, height };
    };
    observe();
    new ResizeObserver(observe).observe(stage);
    this.#listen();
  }

  attach(root, layout) {
    this.root = root;
    this.layout = layout;
    this.#apply();
  }

  /** The whole width, from the top, but never so small that names cannot be read; or really all of it. */
  fit(all = false) {
    const { width, height } = this.size;
    const wide = (width - 96) / this.layout.width;
    const high = (height - 170) / this.layout.height;
    const smallest = all ? 0.02 : 0.5;
    this.scale = Math.max(Math.min(wide, all || high > 0.72 ? high : 1, 1.15), smallest);
    this.x = (width - this.layout.width * this.scale) / 2;
    this.y =
      this.layout.height * this.scale < height - 170
        ? (height + 20 - this.layout.height * this.scale) / 2
        : 84;
    if (this.layout.width * this.scale > width - 64) this.x = 48;
    this.#apply();
  }

  zoom(factor, centre) {
    const { width, height } = this.size;
    const at = centre ?? { x: width / 2, y: height / 2 };
    const scale = Math.min(Math.max(this.scale * factor, 0.03), 4);
    this.x = at.x - (at.x - this.x) * (scale / this.scale);
    this.y = at.y - (at.y - this.y) * (scale / this.scale);
    this.scale = scale;
    this.#apply();
  }

  /** Brings a box into view if it is not, at a scale at which it can be read. */
  reveal(box, toCentre = false) {
    const { width, height } = this.size;
    if (this.scale < 0.45) this.scale = 0.8;
    const [left, top] = [this.x + box.x * this.scale, this.y + box.y * this.scale];
    const inside =
      left > 30 &&
      top > 70 &&
      left + box.width * this.scale < width - 30 &&
      top + Math.min(box.height, 300) * this.scale < height - 60;
    if (inside && !toCentre) return this.#apply();
    this.x = width / 2 - (box.x + box.width / 2) * this.scale;
    this.y = height / 2 - (box.y + Math.min(box.height, height / this.scale / 2) / 2) * this.scale;
    this.#apply();
  }

  /** Keeps a box where it is on the screen while everything around it moves; steps back if that grew too wide. */
  hold(before, after) {
    const { width } = this.size;
    const [left, top] = [this.x + before.x * this.scale, this.y + before.y * this.scale];
    this.scale = Math.min(this.scale, Math.max(0.55, (width - 64) / this.layout.width));
    this.x = left - after.x * this.scale;
    this.y = top - after.y * this.scale;
    const wide = this.layout.width * this.scale;
    if (this.layout.height * this.scale > this.size.height) this.y = Math.min(this.y, 120);
    if (wide <= width - 63) this.x = Math.min(Math.max(this.x, 32), width - 32 - wide);
    this.#apply();
  }

  #apply() {
    if (this.layout) {
      // A corner of the graph always stays in sight.
      const { width, height } = this.size;
      const [wide, high] = [this.layout.width * this.scale, this.layout.height * this.scale];
      this.x = Math.min(Math.max(this.x, 120 - wide), width - 120);
      this.y = Math.min(Math.max(this.y, 140 - high), Math.max(height - high - 90, 220));
    }
    this.root?.setAttribute("transform", `translate(${round(this.x)} ${round(this.y)}) scale(${this.scale})`);
    this.stage.classList.toggle("far", this.scale < 0.32);
    this.onMove();
  }

  #listen() {
    this.canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (event.ctrlKey || event.metaKey) {
          const { left, top } = this.canvas.getBoundingClientRect();
          return this.zoom(Math.exp(-event.deltaY / 240), {
            x: event.clientX - left,
            y: event.clientY - top,
          });
        }
        const step = event.deltaMode === 1 ? 24 : 1;
        this.x -= (event.shiftKey ? event.deltaY : event.deltaX) * step;
        this.y -= (event.shiftKey ? 0 : event.deltaY) * step;
        this.#apply();
      },
      { passive: false },
    );
    const pointers = new Map();
    let distance = 0;
    this.canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      this.moved = false;
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const last = pointers.get(event.pointerId);
      if (!last || !event.buttons) return pointers.delete(event.pointerId);
      const now = { x: event.clientX, y: event.clientY };
      if (pointers.size === 1) {
        if (!this.moved && Math.hypot(now.x - last.x, now.y - last.y) < 4) return;
        if (!this.moved) this.canvas.setPointerCapture(event.pointerId);
        this.moved = true;
        this.canvas.classList.add("dragging");
        this.x += now.x - last.x;
        this.y += now.y - last.y;
        this.#apply();
      }
      pointers.set(event.pointerId, now);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        const spread = Math.hypot(a.x - b.x, a.y - b.y);
        const { left, top } = this.canvas.getBoundingClientRect();
        if (distance) this.zoom(spread / distance, { x: (a.x + b.x) / 2 - left, y: (a.y + b.y) / 2 - top });
        distance = spread;
        this.moved = true;
      }
    });
    const release = (event) => {
      pointers.delete(event.pointerId);
      distance = 0;
      this.canvas.classList.remove("dragging");
    };
    this.canvas.addEventListener("pointerup", release);
    this.canvas.addEventListener("pointercancel", release);
    this.canvas.addEventListener(
      "click",
      (event) => {
        if (!this.moved) return;
        event.stopPropagation();
        this.moved = false;
      },
      { capture: true },
    );
  }
}

/** The box that an arrow key leads to: up and down along edges where there is one, else to the nearest box. */
function neighbour(layout, box, direction) {
  const vertical = direction === "up" || direction === "down";
  const sign = direction === "down" || direction === "right" ? 1 : -1;
  const centre = (each) => ({ x: middle(each), y: each.y + Math.min(each.height, 48) / 2 });
  const from = centre(box);
  if (vertical) {
    const linked = [...layout.edges.values()]
      .filter((edge) => edge.from === box || edge.to === box)
      .map((edge) => (edge.from === box ? edge.to : edge.from))
      .filter((other) => sign * (centre(other).y - from.y) > 1);
    linked.sort(
      (a, b) => Math.abs(centre(a).x - from.x) - Math.abs(centre(b).x - from.x) || sign * (a.y - b.y),
    );
    if (linked.length) return linked[0];
  }
  let best = null;
  let least = Infinity;
  for (const other of layout.boxes.values()) {
    if (other === box || other.kind === "frame") continue;
    const [dx, dy] = [centre(other).x - from.x, centre(other).y - from.y];
    const [ahead, aside] = vertical ? [sign * dy, Math.abs(dx)] : [sign * dx, Math.abs(dy)];
    if (ahead < 1 || (vertical && other.side !== box.side)) continue;
    const distance = ahead + aside * 3;
    if (distance < least) [best, least] = [other, distance];
  }
  return best;
}
