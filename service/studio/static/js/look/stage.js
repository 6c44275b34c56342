/** The stage of one panorama: its preview while it is made, then the strip, the 360° view, and the comparison. */

import { pictureBlob } from "../api.js";
import { h, icon, iconButton, toast } from "../dom.js";

/**
 * @param {any} panorama
 * @param {AbortSignal} signal
 */
export function stage(panorama, signal) {
  const { params } = panorama;
  const { width, height, loop, prompt } = params;
  const picture = h("img", { class: "sharpening", alt: `“${prompt}”, as the model predicts it`, hidden: true });
  const waiting = h("div", { class: "sheet waiting", "aria-hidden": "true" });
  const view = h("div", { class: "view" }, waiting, picture);
  const tools = h("div", { class: "tools", role: "toolbar", "aria-label": "View", hidden: true });
  const element = h("figure", { class: "stage", "aria-label": "The panorama" }, view, tools);
  element.style.setProperty("--ratio", String(width / height));
  waiting.style.setProperty("--ratio", String(width / height));

  /** @type {Map<string, string>} */
  const urls = new Map();
  /** @type {{close: () => void, zoom?: (factor: number) => void, toggleFit?: () => void}|null} */
  let open = null;
  signal.addEventListener("abort", () => {
    open?.close();
    for (const url of urls.values()) URL.revokeObjectURL(url);
  });
  /** @param {string} name @param {Blob} blob */
  const keep = (name, blob) => {
    const old = urls.get(name);
    if (old) URL.revokeObjectURL(old);
    urls.set(name, URL.createObjectURL(blob));
    return /** @type {string} */ (urls.get(name));
  };

  /** @param {Blob} blob */
  async function showPreview(blob) {
    const old = urls.get("preview");
    urls.delete("preview");
    picture.src = keep("preview", blob);
    await picture.decode().catch(() => {});
    if (old) URL.revokeObjectURL(old);
    waiting.hidden = true;
    picture.hidden = false;
  }

  /** @param {any} ended */
  function showEnd(ended) {
    waiting.classList.remove("waiting");
    if (ended.status === "failed") waiting.hidden = !picture.hidden;
  }

  /** @type {Blob|null} */
  let file = null;

  /**
   * @param {any} done
   * @param {(plain: any) => void} onPlain called with the panorama made without SyncDiffusion, once there is one
   */
  async function showPicture(done, onPlain) {
    file = await pictureBlob(done.id, "image", signal);
    if (!file) {
      waiting.classList.remove("waiting");
      toast("The picture cannot be read just now. Reload the page to try again.", "error");
      return;
    }
    const url = keep("image", file);
    element.style.setProperty("--ratio", String(done.result.width / done.result.height));
    const modes = {
      strip: async (place) => (await import("./strip.js")).openStrip(place, url, prompt, loop),
      sphere: async (place) => (await import("./sphere.js")).openSphere(place, url, params),
      compare: async (place) => (await import("./compare.js")).openCompare(place, url, done, keep, onPlain, signal),
    };
    let mode = "";
    /** @param {string} wanted */
    const enter = async (wanted) => {
      if (wanted === mode) wanted = "strip";
      mode = wanted;
      element.dataset.mode = wanted;
      open?.close();
      open = null;
      const place = h("div", { class: `mode ${wanted}` });
      view.replaceChildren(place);
      for (const button of tools.querySelectorAll("[data-mode]")) {
        button.setAttribute("aria-pressed", String(button.dataset.mode === wanted));
      }
      for (const button of tools.querySelectorAll("[data-zooms]")) button.disabled = wanted === "compare";
      const opened = await modes[wanted](place);
      if (signal.aborted || mode !== wanted) opened.close();
      else open = opened;
    };
    const modeButton = (name, glyph, label, title) =>
      h("button", { type: "button", title, class: "with-glyph", "data-mode": name, "aria-pressed": "false", on: { click: () => enter(name) } }, icon(glyph), h("span", { class: "tool-label" }, label));
    tools.replaceChildren(
      iconButton("plus", "Zoom in", () => open?.zoom?.(1.5), { "data-zooms": true }),
      iconButton("minus", "Zoom out", () => open?.zoom?.(1 / 1.5), { "data-zooms": true }),
      iconButton("fit", "Whole picture, or as high as the stage", () => open?.toggleFit?.(), { "data-zooms": true }),
      ...(loop ? [modeButton("sphere", "sphere", "360°", "Look around from the middle")] : []),
      modeButton("compare", "compare", "Compare", "With the same seed, without SyncDiffusion"),
      iconButton("full", "Full screen", () => {
        if (document.fullscreenElement) document.exitFullscreen();
        else element.requestFullscreen();
      }),
    );
    tools.hidden = false;
    await enter("strip");
  }

  return { element, showPreview, showPicture, showEnd, file: () => file, url: () => urls.get("image") };
}
