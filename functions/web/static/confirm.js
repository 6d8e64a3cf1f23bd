// Asks before something is done that cannot be undone.

import { button, h } from "./dom.js";

// Resolves to whether it is wanted; Escape means no.
export function confirmed(title, text, action) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "confirm-title" },
      h("h2", { id: "confirm-title" }, title),
      // A form, so that Enter in a field means yes.
      h("form", { method: "dialog" }, h("div", { class: "said" }, text), h("div", { class: "row" },
        h("button", { class: "primary", value: "yes" }, action),
        button("Cancel", () => dialog.close("no")))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
