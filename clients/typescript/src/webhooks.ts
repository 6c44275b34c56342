// Verifies webhooks, which are signed as Standard Webhooks specifies.

import type { BatchMessage, PingMessage, WebhookMessage } from "./answers.js";
import { WebhookRefused } from "./errors.js";

const TOLERANCE_S = 300;

/**
 * The message of a webhook; a BatchMessage is of type `batch.ended`, a PingMessage of type
 * `webhook.ping`. Throws WebhookRefused if its signature is wrong or it is old.
 *
 * `body` is what was received, byte by byte. A message may come more than once: remember the header
 * `webhook-id` and ignore those that you have seen.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: Headers | Record<string, string | string[] | undefined>,
  secret: string,
): Promise<WebhookMessage | BatchMessage | PingMessage> {
  const [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(
    (name) => header(headers, name),
  );
  if (!id || !timestamp || !signatures) {
    throw new WebhookRefused("a header of the signature is missing");
  }
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= TOLERANCE_S)) {
    throw new WebhookRefused("the message is too old, or from the future");
  }
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${text}`);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const raw = bytes(secret.replace(/^whsec_/, ""));
  const key = await crypto.subtle.importKey("raw", raw, algorithm, false, ["verify"]);
  for (const each of signatures.split(" ")) {
    const [version, signature = ""] = each.split(",", 2);
    if (version === "v1" && (await crypto.subtle.verify("HMAC", key, bytes(signature), signed))) {
      return JSON.parse(text) as WebhookMessage | BatchMessage | PingMessage;
    }
  }
  throw new WebhookRefused("no signature is of this secret");
}

function header(
  headers: Headers | Record<string, string | string[] | undefined>,
  wanted: string,
): string | null {
  const entries = headers instanceof Headers ? [...headers] : Object.entries(headers);
  const [, value] = entries.find(([name]) => name.toLowerCase() === wanted) ?? [];
  return typeof value === "string" ? value : null;
}

function bytes(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch (error) {
    throw new WebhookRefused("the secret or a signature is not base64", { cause: error });
  }
}
