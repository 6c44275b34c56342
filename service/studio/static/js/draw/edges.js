/** A preview of the edges of a picture. The worker finds them again, with its own method. */

import { paper } from "./files.js";

/** Of a gradient's length, of 255 levels. */
const THRESHOLD = 90;

/** @param {HTMLCanvasElement} picture @returns {HTMLCanvasElement} white lines, with nothing around them */
export function edges(picture) {
  const { width, height } = picture;
  const pixels = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d")).getImageData(0, 0, width, height).data;
  const grey = new Float32Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = 0.299 * pixels[4 * i] + 0.587 * pixels[4 * i + 1] + 0.114 * pixels[4 * i + 2];
  }
  const result = paper(width, height);
  const context = /** @type {CanvasRenderingContext2D} */ (result.getContext("2d"));
  const shown = context.createImageData(width, height);
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const at = (dx, dy) => grey[(y + dy) * width + x + dx];
      const right = at(1, -1) + 2 * at(1, 0) + at(1, 1) - at(-1, -1) - 2 * at(-1, 0) - at(-1, 1);
      const down = at(-1, 1) + 2 * at(0, 1) + at(1, 1) - at(-1, -1) - 2 * at(0, -1) - at(1, -1);
      if (Math.hypot(right, down) > THRESHOLD) shown.data.fill(255, 4 * (y * width + x), 4 * (y * width + x) + 4);
    }
  }
  context.putImageData(shown, 0, 0);
  return result;
}
