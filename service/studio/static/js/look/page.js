/** The page of one panorama: it is watched while it is made, and looked at afterwards. */

import { api, pictureBlob } from "../api.js";
import { h } from "../dom.js";
import { followEvents } from "../events.js";
import { deliveriesPanel } from "../keep/deliveries.js";
import { actions } from "./actions.js";
import { codePanel } from "./code.js";
import { facts } from "./facts.js";
import { progressPanel } from "./progress.js";
import { stage as createStage } from "./stage.js";

const POLL_MS = 2_000;
const PREVIEW_EVERY_MS = 1_500;

/** @type {import("../main.js").Page} */
export async function show(main, signal, id) {
  let panorama = await api(`panoramas/${id}`, { signal });
  const stage = createStage(panorama, signal);
  const progress = progressPanel(id);
  const side = h("div", { class: "facts" });
  const more = h("div", { class: "more" });
  main.replaceChildren(
    stage.element,
    h(
      "section",
      { class: "page panorama" },
      h("div", { class: "about" }, h("h1", { class: "prompt-shown" }, panorama.params.prompt), progress.element, more),
      side,
    ),
  );

  const render = () => {
    progress.show(panorama);
    side.replaceChildren(facts(panorama));
    document.title = `${panorama.params.prompt.slice(0, 60)} · panoweave studio`;
  };
  const read = async () => {
    panorama = await api(`panoramas/${id}`, { signal });
    render();
  };
  render();

  if (panorama.finished_at === null) {
    await watch();
    if (signal.aborted) return;
    await read();
  }
  const isDone = panorama.status === "succeeded";
  if (isDone) await stage.showPicture(panorama, (plain) => side.replaceChildren(facts(panorama, plain)));
  else stage.showEnd(panorama);
  if (signal.aborted) return;
  more.replaceChildren(actions(panorama, stage), codePanel(panorama), await deliveriesPanel(id, signal));

  /** Until it has ended. */
  async function watch() {
    const polled = setInterval(() => {
      if (panorama.status === "queued") read().catch(() => {}); // places in the queue are no events
    }, POLL_MS);
    let previewing = false;
    const previewed = setInterval(async () => {
      if (!panorama.progress?.has_preview || previewing) return;
      previewing = true;
      const blob = await pictureBlob(id, "preview", signal).catch(() => null);
      if (blob && !signal.aborted) stage.showPreview(blob);
      previewing = false;
    }, PREVIEW_EVERY_MS);
    const stop = () => {
      clearInterval(polled);
      clearInterval(previewed);
    };
    signal.addEventListener("abort", stop);
    await followEvents(id, {
      signal,
      onConnection: (isOpen) => progress.showConnection(isOpen),
      onEvent: ({ type, data }) => {
        panorama = { ...panorama, status: data.status };
        if (data.progress) panorama.progress = data.progress;
        if (type === "started") panorama = { ...panorama, attempts: data.attempt, queue_position: null, progress: null };
        if (type === "cancel_requested") panorama.cancel_requested = true;
        progress.show(panorama);
      },
    });
    stop();
  }
}
