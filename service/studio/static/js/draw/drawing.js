/** Drawing on the frame: boxes, brush and pictures, with a list of what is there. */

import { h, icon } from "../dom.js";
import { frame } from "../make/sizes.js";
import { pictures as createPictures } from "./pictures.js";
import { regions as createRegions } from "./regions.js";

/**
 * @param {import("../make/draft.js").Draft} draft
 * @param {{element: HTMLElement, sheet: HTMLElement}} stage
 * @param {() => any} traits
 */
export function drawing(draft, stage, traits) {
  const { sheet } = stage;
  const size = () => frame(traits(), draft);
  /** @type {ReturnType<typeof createRegions>|null} */
  let regions = null;
  /** @type {ReturnType<typeof createPictures>|null} */
  let pictures = null;
  const lists = h("div", { class: "drawings" });
  const file = h("input", { type: "file", accept: "image/*", class: "unseen", tabindex: -1, "aria-hidden": "true" });
  const box = h("button", { type: "button", on: { click: () => regions?.addBox() } }, icon("box"), "Box");
  const brush = h("button", { type: "button", "aria-pressed": "false", on: { click: () => switchBrush() } }, icon("brush"), "Brush");
  const eraser = h("button", { type: "button", "aria-pressed": "false", hidden: true, on: { click: () => regions?.brush.erase(!regions.brush.isErasing()) } }, icon("eraser"), "Eraser");
  const picture = h("button", { type: "button", on: { click: () => file.click() } }, icon("picture"), "Picture");
  const hint = h("p", { class: "draw-hint" });
  const showHint = () => {
    hint.textContent = draft.get("extend")
      ? "The picture stays as it is, and Make panorama paints the rest around it. Drag it to where it should stand."
      : "If you like: mark where something else should be, or bring a picture of your own.";
  };
  draft.addEventListener("change", showHint);
  showHint();
  const tools = h(
    "div",
    { class: "draw" },
    hint,
    h("div", { class: "draw-tools", role: "toolbar", "aria-label": "Draw on the strip" }, box, brush, eraser, picture, file),
  );

  const switchBrush = () => {
    if (regions?.brush.isOn()) regions.brush.finish();
    else regions?.brush.begin(null);
  };
  const showBrush = () => {
    const isOn = regions?.brush.isOn() ?? false;
    // Painting begins: the button of a region that began it is drawn anew.
    if (isOn && eraser.hidden) brush.focus({ preventScroll: true });
    brush.setAttribute("aria-pressed", String(isOn));
    brush.lastChild?.replaceWith(isOn ? "Finish painting" : "Brush");
    eraser.hidden = !isOn;
    eraser.setAttribute("aria-pressed", String(regions?.brush.isErasing() ?? false));
  };
  file.addEventListener("change", async () => {
    if (file.files[0]) await pictures?.add(file.files[0]);
    file.value = "";
  });
  stage.element.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.element.classList.add("dropping");
  });
  stage.element.addEventListener("dragleave", () => stage.element.classList.remove("dropping"));
  stage.element.addEventListener("drop", async (event) => {
    event.preventDefault();
    stage.element.classList.remove("dropping");
    const [dropped] = event.dataTransfer?.files ?? [];
    if (dropped) await pictures?.add(dropped);
  });

  let shape = "";
  draft.addEventListener("change", async () => {
    if (!regions || !pictures) return;
    const { width, height } = size();
    if (`${width} ${height}` === shape) return;
    shape = `${width} ${height}`;
    regions.resized();
    await pictures.resized();
  });

  return {
    tools,
    lists,
    /** What is being painted counts, also without `Finish painting`. Masks take a while to be written. */
    finish: async () => {
      regions?.brush.finish();
      await regions?.published();
    },
    /** Once it is known which sizes the model makes. */
    begin: async () => {
      if (regions || !traits()) return;
      const { width, height } = size();
      shape = `${width} ${height}`;
      pictures = createPictures(draft, sheet, size, traits);
      regions = createRegions(draft, sheet, size, showBrush);
      lists.replaceChildren(pictures.list, regions.list);
      await Promise.all([pictures.restore(), regions.restore()]);
    },
  };
}
