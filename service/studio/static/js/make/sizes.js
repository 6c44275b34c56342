/** The sizes that a model can make, as `GET /models` describes them. The API has the last word. */

const WINDOWS_WIDE = 6;
const STRIDES_PER_WINDOW = 4;

/**
 * @param {any} traits
 * @param {import("./draft.js").Draft} draft
 */
export function frame(traits, draft) {
  const window = traits.window_px;
  const unit = traits.px_per_latent;
  const stride = draft.get("stride") ?? Math.max(1, Math.floor(window / unit / STRIDES_PER_WINDOW)) * unit;
  const isLoop = draft.get("loop") === true;
  const usualWidth = isLoop
    ? Math.floor((WINDOWS_WIDE * window) / stride) * stride
    : window + Math.floor(((WINDOWS_WIDE - 1) * window) / stride) * stride;
  return {
    window,
    unit,
    stride,
    isLoop,
    width: draft.get("width") ?? usualWidth,
    height: draft.get("height") ?? window,
  };
}

/**
 * The legal size nearest to a wish.
 * @param {number} wish
 * @param {{window: number, stride: number}} grid
 * @param {boolean} isCircumference
 */
export function nearest(wish, { window, stride }, isCircumference) {
  if (isCircumference) return Math.max(Math.ceil(window / stride), Math.round(wish / stride)) * stride;
  return window + Math.max(0, Math.round((wish - window) / stride)) * stride;
}
