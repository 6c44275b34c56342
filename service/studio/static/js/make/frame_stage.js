/** The stage of the page "Make": the size as a frame, with the windows that the model paints. */

import { h } from "../dom.js";
import { frame } from "./sizes.js";

/**
 * @param {import("./draft.js").Draft} draft
 * @param {() => any} traits
 */
export function frameStage(draft, traits) {
  const sheet = h("div", { class: "sheet" });
  const caption = h("figcaption", {});
  const element = h("figure", { class: "stage empty", "aria-label": "The frame of the panorama" }, h("div", { class: "frame" }, sheet), caption);
  const refresh = () => {
    const known = traits();
    sheet.hidden = !known;
    if (!known) {
      caption.textContent = "";
      return;
    }
    const size = frame(known, draft);
    const { width, height, window } = size;
    sheet.style.setProperty("--ratio", String(width / height));
    sheet.style.setProperty("--window", `${(100 * window) / width}%`);
    sheet.style.setProperty("--window-high", `${(100 * window) / height}%`);
    const ends = size.isLoop ? ", its ends meet" : "";
    caption.textContent =
      `${width.toLocaleString("en")} × ${height.toLocaleString("en")} px${ends}. ` +
      (width > window || height > window ? `The model paints windows of ${window} px; panoweave makes them one picture.` : "");
  };
  draft.addEventListener("change", refresh);
  refresh();
  return { element, sheet, refresh };
}
