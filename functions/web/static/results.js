// Results: the newest first, a page at a time; what is asked for stands in the address.

import { ask, expect } from "./api.js";
import { button, card, h, table } from "./dom.js";
import { moment, number, percent, plural } from "./format.js";
import { into } from "./problems.js";

const PAGE_SIZE = 25;
const FIELDS = "id,created_at,model,version,labels,summary";
const DAY_MS = 86_400_000;

export async function show(place, { search }) {
  const wanted = new URLSearchParams(search);
  const list = h("div", { class: "view" });
  place.append(card("", filters(wanted)), list);
  await into(list, () => page(wanted));
}

function filters(wanted) {
  const field = (name, label, attributes = {}) => h("label", {}, label,
    h("input", { name, value: wanted.get(name) ?? "", autocomplete: "off", ...attributes }));
  return h("form", { method: "get", class: "row end", role: "search", "aria-label": "Filter results" },
    field("model", "Model", { size: "12" }),
    field("version", "Version", { size: "5" }),
    field("label", "Label", { size: "16", placeholder: "name=value", pattern: "\\s*[^=]+=.+", title: "name=value" }),
    field("from", "From (UTC)", { type: "date" }),
    field("to", "To (UTC)", { type: "date" }),
    h("button", { class: "primary" }, "Filter"),
    h("a", { class: "button", href: "/results" }, "Clear"));
}

// The query of list-results for the fields of the form; empty fields ask for nothing.
export function queryOf(wanted) {
  const query = new URLSearchParams();
  for (const name of ["model", "version"]) if (wanted.get(name)?.trim()) query.set(name, wanted.get(name).trim());
  const label = wanted.get("label") ?? "";
  if (label) query.set(`label.${label.split("=")[0].trim()}`, label.split("=").slice(1).join("=").trim());
  if (wanted.get("from")) query.set("since", wanted.get("from"));
  if (wanted.get("to")) query.set("until", dayAfter(wanted.get("to")));
  return query;
}

function dayAfter(text) {
  const day = new Date(`${text}T00:00:00Z`);
  return Number.isNaN(day.getTime()) ? text : new Date(day.getTime() + DAY_MS).toISOString().slice(0, 10);
}

async function page(wanted) {
  const query = queryOf(wanted), token = wanted.get("page");
  const asked = new URLSearchParams([...query, ["fields", FIELDS], ["page_size", PAGE_SIZE]]);
  if (token) asked.set("page_token", token);
  const { data } = await ask(`/results?${asked}`);
  expect(Array.isArray(data.results), "list_results", "a list of results");
  if (!data.results.length) return nothing(wanted, query);
  return [
    h("div", { class: "row spread" }, total(query), h("a", { class: "button", href: `/api/results.csv?${query}`, download: "results.csv" }, "Download CSV")),
    rows(data.results),
    turning(wanted, token, data.next_page_token),
  ];
}

function nothing(wanted, query) {
  if (wanted.get("page")) return h("p", { class: "empty" }, "There are no older results. ", h("a", { href: `/results?${without(wanted)}` }, "Back to the newest"));
  if ([...query].length) return h("p", { class: "empty" }, "No result is like that. ", h("a", { href: "/results" }, "Show all"));
  return h("p", { class: "empty" }, "There are no results yet. ", h("a", { href: "/" }, "Try the model"), ", and save what it answers.");
}

// Counting takes longer than a page does where there are many, so that it is asked for.
function total(query) {
  const place = h("div", { role: "status" });
  place.append(button("How many are there?", () => into(place, async () => {
    const { data } = await ask(`/results?${new URLSearchParams([...query, ["count", "true"], ["page_size", "1"], ["fields", "id"]])}`);
    expect(Number.isInteger(data.total_size), "list_results", "a count");
    return h("p", {}, `${plural(data.total_size, "result")} in all`);
  }, "Counting")));
  return place;
}

function rows(results) {
  return table("Results", [
    [`When (${Intl.DateTimeFormat().resolvedOptions().timeZone})`, (one) => h("a", { href: `/results/${encodeURIComponent(one.id)}` }, moment(one.created_at, "medium")), "fixed"],
    ["Model", (one) => `${one.model} ${one.version}`, "text"],
    ["Predictions", (one) => summaryOf(one.summary), "text"],
    ["Labels", (one) => labels(one.labels), "text"],
  ], results);
}

export function labels(all) {
  return Object.entries(all ?? {}).map(([name, value]) => [h("span", { class: "badge" }, `${name}=${value}`), " "]);
}

// What is kept of predictions beside them: how many, and their classes or values.
export function summaryOf(summary) {
  if (summary?.count === undefined) return "";
  const { classes, scores, values } = summary;
  const shown = (classes ?? values ?? []).slice(0, 3).map((one, index) =>
    (scores?.[index] === undefined ? (typeof one === "number" ? number(one) : one) : `${one} (${percent(scores[index])})`));
  if (!shown.length) return plural(summary.count, "prediction");
  return summary.count > 3 ? `${shown.join(", ")} and ${number(summary.count - 3)} more` : shown.join(", ");
}

function turning(wanted, token, next) {
  return h("nav", { class: "row", "aria-label": "Pages" },
    token ? h("a", { class: "button", href: `/results?${without(wanted)}` }, "← Newest") : null,
    next ? h("a", { class: "button", rel: "next", href: `/results?${without(wanted, next)}` }, "Older →") : h("span", { class: "quiet" }, "No older ones"));
}

function without(wanted, token = null) {
  const query = new URLSearchParams([...wanted].filter(([name, value]) => name !== "page" && value));
  if (token) query.set("page", token);
  return query;
}
