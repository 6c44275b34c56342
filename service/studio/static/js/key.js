/** The API key: asked for where the API asks, kept for this browser tab only, never in a URL. */

import { h } from "./dom.js";

const NAME = "panoweave-key";

/** @returns {string|null} */
export const currentKey = () => sessionStorage.getItem(NAME);

/** Forget the key, and everything that was read with it. */
export function forgetKey() {
  document.dispatchEvent(new Event("forget"));
  sessionStorage.clear();
  location.reload();
}

/** @type {Promise<boolean>|null} */
let asking = null;

/**
 * Ask for a key. Requests that need one at the same time share the dialog. Resolves to false where
 * the person gives none.
 * @param {string} reason
 * @returns {Promise<boolean>}
 */
export function askForKey(reason) {
  asking ??= ask(reason).finally(() => (asking = null));
  return asking;
}

/**
 * @param {string} reason
 * @returns {Promise<boolean>}
 */
function ask(reason) {
  return new Promise((resolve) => {
    const input = h("input", {
      id: "api-key",
      type: "password",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "pw_…",
      "aria-describedby": "api-key-why",
    });
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "key-title" },
      h(
        "form",
        { method: "dialog", on: { submit: () => (given = input.value.trim()) } },
        h("h2", { id: "key-title" }, "An API key, please"),
        h("p", { id: "api-key-why" }, reason),
        h("label", { for: "api-key" }, "API key"),
        input,
        h(
          "p",
          { class: "hint" },
          "It stays in this tab until you close it. Your operator creates one with ",
          h("code", {}, "panoweave keys create"),
          ".",
        ),
        h(
          "div",
          { class: "row end" },
          h("button", { type: "button", on: { click: () => dialog.close() } }, "Not now"),
          h("button", { class: "primary" }, "Use this key"),
        ),
      ),
    );
    let given = "";
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (given) sessionStorage.setItem(NAME, given);
      resolve(given !== "");
      document.dispatchEvent(new Event("key"));
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
