// How what went wrong is shown: in words, where it went wrong, with the way on.

import { Problem } from "./api.js";
import { button, h } from "./dom.js";

export function problemBox(error, again) {
  const problem = error instanceof Problem ? error : new Problem("The page failed", String(error?.message ?? error));
  if (!(error instanceof Problem)) console.error(error);
  return h("div", { class: "problem", role: "alert" },
    h("p", { class: "headline" }, h("span", { "aria-hidden": "true" }, "✗ "), problem.headline),
    problem.detail ? h("p", {}, problem.detail) : null,
    problem.requestId && problem.status >= 500 ? h("p", { class: "quiet" }, `Request ${problem.requestId}, by which the logs know it`) : null,
    again ? button("Try again", again) : null);
}

// Puts what `load` resolves to into a place; in between, and where it fails, says so.
export async function into(place, load, what = "Loading") {
  const waiting = h("p", { class: "quiet waiting" }, `${what}…`);
  place.setAttribute("aria-busy", "true");
  place.replaceChildren(waiting);
  try {
    place.replaceChildren(...[await load()].flat(Infinity).filter(Boolean));
  } catch (error) {
    place.replaceChildren(problemBox(error, () => into(place, load, what)));
  } finally {
    place.removeAttribute("aria-busy");
  }
}
