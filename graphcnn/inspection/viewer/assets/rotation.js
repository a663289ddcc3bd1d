// rot180 on actual values: the filter as it is, and turned by half a circle.

function rotationPanel(node, values) {
  const rotated = values?.rot180;
  const isExample = !rotated;
  const { height, width, maps, of } = rotated ?? {
    height: 3,
    width: 3,
    maps: [[[1, 2, 3, 4, 5, 6, 7, 8, 9]]],
    of: [1, 1],
  };
  const isFilter = Array.isArray(maps[0][0]);
  const choices = isFilter
    ? maps.flatMap((filters, channel) =>
        filters.map((map, filter) => ({ map, text: `channel ${channel + 1}, filter ${filter + 1}` })),
      )
    : maps.map((map, channel) => ({ map, text: `channel ${channel + 1}` }));
  const stage = el("div", { class: "plates" });
  const corners = [
    [0, 0, "a"],
    [0, width - 1, "b"],
    [height - 1, 0, "c"],
    [height - 1, width - 1, "d"],
  ];
  const show = (index) => {
    const { map } = choices[index];
    const before = new Grid(height, width, map, { room: 150, title: "before the rotation" });
    before.mark(corners);
    const after = new Grid(height, width, map, { room: 150, title: "rotated by 180 degrees" });
    after.mark(corners);
    after.element.classList.add("turning");
    const turn = svg("g", { class: "turned" }, ...after.element.childNodes);
    const [cx, cy] = [(width * after.size) / 2, (height * after.size) / 2];
    turn.style.transformOrigin = `${cx}px ${cy}px`;
    for (const { text } of after.cells.values())
      if (text) text.style.transformOrigin = `${text.getAttribute("x")}px ${text.getAttribute("y")}px`;
    after.element.append(turn);
    const again = el(
      "button",
      {
        type: "button",
        class: "again",
        title: "Turn again",
        on: {
          click: () => {
            turn.classList.add("back");
            turn.getBoundingClientRect();
            setTimeout(() => turn.classList.remove("back"), 350);
          },
        },
      },
      "turn ↻",
    );
    stage.replaceChildren(
      plate(isFilter ? "w" : "δ", before),
      el("div", { class: "between" }, "→", again),
      plate(isFilter ? "rot180(w)" : "rot180(δ)", after),
    );
  };
  show(0);
  const total = of.reduce((a, b) => a * b, 1);
  const select =
    choices.length > 1 &&
    el(
      "label",
      { class: "field" },
      "of ",
      el(
        "select",
        { "aria-label": "Which map", on: { change: (event) => show(Number(event.target.value)) } },
        choices.map(({ text }, index) => el("option", { value: index }, text)),
      ),
      total > choices.length ? ` and ${grouped(total - choices.length)} more` : "",
    );
  return section(
    "The rotation",
    isExample && example(),
    stage,
    el(
      "p",
      { class: "hint" },
      "Both axes are reversed: the first row becomes the last, and each row is read backwards.",
    ),
    select,
  );
}

const example = () => el("p", { class: "example" }, "example values: no sample was given");
