// Small charts as SVG paths. Each keeps nothing: it is drawn anew from its numbers.

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with these attributes. */
function shape(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The next round number that is not below `value`: 1, 2 or 5 times a power of ten. */
export function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((candidate) => candidate >= value);
}

/** Points from left to right; the newest number is at the right edge, however few there are. */
function points(values, capacity, width, height, top) {
  const step = width / (capacity - 1);
  const first = width - step * (values.length - 1);
  return values.map((value, index) => [first + index * step, height - (Math.max(value, 0) / top) * height]);
}

const path = (list) => list.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");

/** Lines over one scale; `series` is `[{ tone, values }]`, the first one with a tinted area below. */
export function spark(svg, series, capacity) {
  const { clientWidth: width, clientHeight: height } = svg;
  if (!width) return;
  const inner = height - 3;
  const top = Math.max(...series.flatMap((line) => line.values), 1e-9) * 1.05;
  svg.setAttribute("viewBox", `0 -2 ${width} ${height}`);
  svg.replaceChildren(shape("line", { class: "grid", x1: 0, x2: width, y1: inner, y2: inner }));
  series.forEach(({ tone, values }, index) => {
    if (values.length < 2) return;
    const line = points(values, capacity, width, inner, top);
    if (index === 0) {
      const area = `M${line[0][0].toFixed(1)} ${inner}L${path(line)}L${width} ${inner}Z`;
      svg.append(shape("path", { class: `area ${tone}`, d: area }));
    }
    svg.append(shape("path", { class: `line ${tone}`, d: `M${path(line)}` }));
  });
}

/** Areas stacked on each other, the first at the bottom, with a scale. */
export function stack(svg, series, capacity, label) {
  const { clientWidth: width, clientHeight: height } = svg;
  if (!width) return;
  const length = series[0].values.length;
  const totals = Array.from({ length }, (_, at) => series.reduce((sum, layer) => sum + layer.values[at], 0));
  const top = roundUp(Math.max(...totals, 1));
  const inner = height - 12;
  svg.setAttribute("viewBox", `0 -10 ${width} ${height}`);
  svg.replaceChildren();
  let below = new Array(length).fill(0);
  for (const { tone, values } of series) {
    const above = below.map((sum, at) => sum + values[at]);
    if (length > 1) {
      const upper = points(above, capacity, width, inner, top);
      const lower = points(below, capacity, width, inner, top).reverse();
      svg.append(shape("path", { class: `layer ${tone}`, d: `M${path(upper)}L${path(lower)}Z` }));
    }
    below = above;
  }
  for (const part of [0, 0.5, 1]) {
    const y = inner - part * inner;
    svg.append(shape("line", { class: "grid", x1: 0, x2: width, y1: y, y2: y }));
    if (part > 0) svg.append(shape("text", { x: 2, y: y + 12 }, label(top * part)));
  }
}
