/** Before and after: the same seed without SyncDiffusion, made on demand, under a slider. */

import { api, ApiError, create, pictureBlob } from "../api.js";
import { h } from "../dom.js";
import { followEvents } from "../events.js";
import { asRequest } from "../make/draft.js";
import { duration } from "../words.js";

/**
 * @param {HTMLElement} place
 * @param {string} url of the picture
 * @param {any} panorama
 * @param {(name: string, blob: Blob) => string} keep makes a URL
 * @param {(plain: any) => void} onPlain
 * @param {AbortSignal} pageSignal
 */
export async function openCompare(place, url, panorama, keep, onPlain, pageSignal) {
  const closing = new AbortController();
  const signal = AbortSignal.any([pageSignal, closing.signal]);
  const after = h("img", { src: url, alt: "With SyncDiffusion" });
  const before = h("img", { alt: "Without SyncDiffusion", hidden: true });
  const state = h("p", { class: "compare-state", role: "status" }, "Making it once more, without SyncDiffusion: the same prompt and seed");
  const remaining = h("p", { class: "detail" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress of the comparison" });
  const note = h("div", { class: "compare-note" }, state, bar, remaining);
  const slider = h("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, "aria-label": "How much of the picture is shown without SyncDiffusion", hidden: true });
  const handle = h("div", { class: "handle", "aria-hidden": "true", hidden: true });
  const labels = [h("span", { class: "tag left", hidden: true }, "without SyncDiffusion"), h("span", { class: "tag right", hidden: true }, "with SyncDiffusion")];
  const sheet = h("div", { class: "compare-sheet" }, after, before, handle, ...labels, slider);
  sheet.style.setProperty("--ratio", String(panorama.result.width / panorama.result.height));
  place.append(sheet, note);
  const move = () => sheet.style.setProperty("--at", `${slider.value}%`);
  slider.addEventListener("input", move);
  move();

  make().catch((error) => {
    if (signal.aborted) return;
    state.textContent = error.message;
    bar.hidden = remaining.hidden = true;
  });

  async function make() {
    let plain = await request(panorama);
    if (plain.status === "queued" || plain.status === "running") {
      await followEvents(plain.id, {
        signal,
        onConnection: () => {},
        onEvent: ({ data }) => {
          if (!data.progress) return;
          bar.value = data.progress.fraction;
          remaining.textContent = data.progress.eta_s ? `about ${duration(data.progress.eta_s)} left` : "";
        },
      });
      plain = await api(`panoramas/${plain.id}`, { signal });
    }
    if (plain.status !== "succeeded") throw new Error(`The comparison was not made: it is ${plain.status}.`);
    const blob = await pictureBlob(plain.id, "image", signal);
    if (!blob) throw new Error("The picture of the comparison cannot be read.");
    if (signal.aborted) return;
    before.src = keep("plain", blob);
    await before.decode();
    note.hidden = true;
    for (const each of [before, slider, handle, ...labels]) each.hidden = false;
    slider.focus({ preventScroll: true });
    onPlain(plain);
  }

  return { close: () => closing.abort() };
}

/**
 * The idempotency key makes it once, however often it is asked for. One that was deleted since is
 * made anew.
 * @param {any} panorama
 */
async function request(panorama) {
  const { sync, ...rest } = asRequest(panorama);
  const body = { ...rest, sync: { ...sync, weight: 0 }, metadata: { compared_with: panorama.id } };
  const first = await create(body, `studio-compare-${panorama.id}`);
  try {
    return await api(`panoramas/${first.id}`);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    return create(body);
  }
}
