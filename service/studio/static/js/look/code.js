/** The same request as curl, as Python, and as JSON. A key never stands in it. */

import { h, toast } from "../dom.js";
import { currentKey } from "../key.js";
import { asRequest } from "../make/draft.js";

/** @param {any} panorama */
export function codePanel(panorama) {
  const body = asRequest(panorama);
  const texts = { curl: () => asCurl(body), Python: () => asPython(body), JSON: () => JSON.stringify(body, null, 2) };
  const shown = h("pre", { class: "code", tabindex: 0, id: "code-shown", role: "tabpanel" });
  const names = Object.keys(texts);
  const tabs = names.map((name) => h("button", { type: "button", role: "tab", "aria-controls": "code-shown", on: { click: () => open(name) } }, name));
  /** @param {string} name */
  const open = (name) => {
    shown.textContent = texts[name]();
    shown.setAttribute("aria-label", `The request as ${name}`);
    tabs.forEach((tab) => {
      const isChosen = tab.textContent === name;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    });
  };
  const list = h("div", { role: "tablist", "aria-label": "Languages", class: "tabs" }, ...tabs);
  list.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + move + tabs.length) % tabs.length];
    open(next.textContent);
    next.focus();
  });
  open("curl");
  const copy = h("button", { type: "button", class: "quiet", on: { click: () => navigator.clipboard.writeText(shown.textContent).then(() => toast("Copied."), () => toast("Your browser does not let this page copy.", "error")) } }, "Copy");
  return h("details", { class: "panel" }, h("summary", {}, "As code"), h("div", { class: "row spread" }, list, copy), shown);
}

const origin = () => location.origin;

/** @param {any} body */
function asCurl(body) {
  const json = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  const key = currentKey() ? `  -H "Authorization: Bearer $PANOWEAVE_API_KEY" \\\n` : "";
  return `curl -s ${origin()}/panoramas \\\n  -H 'Content-Type: application/json' \\\n${key}  -d '${json}'`;
}

/** With the client of panoweave. It reads a key from the environment. @param {any} body */
function asPython(body) {
  const key = currentKey() ? "  # with the key in PANOWEAVE_API_KEY" : "";
  const fields = Object.entries(body).map(([name, value]) => `        ${name}=${literal(value, "        ")},\n`);
  return `# In a checkout of panoweave: pip install clients/python
from panoweave_client import Panoweave

with Panoweave("${origin()}") as panoweave:${key}
    panorama = panoweave.make(
${fields.join("")}    )
    print(panoweave.download(panorama.id, "panorama.${body.output?.format ?? "png"}"))
`;
}

/** A value as Python writes it. @param {any} value @param {string} indent @returns {string} */
function literal(value, indent) {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  const items = Array.isArray(value)
    ? value.map((each) => literal(each, inner))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${literal(each, inner)}`);
  if (items.length === 0) return open + close;
  return `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${indent}${close}`;
}
