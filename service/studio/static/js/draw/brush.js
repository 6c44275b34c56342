/** Painting on the strip with a brush, and erasing what was painted. */

import { paper } from "./files.js";
import { pointAt } from "./strip_place.js";

/** The brush's width as a share of the panorama's height. */
const SHARE = 0.22;

/**
 * @param {HTMLElement} sheet
 * @param {() => {width: number, height: number}} size of the canvas that painting begins with
 * @param {{
 *   done: (painted: HTMLCanvasElement|null) => void,
 *   changed: () => void,
 * }} listener `painted` has white strokes with nothing around them, and is null where nothing is left
 */
export function brushCanvas(sheet, size, { done, changed }) {
  /** @type {HTMLCanvasElement|null} */
  let canvas = null;
  let isErasing = false;

  /** @param {PointerEvent} down */
  function stroke(down) {
    const on = canvas;
    if (!on) return;
    down.stopPropagation();
    const paint = /** @type {CanvasRenderingContext2D} */ (on.getContext("2d"));
    paint.globalCompositeOperation = isErasing ? "destination-out" : "source-over";
    paint.strokeStyle = "#fff";
    paint.lineWidth = on.height * SHARE;
    paint.lineCap = paint.lineJoin = "round";
    const first = pointAt(sheet, down, on);
    paint.beginPath();
    paint.moveTo(first.x, first.y);
    paint.lineTo(first.x + 0.01, first.y);
    paint.stroke();
    const move = (event) => {
      const to = pointAt(sheet, event, on);
      paint.lineTo(to.x, to.y);
      paint.stroke();
    };
    on.setPointerCapture(down.pointerId);
    on.addEventListener("pointermove", move);
    on.addEventListener("lostpointercapture", () => on.removeEventListener("pointermove", move), { once: true });
  }

  /** Hand over what was painted. */
  function finish() {
    if (!canvas) return;
    const painted = canvas;
    canvas = null;
    painted.removeEventListener("pointerdown", stroke);
    painted.remove();
    done(isBlank(painted) ? null : painted);
    changed();
  }

  /** @param {HTMLCanvasElement|null} painted to go on with */
  function begin(painted) {
    finish();
    const { width, height } = size();
    canvas = paper(width, height);
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

/** Erasing along a stroke leaves a faint rim of it, which nobody sees. @param {HTMLCanvasElement} canvas */
function isBlank(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 3; i < data.length; i += 4) if (data[i] > 127) return false;
  return true;
}
