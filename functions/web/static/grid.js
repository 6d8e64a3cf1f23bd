// The grid: days by jobs. A day on which a job ran many times is one cell, with the worst of it and how often.

import { h, replace, table } from "./dom.js";
import { day, duration, moment, number, plural } from "./format.js";
import { MOST_RUNS, badge, pages, pathOf, rank, remarks, shifted, stateOf, worst } from "./runs.js";

export const DAYS = 14;

// The table, whose cells `draw` fills, and fills again only where something has changed: what has focus keeps it.
export function grid(columns, until) {
  const days = Array.from({ length: DAYS }, (_, index) => shifted(until, -index));
  const cells = [], notes = h("div", { class: "small quiet" });
  const cell = (column, date) => {
    const place = h("div", { class: "cell" });
    cells.push({ column, date, place, drawn: null });
    return place;
  };
  const heading = (column) => h("span", {}, column.job.id, column.hint = h("span", { class: "hint" }));
  const made = table("Runs by day and job", [
    ["Day", (date) => h("time", { datetime: date }, day(date)), "fixed"],
    ...columns.map((column) => [heading(column), (date) => cell(column, date), "runs"]),
  ], days, { class: "grid" });
  const draw = () => {
    for (const column of columns) replace(column.hint, hint(column));
    const groups = new Map(columns.map((column) => [column, byDay(column)]));
    for (const one of cells) {
      const runs = groups.get(one.column).get(one.date) ?? [];
      const now = JSON.stringify([runs.map((run) => [run.state, remarks(run)]), one.column.reached, !one.column.problem]);
      if (now !== one.drawn) replace(one.place, content(one.column, one.date, runs));
      one.drawn = now;
    }
    replace(notes, columns.filter((column) => column.reached).map((column) => h("p", {},
      `The newest ${number(column.loaded)} runs of ${column.job.id} are shown: more than ${number(MOST_RUNS)} are not loaded at once.`)));
  };
  return { nodes: [made, notes], draw };
}

function hint(column) {
  if (column.problem) return "not loaded";
  return column.newest || column.runs.size ? null : "no runs yet";
}

function byDay(column) {
  const groups = new Map();
  for (const run of column.runs.values()) {
    const date = run.key.slice(0, 10);
    if (!groups.has(date)) groups.set(date, []);
    groups.get(date).push(run);
  }
  return groups;
}

function content(column, date, runs) {
  const { job, reached, problem } = column;
  if ((problem && !runs.length) || date < reached) return h("span", { class: "quiet small" }, "not loaded");
  if (!runs.length) return null;
  const whose = h("span", { class: "hidden" }, `${job.id}, ${day(date)}: `);
  if (runs[0].key === date) {
    const more = remarks(runs[0]).join(", ");
    return h("a", { href: pathOf(job.id, date) }, whose, badge(runs[0].state), more && h("span", { class: "remark" }, more));
  }
  return h("a", { href: `?${new URLSearchParams({ job: job.id, day: date })}#day` }, whose,
    counted(runs, date === reached ? "+" : ""));
}

// Such as "✓ 144 succeeded", or "✗ 2 of 144 failed".
function counted(runs, more) {
  const state = worst(runs.map((run) => run.state));
  const count = runs.filter((run) => run.state === state).length;
  const of = count < runs.length ? `${number(count)} of ${number(runs.length)}` : number(count);
  return badge(state, `${of}${more} ${stateOf(state)[1]}`);
}

// Every run that a job has of one day, as a table.
export async function dayOfRuns(job, date) {
  const { items, more } = await pages("runs", { job, since: date, until: shifted(date, 1) });
  if (!items.length) return h("p", { class: "empty" }, `${job} has no run of ${day(date)}.`);
  items.sort((a, b) => rank(a.state) - rank(b.state)); // what went wrong is what is looked for
  return [
    h("p", { class: "quiet small" }, more ? `The newest ${plural(items.length, "run")}; there are more.` : plural(items.length, "run")),
    table(`Runs of ${job} on ${day(date)}`, [
      ["Interval from", (run) => h("a", { href: pathOf(run.job, run.key) }, run.key.slice(11).replace("Z", " UTC") || run.key), "fixed"],
      ["State", (run) => [badge(run.state), remarks(run).map((remark) => ` ${remark}`)], "fixed"],
      ["Started", (run) => moment(run.started_at), "fixed"],
      ["Took", (run) => duration(run.started_at, run.ended_at), "number fixed"],
      ["Asked for by", (run) => run.trigger, "fixed"],
      ["Error", (run) => (run.error ?? "").slice(0, 160), "text"],
    ], items),
  ];
}
