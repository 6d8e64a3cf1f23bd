// The way to the functions: one place that asks, and that turns whatever goes wrong into words.

const PATIENCE_MS = 90_000;

// What went wrong, for people: a headline, what was said, and whether asking again may help.
export class Problem extends Error {
  constructor(headline, detail, { status = 0, reason = "", requestId = "", passing = false } = {}) {
    super(detail ? `${headline}: ${detail}` : headline);
    Object.assign(this, { headline, detail, status, reason, requestId, passing });
  }
}

const HEADLINES = {
  UPSTREAM_UNREACHABLE: "A function is down",
  UPSTREAM_BUSY: "A function is overloaded",
  UPSTREAM_TIMEOUT: "A function is too slow",
  UPSTREAM_NONSENSE: "A function answered nonsense",
  UPSTREAM_REFUSED: "A function refused the page",
  MODEL_BROKEN: "The model is broken",
  READ_ONLY: "This page is read-only",
};

// Random; without randomUUID, which browsers keep from pages that came unencrypted from elsewhere.
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// Asks /api and returns {data, headers, milliseconds}; throws a Problem.
export async function ask(path, { method = "GET", body, headers = {}, signal, patience = PATIENCE_MS } = {}) {
  const requestId = newId();
  const request = { method, headers: { ...headers, "X-Request-Id": requestId }, cache: "no-store" };
  if (method !== "GET") {
    request.headers["Content-Type"] = "application/json";
    request.body = typeof body === "string" ? body : JSON.stringify(body ?? {});
  }
  const timeout = AbortSignal.timeout(patience);
  request.signal = signal ? AbortSignal.any([signal, timeout]) : timeout;
  const started = performance.now();
  let response, text;
  try {
    response = await fetch(`/api${path}`, request);
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    if (timeout.aborted) throw new Problem("No answer", `nothing came within ${patience / 1000} seconds`, { passing: true, requestId });
    throw new Problem("The page's own function cannot be reached",
      "the network is down, or the function is; what you entered is still here", { passing: true, requestId });
  }
  const milliseconds = performance.now() - started;
  const known = { status: response.status, requestId, passing: [429, 502, 503, 504].includes(response.status) };
  let data;
  try {
    data = parse(text);
  } catch {
    throw new Problem("A function answered nonsense", `expected JSON, got: ${excerpt(text) || "nothing"}`, { ...known, passing: true });
  }
  if (!response.ok) throw problemOf(data, known);
  expect(data !== null && typeof data === "object", "A function", "a JSON object");
  return { data, headers: response.headers, milliseconds, text };
}

// JSON with NaN and Infinity as TensorFlow Serving writes them, which become null.
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    const finite = text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (token) => (token.startsWith('"') ? token : "null"));
    if (finite === text) throw error;
    return JSON.parse(finite);
  }
}

export const post = (path, body, options = {}) => ask(path, { ...options, method: "POST", body });

function problemOf(data, known) {
  const error = data?.error;
  const message = typeof error === "string" ? error : error?.message;
  const reason = error?.details?.[0]?.reason ?? "";
  const headline = HEADLINES[reason] ?? (known.status === 404 ? "Not found" : known.status >= 500 ? "That failed" : "That was refused");
  return new Problem(headline, typeof message === "string" ? message : excerpt(JSON.stringify(data)), { ...known, reason });
}

function excerpt(text) {
  const line = String(text).replace(/\s+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}

// Throws a Problem where an answer is not what its reader expects.
export function expect(holds, who, what) {
  if (!holds) throw new Problem(`${who} answered nonsense`, `expected ${what}`, { passing: true });
}

export const environment = document.documentElement.dataset;
export const readOnly = environment.readOnly === "yes";
