// One card for each job: what it is, when it runs, how its last run went; run now, pause, resume.

import { post, readOnly } from "./api.js";
import { keep } from "./columns.js";
import { confirmed } from "./confirm.js";
import { announce, busy, button, card, facts, h, replace } from "./dom.js";
import { day, duration, moment, relative, schedule } from "./format.js";
import { isDaily, lastDay } from "./night.js";
import { problemBox } from "./problems.js";
import { PATIENCE_MS, badge, encode, localDay, pathOf, remarks, stateOf } from "./runs.js";

// {element, draw}; `changed` is called with what a button has led to.
export function jobCard(column, changed) {
  const shown = h("div", {}), buttons = h("div", { class: "row actions" }), outcome = h("div", { class: "outcome", role: "status" });
  const name = column.job.id;
  const act = async (pressed, said, work) => {
    replace(outcome, h("p", { class: "quiet waiting" }, said));
    try {
      replace(outcome, await busy([pressed], work));
    } catch (problem) {
      const unmet = problem.reason === "DEPENDENCIES_NOT_MET";
      replace(outcome, problemBox(problem), unmet && button("Run it all the same", ({ target }) => run(target, { ...column.order, force: true })));
    }
  };
  const run = (pressed, order) => act(pressed, "Running…", async () => {
    column.order = order;
    column.pending = true;
    changed(); // has the grid follow it
    try {
      const { data } = await post(`/jobs/${encode(name)}:trigger`, order, { patience: PATIENCE_MS });
      keep(column, [data.run]);
      announce(`${name}: ${stateOf(data.run.state)[1]}`);
      return said(data);
    } finally {
      column.pending = false;
      changed();
    }
  });
  const start = button("Run now", async () => {
    const order = await whichInterval(column.job);
    if (order) await run(start, order);
  }, { "aria-label": `Run ${name} now` });
  const pause = button("", () => act(pause, "…", async () => {
    const verb = column.job.paused ? "resume" : "pause";
    column.job = (await post(`/jobs/${encode(name)}:${verb}`, {})).data;
    changed();
    announce(`${name} ${verb}d`);
    return h("p", {}, verb === "pause" ? "It is paused: its ticks wait. Run now still works." : "It goes on, with what is queued first.");
  }));
  if (!readOnly) buttons.append(start, pause);
  let drawn = "";
  const draw = () => {
    const now = JSON.stringify([column.job, column.newest, String(column.problem)]);
    if (now === drawn) return; // what has focus keeps it
    drawn = now;
    replace(shown, described(column));
    replace(pause, column.job.paused ? "Resume" : "Pause", h("span", { class: "hidden" }, ` ${name}`));
  };
  draw();
  return { element: h("div", { class: "job" }, card(name, shown, readOnly ? null : buttons, outcome)), draw };
}

function described({ job, newest, problem, again }) {
  return [
    job.paused ? h("p", {}, h("span", { class: "badge busy" }, h("span", { "aria-hidden": "true" }, "Ⅱ"), "paused"), job.paused_at ? [" ", relative(job.paused_at)] : null) : null,
    h("p", {}, job.description),
    facts([
      ["Schedule", schedule(job.schedule, job.time_zone)],
      ["Next run", job.paused ? "waits until it is resumed" : job.next_tick ? [relative(job.next_tick), ", ", moment(job.next_tick)] : "never"],
      ["Owner", job.owner || "nobody"],
      ["After", job.after.join(", ")],
      ["Last run", problem ? "not known" : newest ? lastRun(job, newest) : "It has never run."],
    ]),
    problem ? problemBox(problem, again) : null,
  ];
}

function lastRun(job, run) {
  const what = run.key.length === 10 ? day(run.key) : run.key.replace("T", " ").replace("Z", " UTC");
  const when = run.ended_at ?? run.started_at;
  return [h("a", { href: pathOf(job.id, run.key) }, what), " ", badge(run.state), remarks(run).map((remark) => ` ${remark}`),
    when ? h("span", { class: "quiet small" }, ` ${relative(when)}`) : null];
}

// Asks which interval is meant: resolves to the order, or to null where none is wanted.
async function whichInterval(job) {
  const last = lastDay(job);
  const field = isDaily(job) ? h("input", { type: "date", value: last ?? "", max: localDay(new Date(), job.time_zone) }) : null;
  const text = field
    ? ["It covers one day. A day that is not over makes a provisional summary, which is made again.", h("label", { class: "which" }, last ? "Day" : "Day (none: the last one that is due)", field)]
    : "It covers the last interval that has ended.";
  if (!(await confirmed(`Run ${job.id} now?`, text, "Run"))) return null;
  return field?.value ? { key: field.value } : {};
}

function said({ ran, run }) {
  const link = h("a", { href: pathOf(run.job, run.key) }, "Open the run");
  const took = duration(run.started_at, run.ended_at);
  const words = {
    success: ran ? `for ${run.key}, in ${took}. ` : `for ${run.key} already, so that nothing was run; the run's own page runs it again. `,
    failed: `for ${run.key}: ${run.error}. `,
    queued: `for ${run.key}: it waits for its turn${run.error ? `, after: ${run.error}` : ""}. `,
  };
  return h("p", {}, badge(run.state), " ", words[run.state] ?? `for ${run.key}; the grid follows it. `, link);
}
