// Inputs that a model brings along, to be clicked.

import { h } from "./dom.js";
import { imageIn, picture } from "./picture.js";

// samples: [{label, instance}]; range: of an image's values; chosen is called with an instance.
export function samplesBox(samples, range, chosen) {
  if (!samples.length) return null;
  return h("div", { class: "samples", role: "group", "aria-label": "Samples" },
    h("span", { class: "quiet small", "aria-hidden": "true" }, "Samples"),
    samples.map(({ label, instance }) => {
      const image = picture(imageIn(instance), "", range);
      image?.setAttribute("aria-hidden", "true");
      return h("button", { type: "button", class: "sample", "aria-label": `Sample ${label}`, onclick: () => chosen(instance) }, image ?? label);
    }));
}
