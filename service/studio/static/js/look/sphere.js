/** A loop seen from its middle. By Photo Sphere Viewer. */

import { h } from "../dom.js";

const FOV_MIN = 15;
const FOV_MAX = 90;

/**
 * @param {HTMLElement} place
 * @param {string} url
 * @param {{width: number, height: number, projection?: string}} params
 */
export async function openSphere(place, url, { width, height, projection }) {
  addStyles();
  const isEquirectangular = projection === "equirectangular";
  const { Viewer } = await import("../../vendor/photo-sphere-viewer/index.module.js");
  const highDeg = isEquirectangular ? FOV_MAX : Math.min(180, (360 * height) / width);
  const viewer = new Viewer({
    container: place,
    panorama: url,
    // The file says where it is on the sphere; a cylinder is shown as the part around the horizon.
    panoData: isEquirectangular ? undefined : {
      fullWidth: width,
      fullHeight: Math.max(height, width / 2),
      croppedWidth: width,
      croppedHeight: height,
      croppedX: 0,
      croppedY: Math.max(0, (width / 2 - height) / 2),
    },
    navbar: false,
    keyboard: "always",
    minFov: FOV_MIN,
    maxFov: Math.max(FOV_MIN + 1, Math.min(FOV_MAX, highDeg)),
    defaultZoomLvl: 0,
    loadingTxt: "",
  });
  place.setAttribute("role", "application");
  place.setAttribute("aria-label", "The panorama all around you. Arrow keys look around, plus and minus zoom.");
  place.tabIndex = 0;
  await new Promise((resolve, reject) => {
    viewer.addEventListener("ready", resolve, { once: true });
    viewer.addEventListener("panorama-error", () => reject(new Error("The 360° view cannot be shown.")), { once: true });
  });
  place.dataset.ready = "true";
  return {
    close: () => viewer.destroy(),
    /** @param {number} factor */
    zoom: (factor) => viewer.zoom(viewer.getZoomLevel() + (factor > 1 ? 20 : -20)),
    toggleFit: () => viewer.animate({ yaw: 0, pitch: 0, zoom: 0, speed: "20rpm" }),
  };
}

function addStyles() {
  const href = "studio/vendor/photo-sphere-viewer/index.css";
  if (!document.querySelector(`link[href="${href}"]`)) document.head.append(h("link", { rel: "stylesheet", href }));
}
