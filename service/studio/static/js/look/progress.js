/** How far a panorama is: its place in the queue, the time that is left, its steps; cancel. */

import { api } from "../api.js";
import { h, toast } from "../dom.js";
import { duration, phaseName } from "../words.js";

/** @param {string} id */
export function progressPanel(id) {
  const headline = h("p", { class: "headline", role: "status" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const detail = h("p", { class: "detail" });
  const connection = h("p", { class: "connection", role: "status", hidden: true }, "The connection is lost. The panorama goes on, and so does this page once the service answers.");
  const cancel = h("button", { type: "button" }, "Cancel");
  const retry = h("button", { type: "button", class: "primary", hidden: true }, "Try again");
  const note = h("p", { class: "hint" }, "At first it looks patchy: the windows grow alike step by step. You may leave this page; the gallery has it.");
  const running = h("div", { class: "running" }, bar, detail, note);
  const element = h("div", { class: "progress" }, h("div", { class: "row spread" }, headline, cancel, retry), running, connection);

  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    try {
      show(await api(`panoramas/${id}/cancel`, { method: "POST" }));
    } catch (error) {
      cancel.disabled = false;
      toast(error.message, "error");
    }
  });
  retry.addEventListener("click", async () => {
    try {
      await api(`panoramas/${id}/retry`, { method: "POST" });
      dispatchEvent(new HashChangeEvent("hashchange"));
    } catch (error) {
      toast(error.message, "error");
    }
  });

  /** @param {any} panorama */
  function show(panorama) {
    const { status, progress, queue_position: ahead, cancel_requested: isToEnd } = panorama;
    const isActive = status === "queued" || status === "running";
    running.hidden = cancel.hidden = !isActive;
    element.dataset.status = status;
    cancel.disabled = isToEnd;
    retry.hidden = !(status === "failed" && panorama.error?.retryable);
    headline.textContent = headlineOf(panorama);
    if (!isActive) connection.hidden = true;
    if (!isActive || !progress) return;
    bar.value = progress.fraction;
    detail.textContent = [
      progress.step > 0 && status === "running" ? `step ${progress.step} of ${progress.total_steps}` : "",
      progress.eta_s ? `about ${duration(progress.eta_s)} left` : "",
      status === "queued" && ahead ? `${ahead} before it` : "",
      panorama.attempts > 1 ? `attempt ${panorama.attempts}` : "",
    ]
      .filter(Boolean)
      .join(" · ");
  }

  return {
    element,
    show,
    /** @param {boolean} isOpen */
    showConnection: (isOpen) => (connection.hidden = isOpen),
  };
}

/** @param {any} panorama */
function headlineOf({ status, progress, queue_position: ahead, cancel_requested: isToEnd, error }) {
  if (status === "queued") return ahead ? `Waiting: ${ahead === 1 ? "one panorama is" : `${ahead} panoramas are`} before it` : "Waiting: it is next";
  if (status === "running") return isToEnd ? "Stopping at the next step" : phaseName(progress?.phase ?? "starting");
  if (status === "failed") return error ? `It failed: ${error.detail}` : "It failed";
  if (status === "cancelled") return "It was cancelled";
  if (status === "expired") return "It had not begun by its deadline";
  return "";
}
