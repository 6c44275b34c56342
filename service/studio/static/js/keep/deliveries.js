/** A panorama's webhook deliveries, and sending them again. */

import { api } from "../api.js";
import { h, toast } from "../dom.js";
import { ago, tryInWords } from "../words.js";

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<HTMLElement>} empty where the request had no webhook
 */
export async function deliveriesPanel(id, signal) {
  const list = await api(`panoramas/${id}/deliveries`, { signal });
  const place = h("div", {});
  if (!list.url) return place;
  /** @param {any} found */
  const show = (found) => {
    place.replaceChildren(
      h(
        "details",
        { class: "panel", open: true },
        h("summary", {}, "Webhook deliveries"),
        h("p", { class: "hint" }, "To ", h("code", {}, found.url)),
        found.items.length === 0 && h("p", {}, "Nothing was sent yet."),
        h("ul", { class: "deliveries" }, ...found.items.map((item) => row(item, show))),
        h("button", { type: "button", class: "quiet", on: { click: () => refresh() } }, "Refresh"),
      ),
    );
  };
  const refresh = async () => show(await api(`panoramas/${id}/deliveries`, { signal }));
  /** @param {any} item @param {(found: any) => void} done */
  function row(item, done) {
    const last = item.tries.at(-1);
    const outcome = last ? tryInWords(last) : "not tried yet";
    const again = h("button", { type: "button", "aria-label": `Send ${item.type} again` }, "Send again");
    again.addEventListener("click", async () => {
      again.disabled = true;
      try {
        done(await api(`panoramas/${id}/deliveries/redeliver?id=${encodeURIComponent(item.id)}`, { method: "POST" }));
        toast("It is sent again.");
        setTimeout(() => refresh().catch(() => {}), 2_000);
      } catch (error) {
        again.disabled = false;
        toast(error.message, "error");
      }
    });
    return h(
      "li",
      {},
      h("span", { class: `state ${item.state}` }, item.state),
      h("span", {}, h("strong", {}, item.type), `, ${ago(item.happened_at)}: ${outcome}, ${item.tries.length} ${item.tries.length === 1 ? "try" : "tries"}`),
      again,
    );
  }
  show(list);
  return place;
}
