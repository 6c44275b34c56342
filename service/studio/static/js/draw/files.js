/** Pictures of the person's own, read in the browser and sent inside the request. */

const SENT_AS_THEY_ARE = ["image/png", "image/jpeg", "image/webp"];
const MAX_BYTES = 5 * 2 ** 20;

/**
 * The file as the API takes it: as it is where that is possible, else as a JPEG of at most 4,096 px.
 * @param {Blob} file
 * @returns {Promise<{base64: string}>}
 */
export async function asInput(file) {
  if (SENT_AS_THEY_ARE.includes(file.type) && file.size <= MAX_BYTES) return { base64: await base64(file) };
  const bitmap = await read(file);
  const scale = Math.min(1, 4_096 / Math.max(bitmap.width, bitmap.height));
  const canvas = paper(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return fromCanvas(canvas, "image/jpeg");
}

/** @param {Blob} file @returns {Promise<ImageBitmap>} */
export async function read(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error("This file is not a picture that your browser can read. Use PNG, JPEG or WebP.");
  }
}

/** @param {number} width @param {number} height */
export function paper(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** @param {HTMLCanvasElement} canvas @param {string} [type] @returns {Promise<{base64: string}>} */
export async function fromCanvas(canvas, type = "image/png") {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, 0.92));
  if (blob.size > MAX_BYTES && type === "image/png") return fromCanvas(canvas, "image/jpeg");
  return { base64: await base64(blob) };
}

/** @param {Blob} blob @returns {Promise<string>} */
function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(String(reader.result).split(",", 2)[1]));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}
