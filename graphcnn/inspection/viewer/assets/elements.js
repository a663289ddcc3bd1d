// Making elements. Data only ever becomes text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

function make(namespace, tag, attributes, children) {
  const element = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on")
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  return append(element, children);
}

const el = (tag, attributes, ...children) => make(null, tag, attributes, children);
const svg = (tag, attributes, ...children) => make(SVG, tag, attributes, children);
const byId = (id) => document.getElementById(id);

/** A name of the user's: isolated, so that its direction and its control characters stay its own affair. */
const name = (text, longest = 120) =>
  el("bdi", { title: text.length > longest ? clipped(text, 600) : null }, clipped(text, longest));

function clipped(text, longest) {
  const flat = text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066\u2067]+/g, " ");
  return flat.length > longest ? `${flat.slice(0, longest - 1)}…` : flat;
}

const ruler = document.createElement("canvas").getContext("2d");
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';
const widths = new Map();

/** The text, shortened with an ellipsis until it is at most `width` pixels wide. */
function fitted(text, width, font) {
  const id = `${font}|${width}|${text.length > 200 ? text.slice(0, 200) : text}`;
  if (widths.has(id)) return widths.get(id);
  ruler.font = `${font} ${FONT}`;
  let shown = clipped(text, 200);
  if (ruler.measureText(shown).width > width) {
    let low = 0;
    let high = shown.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (ruler.measureText(`${shown.slice(0, middle)}…`).width <= width) low = middle;
      else high = middle - 1;
    }
    shown = `${shown.slice(0, low)}…`;
  }
  widths.set(id, shown);
  return shown;
}

function label(text, x, y, width, font, attributes = {}) {
  return svg("text", { x, y, ...attributes }, fitted(text, width, font));
}
