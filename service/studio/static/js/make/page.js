/** The page "Make": a prompt, the few choices that matter most, and the frame of what comes. */

import { api, ApiError, create, Unreachable } from "../api.js";
import { h, icon } from "../dom.js";
import { drawing } from "../draw/drawing.js";
import { Draft } from "./draft.js";
import { drawer } from "./drawer.js";
import { fieldControl, wrap } from "./fields.js";
import { frameStage } from "./frame_stage.js";
import { clearErrors, inWords, showRefusals } from "./refusals.js";
import { seedField } from "./seed_field.js";
import { sizeFields } from "./size_field.js";

const POLL_MS = 2_000;

/** @type {import("../main.js").Page} */
export async function show(main, signal) {
  const draft = Draft.begin();
  /** @type {any[]} */
  let models = [];
  const model = () => models.find((each) => each.model === draft.get("model")) ?? models[0];
  const traits = () => model()?.traits ?? null;

  const stage = frameStage(draft, traits);
  const drawn = drawing(draft, stage, traits);
  stage.element.append(drawn.tools);
  const all = drawer(draft);
  const prompt = promptField(draft);
  const sizes = sizeFields(draft, traits);
  const modelField = modelSelect(draft);
  const refused = h("div", { class: "refused", role: "alert", hidden: true });
  const submit = h("button", { class: "primary large", type: "submit" }, "Make panorama");
  const state = h("p", { class: "model-state", role: "status" });

  const form = h(
    "form",
    { class: "composer", novalidate: true, "aria-label": "A new panorama" },
    h("div", { class: "ask" }, prompt.element, submit),
    prompt.examples,
    drawn.lists,
    refused,
    h(
      "div",
      { class: "quick" },
      presetField(draft),
      modelField.element,
      ...sizes.elements,
      loopField(draft),
      seedField(draft),
      stepsField(draft),
    ),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "quiet", on: { click: () => all.open() } }, icon("sliders"), "All parameters"),
      h("button", { type: "button", class: "quiet", on: { click: () => Draft.handOver({}) } }, "Start over"),
      state,
    ),
    all.element,
  );
  main.replaceChildren(h("h1", { class: "unseen" }, "Make a panorama"), stage.element, h("section", { class: "page" }, form));

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearErrors(main);
    refused.hidden = true;
    submit.disabled = true;
    try {
      await drawn.finish();
      const panorama = await create(draft.body);
      location.hash = `#/panoramas/${panorama.id}`;
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
      await showRefusal(error);
    } finally {
      submit.disabled = false;
    }
  });
  prompt.input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  /** @param {ApiError|Unreachable} error */
  async function showRefusal(error) {
    const problems = error instanceof ApiError ? error.errors : [];
    let homeless = showRefusals(main, problems, all.reveal);
    if (homeless.length) {
      await all.open();
      homeless = showRefusals(main, homeless, all.reveal);
    }
    const lines = homeless.map((problem) => h("li", {}, h("code", {}, problem.field), " ", inWords(problem)));
    refused.replaceChildren(h("p", {}, error.message), ...(lines.length ? [h("ul", {}, ...lines)] : []));
    refused.hidden = problems.length > 0 && homeless.length === 0;
    if (!refused.hidden && all.element.open) all.element.close();
  }

  async function loadModels() {
    const { items } = await api("models", { signal });
    models = items;
    modelField.show(models);
    prompt.suggest(traits()?.examples ?? []);
    sizes.refresh();
    stage.refresh();
    await drawn.begin();
    state.textContent = stateOf(model());
  }

  draft.addEventListener("change", (event) => {
    if (/** @type {CustomEvent} */ (event).detail !== "model") return;
    prompt.suggest(traits()?.examples ?? []);
    stage.refresh();
  });
  await loadModels();
  const timer = setInterval(() => {
    if (model()?.state === "ready") clearInterval(timer);
    else loadModels().catch(() => {});
  }, POLL_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** @param {Draft} draft */
function promptField(draft) {
  const input = h("textarea", {
    rows: 2,
    maxlength: 2_000,
    class: "prompt",
    placeholder: "What should the panorama show?",
    value: draft.get("prompt") ?? "",
  });
  input.addEventListener("input", () => draft.set("prompt", input.value));
  const element = wrap("prompt", "prompt", "Prompt", input);
  input.setAttribute("aria-describedby", "prompt-error");
  const examples = h("div", { class: "examples", role: "group", "aria-label": "Prompts to try" });
  draft.addEventListener("change", () => {
    if (input !== document.activeElement) input.value = draft.get("prompt") ?? "";
  });
  /** @param {string[]} prompts that the model can paint */
  const suggest = (prompts) => {
    examples.replaceChildren(
      ...prompts.map((each) =>
        h("button", { type: "button", class: "chip", on: { click: () => draft.set("prompt", each) } }, each),
      ),
    );
  };
  return { input, element, examples, suggest };
}

const PRESETS = [
  ["fast", "Fast", "The quickest, with fewer steps."],
  ["balanced", "Balanced", "As coherent as Paper, in a fraction of the time."],
  ["paper", "Paper", "The algorithm as it was published: slow."],
];

/** What a preset decides: a value from before would stay in its way. */
const OF_PRESETS = ["steps", "windows", "sync"];

/** @param {Draft} draft */
function presetField(draft) {
  /** @param {string} preset */
  const choose = (preset) => {
    for (const field of OF_PRESETS) draft.set(field, undefined);
    draft.set("preset", preset);
  };
  const boxes = PRESETS.map(([value, label, about]) => {
    const box = h("input", { type: "radio", name: "preset", value, on: { change: () => choose(value) } });
    return { box, element: h("label", { class: "segment", title: about }, box, h("span", {}, label)) };
  });
  const note = h("p", { class: "hint", id: "preset-about" });
  const refresh = () => {
    const chosen = draft.get("preset") ?? "balanced";
    boxes.forEach(({ box }) => (box.checked = box.value === chosen));
    note.textContent = PRESETS.find(([value]) => value === chosen)?.[2] ?? "";
  };
  draft.addEventListener("change", refresh);
  refresh();
  const element = h("div", { class: "segments" }, ...boxes.map((each) => each.element));
  element.setAttribute("aria-describedby", note.id);
  const field = wrap("preset", "preset", "Preset", element);
  element.after(note);
  return field;
}

/** @param {Draft} draft */
function modelSelect(draft) {
  const input = h("select", { on: { change: () => draft.set("model", input.value || undefined) } });
  const element = wrap("model", "model", "Model", input);
  input.setAttribute("aria-describedby", "model-error");
  /** @param {any[]} models */
  const show = (models) => {
    input.replaceChildren(
      h("option", { value: "" }, "the server's default"),
      ...models.map((each) => h("option", { value: each.model }, each.state === "ready" ? each.model : `${each.model} (${each.state})`)),
    );
    input.value = draft.get("model") ?? "";
    element.hidden = models.length < 2;
  };
  element.hidden = true;
  return { element, show };
}

/** @param {Draft} draft */
function loopField(draft) {
  const box = h("input", { type: "checkbox" });
  box.addEventListener("change", () => draft.set("loop", box.checked || undefined));
  const refresh = () => (box.checked = draft.get("loop") === true);
  draft.addEventListener("change", refresh);
  refresh();
  return h(
    "div",
    { class: "field", "data-field": "loop" },
    h("span", { class: "label", "aria-hidden": "true" }, "All around"),
    h("label", { class: "check" }, box, h("span", {}, "Loop: for a 360° view")),
    h("p", { class: "field-error", role: "alert", hidden: true }),
  );
}

/** @param {Draft} draft */
function stepsField(draft) {
  const schema = { minimum: 1, maximum: 250 };
  const field = { name: "steps", path: "steps", label: "Steps", about: "", kind: "integer", schema, isRequired: false };
  const element = fieldControl(draft, field);
  element.querySelector("input")?.setAttribute("placeholder", "as the preset has it");
  return element;
}

/** @param {any} model undefined: there is none */
function stateOf(model) {
  if (!model) return "No model can be used here yet.";
  if (model.state === "ready") return "";
  if (model.state === "offline" && model.traits) return `No worker runs ${model.model} now. Panoramas wait until one does.`;
  return `The model ${model.model} is ${model.state}. ${model.detail}`;
}
