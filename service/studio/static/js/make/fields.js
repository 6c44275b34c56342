/** One control for each kind of field. All write to the draft, and show its refusals. */

import { h } from "../dom.js";
import { pictureField } from "../draw/picture_field.js";

/** @typedef {import("./schema.js").Field} Field */
/** @typedef {import("./draft.js").Draft} Draft */

const MAX_JSON_CHARS = 20_000;

let count = 0;

/**
 * A label, a control, what the field means, and room for a refusal.
 * @param {Draft} draft
 * @param {Field} field
 * @returns {HTMLElement}
 */
export function fieldControl(draft, field) {
  if (field.kind === "object") return group(draft, field);
  const id = `field-${++count}`;
  const control = (CONTROLS[field.kind] ?? CONTROLS.json)(draft, field, id);
  const describes = [field.about && `${id}-about`, `${id}-error`].filter(Boolean).join(" ");
  control.input.setAttribute("aria-describedby", describes);
  draft.addEventListener("change", (event) => {
    const path = /** @type {CustomEvent} */ (event).detail;
    const concerns = path === field.path || field.path.startsWith(`${path}.`);
    if (concerns && !control.input.contains(document.activeElement)) control.refresh();
  });
  control.refresh();
  return wrap(field.path, id, field.label, control.input, field.about);
}

/**
 * @param {string} path
 * @param {string} id of the control
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string} [about]
 */
export function wrap(path, id, label, input, about = "") {
  const isGroup = input.tagName === "DIV";
  if (isGroup) {
    input.setAttribute("role", "group");
    input.setAttribute("aria-labelledby", `${id}-label`);
  } else {
    input.id = id;
  }
  return h(
    "div",
    { class: "field", "data-field": path },
    isGroup ? h("span", { class: "label", id: `${id}-label` }, label) : h("label", { for: id }, label),
    input,
    about && h("p", { class: "hint", id: `${id}-about` }, about),
    h("p", { class: "field-error", id: `${id}-error`, role: "alert", hidden: true }),
  );
}

/** @param {Draft} draft @param {Field} field */
function group(draft, field) {
  return h(
    "fieldset",
    { "data-field": field.path },
    h("legend", {}, field.label),
    field.about && h("p", { class: "hint" }, field.about),
    ...(field.fields ?? []).map((each) => fieldControl(draft, each)),
    h("p", { class: "field-error", role: "alert", hidden: true }),
  );
}

/** @type {Record<string, (draft: Draft, field: Field, id: string) => {input: any, refresh: () => void}>} */
const CONTROLS = {
  integer: (draft, field) => number(draft, field, "1"),
  number: (draft, field) => number(draft, field, "any"),
  string: (draft, field) => {
    const isLong = (field.schema.maxLength ?? 0) >= 1_000 && field.name.includes("prompt");
    const input = h(isLong ? "textarea" : "input", { maxlength: field.schema.maxLength, rows: isLong ? 2 : null });
    return text(draft, field, input, (given) => (given === "" ? undefined : given));
  },
  boolean: (draft, field) => select(draft, field, [["true", "yes"], ["false", "no"]], (given) => given === "true"),
  choice: (draft, field) => select(draft, field, field.schema.enum.map((each) => [each, each]), (given) => given),
  "word-or-number": (draft, field) =>
    text(draft, field, h("input", { placeholder: shownDefault(field) }), (given) => {
      if (given === "") return undefined;
      return Number.isFinite(Number(given)) ? Number(given) : given;
    }),
  choices: (draft, field, id) => {
    const boxes = field.schema.items.enum.map((each) => h("input", { type: "checkbox", value: each, name: id }));
    const input = h(
      "div",
      { class: "choices" },
      ...boxes.map((box) => h("label", { class: "check" }, box, h("span", {}, box.value))),
    );
    input.addEventListener("change", () => {
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      draft.set(field.path, chosen.length ? chosen : undefined);
    });
    const refresh = () => boxes.forEach((box) => (box.checked = (draft.get(field.path) ?? []).includes(box.value)));
    return { input, refresh };
  },
  picture: (draft, field) => pictureField(draft, field.path),
  json: (draft, field) => {
    const input = h("textarea", { rows: 3, class: "code", spellcheck: "false", placeholder: "JSON" });
    input.addEventListener("input", () => {
      try {
        draft.set(field.path, input.value.trim() === "" ? undefined : JSON.parse(input.value));
        input.setCustomValidity("");
        showError(input.closest(".field"), "");
      } catch {
        input.setCustomValidity("This is not JSON.");
        showError(input.closest(".field"), "This is not JSON yet. The last JSON that was right counts.");
      }
    });
    const refresh = () => {
      const value = draft.get(field.path);
      const text = value === undefined ? "" : JSON.stringify(value, null, 1);
      // Painted masks are too long to be read.
      input.value = text.length > MAX_JSON_CHARS ? "" : text;
      input.placeholder = text.length > MAX_JSON_CHARS ? "drawn on the strip" : "JSON";
    };
    return { input, refresh };
  },
};

/** @param {Field} field */
const shownDefault = (field) => (field.schema.default === undefined || field.schema.default === "" ? "default" : String(field.schema.default));

/** @param {Draft} draft @param {Field} field @param {string} step */
function number(draft, field, step) {
  const { minimum, maximum } = field.schema;
  const input = h("input", {
    type: "number",
    inputmode: step === "1" ? "numeric" : "decimal",
    step,
    min: minimum,
    max: maximum,
    placeholder: shownDefault(field),
  });
  // What the API refuses is sent as it is: the refusal says what would be legal.
  return text(draft, field, input, (given) => (given === "" ? undefined : Number(given)));
}

/** @param {Draft} draft @param {Field} field @param {any} input @param {(given: string) => any} read */
function text(draft, field, input, read) {
  input.addEventListener("input", () => draft.set(field.path, read(input.value)));
  return { input, refresh: () => (input.value = draft.get(field.path) ?? "") };
}

/** @param {Draft} draft @param {Field} field @param {string[][]} options @param {(given: string) => any} read */
function select(draft, field, options, read) {
  const input = h(
    "select",
    {},
    h("option", { value: "" }, `default${field.schema.default === undefined ? "" : ` (${field.schema.default})`}`),
    ...options.map(([value, label]) => h("option", { value }, label)),
  );
  input.addEventListener("change", () => draft.set(field.path, input.value === "" ? undefined : read(input.value)));
  return { input, refresh: () => (input.value = String(draft.get(field.path) ?? "")) };
}

/**
 * @param {Element|null} place a field or a group of fields
 * @param {string} message empty: there is nothing wrong
 */
export function showError(place, message) {
  const line = place?.querySelector(":scope > .field-error");
  if (!line) return;
  line.textContent = message;
  /** @type {HTMLElement} */ (line).hidden = message === "";
  const input = place?.querySelector("input, textarea, select");
  if (message) input?.setAttribute("aria-invalid", "true");
  else input?.removeAttribute("aria-invalid");
}
