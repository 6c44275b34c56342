/** The seed: drawn anew for each panorama, or locked to one. */

import { h, icon } from "../dom.js";
import { wrap } from "./fields.js";

/** @param {import("./draft.js").Draft} draft */
export function seedField(draft) {
  const number = h("input", { type: "number", min: 0, inputmode: "numeric", placeholder: "random" });
  const lock = h("button", { type: "button", class: "lock" });
  const element = wrap("seed", "seed", "Seed", number);
  number.setAttribute("aria-describedby", "seed-error");
  number.after(lock);
  element.classList.add("with-button");
  const refresh = () => {
    const seed = draft.get("seed");
    const isLocked = seed !== undefined;
    if (number !== document.activeElement) number.value = seed ?? "";
    lock.replaceChildren(icon(isLocked ? "lock" : "dice"), isLocked ? "Locked" : "Random");
    lock.setAttribute("aria-pressed", String(isLocked));
    lock.title = isLocked ? "Draw a new seed for each panorama" : "Use one seed until you unlock it";
  };
  number.addEventListener("input", () => draft.set("seed", number.value === "" ? undefined : Number(number.value)));
  lock.addEventListener("click", () => {
    const isLocked = draft.get("seed") !== undefined;
    draft.set("seed", isLocked ? undefined : crypto.getRandomValues(new Uint32Array(1))[0]);
  });
  draft.addEventListener("change", refresh);
  refresh();
  return element;
}
