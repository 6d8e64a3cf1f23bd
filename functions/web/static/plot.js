// Charts as inline SVG: bars or lines over days, whose series differ in pattern, dash and marker as well as in colour.

import { h, svg } from "./dom.js";
import { day } from "./format.js";

const HEIGHT = 220, LEFT = 52, RIGHT = 10, TOP = 12, BOTTOM = 26;
export const MOST_SERIES = 5;
let plots = 0;

// Draws {kind: "bars"|"lines", days, series: [{name, values: [number or null]}], faint: [bool], limits: [[name, value]],
// from, to, most, format(value, step), label} as wide as there is room. What is beyond `most` is an arrow at the edge.
export function plot(chart, width) {
  plots += 1;
  const scale = scaleOf(chart);
  const band = (width - LEFT - RIGHT) / chart.days.length;
  const at = {
    band,
    id: `plot-${plots}`,
    x: (index) => LEFT + band * (index + 0.5),
    y: (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (Math.min(value, scale.to) - scale.from) / (scale.to - scale.from)),
    top: scale.to,
  };
  return svg("svg", { class: "plot", role: "img", "aria-label": chart.label, width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` },
    chart.kind === "bars" ? svg("defs", {}, chart.series.map((_, index) => hatch(at.id, index))) : null,
    scale.ticks.map((tick) => [
      svg("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: at.y(tick), y2: at.y(tick) }),
      svg("text", { x: LEFT - 8, y: at.y(tick) + 4, "text-anchor": "end" }, chart.format(tick, scale.step)),
    ]),
    dates(chart.days, width, at),
    (chart.limits ?? []).map(([name, value]) => [
      svg("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: at.y(value), y2: at.y(value) }),
      svg("text", { class: "limit", x: LEFT + 4, y: at.y(value) - 4 }, `${name} ${value}`),
    ]),
    chart.kind === "bars" ? bars(chart, at) : chart.series.map((series, index) => line(chart, series, index, at)));
}

// What a series looks like, beside its name.
export function keys(chart) {
  plots += 1;
  const id = `plot-${plots}`;
  return h("ul", { class: "keys small" }, chart.series.map((series, index) => h("li", {},
    svg("svg", { width: 28, height: 14, "aria-hidden": "true", class: "plot" }, chart.kind === "bars"
      ? [svg("defs", {}, hatch(id, index)), block(id, index, { x: 4, y: 1, width: 20, height: 12 })]
      : [svg("path", { class: `line s${index}`, d: "M0 7H28" }), marker(index, 14, 7, `s${index}`)]),
    series.name)));
}

// Round steps, few of them, that hold every value and every limit.
function scaleOf({ series, limits = [], from, to, most = Infinity, kind }) {
  const values = series.flatMap((one) => one.values).filter((value) => value !== null);
  const sums = kind === "bars" ? series[0].values.map((_, index) => series.reduce((sum, one) => sum + (one.values[index] ?? 0), 0)) : values;
  let low = from ?? Math.min(...sums), high = Math.min(most, Math.max(...sums, ...limits.map(([, value]) => value * 1.1)));
  if (high <= low) [low, high] = [from ?? low - 0.5, low + 0.5];
  const rough = (high - low) / 4, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * size).find((one) => one >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9), last = Math.min(Math.ceil(high / step - 1e-9), to === undefined ? Infinity : Math.round(to / step));
  const ticks = Array.from({ length: Math.max(2, last - first + 1) }, (_, index) => (first + index) * step);
  return { ticks, step, from: ticks[0], to: ticks.at(-1) };
}

function dates(days, width, at) {
  const every = Math.ceil(days.length / Math.max(2, Math.floor((width - LEFT) / 90)));
  return days.map((date, index) => (days.length - 1 - index) % every ? null
    : svg("text", { x: Math.min(at.x(index), width - RIGHT), y: HEIGHT - 8, "text-anchor": at.x(index) > width - 45 ? "end" : "middle" }, day(date).replace(/^\w+,? /, "")));
}

function bars({ days, series, faint }, at) {
  return days.map((date, index) => {
    let below = 0;
    return series.map(({ name, values }, number) => {
      if (!values[index]) return null;
      const top = at.y(below + values[index]), height = at.y(below) - top;
      below += values[index];
      return block(at.id, number, { x: at.x(index) - at.band * 0.36, width: at.band * 0.72, y: top, height, class: faint[index] ? "faint" : "" },
        svg("title", {}, `${day(date)}, ${name}: ${values[index]}`));
    });
  });
}

function block(id, index, { class: kind = "", ...place }, ...more) {
  return svg("rect", { ...place, rx: 1.5, class: `bar s${index} ${kind}`, fill: index ? `url(#${id}-${index})` : null }, more);
}

// Full, striped, dotted, lined, crossed.
function hatch(id, index) {
  const strokes = ["", "M0 6L6 0", "M1.5 1.5h1.5v1.5h-1.5z M4.5 4.5h1.5v1.5h-1.5z", "M0 3H6", "M0 3H6M3 0V6"][index];
  return strokes ? svg("pattern", { id: `${id}-${index}`, width: 6, height: 6, patternUnits: "userSpaceOnUse" },
    svg("path", { class: `line s${index} plain`, d: strokes })) : null;
}

function line({ days, faint }, { name, values }, number, at) {
  let path = "", drawing = false;
  values.forEach((value, index) => {
    if (value !== null) path += `${drawing ? "L" : "M"}${at.x(index).toFixed(1)} ${at.y(value).toFixed(1)}`;
    drawing = value !== null; // a day without a value is a gap
  });
  return [
    svg("path", { class: `line s${number}`, d: path }),
    values.map((value, index) => value === null ? null
      : marker(value > at.top ? "beyond" : number, at.x(index), at.y(value), `s${number}${faint[index] ? " faint" : ""}`, svg("title", {}, `${day(days[index])}, ${name}: ${value}`))),
  ];
}

// A disc, a square, a triangle, a diamond, a cross; and an arrow upwards.
const MARKERS = ["M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0", "M-3 -3h6v6h-6z", "M0 -4L4 3H-4z", "M0 -4.5L4.5 0L0 4.5L-4.5 0z", "M-3 -3L3 3M3 -3L-3 3"];
MARKERS.beyond = "M0 -6L5 2H1.5V7H-1.5V2H-5z";

function marker(shape, x, y, kind, title) {
  return svg("path", { class: `marker ${kind}`, d: MARKERS[shape], transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` }, title);
}
