// A convolution, one output at a time: which inputs, taps and deltas meet, and the sum that they make.

const LISTED_TERMS = 30;

function stepperPanel(node, values) {
  const given = values?.step;
  const step = given ?? exampleStep(node);
  const op = step.op ?? attributesOf(node);
  const words = wording(node, op);
  const state = { row: 0, column: 0, channel: 0, filter: 0, timer: 0 };
  const [top, left] = [op.padding[0][0], op.padding[1][0]];
  const { images, window: taps, result } = step;
  const pad = paddingShown(op, images, taps, result);
  const mapOf = (excerpt, channel, filter) => {
    const map = excerpt.maps[Math.min(channel, excerpt.maps.length - 1)];
    return Array.isArray(map[0]) ? map[Math.min(filter, map.length - 1)] : map;
  };
  const batchSum = op.sum_over === "batch";
  const plates = el("div", { class: "plates three" });
  const formula = el("div", { class: "sum", "aria-live": "off" });
  let grids = {};

  const build = () => {
    const { channel, filter } = state;
    const window = batchSum ? mapOf(taps, filter, 0) : mapOf(taps, channel, filter);
    const used = op.flips ? [...window].reverse() : window;
    const out = batchSum ? mapOf(result, channel, filter) : mapOf(result, filter, 0);
    grids = {
      images: new Grid(images.height, images.width, mapOf(images, channel, 0), { pad, title: words.images }),
      window: new Grid(taps.height, taps.width, used, { title: words.window, room: 150 }),
      result: new Grid(result.height, result.width, out, {
        title: words.result,
        room: 150,
        onPick: (row, column) => move(row, column),
      }),
    };
    plates.replaceChildren(
      plate(words.images, grids.images, remark(images, channel, words.imagesRemark)),
      el("div", { class: "between" }, words.sign),
      plate(op.flips ? `${words.window}, rotated` : words.window, grids.window, words.windowRemark),
      el("div", { class: "between" }, "="),
      plate(words.result, grids.result, result.cut ? "upper left part" : ""),
    );
    draw();
  };

  const draw = () => {
    const { row, column } = state;
    const terms = [];
    const [inside, tapped] = [[], []];
    for (let m = 0; m < taps.height; m += 1) {
      for (let n = 0; n < taps.width; n += 1) {
        const [i, j] = [
          row * op.stride[0] + m * op.dilation[0] - top,
          column * op.stride[1] + n * op.dilation[1] - left,
        ];
        const isPadding = i < 0 || j < 0 || i >= images.height || j >= images.width;
        inside.push([i, j]);
        if (isPadding) tapped.push([m, n, "zero"]);
        if (isPadding) continue;
        const [value, weight] = [grids.images.valueAt(i, j), grids.window.valueAt(m, n)];
        terms.push({ i, j, m, n, value, weight, product: finite(value) * finite(weight) });
      }
    }
    grids.images.focus(inside, "meet");
    grids.window.mark(tapped);
    grids.result.mark([[row, column, "here"]]);
    slider.value = String(row * result.width + column);
    place.textContent = `(${row}, ${column})`;
    formula.replaceChildren();
    append(formula, written(terms));
  };

  const written = (terms) => {
    const sum = terms.reduce((total, term) => total + term.product, 0);
    const real = grids.result.valueAt(state.row, state.column);
    const skipped = taps.height * taps.width - terms.length;
    const [what, count] = step.summed;
    const isPart = count > 1;
    const listed = terms.length > LISTED_TERMS ? terms.filter((term) => term.product) : terms;
    const zeros = terms.length - listed.length;
    return [
      el(
        "div",
        { class: "terms" },
        listed
          .slice(0, LISTED_TERMS)
          .map((term, index) =>
            el(
              "span",
              { class: "term" },
              index ? el("i", {}, " + ") : null,
              el("b", {}, digits(term.value, 2)),
              " · ",
              el("em", {}, digits(term.weight, 2)),
            ),
          ),
        listed.length > LISTED_TERMS &&
          el("span", { class: "more" }, `+ ${listed.length - LISTED_TERMS} more`),
      ),
      el(
        "div",
        { class: "total" },
        `${isPart ? (batchSum ? "sample 1 gives " : `channel ${state.channel + 1} gives `) : "= "}`,
        el("strong", { id: "step-sum" }, digits(sum, 4)),
      ),
      isPart &&
        el(
          "div",
          { class: "total" },
          `all ${grouped(count)} ${what}: ${words.result}(${state.row}, ${state.column}) = `,
          el("strong", {}, digits(real, 4)),
        ),
      zeros ? el("small", {}, `${zeros} more products are zero. `) : null,
      skipped
        ? el(
            "small",
            {},
            `${skipped} ${skipped === 1 ? "tap meets" : "taps meet"} the padding, which is zero`,
          )
        : null,
    ];
  };

  const move = (row, column) => {
    Object.assign(state, { row, column });
    draw();
  };
  const count = result.height * result.width;
  const go = (index) =>
    move(Math.floor(((index + count) % count) / result.width), (index + count) % result.width);
  const current = () => state.row * result.width + state.column;
  const place = el("output", {}, "(0, 0)");
  const slider = el("input", {
    type: "range",
    id: "step-slider",
    min: 0,
    max: count - 1,
    value: 0,
    "aria-label": "Place in the result",
    on: { input: (event) => go(Number(event.target.value)) },
  });
  const play = el("button", { type: "button", id: "step-play", "aria-label": "Play" }, "▶");
  const stop = () => {
    clearInterval(state.timer);
    state.timer = 0;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  };
  play.addEventListener("click", () => {
    if (state.timer) return stop();
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    state.timer = setInterval(() => (play.isConnected ? go(current() + 1) : stop()), 420);
  });
  const button = (text, title, by) =>
    el(
      "button",
      {
        type: "button",
        title,
        "aria-label": title,
        on: {
          click: () => {
            stop();
            go(current() + by);
          },
        },
      },
      text,
    );
  const pick = (title, number, from, property) =>
    number > 1 &&
    el(
      "label",
      { class: "field" },
      `${title} `,
      el(
        "select",
        {
          "aria-label": title,
          on: {
            change: (event) => {
              state[property] = Number(event.target.value);
              build();
            },
          },
        },
        Array.from({ length: number }, (_, index) => el("option", { value: index }, `${index + 1}`)),
      ),
      ` of ${grouped(from)}`,
    );
  const filters = batchSum ? taps.maps.length : taps.maps[0].length;
  const picks = el(
    "div",
    { class: "picks" },
    pick("channel", images.maps.length, images.of[0], "channel"),
    pick(
      "filter",
      Array.isArray(taps.maps[0][0]) || batchSum ? filters : 1,
      (batchSum ? taps.of[0] : taps.of[1]) ?? filters,
      "filter",
    ),
  );
  const panel = section(
    "Step through it",
    !given && example(),
    el("p", { class: "hint" }, words.text, words.equation && el("span", { class: "chip" }, words.equation)),
    plates,
    el(
      "div",
      { class: "stepper" },
      button("◀", "Step back", -1),
      play,
      button("▶▏", "Step on", 1),
      slider,
      place,
    ),
    picks.childNodes.length ? picks : null,
    formula,
  );
  build();
  return panel;
}

const remark = (images, channel, more = "") =>
  [
    images.of[0] > 1 ? `channel ${channel + 1} of ${grouped(images.of[0])}` : "",
    images.cut ? "upper left part" : "",
    more,
  ]
    .filter(Boolean)
    .join(", ");

/** Rows and columns of zeros that the shown places of the result really reach. */
function paddingShown(op, images, taps, result) {
  const over = (axis, size, window, places) =>
    Math.max(
      0,
      (places - 1) * op.stride[axis] + (window - 1) * op.dilation[axis] + 1 - op.padding[axis][0] - size,
    );
  return [
    op.padding[0][0],
    over(1, images.width, taps.width, result.width),
    over(0, images.height, taps.height, result.height),
    op.padding[1][0],
  ];
}

function attributesOf(node) {
  const text = Object.fromEntries(node.attributes);
  const numbers = (value, fallback) => (value ? value.match(/-?\d+/g).map(Number) : fallback);
  const [top, bottom, left, right] = numbers(text.padding, [0, 0, 0, 0]);
  return {
    stride: numbers(text.stride, [1, 1]),
    dilation: numbers(text.dilation, [1, 1]),
    padding: [
      [top, bottom],
      [left, right],
    ],
    sum_over: text.sum_over ?? "channels",
    flips: node.op === "convolve2d",
  };
}

/** What the three grids are in the article's words: forward pass, filter gradient, or input gradient. */
function wording(node, op) {
  const [images, window] = node.operands.map(([id]) => app.view.byId.get(id));
  const turned = (operand, text) => (operand?.op === "rot180" ? `rot180(${text})` : text);
  const sign = op.flips ? "∗" : "⊗";
  const step = Math.max(...op.stride, ...op.dilation);
  if (node.of === undefined) {
    return {
      images: "o",
      window: "w",
      result: "x",
      sign,
      equation: op.flips ? "Eq. 2" : "Eq. 7",
      text: "x(i, j) is the sum of the inputs under the filter, each times the tap that lies on it. ",
    };
  }
  if (op.sum_over === "batch") {
    return {
      images: turned(images, "o"),
      window: turned(window, "δ"),
      result: "∂E/∂w",
      sign,
      equation: "Eq. 13",
      windowRemark: op.flips && window?.op === "rot180" ? "twice rotated is δ as it was" : "",
      text:
        "∂E/∂w(m′, n′) sums what the tap saw, o(i + m′, j + n′), times the delta that it caused, δ(i, j), " +
        `over all places${step > 1 ? `, here ${step} apart` : ""}. `,
    };
  }
  const isRotated = !node.rule.includes("flipped");
  return {
    images: "δ",
    imagesRemark: images?.op === "zero_insert" ? "with zeros where the stride skipped" : "",
    window: isRotated ? "rot180(w)" : "w",
    result: "∂E/∂o",
    sign,
    equation: "Eq. 20, 21",
    text:
      "∂E/∂o(i′, j′) sums the deltas of all outputs that this input had a part in, δ(i′ − m, j′ − n), times the tap " +
      `between them, w(m, n)${isRotated ? ": rotated, the taps lie in the order in which the deltas come" : ""}. `,
  };
}

/** Small whole numbers for the same arithmetic, where no sample was given. */
function exampleStep(node) {
  const op = attributesOf(node);
  const simple = (seed) => (index) =>
    [2, -1, 0, 1, 3, -2, 1, 0, 1, -1, 2, 1][(index * 5 + seed * 7 + (index >> 2)) % 12];
  const taps = op.sum_over === "batch" ? 3 : Math.min(3, tapsOf(node));
  const places = op.sum_over === "batch" ? Math.min(3, Number(node.types[0].match(/\d+(?=,)/)?.[0] ?? 3)) : 4;
  const padding = op.padding.flat().map((width) => Math.min(width, taps - 1));
  const sizes = [0, 1].map((axis) =>
    Math.max(
      2,
      (places - 1) * op.stride[axis] +
        (taps - 1) * op.dilation[axis] +
        1 -
        padding[2 * axis] -
        padding[2 * axis + 1],
    ),
  );
  const fill = (height, width, seed) =>
    Array.from({ length: height * width }, (_, index) => simple(seed)(index));
  const images = fill(sizes[0], sizes[1], 1);
  const window = fill(taps, taps, 2);
  const used = op.flips ? [...window].reverse() : window;
  const rows =
    Math.floor((sizes[0] + padding[0] + padding[1] - (taps - 1) * op.dilation[0] - 1) / op.stride[0]) + 1;
  const columns =
    Math.floor((sizes[1] + padding[2] + padding[3] - (taps - 1) * op.dilation[1] - 1) / op.stride[1]) + 1;
  const out = [];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      let sum = 0;
      for (let m = 0; m < taps; m += 1) {
        for (let n = 0; n < taps; n += 1) {
          const [i, j] = [
            row * op.stride[0] + m * op.dilation[0] - padding[0],
            column * op.stride[1] + n * op.dilation[1] - padding[2],
          ];
          if (i >= 0 && j >= 0 && i < sizes[0] && j < sizes[1])
            sum += images[i * sizes[1] + j] * used[m * taps + n];
        }
      }
      out.push(sum);
    }
  }
  return {
    op: { ...op, padding: [padding.slice(0, 2), padding.slice(2)] },
    images: { height: sizes[0], width: sizes[1], maps: [images], of: [1] },
    window: { height: taps, width: taps, maps: op.sum_over === "batch" ? [window] : [[window]], of: [1, 1] },
    result: { height: rows, width: columns, maps: op.sum_over === "batch" ? [[out]] : [out], of: [1, 1] },
    summed: ["channels", 1],
  };
}

function tapsOf(node) {
  const view = app.view;
  const filters = view.byId.get(node.operands[1]?.[0]);
  return Number(filters?.types[0].match(/\[(\d+)/)?.[1] ?? 3);
}
