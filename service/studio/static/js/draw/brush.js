/** Painting on the strip with a brush, and erasing what was painted. */

import { paper } from "./files.js";
import { pointAt } from "./strip_place.js";

/** The brush's width as a share of the panorama's height. */
const SHARE = 0.22;

/**
 * @param {HTMLElement} sheet
 * @param {() => {width: number, height: number}} size
 * @param {{
 *   done: (painted: HTMLCanvasElement|null, before: HTMLCanvasElement|null) => void,
 *   changed: () => void,
 * }} listener `painted` has white strokes with nothing around them, and is null where nothing is left
 */
export function brushCanvas(sheet, size, { done, changed }) {
  /** @type {HTMLCanvasElement|null} */
  let canvas = null;
  /** @type {HTMLCanvasElement|null} what is painted on */
  let before = null;
  let isErasing = false;

  /** @param {PointerEvent} down */
  function stroke(down) {
    if (!canvas) return;
    down.stopPropagation();
    const paint = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    paint.globalCompositeOperation = isErasing ? "destination-out" : "source-over";
    paint.strokeStyle = "#fff";
    paint.lineWidth = size().height * SHARE;
    paint.lineCap = paint.lineJoin = "round";
    const first = pointAt(sheet, down, size());
    paint.beginPath();
    paint.moveTo(first.x, first.y);
    paint.lineTo(first.x + 0.01, first.y);
    paint.stroke();
    const move = (event) => {
      const to = pointAt(sheet, event, size());
      paint.lineTo(to.x, to.y);
      paint.stroke();
    };
    canvas.setPointerCapture(down.pointerId);
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("lostpointercapture", () => canvas?.removeEventListener("pointermove", move), { once: true });
  }

  /** Hand over what was painted. */
  function finish() {
    if (!canvas) return;
    const [painted, old] = [canvas, before];
    canvas = before = null;
    painted.removeEventListener("pointerdown", stroke);
    painted.remove();
    done(isBlank(painted) ? null : painted, old);
    changed();
  }

  /** @param {HTMLCanvasElement|null} painted to go on with */
  function begin(painted) {
    finish();
    const { width, height } = size();
    canvas = paper(width, height);
    before = painted;
    if (painted) canvas.getContext("2d")?.drawImage(painted, 0, 0, width, height);
    canvas.className = "painted painting";
    canvas.addEventListener("pointerdown", stroke);
    sheet.append(canvas);
    erase(false);
  }

  /** @param {boolean} isOn */
  function erase(isOn) {
    isErasing = isOn;
    changed();
  }

  return { isOn: () => canvas !== null, isErasing: () => isErasing, begin, finish, erase };
}

/** @param {HTMLCanvasElement} canvas */
function isBlank(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return data.every((value, i) => i % 4 !== 3 || value === 0);
}
