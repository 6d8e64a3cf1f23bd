// Did the night go well? One sentence, from the newest runs of every job.

import { h } from "./dom.js";
import { day } from "./format.js";
import { localDay, pathOf, shifted, stateOf } from "./runs.js";

// A job that ticks at most once a day, whose runs cover days.
export const isDaily = (job) => /^\d+ \d+ /.test(job.schedule.trim().replace(/\s+/g, " "));
const everyDay = (job) => isDaily(job) && /^\S+ \S+ \* \* \*$/.test(job.schedule.trim().replace(/\s+/g, " "));

// The day that a job's last tick covered: the next one, a day after it, covers the day before its own. Of jobs that do
// not tick every day only the schedule knows.
export function lastDay(job) {
  return everyDay(job) && job.next_tick ? shifted(localDay(new Date(job.next_tick), job.time_zone), -2) : null;
}

// {kind, words} of all jobs together.
export function verdict(columns) {
  const known = columns.filter((column) => !column.problem);
  if (!columns.length) return { kind: "quiet", words: ["There is no job yet: scheduler/jobs.yaml names none."] };
  if (!known.length) return { kind: "bad", words: ["✗ Nobody knows: no job's runs could be asked for."] };
  if (known.every((column) => !column.newest)) return { kind: "quiet", words: ["No job has run yet."] };
  const all = known.filter((column) => isDaily(column.job)).map(outcome);
  const nights = all.filter((one) => one.kind !== "new"), fresh = all.filter((one) => one.kind === "new");
  if (!nights.length && fresh.length) return { kind: "quiet", words: ["No night has been worked on yet: ", ...listed(fresh), "."] };
  const more = fresh.length ? ["; ", ...listed(fresh)] : [];
  const others = known.filter((column) => !isDaily(column.job) && column.newest?.state === "failed").map(outcome);
  const bad = [...nights, ...others].filter((one) => one.kind === "bad");
  const busy = nights.filter((one) => one.kind === "busy");
  const good = nights.filter((one) => one.kind === "good").length;
  const count = `${good} of ${nights.length} nightly jobs succeeded`;
  const days = [...new Set(nights.map((one) => one.day).filter(Boolean))];
  const whose = days.length === 1 ? ` for ${day(days[0])}` : "";
  if (bad.length) return { kind: "bad", words: ["✗ Last night did not go well: ", ...listed(bad), `; ${count}${whose}`, ...more, "."] };
  if (busy.length) return { kind: "busy", words: ["◐ Last night is not over: ", ...listed(busy), `; ${count}${whose}`, ...more, "."] };
  if (known.length < columns.length) return { kind: "busy", words: [`? ${count}${whose}; of the other jobs nobody knows.`] };
  return nights.length
    ? { kind: "good", words: [`✓ Last night went well: ${count}${whose}`, ...more, "."] }
    : { kind: "good", words: ["✓ The newest run of no job failed."] };
}

function outcome({ job, runs, newest }) {
  const wanted = isDaily(job) ? lastDay(job) : null;
  const run = wanted ? runs.get(wanted) : newest;
  const said = (kind, what) => ({ kind, day: wanted, what: [
    run ? h("a", { href: pathOf(job.id, run.key) }, job.id) : h("b", {}, job.id), ` ${what}`] });
  // What is younger than the night cannot have missed it.
  const begun = newest && (!wanted || [newest.key, ...runs.keys()].some((key) => key <= wanted));
  if (!run && !begun) return said("new", newest ? "has run only for days that were not over then" : "has not run yet");
  if (!run) return job.paused ? said("busy", "is paused and did not run") : said("bad", "did not run");
  if (run.state === "success") return run.provisional ? said("busy", "has run before the day had ended, and runs again") : said("good", "");
  if (run.state === "failed" || run.state === "missed") return said("bad", stateOf(run.state)[1] === "missed" ? "was missed" : "failed");
  return said("busy", `is ${stateOf(run.state)[1]}`);
}

const listed = (outcomes) => outcomes.flatMap((one, index) => [index ? ", " : "", ...one.what]);
