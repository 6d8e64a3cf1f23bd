// Counts, confidence and drift over thirty days: each a chart, and the same numbers as a table.

import { h, replace, table } from "./dom.js";
import { day, number } from "./format.js";
import { MOST_SERIES, keys, plot } from "./plot.js";
import { into } from "./problems.js";
import { pages, shifted } from "./runs.js";

export const CHART_DAYS = 30;
const INDEXES = { classes: "classes", top_scores: "top scores", values: "values" };

// Puts the charts of what the daily summaries and the drift of these jobs say into a place; resolves to the newest day's
// rows of the drift and its job.
export async function showCharts(place, jobs, until) {
  const days = Array.from({ length: CHART_DAYS }, (_, index) => shifted(until, index + 1 - CHART_DAYS));
  const counts = h("div", { class: "charts" }), drift = h("div", { class: "charts" });
  place.append(counts, drift);
  const daily = jobs.find((job) => job.transform === "daily_summary"), drifts = jobs.find((job) => job.transform === "drift");
  let newest = [];
  await Promise.all([
    daily ? into(counts, async () => dailyCharts(days, await load(daily, days)), "Asking for the summaries") : null,
    drifts ? into(drift, async () => {
      const rows = await load(drifts, days);
      newest = rows.filter((row) => row.date === rows.at(-1).date);
      return driftCharts(days, rows, drifts.params);
    }, "Asking for the drift") : null,
  ]);
  return { job: drifts, newest };
}

// Every row of these days, with whether its day had ended; oldest first.
async function load(job, days) {
  const { items } = await pages("summaries", { job: job.id, since: days[0], until: shifted(days.at(-1), 1) }, 1);
  return items.reverse().flatMap(({ key, provisional, rows }) => rows.map((row) => ({ ...row, date: key, provisional })));
}

function dailyCharts(days, rows) {
  const scored = rows.filter((row) => typeof row.mean_top_score === "number");
  return [
    figure({ title: "Predictions a day", kind: "bars", from: 0, format: whole, what: "predictions", ...over(days, rows, (row) => row.predictions) },
      ["Results", "Predictions"], rows, (row) => [number(row.results), number(row.predictions)]),
    figure({ title: "Mean top score a day", kind: "lines", to: 1, format: decimal, what: "confidence", ...over(days, scored, (row) => row.mean_top_score) },
      ["Mean top score"], scored, (row) => [number(row.mean_top_score)]),
  ];
}

// The index is the largest of those that a verdict is made of, so that the line and the verdict agree.
function driftCharts(days, rows, params) {
  const limits = [["moderate", params.moderate ?? 0.1], ["significant", params.significant ?? 0.25]];
  const compared = (side) => rows.filter((row) => row[side]);
  const index = (side) => (row) => Math.max(...indexes(row[side]).map(([, value]) => value).filter((value) => value !== null));
  // Four times what is significant: beyond that it does not matter how far.
  const most = 4 * limits[1][1];
  const sides = [["previous", "Drift against the week before"], ["training", "Drift against the training data"]];
  return sides.map(([side, title]) => figure(
    { title, kind: "lines", from: 0, limits, most, format: decimal, what: "stability index", ...over(days, compared(side), index(side)) },
    ["Verdict", "Index"], compared(side), (row) => [row[side].verdict, indexes(row[side]).map(([name, value]) =>
      `${INDEXES[name] ?? name} ${value === null ? "too few" : number(value)}`).join(", ")]));
}

const indexes = (comparison) => Object.entries(comparison.psi ?? {});

// One series a model version, the busiest first; null where a day has no number.
function over(days, rows, valueOf) {
  const versions = new Map();
  for (const row of rows) {
    const value = valueOf(row), name = `${row.model} ${row.version}`;
    if (!Number.isFinite(value)) continue;
    if (!versions.has(name)) versions.set(name, days.map(() => null));
    const index = days.indexOf(row.date);
    if (index >= 0) versions.get(name)[index] = value;
  }
  const days_of = ({ values }) => values.filter((value) => value !== null).length;
  const all = [...versions].map(([name, values]) => ({ name, values })).sort((a, b) => days_of(b) - days_of(a));
  const unsettled = new Set(rows.filter((row) => row.provisional).map((row) => row.date));
  return { days, series: all.slice(0, MOST_SERIES), left: all.length - MOST_SERIES, faint: days.map((date) => unsettled.has(date)) };
}

function figure(chart, headings, rows, cells) {
  const { title, series, days, left, faint } = chart;
  if (!series.length) return h("figure", {}, h("figcaption", {}, title), h("p", { class: "empty" }, "Nothing is known of these days."));
  chart.label = `${title}. ${gist(chart)}`;
  const canvas = h("div", { class: "canvas" });
  const draw = () => canvas.clientWidth && replace(canvas, plot(chart, Math.max(240, canvas.clientWidth)));
  new ResizeObserver(draw).observe(canvas);
  const notes = [left > 0 && `${left} more are in the table alone.`,
    series.some(({ values }) => Math.max(...values) > (chart.most ?? Infinity)) && "An arrow: beyond the scale, see the data.",
    faint.includes(true) && "Pale: the day is not over, and its number provisional."].filter(Boolean);
  return h("figure", {}, h("figcaption", {}, title), canvas, keys(chart),
    notes.map((note) => h("p", { class: "quiet small" }, note)),
    h("details", {}, h("summary", {}, `Data: ${title.toLowerCase()}`), table(`${title}, ${day(days[0])} to ${day(days.at(-1))}`, [
      ["Day", (row) => h("time", { datetime: row.date }, day(row.date), row.provisional ? " (provisional)" : ""), "fixed"],
      ["Model", (row) => row.model, "text"],
      ["Version", (row) => row.version, "number"],
      ...headings.map((heading, index) => [heading, (row) => cells(row)[index], heading === "Verdict" || heading === "Index" ? "text" : "number"]),
    ], [...rows].sort((a, b) => (a.date < b.date) - (a.date > b.date)))));
}

// Of each series the least, the most and the latest, for those who do not see it.
function gist({ series, days, format, what }) {
  return series.map(({ name, values }) => {
    const known = values.filter((value) => value !== null), latest = values.findLastIndex((value) => value !== null);
    return `${name}: ${what} from ${format(Math.min(...known))} to ${format(Math.max(...known))}, latest ${format(values[latest])} on ${day(days[latest])}`;
  }).join(". ") + ".";
}

const whole = (value) => number(Math.round(value));
// With as many digits as tell one tick from the next.
const decimal = (value, step) => step ? value.toFixed([1, 2, 3, 4].find((digits) => Number.isInteger(Number((step * 10 ** digits).toFixed(6)))) ?? 4) : number(value);
