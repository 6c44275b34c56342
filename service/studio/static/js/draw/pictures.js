/** Pictures of the person's own: one to extend, one to follow, one to trace. */

import { h, iconButton, toast } from "../dom.js";
import { wrap } from "../make/fields.js";
import { edges } from "./edges.js";
import { asInput, fromCanvas, paper, read } from "./files.js";
import { clamp, cover, makeMovable, snap } from "./strip_place.js";

const ROLES = {
  extend: ["Extend it", "It keeps its pixels; the panorama is painted around it.", "To extend"],
  anchor_image: ["Follow its look", "All parts of the panorama take its light and colours.", "To follow"],
  control: ["Trace its edges", "The panorama puts things where the picture has them. The worker finds the edges again, so these are a preview.", "To trace"],
};

/** @typedef {{bitmap: ImageBitmap|null, thumbnail: HTMLCanvasElement|null, x: number, file: Blob|null}} Placed */

/**
 * @param {import("../make/draft.js").Draft} draft
 * @param {HTMLElement} sheet
 * @param {() => {width: number, height: number, unit: number}} size
 * @param {() => any} traits
 */
export function pictures(draft, sheet, size, traits) {
  /** @type {Map<string, Placed>} */
  const placed = new Map();
  const list = h("ul", { class: "drawn" });
  const layer = h("div", { class: "layer below" });
  sheet.prepend(layer);

  /** Ask what a picture is for, and place it. @param {Blob} file */
  async function add(file) {
    let bitmap;
    try {
      bitmap = await read(file);
    } catch (error) {
      toast(error.message, "error");
      return;
    }
    const role = await askRole(Boolean(traits()?.controlnet));
    if (!role) return;
    placed.set(role, { bitmap, thumbnail: null, x: -1, file });
    await publish(role);
    render();
  }

  /** Write a picture into the draft, at the panorama's size. @param {string} role */
  async function publish(role) {
    const picture = placed.get(role);
    if (!picture?.bitmap) return;
    const { width, height, unit } = size();
    if (role === "anchor_image") {
      picture.thumbnail ??= scaled(picture.bitmap, 320, Math.max(1, Math.round((320 * picture.bitmap.height) / picture.bitmap.width)));
      draft.set(role, await asInput(/** @type {Blob} */ (picture.file)));
    } else if (role === "extend") {
      const wide = clamp(snap((picture.bitmap.width * height) / picture.bitmap.height, unit), unit, width);
      picture.thumbnail = scaled(picture.bitmap, wide, height);
      picture.x = picture.x < 0 ? snap((width - wide) / 2, unit) : clamp(picture.x, 0, width - wide);
      draft.set(role, { image: await fromCanvas(picture.thumbnail), x: picture.x });
    } else {
      picture.thumbnail = scaled(picture.bitmap, width, height);
      draft.set(role, { type: "canny", image: await fromCanvas(picture.thumbnail), ...(draft.get("control.scale") === undefined ? {} : { scale: draft.get("control.scale") }) });
    }
  }

  function render() {
    layer.replaceChildren(...[...placed].map(([role, picture]) => onSheet(role, picture)).filter(Boolean));
    list.replaceChildren(...[...placed].map(([role, picture]) => inList(role, picture)));
  }

  /** @param {string} role @param {Placed} picture */
  function onSheet(role, picture) {
    const { thumbnail } = picture;
    if (!thumbnail || role === "anchor_image") return null;
    if (role === "control") {
      const lines = edges(thumbnail);
      lines.className = "traced";
      return lines;
    }
    const element = h("button", { type: "button", class: "kept", "aria-label": "The picture to extend. Left and right arrow keys move it." }, thumbnail);
    const part = () => ({ x: picture.x, y: 0, width: thumbnail.width, height: thumbnail.height });
    cover(element, part(), size());
    makeMovable(element, sheet, {
      size,
      part,
      canResize: false,
      change: ({ x }) => {
        picture.x = x;
        cover(element, part(), size());
        const input = list.querySelector('[data-field="extend.x"] input');
        if (input) input.value = x;
      },
      done: () => draft.set("extend.x", picture.x),
    });
    return element;
  }

  /** @param {string} role @param {Placed} picture */
  function inList(role, picture) {
    const [, about, title] = ROLES[role];
    const small = picture.thumbnail ? h("canvas", { class: "thumbnail", width: 200, height: 80, role: "img", "aria-label": title }) : null;
    if (small && picture.thumbnail) {
      const scale = Math.min(200 / picture.thumbnail.width, 80 / picture.thumbnail.height);
      const [wide, tall] = [picture.thumbnail.width * scale, picture.thumbnail.height * scale];
      small.getContext("2d").drawImage(picture.thumbnail, (200 - wide) / 2, (80 - tall) / 2, wide, tall);
    }
    return h(
      "li",
      { class: "drawn-item", "data-field": role },
      h("div", { class: "row spread" }, h("strong", {}, title), iconButton("close", `Remove the picture: ${title.toLowerCase()}`, () => remove(role))),
      small,
      h("p", { class: "hint" }, about),
      role === "extend" && picture.thumbnail && numberOf(draft, "extend.x", "Left edge, in px", picture.x, (value) => {
        picture.x = value;
        draft.set("extend.x", value);
        const element = /** @type {HTMLElement|null} */ (layer.querySelector(".kept"));
        if (element && picture.thumbnail) cover(element, { x: value, y: 0, width: picture.thumbnail.width, height: picture.thumbnail.height }, size());
      }),
      role === "control" && numberOf(draft, "control.scale", "How strictly, 0 to 2", draft.get("control.scale") ?? 1, (value) => draft.set("control.scale", value)),
      h("p", { class: "field-error", role: "alert", hidden: true }),
    );
  }

  /** @param {string} role */
  function remove(role) {
    placed.delete(role);
    draft.set(role, undefined);
    render();
  }

  /** Pictures that another page handed over. */
  async function restore() {
    for (const role of Object.keys(ROLES)) {
      const given = draft.get(role);
      if (!given) continue;
      const { base64 } = given.image ?? given;
      const file = base64 ? new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]) : null;
      placed.set(role, { file, bitmap: file && (await read(file).catch(() => null)), thumbnail: null, x: given.x ?? -1 });
      const picture = /** @type {Placed} */ (placed.get(role));
      if (picture.bitmap && role !== "anchor_image") picture.thumbnail = scaled(picture.bitmap, ...shapeOf(role, picture.bitmap));
    }
    render();
  }

  /** @param {string} role @param {ImageBitmap} bitmap @returns {[number, number]} */
  function shapeOf(role, bitmap) {
    return role === "control" ? [size().width, size().height] : [bitmap.width, bitmap.height];
  }

  return {
    list,
    add,
    restore,
    resized: async () => {
      for (const role of ["extend", "control"]) await publish(role);
      render();
    },
  };
}

/** @param {import("../make/draft.js").Draft} draft @param {string} path @param {string} label @param {number} value @param {(value: number) => void} set */
function numberOf(draft, path, label, value, set) {
  const id = path.replace(".", "-");
  const input = h("input", { type: "number", step: "any", min: 0, value, "aria-describedby": `${id}-error` });
  input.addEventListener("input", () => set(Number(input.value)));
  return wrap(path, id, label, input);
}

/** Cover a sheet of this size, cropped around the middle. @param {ImageBitmap} bitmap @param {number} width @param {number} height */
function scaled(bitmap, width, height) {
  const canvas = paper(width, height);
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [wide, tall] = [bitmap.width * scale, bitmap.height * scale];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context?.drawImage(bitmap, (width - wide) / 2, (height - tall) / 2, wide, tall);
  return canvas;
}

/** @param {boolean} canTrace @returns {Promise<string>} a role; empty where the person has changed their mind */
function askRole(canTrace) {
  return new Promise((resolve) => {
    const choices = Object.entries(ROLES).map(([role, [label, about]]) =>
      h(
        "button",
        { value: role, class: "choice", disabled: role === "control" && !canTrace },
        h("strong", {}, label),
        h("span", {}, role === "control" && !canTrace ? "This model cannot: it has no ControlNet." : about),
      ),
    );
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "role-title" },
      h("form", { method: "dialog" }, h("h2", { id: "role-title" }, "What is the picture for?"), ...choices, h("div", { class: "row end" }, h("button", { value: "" }, "Cancel"))),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
