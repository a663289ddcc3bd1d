// Numbers as people read them.

function scaled(number, unit = "") {
  let value = number;
  for (const prefix of ["", "k", "M", "G", "T"]) {
    if (Math.abs(value) < 1000 || prefix === "T") {
      const digits = Number.isInteger(value) ? String(value) : value.toPrecision(3);
      return `${digits}${unit || prefix ? "\u202f" : ""}${prefix}${unit}`;
    }
    value /= 1000;
  }
  return "";
}

const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

function duration(seconds) {
  if (!seconds) return "–";
  for (const [unit, size] of [
    ["s", 1],
    ["ms", 1e-3],
    ["µs", 1e-6],
  ]) {
    if (seconds >= size) return `${(seconds / size).toPrecision(3)}\u202f${unit}`;
  }
  return `${(seconds / 1e-9).toPrecision(3)}\u202fns`;
}

/** A value in a small cell: two or three digits, without the zero before the point. */
function brief(value) {
  if (typeof value === "string") return value.replace("nan", "NaN").replace("inf", "∞").replace("-", "−");
  if (Number.isInteger(value) && Math.abs(value) < 1000) return String(value).replace("-", "−");
  const size = Math.abs(value);
  if (size < 0.005) return "0";
  const text =
    size >= 1000
      ? size.toExponential(0)
      : size >= 10
        ? size.toFixed(0)
        : size >= 1
          ? size.toFixed(1)
          : size.toFixed(2).replace(/^0/, "");
  return (value < 0 ? "−" : "") + text;
}

/** A value of a tensor: few digits, a true minus sign. */
function digits(value, places = 3) {
  if (typeof value === "string") return value;
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text =
    size >= 1e4 || size < 1e-3 ? value.toExponential(places - 1) : String(Number(value.toPrecision(places)));
  return text.replaceAll("-", "−");
}
