/** A panorama's events. The stream goes on after a lost connection, without a gap or a repeat. */

import { viewToken } from "./api.js";

const EVENTS = ["created", "started", "progress", "cancel_requested", "requeued", "retried", "succeeded", "failed", "cancelled", "expired"];
const ENDS = new Set(["succeeded", "failed", "cancelled", "expired"]);
const RETRY_MS = [500, 1_000, 2_000, 4_000];

/** @typedef {{type: string, id: string, data: any}} PanoramaEvent */

/**
 * Follow a panorama to its end, or until `signal` aborts.
 *
 * The browser reconnects by itself and sends Last-Event-ID. Where it gives up (its token has
 * expired, or the service is away for long), a new stream begins at the first event, and events
 * that were seen are passed over.
 * @param {string} id
 * @param {{onEvent: (event: PanoramaEvent) => void, onConnection: (isOpen: boolean) => void, signal: AbortSignal}} listener
 */
export async function followEvents(id, { onEvent, onConnection, signal }) {
  let seen = "";
  let failures = 0;
  while (!signal.aborted) {
    let hasEnded = false;
    try {
      const token = await viewToken(failures > 0);
      hasEnded = await stream(`panoramas/${id}/events?token=${encodeURIComponent(token)}`, {
        onEvent: (event) => {
          failures = 0;
          if (!isLater(event.id, seen)) return;
          seen = event.id;
          onEvent(event);
        },
        onConnection,
        signal,
      });
    } catch {
      onConnection(false);
    }
    if (hasEnded) return;
    await pause(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)], signal);
  }
}

/**
 * @param {string} url
 * @param {{onEvent: (event: PanoramaEvent) => void, onConnection: (isOpen: boolean) => void, signal: AbortSignal}} listener
 * @returns {Promise<boolean>} whether the panorama has ended
 */
function stream(url, { onEvent, onConnection, signal }) {
  return new Promise((resolve) => {
    const source = new EventSource(url);
    const stop = (hasEnded) => {
      source.close();
      resolve(hasEnded);
    };
    signal.addEventListener("abort", () => stop(true), { once: true });
    source.addEventListener("open", () => onConnection(true));
    source.addEventListener("error", () => {
      onConnection(false);
      if (source.readyState === EventSource.CLOSED) stop(false);
    });
    for (const type of EVENTS) {
      source.addEventListener(type, (event) => {
        onEvent({ type, id: event.lastEventId, data: JSON.parse(event.data) });
        if (ENDS.has(type)) stop(true);
      });
    }
  });
}

/**
 * Ids are a time in milliseconds and a number.
 * @param {string} id
 * @param {string} seen
 */
function isLater(id, seen) {
  const [time, number] = id.split("-").map(Number);
  const [seenTime, seenNumber] = seen.split("-").map(Number);
  return seen === "" || time > seenTime || (time === seenTime && number > seenNumber);
}

/** @param {number} milliseconds @param {AbortSignal} signal */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });
}
