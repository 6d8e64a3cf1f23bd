// Run: one job over one interval, with its attempts, its slices and what it wrote.

import { environment, post, readOnly } from "./api.js";
import { confirmed } from "./confirm.js";
import { announce, busy, button, card, h, replace } from "./dom.js";
import { into, problemBox } from "./problems.js";
import { described } from "./run_cards.js";
import { PATIENCE_MS, POLL_MS, apiPathOf, askInTurn, badge, isActive, pages, shifted, stateOf } from "./runs.js";

export async function show(place, { pathname }) {
  const [job, key] = named(pathname);
  document.querySelector("h1").textContent = `${job}, ${key}`;
  document.title = `${job}, ${key} · Nightshift ${environment.environment}`;
  const view = new RunView(job, key);
  const whole = h("div", { class: "view" });
  place.append(h("p", {}, h("a", { href: "/nights" }, "← All nights")), whole);
  await into(whole, () => view.load(), "Asking for the run");
}

function named(pathname) {
  const [job, key] = pathname.split("/").slice(2).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return [job, key];
}

class RunView {
  constructor(job, key) {
    Object.assign(this, { job, key, path: apiPathOf(job, key), body: h("div", { class: "view" }), drawn: "" });
    this.outcome = h("div", { class: "outcome", role: "status" });
    this.rerun = button("Run again", () => this.runAgain(), { "aria-label": `Run ${job} for ${key} again` });
    document.addEventListener("visibilitychange", () => this.plan());
  }

  async load() {
    await this.look();
    return [this.body, readOnly
      ? h("p", { class: "quiet" }, "This page is read-only: it shows runs, and runs none again.")
      : card("Run again", h("p", {}, "The same interval once more, with the job's present code and parameters."), this.rerun, this.outcome)];
  }

  async look() {
    const run = await askInTurn(this.path);
    const rows = run.generation ? await this.summary() : null;
    const now = JSON.stringify([run, rows]);
    if (now !== this.drawn) replace(this.body, described(run, rows));
    if (this.run && isActive(this.run) && !isActive(run)) announce(`${this.job} ${this.key} ${stateOf(run.state)[1]}`);
    this.drawn = now;
    this.run = run;
    this.plan();
  }

  // The rows of the generation that is visible; a problem with them is theirs alone.
  async summary() {
    const date = this.key.slice(0, 10);
    try {
      const { items } = await pages("summaries", { job: this.job, since: date, until: shifted(date, 1) });
      return items.find((one) => one.key === this.key) ?? null;
    } catch (problem) {
      return { problem };
    }
  }

  plan() {
    clearTimeout(this.timer);
    const follow = () => this.look().catch(() => this.plan()); // it may come back
    if (this.run && (this.busy || isActive(this.run)) && !document.hidden) this.timer = setTimeout(follow, POLL_MS);
  }

  async runAgain() {
    const text = `It runs over ${this.key} again. Once it has succeeded, what it writes replaces this run's summary; until then the present one is shown.`;
    if (!(await confirmed(`Run ${this.job} again?`, text, "Run again"))) return;
    this.busy = true;
    replace(this.outcome, h("p", { class: "quiet waiting" }, "Running…"));
    this.plan();
    try {
      const { data } = await busy([this.rerun], () => post(`${this.path}:rerun`, {}, { patience: PATIENCE_MS }));
      replace(this.outcome, h("p", {}, badge(data.run.state), data.run.error ? ` ${data.run.error}` : " It is shown above."));
      announce(`${this.job} ${this.key} ${stateOf(data.run.state)[1]}`);
    } catch (problem) {
      replace(this.outcome, problemBox(problem));
    }
    this.busy = false;
    await this.look().catch((problem) => replace(this.outcome, problemBox(problem)));
  }
}
