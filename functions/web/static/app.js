// Puts the view that the address names into the document; the server has written the rest of it.

import { h } from "./dom.js";
import { problemBox } from "./problems.js";

const VIEWS = {
  try: () => import("./try.js"),
  results: () => import("./results.js"),
  result: () => import("./result.js"),
  nights: () => import("./nights.js"),
  run: () => import("./run.js"),
  status: () => import("./status.js"),
};

document.getElementById("loading").remove();
const load = VIEWS[document.documentElement.dataset.view];
if (load) {
  const place = h("div", { class: "view" });
  document.getElementById("main").append(place);
  try {
    await (await load()).show(place, location);
  } catch (error) {
    place.append(problemBox(error, () => location.reload()));
  }
  performance.mark("ready");
  document.documentElement.dataset.ready = "yes";
}
