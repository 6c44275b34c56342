/** The gallery: one's panoramas, newest first, page by page as far as one scrolls. */

import { api, pictureUrl } from "../api.js";
import { h } from "../dom.js";
import { remove, variation } from "../look/actions.js";
import { ago, STATUS } from "../words.js";

const PAGE = 24;

/** @type {import("../main.js").Page} */
export async function show(main, signal) {
  const filter = h(
    "select",
    { id: "filter" },
    h("option", { value: "" }, "all"),
    ...Object.entries(STATUS).map(([value, label]) => h("option", { value }, label)),
  );
  const cards = h("ul", { class: "cards" });
  const more = h("button", { type: "button", hidden: true }, "Show more");
  const note = h("p", { role: "status" });
  main.replaceChildren(
    h(
      "section",
      { class: "page" },
      h(
        "div",
        { class: "page-head" },
        h("h1", {}, "Gallery"),
        h("div", { class: "field" }, h("label", { for: "filter" }, "Show"), filter),
      ),
      cards,
      h("div", { class: "more-row" }, more, note),
    ),
  );

  /** @type {string|null} */
  let cursor = null;
  let generation = 0;
  let loading = false;

  async function load() {
    if (loading) return;
    loading = true;
    const mine = generation;
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (filter.value) query.set("status", filter.value);
    if (cursor) query.set("cursor", cursor);
    try {
      const page = await api(`panoramas?${query}`, { signal });
      if (mine !== generation) return;
      cursor = page.next_cursor;
      cards.append(...page.items.map((item) => card(item)));
      more.hidden = cursor === null;
      note.textContent = cards.children.length ? "" : filter.value ? "None in this state." : "No panoramas yet.";
      note.append(...(cards.children.length || filter.value ? [] : [" ", h("a", { href: "#/" }, "Make the first one.")]));
    } catch (error) {
      if (signal.aborted) return;
      note.textContent = error.message;
      more.hidden = false;
    } finally {
      if (mine === generation) loading = false;
    }
  }
  filter.addEventListener("change", () => {
    generation++;
    loading = false;
    cursor = null;
    cards.replaceChildren();
    load();
  });
  more.addEventListener("click", load);
  const watcher = new IntersectionObserver(([entry]) => entry.isIntersecting && !more.hidden && load(), { rootMargin: "600px" });
  watcher.observe(more);
  signal.addEventListener("abort", () => watcher.disconnect());
  await load();
}

/** @param {any} panorama a list's item: its prompt may be cut, and its regions left out */
function card(panorama) {
  const { id, status, params, created_at: createdAt, finished_at: finishedAt } = panorama;
  const place = h("a", { class: "picture", href: `#/panoramas/${id}`, tabindex: -1, "aria-hidden": "true" }, STATUS[status] ?? status);
  // The whole strip, not a part of it; but no higher than others.
  place.style.setProperty("--ratio", String(Math.max(params.width / params.height, 4)));
  if (status === "succeeded") showPicture(place, id);
  const element = h(
    "li",
    { class: "card" },
    place,
    h(
      "div",
      { class: "text" },
      h("a", { class: "title", href: `#/panoramas/${id}` }, params.prompt),
      h("p", { class: "meta" }, `${params.width} × ${params.height} px · seed ${params.seed} · ${ago(createdAt)}${params.sync.weight === 0 ? " · without SyncDiffusion" : ""}`),
      h(
        "div",
        { class: "row" },
        h("span", { class: `state ${status}` }, STATUS[status] ?? status),
        h("button", { type: "button", class: "quiet", "aria-label": `Make a variation of ${params.prompt}`, on: { click: async () => variation(panorama.shortened ? await api(`panoramas/${id}`) : panorama) } }, "Variation"),
        finishedAt !== null && h(
          "button",
          {
            type: "button",
            class: "quiet danger",
            "aria-label": `Delete ${params.prompt}`,
            on: { click: async () => (await remove(id)) && element.remove() },
          },
          "Delete",
        ),
      ),
    ),
  );
  return element;
}

/** @param {HTMLElement} place @param {string} id */
async function showPicture(place, id) {
  const image = h("img", { alt: "", loading: "lazy", decoding: "async" });
  // It may be scrolled to long after its token has expired.
  image.addEventListener("error", async () => (image.src = await pictureUrl(id, "preview", { fresh: true })), { once: true });
  image.src = await pictureUrl(id, "preview");
  place.replaceChildren(image);
}
