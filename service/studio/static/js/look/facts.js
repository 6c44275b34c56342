/** What a panorama is, in plain words. */

import { h } from "../dom.js";
import { ago, coherenceInWords, duration, sentence, size, timingsInWords } from "../words.js";

/**
 * @param {any} panorama
 * @param {any} [plain] the same seed without SyncDiffusion
 */
export function facts(panorama, plain) {
  const { params, result, model, created_at: createdAt } = panorama;
  const rows = [
    ["Size", `${params.width.toLocaleString("en")} × ${params.height.toLocaleString("en")} px${params.loop ? ", a loop" : ""}`],
    ["Seed", String(params.seed)],
    ["Preset", `${params.preset}, ${params.steps} steps`],
    ...(params.sync.weight === 0 ? [["SyncDiffusion", "off"]] : []),
    ["Model", model],
    ["Created", ago(createdAt)],
    ...(params.negative_prompt ? [["Without", params.negative_prompt]] : []),
    ...(params.regions.length ? [["Regions", params.regions.map((each) => each.prompt).join("; ")]] : []),
    ...(result ? [["File", `${result.format.toUpperCase()}, ${size(result.bytes)}`]] : []),
    ...(result && plain?.result ? [["Without SyncDiffusion", `made in ${duration(total(plain.result.timings_s))}`]] : []),
  ];
  return h(
    "div",
    {},
    result && h("p", { class: "coherence" }, coherenceInWords(result.coherence, plain?.result?.coherence)),
    result && h("p", { class: "timings" }, timingsInWords(result.timings_s)),
    ...(result?.warnings ?? []).map((warning) => h("p", { class: "warning" }, sentence(warning.detail))),
    h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
  );
}

/** @param {Record<string, number>} timings */
const total = (timings) => Object.values(timings).reduce((sum, each) => sum + each, 0);
