/** The strip: pan, and zoom to single pixels. By OpenSeadragon. */

import { h } from "../dom.js";

const SOURCE = "studio/vendor/openseadragon/openseadragon.min.js";
/** A strip that is lower than this, in px, begins as high as the stage instead of as wide. */
const TOO_LOW_PX = 130;
/** A stage that is this much higher or lower than the strip, as a share, is filled: a black edge would be seen. */
const NEARLY = 0.04;

/** @type {Promise<any>|null} */
let loaded = null;

/** @returns {Promise<any>} it is no ES module, and hangs itself to `window` */
function load() {
  loaded ??= new Promise((resolve, reject) => {
    const script = h("script", { src: SOURCE });
    script.addEventListener("load", () => resolve(window["OpenSeadragon"]));
    script.addEventListener("error", () => reject(new Error("The viewer cannot be loaded.")));
    document.head.append(script);
  });
  return loaded;
}

/**
 * @param {HTMLElement} place
 * @param {string} url
 * @param {string} prompt
 * @param {boolean} isLoop
 */
export async function openStrip(place, url, prompt, isLoop) {
  const OpenSeadragon = await load();
  leaveOutStyle();
  const viewer = OpenSeadragon({
    element: place,
    tileSources: { type: "image", url },
    prefixUrl: "",
    drawer: "canvas",
    showNavigationControl: false,
    wrapHorizontal: isLoop,
    visibilityRatio: 1,
    constrainDuringPan: true,
    minZoomImageRatio: 1,
    maxZoomPixelRatio: 16,
    animationTime: 0.5,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
  });
  viewer.canvas.setAttribute("role", "application");
  viewer.canvas.setAttribute("aria-label", `“${prompt}”. Arrow keys move, plus and minus zoom, 0 shows the whole picture.`);
  await new Promise((resolve, reject) => {
    viewer.addOnceHandler("open", resolve);
    viewer.addOnceHandler("open-failed", () => reject(new Error("The picture cannot be shown.")));
  });
  // Pixels stay pixels where they are looked at one by one.
  viewer.addHandler("zoom", () => {
    const item = viewer.world.getItemAt(0);
    viewer.drawer.setImageSmoothingEnabled(!item || item.viewportToImageZoom(viewer.viewport.getZoom(false)) < 6);
  });
  const { x, y } = viewer.world.getItemAt(0).getContentSize();
  const heightAtFullWidth = (place.clientWidth * y) / x;
  const isNearlyAsHigh = Math.abs(heightAtFullWidth / place.clientHeight - 1) < NEARLY;
  let isFilled = heightAtFullWidth < TOO_LOW_PX || isNearlyAsHigh;
  fit(true);
  const hint = h("p", { class: "drag-hint" }, "Drag to see the rest");
  if (isFilled && heightAtFullWidth < place.clientHeight * (1 - NEARLY)) place.append(hint);
  for (const event of ["canvas-drag", "canvas-scroll", "canvas-pinch", "canvas-key"]) viewer.addOnceHandler(event, () => hint.remove());

  /** @param {boolean} atOnce */
  function fit(atOnce) {
    const bounds = viewer.world.getItemAt(0).getBounds();
    if (isFilled) viewer.viewport.fitBoundsWithConstraints(narrowed(bounds), atOnce);
    else viewer.viewport.fitBounds(bounds, atOnce);
  }

  /** The middle of the strip, as wide as the stage is where the strip is as high as the stage. @param {any} bounds */
  function narrowed(bounds) {
    const width = Math.min(bounds.width, (bounds.height * place.clientWidth) / place.clientHeight);
    const height = (width * place.clientHeight) / place.clientWidth;
    const middle = bounds.getCenter();
    return new OpenSeadragon.Rect(middle.x - width / 2, middle.y - height / 2, width, height);
  }

  return {
    close: () => viewer.destroy(),
    /** @param {number} factor */
    zoom: (factor) => {
      viewer.viewport.zoomBy(factor);
      viewer.viewport.applyConstraints();
    },
    toggleFit: () => {
      hint.remove();
      isFilled = !isFilled;
      fit(false);
    },
  };
}

/** The viewer adds a style of its own, which the content policy refuses, unless it finds an element of that name. */
function leaveOutStyle() {
  if (document.querySelector("style[data-openseadragon-mobile-css]")) return;
  const standIn = document.createElementNS(null, "style");
  standIn.setAttribute("data-openseadragon-mobile-css", "");
  document.head.append(standIn);
}
