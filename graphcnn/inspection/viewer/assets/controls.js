// The bar: views, colours, search, light and dark.

class Search {
  constructor(input, list, onChoose) {
    Object.assign(this, { input, list, onChoose, at: 0, found: [] });
    input.addEventListener("input", () => this.#look());
    input.addEventListener("focus", () => this.#look());
    input.addEventListener("blur", () =>
      setTimeout(() => document.activeElement === input || this.close(), 150),
    );
    input.addEventListener("keydown", (event) => this.#key(event));
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
  }

  #key(event) {
    event.stopPropagation();
    if (event.key === "Escape") {
      this.input.value = "";
      this.input.blur();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const count = this.found.length;
      if (count) this.at = (this.at + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
      this.#draw();
    } else if (event.key === "Enter" && this.found[this.at]) this.#choose(this.found[this.at]);
  }

  #choose(id) {
    this.close();
    this.input.blur();
    this.onChoose(id);
  }

  #look() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const { view } = app;
    this.found = [];
    if (words.length) {
      const ranked = [];
      for (const node of view.nodes) {
        const text = [
          shownId(node),
          node.title,
          node.op,
          node.layer,
          node.rule,
          node.types.join(" "),
          ...(node.members ?? []).map((id) => `%${id} ${memberNode(id).op}`),
        ]
          .join(" ")
          .toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
        const exact = words.some(
          (word) =>
            word === node.title.toLowerCase() ||
            word === shownId(node).toLowerCase() ||
            word === node.layer.toLowerCase(),
        );
        ranked.push([exact ? 0 : 1, node.id]);
      }
      this.found = ranked.sort((a, b) => a[0] - b[0]).map(([, id]) => id);
    }
    this.at = 0;
    this.#draw();
  }

  #draw() {
    const { view } = app;
    const isOpen = Boolean(this.input.value.trim()) && document.activeElement === this.input;
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", String(isOpen));
    const first = Math.max(0, Math.min(this.at - 5, this.found.length - 12));
    const items = this.found.slice(first, first + 12).map((id, index) => {
      const node = view.byId.get(id);
      return el(
        "li",
        {
          role: "option",
          class: `kind-${node.kind}`,
          "aria-selected": String(first + index === this.at),
          on: {
            mousedown: (event) => {
              event.preventDefault();
              this.#choose(id);
            },
          },
        },
        el("i", { class: "dot" }),
        el("span", { class: "what" }, name(node.title, 48)),
        el("span", { class: "where" }, name(node.layer, 24)),
        el("span", { class: "shape" }, `${shownId(node)} ${shapeOf(node)}`),
      );
    });
    this.list.replaceChildren(
      ...items,
      el(
        "li",
        { class: "count" },
        this.found.length ? `${grouped(this.found.length)} found` : "nothing found",
      ),
    );
  }
}

function setUpTheme(button) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.classList.toggle("is-dark", theme === "dark");
  };
  set(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => set(dark.matches ? "dark" : "light"));
  button.addEventListener("click", () =>
    set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  );
}

function legend(element, view, colour, greatest) {
  if (view.id === "difference" && colour === "kind") {
    element.replaceChildren(
      ...["removed", "added", "changed", "common"].map((status) =>
        el(
          "span",
          { class: `key status-${status}` },
          el("i", { class: "dot" }),
          status === "common" ? "the same" : status,
        ),
      ),
    );
  } else if (colour === "kind") {
    const used = new Set(view.nodes.map((node) => node.kind));
    element.replaceChildren(
      ...KINDS.filter(([kind]) => used.has(kind)).map(([kind, text]) =>
        el("span", { class: `key kind-${kind}` }, el("i", { class: "dot" }), text),
      ),
    );
  } else {
    const measure = MEASURES[colour];
    element.replaceChildren(
      el("span", { class: "key" }, measure.name),
      el("span", { class: "key" }, measure.show(0)),
      el("i", { class: "scale" }),
      el("span", { class: "key" }, measure.show(greatest)),
    );
  }
}
