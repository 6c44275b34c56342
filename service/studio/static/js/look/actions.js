/** What can be done with a panorama that has ended. */

import { api } from "../api.js";
import { confirm, h, toast } from "../dom.js";
import { asInput } from "../draw/files.js";
import { asRequest, Draft } from "../make/draft.js";

/**
 * @param {any} panorama
 * @param {{file: () => Blob|null, url: () => string|undefined}} stage
 */
export function actions(panorama, stage) {
  const { id, result, params } = panorama;
  const button = (label, click, more = {}) => h("button", { type: "button", on: { click }, ...more }, label);
  const url = stage.url();
  const isDone = Boolean(result && url);
  return h(
    "div",
    { class: "row actions" },
    isDone && h("a", { class: "button primary", href: url, download: `${id}.${result.format}` }, "Download"),
    isDone && button("Copy link", () => copy(location.href, "A link to this page is copied. Who opens it needs a key of your tenant.")),
    isDone && button("Copy link to the picture", () => copyPictureLink(id)),
    button("Make a variation", () => variation(panorama)),
    isDone && !params.loop && button("Extend it", () => extend(panorama, stage.file())),
    button("Delete", () => remove(id), { class: "danger" }),
  );
}

/** The same, but for the seed: it is drawn anew. @param {any} panorama */
export function variation(panorama) {
  const { seed, ...rest } = asRequest(panorama);
  Draft.handOver(rest);
}

/** A panorama twice as wide around this one. @param {any} panorama @param {Blob|null} file */
async function extend(panorama, file) {
  if (!file) return;
  const { prompt, negative_prompt, width, height, stride } = panorama.params;
  const more = Math.ceil(width / 2 / stride) * stride;
  Draft.handOver({
    prompt,
    ...(negative_prompt ? { negative_prompt } : {}),
    width: width + 2 * more,
    height,
    model: panorama.model,
    extend: { image: await asInput(file), x: more },
  });
}

/** @param {string} id @returns {Promise<boolean>} whether it is gone */
export async function remove(id) {
  if (!(await confirm("Delete this panorama?", "The record and its files are removed for good.", "Delete"))) return false;
  try {
    await api(`panoramas/${id}`, { method: "DELETE" });
  } catch (error) {
    toast(error.message, "error");
    return false;
  }
  toast("Deleted.");
  if (location.hash === `#/panoramas/${id}`) location.hash = "#/gallery";
  return true;
}

/** @param {string} text @param {string} message */
async function copy(text, message) {
  try {
    await navigator.clipboard.writeText(text);
    toast(message);
  } catch {
    toast(`Your browser does not let this page copy. Here it is: ${text}`, "error");
  }
}

/** A signed link of the object store, which needs no key and ends by itself. @param {string} id */
async function copyPictureLink(id) {
  try {
    const { result } = await api(`panoramas/${id}`);
    await copy(result.image_url, "A link to the picture is copied. It needs no key, and works for a while.");
  } catch (error) {
    toast(error.message, "error");
  }
}
