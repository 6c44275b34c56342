/** The drawer with all parameters, made from the OpenAPI document: a new parameter appears by itself. */

import { h, iconButton } from "../dom.js";
import { fieldControl } from "./fields.js";
import { requestFields } from "./schema.js";

/**
 * @param {import("./draft.js").Draft} draft
 * @returns {{element: HTMLDialogElement, open: () => Promise<void>, reveal: (place: HTMLElement) => void}}
 */
export function drawer(draft) {
  const fields = h("div", { class: "drawer-fields" }, h("p", { role: "status" }, "Reading the API's description"));
  const search = h("input", { type: "search", placeholder: "Find a parameter", "aria-label": "Find a parameter" });
  const element = h(
    "dialog",
    { class: "drawer", "aria-labelledby": "drawer-title" },
    h(
      "div",
      { class: "drawer-head" },
      h("h2", { id: "drawer-title" }, "All parameters"),
      iconButton("close", "Close", () => element.close()),
    ),
    h("p", { class: "hint" }, "What you leave open comes from the preset and the model."),
    search,
    fields,
    h("div", { class: "row end" }, h("button", { type: "button", class: "primary", on: { click: () => element.close() } }, "Done")),
  );
  element.addEventListener("click", (event) => {
    if (event.target === element) element.close();
  });
  const filter = () => {
    const wanted = search.value.trim().toLowerCase().replaceAll(" ", "_");
    for (const each of fields.children) {
      const names = [each, ...each.querySelectorAll("[data-field]")].map((one) => one.getAttribute("data-field") ?? "");
      each.hidden = !names.some((name) => name.includes(wanted));
    }
  };
  search.addEventListener("input", filter);
  let isMade = false;
  const make = async () => {
    if (isMade) return;
    const found = await requestFields();
    isMade = true;
    fields.replaceChildren(...found.map((field) => fieldControl(draft, field)));
  };
  return {
    element,
    reveal: (place) => {
      if (!element.contains(place)) return;
      search.value = "";
      filter();
      if (!element.open) element.showModal();
    },
    open: async () => {
      if (!element.open) element.showModal();
      try {
        await make();
      } catch (error) {
        fields.replaceChildren(h("p", { class: "field-error", role: "alert" }, error.message));
      }
    },
  };
}
