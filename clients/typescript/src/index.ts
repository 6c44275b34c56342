/**
 * A client of panoweave's API, which makes wide, coherent panoramas from text.
 *
 *     const panoweave = new Panoweave({ url: "http://127.0.0.1:8000" });
 *     const panorama = await panoweave.make({ prompt: "a mountain lake at dawn", width: 1536 });
 *     await panoweave.download(panorama.id, "lake.png");
 */

export type * from "./answers.js";
export { Panoweave, type Submission } from "./client.js";
export {
  ApiError,
  ConnectionFailed,
  PanoramaFailed,
  PanoweaveError,
  UnexpectedAnswer,
  WebhookRefused,
} from "./errors.js";
export type { PanoramaEvent } from "./events.js";
export type { Settings } from "./http.js";
export type { PanoramaRequest, Region, SyncParams, WebhookRequest } from "./requests.js";
export { verifyWebhook } from "./webhooks.js";
