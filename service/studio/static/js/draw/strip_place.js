/** Places on the frame, in pixels of the panorama. */

/**
 * Where a pointer is.
 * @param {HTMLElement} sheet
 * @param {PointerEvent} event
 * @param {{width: number, height: number}} size
 */
export function pointAt(sheet, event, { width, height }) {
  const box = sheet.getBoundingClientRect();
  return {
    x: clamp(((event.clientX - box.left) / box.width) * width, 0, width),
    y: clamp(((event.clientY - box.top) / box.height) * height, 0, height),
  };
}

/** @param {number} value @param {number} least @param {number} most */
export const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

/** @param {number} value @param {number} unit */
export const snap = (value, unit) => Math.round(value / unit) * unit;

/**
 * Put an element over a part of the frame.
 * @param {HTMLElement} element
 * @param {{x: number, y: number, width: number, height: number}} part
 * @param {{width: number, height: number}} size
 */
export function cover(element, part, size) {
  const percent = (value, whole) => `${(100 * value) / whole}%`;
  element.style.setProperty("left", percent(part.x, size.width));
  element.style.setProperty("top", percent(part.y, size.height));
  element.style.setProperty("width", percent(part.width, size.width));
  element.style.setProperty("height", percent(part.height, size.height));
}

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Move, and where it can be, resize something on the frame: by pointer, or by arrow keys (with Shift: resize).
 * @param {HTMLElement} element
 * @param {HTMLElement} sheet
 * @param {{
 *   size: () => {width: number, height: number, unit: number},
 *   part: () => {x: number, y: number, width: number, height: number},
 *   change: (part: {x: number, y: number, width: number, height: number}) => void,
 *   done: () => void,
 *   canResize: boolean,
 * }} thing
 */
export function makeMovable(element, sheet, { size, part, change, done, canResize }) {
  /** @param {{x: number, y: number, width: number, height: number}} wish */
  const put = (wish) => {
    const { width: allWidth, height: allHeight, unit } = size();
    const width = clamp(snap(wish.width, unit), unit, allWidth);
    const height = clamp(snap(wish.height, unit), unit, allHeight);
    change({ width, height, x: clamp(snap(wish.x, unit), 0, allWidth - width), y: clamp(snap(wish.y, unit), 0, allHeight - height) });
  };
  element.addEventListener("pointerdown", (down) => {
    down.stopPropagation();
    element.setPointerCapture(down.pointerId);
    const from = pointAt(sheet, down, size());
    const before = part();
    const isCorner = canResize && /** @type {HTMLElement} */ (down.target).classList.contains("corner");
    const move = (event) => {
      const to = pointAt(sheet, event, size());
      const dx = to.x - from.x;
      const dy = to.y - from.y;
      if (isCorner) put({ ...before, width: Math.min(before.width + dx, size().width - before.x), height: Math.min(before.height + dy, size().height - before.y) });
      else put({ ...before, x: before.x + dx, y: before.y + dy });
    };
    element.addEventListener("pointermove", move);
    element.addEventListener("lostpointercapture", () => { element.removeEventListener("pointermove", move); done(); }, { once: true });
  });
  element.addEventListener("keydown", (event) => {
    const step = KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    const { unit, width, height } = size();
    const [dx, dy] = step.map((each) => each * unit);
    const now = part();
    if (event.shiftKey && canResize) put({ ...now, width: Math.min(now.width + dx, width - now.x), height: Math.min(now.height + dy, height - now.y) });
    else put({ ...now, x: now.x + dx, y: now.y + dy });
    done();
  });
}
