/** Width and height: sliders in steps that the model can make, and the numbers themselves. */

import { h } from "../dom.js";
import { wrap } from "./fields.js";
import { frame, nearest } from "./sizes.js";

const MOST_WINDOWS = { width: 16, height: 4 };

/**
 * @param {import("./draft.js").Draft} draft
 * @param {() => any} traits of the chosen model; null until a worker has loaded it
 */
export function sizeFields(draft, traits) {
  const sides = ["width", "height"].map((side) => sideField(draft, side, traits));
  const refresh = () => sides.forEach((side) => side.refresh());
  draft.addEventListener("change", (event) => {
    const path = /** @type {CustomEvent} */ (event).detail;
    if (["width", "height", "loop", "stride", "model"].includes(path)) refresh();
  });
  return { elements: sides.map((side) => side.element), refresh };
}

/** @param {import("./draft.js").Draft} draft @param {string} side @param {() => any} traits */
function sideField(draft, side, traits) {
  const slider = h("input", { type: "range", "aria-label": `${side}, by slider` });
  const number = h("input", { type: "number", min: 1, inputmode: "numeric" });
  const id = `size-${side}`;
  const element = wrap(side, id, side === "width" ? "Width" : "Height", number);
  element.classList.add("side");
  number.after(slider, h("span", { class: "unit", "aria-hidden": "true" }, "px"));
  number.setAttribute("aria-describedby", `${id}-error`);
  slider.addEventListener("input", () => draft.set(side, Number(slider.value)));
  number.addEventListener("input", () => draft.set(side, number.value === "" ? undefined : Number(number.value)));
  const refresh = () => {
    const known = traits();
    slider.disabled = !known;
    if (!known) return;
    const grid = frame(known, draft);
    const isCircumference = grid.isLoop && side === "width";
    slider.min = String(nearest(grid.window, grid, isCircumference));
    slider.max = String(nearest(MOST_WINDOWS[side] * grid.window, grid, isCircumference));
    slider.step = String(grid.stride);
    slider.value = String(grid[side]);
    if (number !== document.activeElement) {
      number.value = String(grid[side]);
      number.step = "any";
    }
  };
  // A loop takes other widths: a width from before moves to the nearest one.
  draft.addEventListener("change", (event) => {
    const known = traits();
    if (/** @type {CustomEvent} */ (event).detail !== "loop" || !known || draft.get(side) === undefined) return;
    const grid = frame(known, draft);
    draft.set(side, nearest(grid[side], grid, grid.isLoop && side === "width"));
  });
  return { element, refresh };
}
