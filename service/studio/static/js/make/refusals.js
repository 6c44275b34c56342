/** Shows what the API refused at its field, with what would be legal. */

import { sentence } from "../words.js";
import { showError } from "./fields.js";

/** @param {HTMLElement} root */
export function clearErrors(root) {
  for (const place of root.querySelectorAll("[data-field]")) showError(place, "");
}

/**
 * @param {HTMLElement} root
 * @param {import("../api.js").FieldProblem[]} problems
 * @param {(place: HTMLElement) => void} reveal makes a place visible
 * @returns {import("../api.js").FieldProblem[]} those that have no place here
 */
export function showRefusals(root, problems, reveal) {
  const homeless = [];
  /** @type {HTMLElement|null} */
  let first = null;
  for (const problem of problems) {
    const place = placeOf(root, problem.field);
    if (!place) {
      homeless.push(problem);
      continue;
    }
    reveal(place);
    showError(place, inWords(problem));
    first ??= place;
  }
  /** @type {HTMLElement|null|undefined} */ (first?.querySelector("input, textarea, select, button"))?.focus();
  return homeless;
}

/** @param {import("../api.js").FieldProblem} problem */
export function inWords({ detail, legal }) {
  return legal ? `${sentence(detail)} Legal: ${legal}.` : sentence(detail);
}

/**
 * The place of the field itself, or of the field that it is a part of: `regions.0.x`, `regions.0`, `regions`.
 * @param {HTMLElement} root
 * @param {string} field
 * @returns {HTMLElement|null}
 */
function placeOf(root, field) {
  const names = field.split(".");
  while (names.length) {
    const place = root.querySelector(`[data-field="${CSS.escape(names.join("."))}"]`);
    if (place) return /** @type {HTMLElement} */ (place);
    names.pop();
  }
  return null;
}
