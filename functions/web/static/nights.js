// Nights: did the last one go well, the jobs, the grid of their runs, and the charts.

import { expect, readOnly } from "./api.js";
import { CHART_DAYS, showCharts } from "./charts.js";
import { Columns } from "./columns.js";
import { card, h, replace } from "./dom.js";
import { day } from "./format.js";
import { DAYS, dayOfRuns, grid } from "./grid.js";
import { jobCard } from "./job_cards.js";
import { verdict } from "./night.js";
import { into } from "./problems.js";
import { askInTurn, isDay, legend, localDay, pathOf, shifted } from "./runs.js";

export async function show(place, { search }) {
  const query = new URLSearchParams(search);
  const whole = h("div", { class: "view" });
  let load = null;
  place.append(whole);
  await into(whole, async () => {
    const { jobs } = await askInTurn("/jobs");
    expect(Array.isArray(jobs) && jobs.every(isJob), "nightly_transform", "a list of jobs");
    const board = new Board(jobs, query);
    load = board.load();
    return board.nodes();
  }, "Asking for the jobs");
  await load;
}

const isJob = (job) => [job?.id, job?.schedule, job?.time_zone].every((text) => typeof text === "string") && Array.isArray(job.after) && Boolean(job.params);

class Board {
  constructor(jobs, query) {
    this.jobs = jobs;
    this.refusals = [];
    this.latest = jobs.map((job) => localDay(new Date(), job.time_zone)).sort().at(-1) ?? shifted(Date.now(), 0);
    this.until = [this.dayFrom(query, "until") ?? this.latest, this.latest].sort()[0];
    this.since = shifted(this.until, 1 - DAYS);
    this.opened = this.openedFrom(query);
    this.columns = new Columns(jobs, this.since, this.until, () => this.draw());
    this.cards = this.columns.all.map((column) => jobCard(column, () => this.columns.changed()));
    this.grid = grid(this.columns.all, this.until);
    this.verdict = h("p", { class: "verdict quiet" }, "Asking how the night went…");
    this.drift = h("p", { class: "drifted" });
    this.charts = h("div", {});
  }

  nodes() {
    return [
      this.refusals.map((text) => h("p", { class: "problem", role: "alert" }, text)),
      h("div", {}, this.verdict, this.drift),
      readOnly ? h("p", { class: "quiet" }, "This page is read-only: it shows the jobs, and neither runs nor pauses them.") : null,
      h("div", { class: "jobs" }, this.cards.map((one) => one.element)),
      card("Runs", this.steps(), this.grid.nodes, legend()),
      this.opened ? h("section", { class: "card", id: "day", tabindex: "-1" }, h("h2", {}, `${this.opened.job} on ${day(this.opened.date)}`), this.opened.place) : null,
      card(`The ${CHART_DAYS} days to ${day(this.until)}`, this.charts),
    ];
  }

  steps() {
    const link = (text, until) => h("a", { class: "button", href: until === this.latest ? "?" : `?until=${until}` }, text);
    const later = shifted(this.until, DAYS);
    return h("nav", { class: "row steps", "aria-label": "Days" },
      link("← Earlier", shifted(this.until, -DAYS)),
      this.until < this.latest ? link("Later →", later < this.latest ? later : this.latest) : null,
      h("span", { class: "quiet small" }, `${day(this.since)} to ${day(this.until)}`));
  }

  async load() {
    this.draw();
    await Promise.all([
      ...this.columns.all.map((column) => this.columns.load(column)),
      showCharts(this.charts, this.jobs, this.until).then((drift) => replace(this.drift, drifted(drift))),
      this.opened ? this.open() : null,
    ]);
  }

  async open() {
    const { job, date, place } = this.opened;
    await into(place, () => dayOfRuns(job, date));
    document.getElementById("day")?.focus();
  }

  draw() {
    for (const one of this.cards) one.draw();
    this.grid.draw();
    if (!this.columns.all.every((column) => column.asked)) return;
    const { kind, words } = verdict(this.columns.all);
    this.verdict.className = `verdict ${kind}`;
    replace(this.verdict, words);
  }

  dayFrom(query, name) {
    const text = query.get(name);
    if (text === null || isDay(text)) return text;
    this.refusals.push(`${name}: expected a day such as 2026-11-21, got ${text.slice(0, 60)}; the newest days are shown.`);
    return null;
  }

  openedFrom(query) {
    const job = query.get("job"), date = job === null ? null : this.dayFrom(query, "day");
    if (!date) return null;
    if (this.jobs.some(({ id }) => id === job)) return { job, date, place: h("div", {}) };
    this.refusals.push(`There is no job called ${job.slice(0, 60)}.`);
    return null;
  }
}

// A night may go well and say something bad.
function drifted({ job, newest }) {
  const far = newest.filter((row) => row.verdict === "moderate" || row.verdict === "significant");
  if (!far.length) return [];
  const { date } = far[0];
  return ["▲ ", h("a", { href: pathOf(job.id, date) }, `Drift on ${day(date)}`), ": ", far.map((row) => `${row.model} ${row.version} ${row.verdict}`).join(", "), "."];
}
