// The same request for a terminal: to the function itself, which is where programs ask.

import { environment } from "./api.js";
import { button, h } from "./dom.js";

export function curlOf(model, version, body) {
  const url = `${environment.predictUrl}/v1/models/${encodeURIComponent(model)}/versions/${encodeURIComponent(version)}:predict`;
  const token = environment.inCloud === "yes" ? ' \\\n  -H "Authorization: Bearer $(gcloud auth print-identity-token)"' : "";
  return `curl ${quoted(url)}${token} \\\n  -d ${quoted(body)}`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function curlBox(text) {
  const copied = h("span", { class: "quiet", role: "status" });
  return h("details", {}, h("summary", {}, "Copy as curl"),
    h("pre", { tabindex: "0", class: "curl" }, text.length > 5000 ? `${text.slice(0, 5000)}\n…` : text),
    h("div", { class: "row" }, button("Copy", async () => {
      try {
        await navigator.clipboard.writeText(text);
        copied.textContent = "Copied";
      } catch {
        copied.textContent = "The browser does not let the page copy: select the text above";
      }
    }), copied));
}
