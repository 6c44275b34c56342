/** Painting on the strip with a brush. */

import { paper } from "./files.js";
import { pointAt } from "./strip_place.js";

/** The brush's width as a share of the panorama's height. */
const SHARE = 0.22;

/**
 * @param {HTMLElement} sheet
 * @param {() => {width: number, height: number}} size
 * @param {(canvas: HTMLCanvasElement) => void} done white strokes, with nothing around them
 */
export function brushCanvas(sheet, size, done) {
  /** @type {HTMLCanvasElement|null} */
  let canvas = null;

  /** @param {PointerEvent} down */
  function stroke(down) {
    if (!canvas) return;
    down.stopPropagation();
    const paint = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
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
      isPainted = true;
    };
    isPainted = true;
    canvas.setPointerCapture(down.pointerId);
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("lostpointercapture", () => canvas?.removeEventListener("pointermove", move), { once: true });
  }

  let isPainted = false;
  return {
    isOn: () => canvas !== null,
    /** Begin to paint; or end it, and hand over what was painted. */
    toggle: () => {
      if (canvas) {
        const painted = canvas;
        canvas = null;
        painted.removeEventListener("pointerdown", stroke);
        painted.remove();
        if (isPainted) done(painted);
        return;
      }
      const { width, height } = size();
      isPainted = false;
      canvas = paper(width, height);
      canvas.className = "painted painting";
      canvas.addEventListener("pointerdown", stroke);
      sheet.append(canvas);
    },
  };
}
