// Asks before something is done that cannot be undone.

import { button, h } from "./dom.js";

// Resolves to whether it is wanted; Escape means no.
export function confirmed(title, text, action) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "confirm-title" },
      h("h2", { id: "confirm-title" }, title),
      h("p", {}, text),
      h("div", { class: "row" },
        button(action, () => dialog.close("yes"), { class: "primary" }),
        button("Cancel", () => dialog.close("no"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
