/** The page "Service": what one has used; and for admin keys, what waits, runs and works. */

import { api, ApiError } from "../api.js";
import { h } from "../dom.js";
import { currentKey } from "../key.js";
import { duration, size } from "../words.js";

const REFRESH_MS = 5_000;

/** @type {import("../main.js").Page} */
export async function show(main, signal) {
  const operator = h("div", { class: "blocks" });
  const ping = h("div", { class: "blocks" });
  const used = h("div", { class: "blocks" });
  main.replaceChildren(
    h("section", { class: "page stacked" }, h("h1", {}, "Service"), operator, ping, used),
  );
  used.replaceChildren(...usageBlocks(await api("usage", { signal })));
  const refresh = async () => {
    try {
      operator.replaceChildren(...statusBlocks(await api("status", { signal })));
      // Pings need a key, also while anonymous callers see all the rest.
      if (currentKey() && !ping.hasChildNodes()) ping.replaceChildren((await import("./ping.js")).pingBlock(signal));
    } catch (error) {
      if (signal.aborted || !(error instanceof ApiError) || error.status !== 403) throw error;
      const { items } = await api("models", { signal });
      operator.replaceChildren(
        modelsBlock(items),
        h("p", { class: "hint" }, "Queue and workers are shown to keys of scope admin."),
      );
      clearInterval(timer);
    }
  };
  const timer = setInterval(() => refresh().catch(() => {}), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  await refresh();
}

/** @param {[string, string|number][]} pairs */
const figures = (pairs) =>
  h("div", { class: "figures" }, ...pairs.map(([name, value]) => h("p", { class: "figure" }, h("strong", {}, value), h("span", {}, name))));

/** @param {string[]} heads @param {any[][]} rows @param {string} label */
function table(heads, rows, label) {
  const kind = (value) => (typeof value === "number" ? "number" : null);
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": `Table: ${label}` },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...heads.map((head, i) => h("th", { scope: "col", class: kind(rows[0]?.[i]) }, head)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", { class: kind(cell) }, cell))))),
    ),
  );
}

/** @param {string} state */
const stateTag = (state) => h("span", { class: `state ${state}` }, state);

/** @param {any} status */
function statusBlocks(status) {
  const workers = status.workers.map((each) => [each.name, each.model, stateTag(each.state), each.detail]);
  return [
    h(
      "section",
      { class: "block", "aria-label": "Queue" },
      h("h2", {}, "Queue, of all tenants"),
      figures([["waiting", status.queued], ["being made", status.running], ["workers", status.workers.length]]),
      h("p", {}, "Object store: ", stateTag(status.s3), " ", status.s3_detail),
      ...status.unserved.map((each) => h("p", { class: "warning" }, `${each.queued} wait for ${each.model}, which no worker holds.`)),
    ),
    modelsBlock(status.models),
    h(
      "section",
      { class: "block wide", "aria-label": "Workers" },
      h("h2", {}, "Workers"),
      workers.length ? table(["name", "model", "state", "detail"], workers, "Workers") : h("p", {}, "No worker is alive."),
    ),
  ];
}

/** @param {any[]} models */
function modelsBlock(models) {
  const rows = models.map((each) => [
    each.model,
    stateTag(each.state),
    each.traits ? `${each.traits.window_px} px` : "",
    each.workers,
  ]);
  return h(
    "section",
    { class: "block", "aria-label": "Models" },
    h("h2", {}, "Models"),
    rows.length ? table(["model", "state", "window", "workers"], rows, "Models") : h("p", {}, "No model can be used here yet."),
  );
}

/** @param {any} usage */
function usageBlocks(usage) {
  const rows = [...usage.items].reverse().map((each) => [each.period, each.panoramas, duration(each.gpu_s), size(each.bytes)]);
  const sum = (name) => usage.items.reduce((total, each) => total + each[name], 0);
  return [
    h(
      "section",
      { class: "block wide", "aria-label": "Usage" },
      h("h2", {}, "What you have used"),
      figures([["panoramas", sum("panoramas")], ["of workers", duration(sum("gpu_s")) || "0 s"], ["of pictures", size(sum("bytes"))]]),
      h("p", { class: "hint" }, `Your records take ${size(usage.kept_bytes)} of ${size(usage.max_kept_bytes)}.`),
      rows.length ? table(["day", "panoramas", "time of workers", "pictures"], rows, "Usage by day") : h("p", {}, "Nothing yet."),
    ),
  ];
}
