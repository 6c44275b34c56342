/** Regions: parts of the strip with prompts of their own, as boxes or painted with a brush. */

import { h, icon, iconButton } from "../dom.js";
import { wrap } from "../make/fields.js";
import { brushCanvas } from "./brush.js";
import { asMask, fromMask } from "./mask.js";
import { clamp, cover, makeMovable, pointAt, snap } from "./strip_place.js";

/**
 * @typedef {{kind: "box", prompt: string, x: number, y: number, width: number, height: number}} Box
 * @typedef {{kind: "brush", prompt: string, canvas: HTMLCanvasElement}} Painted
 * @typedef {{kind: "given", prompt: string, region: any}} Given a mask that is stored, or not read yet
 */

/**
 * @param {import("../make/draft.js").Draft} draft
 * @param {HTMLElement} sheet
 * @param {() => {width: number, height: number, unit: number}} size
 * @param {() => void} onBrush called when painting begins, ends, or becomes erasing
 */
export function regions(draft, sheet, size, onBrush) {
  /** @type {(Box|Painted|Given)[]} */
  const items = written();
  const list = h("ul", { class: "drawn" });
  const layer = h("div", { class: "layer" });
  sheet.append(layer);

  /** What the draft has. The API refuses what is no region: people may have written it as JSON. */
  function written() {
    const found = draft.get("regions");
    return (Array.isArray(found) ? found : []).filter((each) => each && typeof each === "object").map(fromRegion);
  }

  /** Masks that were painted here before the page was loaded anew. */
  async function restore() {
    for (const item of items) {
      const base64 = item.kind === "given" && item.region.mask.base64;
      const canvas = base64 && (await fromMask(base64).catch(() => null)); // the API refuses what is no picture
      if (canvas) Object.assign(item, { kind: "brush", canvas });
    }
    render();
  }

  /** @param {any} region @returns {Box|Given} */
  function fromRegion(region) {
    const { prompt, x, y = 0, width, height } = region;
    if (region.mask) return { kind: "given", prompt, region };
    return { kind: "box", prompt, x, y, width, height: height ?? size().height - y };
  }

  /** @type {Promise<void>} */
  let publishing = Promise.resolve();
  const publish = () => (publishing = write());

  let writes = 0;
  async function write() {
    const mine = ++writes;
    const found = await Promise.all(items.map(toRegion));
    if (mine !== writes) return; // masks take a while, and there is a newer state
    isOwn = true;
    draft.set("regions", found.length ? found : undefined);
    isOwn = false;
  }
  // Regions may be written as JSON too, among all parameters.
  let isOwn = false;
  draft.addEventListener("change", (event) => {
    if (isOwn || /** @type {CustomEvent} */ (event).detail !== "regions") return;
    writes++;
    items.splice(0, items.length, ...written());
    render();
    restore();
  });

  /** @param {Box|Painted|Given} item */
  async function toRegion(item) {
    if (item.kind === "given") return { ...item.region, prompt: item.prompt };
    if (item.kind === "brush") return { prompt: item.prompt, mask: await asMask(item.canvas, size()) };
    const { prompt, x, y, width, height } = item;
    return { prompt, x, y, width, height };
  }

  function render() {
    layer.replaceChildren(...items.map((item, index) => onSheet(item, index)).filter(Boolean));
    list.replaceChildren(...items.map((item, index) => inList(item, index)));
  }

  /** @param {Box|Painted|Given} item @param {number} index */
  function onSheet(item, index) {
    if (item.kind === "given" || item === changing) return null;
    if (item.kind === "brush") {
      return h("div", { class: `painted hue-${index % 6}`, style: { "mask-image": `url(${item.canvas.toDataURL()})` } });
    }
    const element = h("button", { type: "button", class: `region hue-${index % 6}`, "aria-label": `Region ${index + 1}. Arrow keys move it, with Shift they resize it, Delete removes it.` }, h("span", { class: "corner", "aria-hidden": "true" }), h("span", { "aria-hidden": "true" }, String(index + 1)));
    cover(element, item, size());
    makeMovable(element, sheet, {
      size,
      part: () => item,
      canResize: true,
      change: (part) => {
        Object.assign(item, part);
        cover(element, item, size());
        for (const name of ["x", "y", "width", "height"]) {
          const input = list.children[index]?.querySelector(`[data-field="regions.${index}.${name}"] input`);
          if (input) input.value = item[name];
        }
      },
      done: publish,
    });
    element.addEventListener("keydown", (event) => {
      if (event.key === "Delete" || event.key === "Backspace") remove(item);
    });
    return element;
  }

  /** @param {Box|Painted|Given} item @param {number} index */
  function inList(item, index) {
    const path = `regions.${index}`;
    const id = `region-${index}`;
    const prompt = h("input", { value: item.prompt, maxlength: 2_000, placeholder: "What is there?", "aria-describedby": `${id}-prompt-error` });
    prompt.addEventListener("input", () => {
      item.prompt = prompt.value;
      publish();
    });
    const numbers =
      item.kind !== "box"
        ? []
        : ["x", "y", "width", "height"].map((name) => {
            const input = h("input", { type: "number", min: 0, step: "any", value: item[name], "aria-describedby": `${id}-${name}-error` });
            input.addEventListener("input", () => {
              item[name] = Number(input.value);
              const element = /** @type {HTMLElement} */ (layer.querySelectorAll(".region")[items.filter((each, i) => each.kind === "box" && i < index).length]);
              if (element) cover(element, item, size());
              publish();
            });
            return wrap(`${path}.${name}`, `${id}-${name}`, { x: "Left", y: "Top", width: "Width", height: "Height" }[name], input);
          });
    return h(
      "li",
      { class: `drawn-item hue-${index % 6}`, "data-field": path },
      h("div", { class: "row spread" }, h("strong", {}, `Region ${index + 1}, ${item.kind === "box" ? "a box" : "painted"}`), iconButton("close", `Remove region ${index + 1}`, () => remove(item))),
      wrap(`${path}.prompt`, `${id}-prompt`, "Prompt of the region", prompt),
      numbers.length ? h("div", { class: "numbers" }, ...numbers) : null,
      item.kind === "brush" && h("button", { type: "button", "aria-label": `Paint on region ${index + 1}, or erase`, on: { click: () => paintOn(item) } }, icon("brush"), "Paint on, or erase"),
      h("p", { class: "field-error", role: "alert", hidden: true }),
    );
  }

  /** @param {Box|Painted|Given} item */
  function remove(item) {
    if (item === changing) brush.finish();
    if (!items.includes(item)) return; // all of it had been erased
    items.splice(items.indexOf(item), 1);
    render();
    publish();
  }

  /** @type {Painted|null} */
  let changing = null;

  /** @param {Painted} item */
  function paintOn(item) {
    brush.finish();
    if (!items.includes(item)) return; // all of it had been erased
    changing = item;
    brush.begin(item.canvas);
    render();
    sheet.scrollIntoView({ block: "nearest" });
  }

  /** @param {HTMLCanvasElement|null} painted */
  function takePainted(painted) {
    const item = changing;
    changing = null;
    if (!item || !items.includes(item)) {
      if (painted) add({ kind: "brush", prompt: "", canvas: painted });
    } else if (painted) {
      item.canvas = painted;
      render();
      publish();
    } else {
      remove(item);
    }
  }

  /** @param {Box|Painted} item */
  function add(item) {
    items.push(item);
    render();
    publish();
    list.lastElementChild?.querySelector("input")?.focus({ preventScroll: item.kind === "brush" });
  }

  /** In the middle of the strip, as wide as a third of it. */
  function addBox() {
    const { width, height, unit } = size();
    const wide = clamp(snap(width / 3, unit), unit, width);
    const tall = clamp(snap(height / 2, unit), unit, height);
    add({ kind: "box", prompt: "", x: snap((width - wide) / 2, unit), y: snap((height - tall) / 2, unit), width: wide, height: tall });
  }

  /** Drawing on the empty strip makes a box of that size. */
  sheet.addEventListener("pointerdown", (down) => {
    if (brush.isOn() || down.pointerType === "touch" || !(down.target === sheet || down.target === layer)) return;
    const from = pointAt(sheet, down, size());
    const ghost = h("div", { class: "region ghost" });
    layer.append(ghost);
    sheet.setPointerCapture(down.pointerId);
    /** @type {{x: number, y: number, width: number, height: number}|null} */
    let part = null;
    const move = (event) => {
      const to = pointAt(sheet, event, size());
      const { unit, width, height } = size();
      const x = Math.floor(Math.min(from.x, to.x) / unit) * unit;
      const y = Math.floor(Math.min(from.y, to.y) / unit) * unit;
      part = {
        x,
        y,
        width: clamp(Math.ceil(Math.max(from.x, to.x) / unit) * unit - x, unit, width - x),
        height: clamp(Math.ceil(Math.max(from.y, to.y) / unit) * unit - y, unit, height - y),
      };
      cover(ghost, part, size());
    };
    sheet.addEventListener("pointermove", move);
    sheet.addEventListener(
      "lostpointercapture",
      () => {
        sheet.removeEventListener("pointermove", move);
        ghost.remove();
        if (part && part.width > size().unit) add({ kind: "box", prompt: "", ...part });
      },
      { once: true },
    );
  });

  const brush = brushCanvas(sheet, size, { done: takePainted, changed: onBrush });
  render();
  return {
    list,
    restore,
    addBox,
    published: () => publishing,
    brush,
    /** After a change of the size: what was painted is painted at the new size, boxes stay as they are. */
    resized: () => {
      render();
      if (items.some((item) => item.kind === "brush")) publish();
    },
  };
}
