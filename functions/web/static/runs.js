// Runs: what their states are called, how they look, and how many of them are asked for, and how many at once.

import { ask, expect } from "./api.js";
import { h } from "./dom.js";

// Shape, word and colour: any one of them tells the state.
const STATES = {
  failed: ["✗", "failed", "bad"],
  missed: ["–", "missed", "missed"],
  running: ["◐", "running", "busy"],
  queued: ["○", "queued", "queued"],
  success: ["✓", "succeeded", "good"],
};
const WORST_FIRST = Object.keys(STATES);
const MOST_PAGES = 4;
// The page's function lets half of its threads wait for another one: more at once would be refused.
const MOST_AT_ONCE = 3;

// How often what is under way is looked at.
export const POLL_MS = 3000;
// What runs a job waits for its end, as long as the page's function does.
export const PATIENCE_MS = 130_000;
export const MOST_RUNS = 500 * MOST_PAGES;
export const encode = encodeURIComponent;
export const stateOf = (state) => STATES[state] ?? ["?", String(state), "queued"];
export const rank = (state) => WORST_FIRST.indexOf(state);
export const worst = (states) => WORST_FIRST.find((state) => states.includes(state)) ?? states[0];
export const isActive = (run) => run.state === "queued" || run.state === "running";
export const pathOf = (job, key) => `/nights/${encode(job)}/${encode(key)}`;
export const apiPathOf = (job, key) => `/runs/${encode(job)}/${encode(key)}`;

export function badge(state, words) {
  const [shape, word, kind] = stateOf(state);
  return h("span", { class: `badge ${kind}` }, h("span", { "aria-hidden": "true" }, shape), words ?? word);
}

// What else is to be known of a run at a glance.
export const remarks = (run) => [run.provisional && "provisional", run.deadline_missed_at && "late"].filter(Boolean);

export const legend = () => h("p", { class: "legend small quiet" },
  Object.keys(STATES).reverse().map((state) => [badge(state), " "]),
  "late: not there by its deadline · provisional: made before the day had ended, and made again");

// Days are text, such as 2026-11-22, and so are they compared.
export const shifted = (day, days) => new Date(new Date(day).getTime() + days * 86_400_000).toISOString().slice(0, 10);

export function isDay(text) {
  return /^[1-9]\d{3}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)) && shifted(text, 0) === text;
}

export function localDay(moment, zone) {
  try {
    return new Intl.DateTimeFormat("en-CA", { timeZone: zone, dateStyle: "short" }).format(moment);
  } catch {
    return moment.toISOString().slice(0, 10); // a zone that this browser does not know
  }
}

let free = MOST_AT_ONCE;
const waiting = [];

// Asks when it is this question's turn; what is refused since too many ask is asked again a little later.
export async function askInTurn(path, tries = 5) {
  if (free > 0) free -= 1;
  else await new Promise((go) => waiting.push(go));
  try {
    return (await ask(path)).data;
  } catch (problem) {
    if (problem.reason !== "UPSTREAM_BUSY" || tries <= 1) throw problem;
  } finally {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  }
  await new Promise((go) => setTimeout(go, 300));
  return askInTurn(path, tries - 1);
}

// Pages of a list, one after another, up to a number of them: {items, more}.
export async function pages(name, query, most = MOST_PAGES, size = 500) {
  const items = [];
  let token = "";
  for (let page = 0; page < most; page += 1) {
    const asked = new URLSearchParams({ ...query, page_size: size, ...(token && { page_token: token }) });
    const data = await askInTurn(`/${name}?${asked}`);
    expect(Array.isArray(data[name]) && data[name].every((one) => typeof one?.key === "string"), "nightly_transform", `a list of ${name}`);
    items.push(...data[name]);
    token = data.next_page_token;
    if (!token) break;
  }
  return { items, more: Boolean(token) };
}
