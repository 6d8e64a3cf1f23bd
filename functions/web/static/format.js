// Times, sizes and schedules in words. Times are in the reader's own zone, with the exact moment as a tooltip.

import { h } from "./dom.js";

const MOMENTS = Object.fromEntries(["short", "medium"].map((timeStyle) =>
  [timeStyle, new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle })]));
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "always" });
const NUMBER = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 4 });
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const STEPS = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];

// What is small keeps its first digits, and does not become nothing.
export const number = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? String(Number(value.toPrecision(4))) : NUMBER.format(value));

// To a tenth, and never rounded to a certainty that it is not.
export function percent(value) {
  if (value > 0 && value < 0.001) return "< 0.1\u00a0%";
  if (value < 1 && value > 0.999) return "> 99.9\u00a0%";
  return `${(100 * value).toFixed(1)}\u00a0%`;
}
export const day = (text) => DAY.format(new Date(`${text}T00:00:00Z`));

// With seconds where the precision is medium.
export function moment(text, precision = "short") {
  if (!text) return "";
  const when = new Date(text);
  return Number.isNaN(when.getTime()) ? String(text) : h("time", { datetime: text, title: text }, MOMENTS[precision].format(when));
}

export function relative(text, now = Date.now()) {
  const seconds = (new Date(text).getTime() - now) / 1000;
  if (Number.isNaN(seconds)) return String(text);
  const [unit, length] = STEPS.find(([, step]) => Math.abs(seconds) >= step) ?? ["second", 1];
  return RELATIVE.format(Math.round(seconds / length), unit);
}

export function duration(from, to) {
  if (!from || !to) return "";
  const seconds = (new Date(to) - new Date(from)) / 1000;
  if (seconds < 0.1) return `${Math.max(1, Math.round(1000 * seconds))} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(count) {
  const [unit, size] = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]].find(([, step]) => count >= step) ?? ["bytes", 1];
  return `${number(Number((count / size).toPrecision(3)))} ${unit}`;
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

// A cron expression as people say it; one that is out of the ordinary as it stands.
export function schedule(expression, zone) {
  const said = spoken(expression.trim().split(/\s+/));
  return `${said ?? `on the schedule ${expression}`}${/minute/.test(said ?? "") ? "" : `, ${zone === "Etc/UTC" ? "UTC" : zone}`}`;
}

function spoken([minute, hour, date, month, weekday, ...more]) {
  if (more.length || month !== "*") return null;
  const every = /^\*\/(\d+)$/.exec(minute);
  const daily = date === "*" && weekday === "*";
  if (daily && hour === "*") {
    if (minute === "*") return "every minute";
    if (every) return `every ${every[1]} minutes`;
    return /^\d+$/.test(minute) ? `every hour at minute ${minute}` : null;
  }
  if (!/^\d+$/.test(minute) || !/^\d+$/.test(hour)) return null;
  const at = `at ${hour.padStart(2, "0")}:${minute.padStart(2, "0")}`;
  if (daily) return `every day ${at}`;
  if (date === "*" && weekday === "1-5") return `Monday to Friday ${at}`;
  if (date === "*" && /^[0-7]$/.test(weekday)) return `every ${WEEKDAYS[weekday % 7]} ${at}`;
  return weekday === "*" && /^\d+$/.test(date) ? `on day ${date} of every month ${at}` : null;
}
