/** Figures in plain words. */

/** @param {number|null|undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3_600).toFixed(1)} h`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1_000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${Math.round(bytes / 1_000)} kB`;
  if (bytes < 1_000_000_000) return `${(bytes / 1_000_000).toFixed(1)} MB`;
  return `${(bytes / 1_000_000_000).toFixed(1)} GB`;
}

/** @param {string} time */
export function ago(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1_000);
  if (seconds < 60) return "just now";
  if (seconds < 3_600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3_600)} h ago`;
  return new Date(time).toLocaleDateString();
}

/** @param {string} detail of a refusal or a warning */
export const sentence = (detail) => `${detail.charAt(0).toUpperCase()}${detail.slice(1)}${/[.!?]$/.test(detail) ? "" : "."}`;

export const STATUS = {
  queued: "waiting",
  running: "being made",
  succeeded: "done",
  failed: "failed",
  cancelled: "cancelled",
  expired: "too late",
};

const NO_ANSWER = {
  target_refused: "webhooks are never sent to this address",
  unknown_host: "there is no such host",
  connection_failed: "no connection could be made",
  tls_failed: "its certificate is not trusted",
  timeout: "the receiver did not answer in time",
  no_secret: "the tenant has no secret to sign with",
  job_forgotten: "the panorama was deleted",
  internal_error: "an error inside panoweave",
};

/** @param {any} tried of a webhook: a newer service may know other errors */
export function tryInWords({ status, error, took_s: took }) {
  if (!status) return NO_ANSWER[error] ?? error;
  return `the receiver answered ${status} after ${duration(took)}`;
}

const PHASES = {
  queued: "Waiting",
  starting: "Starting",
  resuming: "Taking it up again",
  denoising: "Painting",
  decoding: "Developing the picture",
  uploading: "Storing the picture",
  done: "Done",
};

/** @param {string} phase a newer service may have others */
export const phaseName = (phase) => PHASES[phase] ?? phase;

const TIMINGS = {
  encode: "reading the prompt",
  denoise: "painting",
  upscale: "painting it larger",
  decode: "developing the picture",
  measure: "measuring coherence",
};

/** @param {Record<string, number>} timings */
export function timingsInWords(timings) {
  const total = Object.values(timings).reduce((sum, each) => sum + each, 0);
  const [longest] = Object.entries(timings).sort(([, a], [, b]) => b - a);
  if (!longest) return "";
  const share = Math.round((100 * longest[1]) / total);
  return `Made in ${duration(total)}, of which ${share} % went into ${TIMINGS[longest[0]] ?? longest[0]}.`;
}

/**
 * @param {any} coherence
 * @param {any} [plain] that of the same seed without SyncDiffusion
 */
export function coherenceInWords(coherence, plain) {
  if (!coherence) return "Its coherence was not measured.";
  const distance = coherence.intra_lpips;
  if (typeof distance !== "number") return "It is one window, so there is nothing to compare.";
  if (plain && typeof plain.intra_lpips === "number" && distance > 0) {
    const ratio = plain.intra_lpips / distance;
    const compared =
      ratio >= 1.05
        ? `its parts look ${ratio.toFixed(1)} times more alike than without SyncDiffusion`
        : ratio <= 0.95
          ? `its parts look less alike than without SyncDiffusion`
          : `its parts look about as alike as without SyncDiffusion`;
    return `Coherence: ${compared} (distance ${distance.toFixed(3)} against ${plain.intra_lpips.toFixed(3)}).`;
  }
  return `Coherence: its parts differ in look by ${distance.toFixed(3)}, where 0 is alike everywhere. Compare shows what it is without SyncDiffusion.`;
}
