// The runs of each job: the newest for its card, those of the grid's days, and what becomes of those under way.

import { announce } from "./dom.js";
import { POLL_MS, apiPathOf, askInTurn, isActive, pages, shifted, stateOf } from "./runs.js";

// As many as cover the last night of a daily job, and what was asked for by hand beside it.
const NEWEST = 20;
const STALE_MS = 10 * 60_000;

// A column is {job, runs: by key, newest, problem, again, pending, asked, loaded, reached}: `reached` is the oldest day of
// which runs were loaded, where there are more than are loaded at once.
export class Columns {
  constructor(jobs, since, until, draw) {
    Object.assign(this, { since, until, draw });
    this.all = jobs.map((job) => ({ job, runs: new Map(), newest: null, problem: null, pending: false, reached: "", loaded: 0 }));
    for (const column of this.all) column.again = () => this.load(column);
    this.fresh = Date.now();
    document.addEventListener("visibilitychange", () => this.seen());
  }

  // Of a page that was left open overnight nothing holds any more.
  seen() {
    if (!document.hidden && Date.now() - this.fresh > STALE_MS) location.reload();
    else this.plan();
  }

  // One job that cannot be asked for is told of in its own place.
  async load(column) {
    column.problem = null;
    try {
      await this.loadNewest(column);
      this.draw();
      await this.loadDays(column);
    } catch (problem) {
      column.problem = problem;
    }
    column.asked = true;
    this.changed();
  }

  async loadNewest(column) {
    const { items } = await pages("runs", { job: column.job.id }, 1, NEWEST);
    keep(column, items);
    return items;
  }

  async loadDays(column) {
    const { items, more } = await pages("runs", { job: column.job.id, since: this.since, until: shifted(this.until, 1) });
    keep(column, items);
    column.loaded = items.length;
    column.reached = more ? items.at(-1).key.slice(0, 10) : "";
  }

  changed() {
    this.draw();
    this.plan();
  }

  // Looks again in a moment, while something is under way and somebody sees it.
  plan() {
    clearTimeout(this.timer);
    const active = this.all.filter((column) => column.pending || [...column.runs.values()].some(isActive));
    if (active.length && !document.hidden) this.timer = setTimeout(() => this.follow(active), POLL_MS);
  }

  async follow(columns) {
    await Promise.allSettled(columns.map(async (column) => {
      const before = [...column.runs.values()].filter(isActive);
      const seen = new Set((await this.loadNewest(column)).map((run) => run.key));
      // What is older than the newest is asked for one by one, a few at a time.
      const older = before.filter(({ key }) => !seen.has(key)).slice(-5);
      keep(column, await Promise.all(older.map((run) => askInTurn(apiPathOf(run.job, run.key)))));
      for (const { job, key } of before) {
        const { state } = column.runs.get(key);
        if (!isActive({ state })) announce(`${job} ${key} ${stateOf(state)[1]}`);
      }
    }));
    this.changed();
  }
}

export function keep(column, runs) {
  for (const run of runs) {
    column.runs.set(run.key, run);
    if (!column.newest || run.key >= column.newest.key) column.newest = run;
  }
}
