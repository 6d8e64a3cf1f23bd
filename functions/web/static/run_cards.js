// What there is to know of a run, as cards: facts, error, summary, attempts, slices.

import { card, facts, h, table } from "./dom.js";
import { duration, moment, number, plural, relative } from "./format.js";
import { problemBox } from "./problems.js";
import { badge, remarks } from "./runs.js";

const MOST_ROWS = 100;
const FIRST = ["date", "model", "version", "verdict"];
const OUTCOMES = { lost: ["failed", "lost: its worker went away"] };

// The cards of a run; its summary is null where there is none, or what went wrong with asking for it.
export function described(run, summary) {
  return [
    card("Run", overview(run)),
    run.error ? card("Error", h("pre", { class: "error" }, run.error)) : null,
    summary ? card("Summary", summary.problem ? problemBox(summary.problem) : summaryTable(summary)) : null,
    card("Attempts", attempts(run)),
    run.parts.length ? card("Slices", slices(run.parts)) : null,
  ];
}

function overview(run) {
  const marks = remarks(run);
  return facts([
    ["State", [badge(run.state), marks.map((mark) => [" ", h("span", { class: "badge" }, mark)])]],
    ["Interval", [moment(run.interval_start), " to ", moment(run.interval_end), h("span", { class: "quiet small" }, ` a ${run.key.length === 10 ? "day" : "stretch"} in ${run.time_zone}`)]],
    ["Summary is", run.provisional ? "provisional: the interval was not over when it began; it is made again" : null],
    ["Asked for by", run.trigger],
    ["Attempt", run.attempt ? number(run.attempt) : "not begun"],
    ["Created", moment(run.created_at)],
    ["Started", moment(run.started_at)],
    ["Ended", moment(run.ended_at)],
    ["Took", duration(run.started_at, run.ended_at)],
    ["Not before", run.state === "queued" ? moment(run.not_before) : null],
    ["Deadline", run.deadline_at ? [moment(run.deadline_at), run.deadline_missed_at ? [", missed: noticed ", moment(run.deadline_missed_at)] : `, ${relative(run.deadline_at)}`] : "none"],
    ["Code", run.code_version],
    ["Parameters", pairs(run.params)],
    ["Output", pairs(run.output)],
  ]);
}

function pairs(values) {
  const entries = Object.entries(values ?? {});
  return entries.length ? h("ul", { class: "pairs" }, entries.map(([name, value]) => h("li", {}, `${name}: `, plain(value)))) : null;
}

const plain = (value) => typeof value === "number" ? number(value) : typeof value === "string" ? value : JSON.stringify(value);

function attempts(run) {
  if (!run.attempts.length) return h("p", { class: "empty" }, "Nobody has begun it.");
  return table("Attempts, the newest first", [
    ["Started", (one) => moment(one.started_at), "fixed"],
    ["Number", (one) => number(one.number), "number"],
    ["Outcome", (one) => badge(...(OUTCOMES[one.outcome] ?? [one.outcome])), "fixed"],
    ["Took", (one) => duration(one.started_at, one.ended_at), "number fixed"],
    ["Asked for by", (one) => one.trigger, "fixed"],
    ["Code", (one) => one.code_version, "text"],
    ...run.attempts.some((one) => one.error) ? [["Error", (one) => one.error ?? "", "text"]] : [],
  ], [...run.attempts].reverse());
}

function slices(parts) {
  const done = parts.filter((part) => part.done).length;
  return [
    h("label", { class: "progress" }, `${done} of ${plural(parts.length, "slice")} done`, h("progress", { max: parts.length, value: done })),
    table("Slices", [
      ["Slice", (part) => number(part.index + 1), "number"],
      ["From", (part) => moment(part.start), "fixed"],
      ["To", (part) => moment(part.end), "fixed"],
      ["State", (part) => part.done ? badge("success", "done") : part.error ? badge("failed", "failed, tried again") : badge("queued", "to do"), "fixed"],
      ["Results", (part) => part.done ? number(part.documents) : "", "number"],
      ["Failed attempts", (part) => number(part.attempt), "number"],
      ["Error", (part) => part.error ?? "", "text"],
    ], parts),
  ];
}

function summaryTable({ rows, created_at: written, provisional }) {
  const names = [...new Set([...FIRST, ...rows.flatMap((row) => Object.keys(row))])].filter((name) => rows.some((row) => row[name] !== undefined));
  const shown = rows.slice(0, MOST_ROWS);
  return [
    h("p", { class: "quiet small" }, provisional ? "Provisional, written " : "Written ", moment(written), `: ${plural(rows.length, "row")}`,
      rows.length > MOST_ROWS ? `, of which the first ${MOST_ROWS} are shown` : ""),
    rows.length ? table("Rows of the summary", names.map((name) => [name.replaceAll("_", " "), (row) => member(row[name]), typeof rows[0][name] === "number" ? "number" : null]), shown) : null,
  ];
}

// A value; what has members itself is folded.
function member(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return plain(value);
  const entries = Object.entries(value);
  return h("details", {}, h("summary", {}, plural(entries.length, "value")), h("ul", { class: "pairs" }, entries.map(([name, one]) => h("li", {}, `${name}: `, plain(one)))));
}
