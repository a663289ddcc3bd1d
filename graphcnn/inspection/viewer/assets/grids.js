// Grids of numbers: small ones with their digits, large ones as colours alone.

const DIGITS_UP_TO = 8;

class Grid {
  /** values: rows after one another; pad: [top, right, bottom, left] cells of zeros around them. */
  constructor(
    height,
    width,
    values,
    { pad = [0, 0, 0, 0], room = 172, scale = null, title = "", onPick = null } = {},
  ) {
    const [top, right, bottom, left] = pad;
    this.height = height;
    this.width = width;
    this.pad = pad;
    const [rows, columns] = [height + top + bottom, width + left + right];
    this.size = Math.max(Math.min(room / Math.max(rows, columns), 34), 3);
    this.cells = new Map();
    this.scale = scale ?? extent(values);
    // Very small and very large numbers are written as multiples of a power of ten, which is told once.
    this.exponent =
      this.scale > 1e-29 && (this.scale < 0.05 || this.scale >= 1000)
        ? Math.floor(Math.log10(this.scale))
        : 0;
    const shown = Math.max(rows, columns) <= DIGITS_UP_TO;
    this.hasDigits = shown;
    const [w, h] = [columns * this.size, rows * this.size];
    this.element = svg("svg", {
      class: `grid${onPick ? " pick" : ""}`,
      width: w + 2,
      height: h + 2,
      viewBox: `-1 -1 ${w + 2} ${h + 2}`,
      role: "img",
      "aria-label": title,
    });
    for (let row = -top; row < height + bottom; row += 1) {
      for (let column = -left; column < width + right; column += 1) {
        const isPadding = row < 0 || column < 0 || row >= height || column >= width;
        const value = isPadding ? 0 : values[row * width + column];
        const [x, y] = [(column + left) * this.size, (row + top) * this.size];
        const cell = svg("rect", {
          class: isPadding ? "cell padding" : "cell",
          x,
          y,
          width: this.size,
          height: this.size,
        });
        if (!isPadding) tint(cell, value, this.scale);
        if (onPick && !isPadding) cell.addEventListener("click", () => onPick(row, column));
        this.element.append(cell);
        const text = shown
          ? svg(
              "text",
              { class: isPadding ? "digits faint" : "digits", x: x + this.size / 2, y: y + this.size / 2 },
              brief(typeof value === "number" ? value / 10 ** this.exponent : value),
            )
          : null;
        if (text) text.style.fontSize = `${Math.min(12, this.size * 0.4)}px`;
        if (text) this.element.append(text);
        this.cells.set(`${row},${column}`, { cell, text, value });
      }
    }
    this.marks = svg("g", { class: "marks" });
    this.element.append(this.marks);
  }

  valueAt(row, column) {
    return this.cells.get(`${row},${column}`)?.value;
  }

  /** Lets the cells of a window stand out and outlines it as a whole: [[row, column], ...], in reading order. */
  focus(cells, kind) {
    const inside = new Set(cells.map(([row, column]) => `${row},${column}`));
    for (const [id, { cell, text }] of this.cells) {
      cell.classList.toggle("aside", !inside.has(id));
      text?.classList.toggle("aside", !inside.has(id));
    }
    const [[top, left], [bottom, right]] = [cells[0], cells.at(-1)];
    const [above, , , before] = this.pad;
    this.marks.replaceChildren(
      svg("rect", {
        class: `mark ${kind}`,
        x: (left + before) * this.size,
        y: (top + above) * this.size,
        width: (right - left + 1) * this.size,
        height: (bottom - top + 1) * this.size,
        rx: 2,
      }),
    );
  }

  /** Outlines cells: [row, column, class]. */
  mark(cells) {
    const [top, , , left] = this.pad;
    this.marks.replaceChildren(
      ...cells.map(([row, column, kind]) =>
        svg("rect", {
          class: `mark ${kind}`,
          x: (column + left) * this.size + 0.5,
          y: (row + top) * this.size + 0.5,
          width: this.size - 1,
          height: this.size - 1,
          rx: Math.min(3, this.size / 6),
        }),
      ),
    );
  }
}

const finite = (value) => (typeof value === "number" ? value : 0);
const extent = (values) => Math.max(1e-30, ...values.map((value) => Math.abs(finite(value))));

/** Negative values are blue, positive ones orange, zero has the colour of the paper. */
function tint(cell, value, scale) {
  if (typeof value !== "number") return cell.classList.add("not-finite");
  const share = Math.min(1, Math.abs(value) / scale);
  cell.classList.add(value < 0 ? "negative" : "positive");
  cell.style.setProperty("--share", String(Math.round(share * 100) / 100));
}

/** A grid with its name above and a remark below. */
function plate(title, grid, remark = "") {
  const unit =
    grid.exponent && grid.hasDigits
      ? el("small", {}, "× 10", el("sup", {}, String(grid.exponent).replace("-", "−")))
      : null;
  return el(
    "figure",
    { class: "plate" },
    title && el("figcaption", {}, title),
    grid.element,
    unit,
    remark && el("small", {}, remark),
  );
}
