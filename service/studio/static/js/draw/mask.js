/** Masks: as painted here, white with nothing around it; and as the API takes them, white on black. */

import { fromCanvas, paper, read } from "./files.js";

/**
 * White where the prompt applies, black elsewhere, as large as the panorama.
 * @param {HTMLCanvasElement} painted
 * @param {{width: number, height: number}} size
 */
export async function asMask(painted, { width, height }) {
  const mask = paper(width, height);
  const context = /** @type {CanvasRenderingContext2D} */ (mask.getContext("2d"));
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  context.drawImage(painted, 0, 0, width, height);
  return fromCanvas(mask);
}

/** @param {string} base64 of a mask @returns {Promise<HTMLCanvasElement>} as it was painted */
export async function fromMask(base64) {
  const bitmap = await read(new Blob([Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))]));
  const canvas = paper(bitmap.width, bitmap.height);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(bitmap, 0, 0);
  const picture = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < picture.data.length; i += 4) {
    picture.data[i + 3] = picture.data[i];
    picture.data.fill(255, i, i + 3);
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}
