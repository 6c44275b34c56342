/** Trying an address for webhooks, for admin keys. */

import { api } from "../api.js";
import { h } from "../dom.js";
import { wrap } from "../make/fields.js";
import { clearErrors, showRefusals } from "../make/refusals.js";
import { tryInWords } from "../words.js";

const WAIT_S = 20;

/** @param {AbortSignal} signal */
export function pingBlock(signal) {
  const tenant = h("input", { required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "ping-tenant-about ping-tenant-error" });
  const url = h("input", { type: "url", required: true, placeholder: "https://example.com/panoramas", "aria-describedby": "ping-url-error" });
  const send = h("button", { class: "primary" }, "Send a test webhook");
  const result = h("p", { role: "status" });
  const form = h(
    "form",
    { class: "ping", novalidate: true },
    wrap("tenant", "ping-tenant", "Tenant", tenant, "Its secrets sign the message."),
    wrap("url", "ping-url", "Address", url),
    h("div", { class: "row" }, send),
    result,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearErrors(form);
    send.disabled = true;
    result.textContent = "Sending";
    try {
      const headers = { Prefer: `wait=${WAIT_S}` };
      const body = { tenant: tenant.value.trim(), url: url.value.trim() };
      const ping = await api("webhooks/pings", { method: "POST", body, headers, signal });
      result.textContent = inWords(ping);
    } catch (error) {
      if (signal.aborted) return;
      const problems = error.errors ?? [];
      const unplaced = showRefusals(form, problems, () => {});
      result.textContent = problems.length && !unplaced.length ? "" : error.message;
    } finally {
      send.disabled = false;
    }
  });
  return h("section", { class: "block wide", "aria-label": "Try a webhook" }, h("h2", {}, "Try a webhook"), form);
}

/** @param {any} ping */
function inWords({ state, tries }) {
  if (!tries.length) return `It was not sent within ${WAIT_S} s. Is the janitor running?`;
  const answer = tryInWords(tries[0]);
  return state === "delivered" ? `It arrived: ${answer}.` : `It did not arrive: ${answer}.`;
}
