// The client: one method for each thing that the API does.

import type {
  DeliveryList,
  Health,
  KeyList,
  ModelList,
  NewKeyView,
  PanoramaBatch,
  PanoramaPage,
  PanoramaSummary,
  PanoramaView,
  PingView,
  ScalingView,
  StatusView,
  TokenView,
  UploadView,
  UsageView,
} from "./answers.js";
import { PanoramaFailed } from "./errors.js";
import { type PanoramaEvent, parseEvents } from "./events.js";
import { connected, fetched, Http, raiseIfNot, type Settings } from "./http.js";
import { sleep } from "./retries.js";
import { Silence } from "./silence.js";
import type {
  FollowEventsQuery,
  GetImageQuery,
  GetPreviewQuery,
  GetScalingQuery,
  GetUsageQuery,
  ImageInput,
  KeyRequest,
  ListPanoramasQuery,
  ListTenantPanoramasQuery,
  PanoramaRequest,
  PingRequest,
  RedeliverDeliveriesQuery,
} from "./requests.js";

const LONGEST_WAIT_S = 60; // that the service offers
const LONGEST_SILENCE_S = 45; // the service sends something every 15 s
const PAUSE_MS = 500; // after a stream that ended without an event, as of an API that is stopped
const UPLOAD_S = 300;

export interface Submission {
  /** The service carries out a request only once for each. Default: another one for each call. */
  idempotencyKey?: string;
  /** Answer up to so many seconds later if the panorama ends. */
  waitS?: number;
  traceparent?: string;
}

/** A client of one service. Fields and parameters have the API's own names. */
export class Panoweave {
  readonly #http: Http;

  constructor(settings: Settings = {}) {
    this.#http = new Http(settings);
  }

  /** Submit a panorama and wait for its picture. Throws PanoramaFailed if there is none. */
  async make(
    request: PanoramaRequest,
    options: Submission & { onEvent?: (event: PanoramaEvent) => void } = {},
  ): Promise<PanoramaView> {
    const { id } = await this.submit(request, options);
    if (options.onEvent) {
      for await (const event of this.watch(id)) {
        options.onEvent(event);
      }
    }
    const panorama = await this.wait(id);
    if (panorama.status !== "succeeded") {
      throw new PanoramaFailed(panorama);
    }
    return panorama;
  }

  /** Queue a panorama. It is sent again if an answer gets lost, and made once. */
  async submit(request: PanoramaRequest, options: Submission = {}): Promise<PanoramaView> {
    if ((request.n ?? 1) > 1) {
      throw new RangeError("n: submit makes one panorama; call submitBatch for more");
    }
    return (await this.#create(request, options)) as PanoramaView;
  }

  /** As `submit`, for the `n` panoramas of one request. Their `batch_id` is the same. */
  async submitBatch(request: PanoramaRequest, options: Submission = {}): Promise<PanoramaView[]> {
    const answer = await this.#create(request, options);
    return "items" in answer ? answer.items : [answer];
  }

  /** The panorama as it is now, or up to `waitS` (at most 60) later if it ends. */
  get(id: string, { waitS }: { waitS?: number } = {}): Promise<PanoramaView> {
    return this.#http.json("GET", panoramaPath(id), { waitS });
  }

  /** The panorama when it has ended, however it did. */
  async wait(id: string): Promise<PanoramaView> {
    for (;;) {
      const panorama = await this.get(id, { waitS: LONGEST_WAIT_S });
      if (panorama.finished_at !== null) {
        return panorama;
      }
    }
  }

  /**
   * The events, from the first one or from the one after `lastEventId`, to the end.
   *
   * After a lost connection they go on without a gap or a repeat.
   */
  async *watch(
    id: string,
    { lastEventId, ...query }: FollowEventsQuery & { lastEventId?: string } = {},
  ): AsyncGenerator<PanoramaEvent, void, undefined> {
    const retries = this.#http.retries();
    for (;;) {
      const seen = lastEventId;
      const silence = new Silence(LONGEST_SILENCE_S);
      try {
        const options = { query, headers: { "Last-Event-ID": lastEventId } };
        const path = panoramaPath(id, "events");
        const answer = await this.#http.once("GET", path, options, silence.signal);
        if (answer.status === 204 || answer.body === null) {
          return; // the last event was the end
        }
        raiseIfNot(answer, "text/event-stream");
        retries.reset();
        const events = parseEvents(answer.body, () => silence.heard());
        try {
          for (;;) {
            const next = await connected(events.next());
            if (next.done) {
              break;
            }
            lastEventId = next.value.id;
            yield next.value;
          }
        } finally {
          await events.return();
        }
        if (lastEventId === seen) {
          await sleep(PAUSE_MS);
        }
      } catch (error) {
        await retries.pause(error);
      } finally {
        silence.end();
      }
    }
  }

  /** Write the picture to a file, in Node. The file is there as a whole or not at all. */
  async download(id: string, target: string, query: GetImageQuery = {}): Promise<string> {
    const { rename, rm, writeFile } = await import("node:fs/promises");
    const picture = await this.image(id, query);
    const part = `${target}.${randomKey()}.part`;
    try {
      await writeFile(part, new Uint8Array(await picture.arrayBuffer()));
      await rename(part, target);
    } finally {
      await rm(part, { force: true });
    }
    return target;
  }

  /** The finished picture's file. */
  image(id: string, query: GetImageQuery = {}): Promise<Blob> {
    return this.#http.file(panoramaPath(id, "image"), query);
  }

  /** A JPEG: what the model predicts so far, or a small version of the finished picture. */
  preview(id: string, query: GetPreviewQuery = {}): Promise<Blob> {
    return this.#http.file(panoramaPath(id, "preview"), query);
  }

  /** Repeating it does no harm. The panorama cannot succeed any more. */
  cancel(id: string): Promise<PanoramaView> {
    return this.#http.json("POST", panoramaPath(id, "cancel"));
  }

  /** Queue a failed panorama again. */
  retry(id: string): Promise<PanoramaView> {
    return this.#http.json("POST", panoramaPath(id, "retry"), { repeatable: false });
  }

  /** Remove a panorama that has ended, with all its files. */
  delete(id: string): Promise<void> {
    return this.#http.send("DELETE", panoramaPath(id), { repeatable: false }, async () => {});
  }

  /** All panoramas, newest first, page by page; `limit` is the size of a page. */
  async *list(query: ListPanoramasQuery = {}): AsyncGenerator<PanoramaSummary, void, undefined> {
    for (let cursor = query.cursor; ; ) {
      const page = await this.listPage(cursor === undefined ? query : { ...query, cursor });
      yield* page.items;
      if (page.next_cursor === null) {
        return;
      }
      cursor = page.next_cursor;
    }
  }

  /** One page. Its `next_cursor` is the `cursor` of the next page. */
  listPage(query: ListPanoramasQuery = {}): Promise<PanoramaPage> {
    return this.#http.json("GET", "/panoramas", { query });
  }

  /** Upload a picture that requests can then refer to. */
  async upload(picture: Blob | Uint8Array<ArrayBuffer>): Promise<ImageInput> {
    const form: UploadView = await this.#http.json("POST", "/uploads");
    const body = new FormData();
    for (const [name, value] of Object.entries(form.fields)) {
      body.append(name, value);
    }
    body.append("file", picture instanceof Blob ? picture : new Blob([picture]));
    const retries = this.#http.retries();
    for (;;) {
      try {
        const signal = AbortSignal.timeout(1000 * UPLOAD_S);
        // To the object store, without the API key.
        await fetched(form.url, { method: form.method, body, signal });
        return { key: form.key };
      } catch (error) {
        await retries.pause(error);
      }
    }
  }

  /** The deliveries of the panorama's webhook, oldest first. */
  deliveries(id: string): Promise<DeliveryList> {
    return this.#http.json("GET", panoramaPath(id, "deliveries"));
  }

  /** Send deliveries again: those with these ids, or all that are dead. */
  redeliver(id: string, query: RedeliverDeliveriesQuery = {}): Promise<DeliveryList> {
    return this.#http.json("POST", panoramaPath(id, "deliveries/redeliver"), { query });
  }

  models(): Promise<ModelList> {
    return this.#http.json("GET", "/models");
  }

  usage(query: GetUsageQuery = {}): Promise<UsageView> {
    return this.#http.json("GET", "/usage", { query });
  }

  /** For URLs that a browser opens, where no API key can be sent: see `imageUrl`. */
  createToken(): Promise<TokenView> {
    return this.#http.json("POST", "/tokens");
  }

  /** For `<img src>`: the picture's URL, with a token of `createToken`. */
  imageUrl(id: string, token: string): string {
    return `${this.#http.url}${panoramaPath(id, "image")}?token=${encodeURIComponent(token)}`;
  }

  livez(): Promise<Health> {
    return this.#http.json("GET", "/livez");
  }

  readyz(): Promise<Health> {
    return this.#http.json("GET", "/readyz");
  }

  /** For operators: needs a key of scope `admin`. */
  status(): Promise<StatusView> {
    return this.#http.json("GET", "/status");
  }

  /** For operators: needs a key of scope `scaling`. */
  scaling(model: string, query: GetScalingQuery = {}): Promise<ScalingView> {
    const path = model.split("/").map(encodeURIComponent).join("/");
    return this.#http.json("GET", `/scaling/${path}`, { query });
  }

  /**
   * An API key, with its token. Needs a key of scope `admin`, as all of these. It is not sent again
   * after a lost answer: a second key would be made.
   */
  createKey(request: KeyRequest): Promise<NewKeyView> {
    return this.#http.json("POST", "/keys", { json: request, repeatable: false });
  }

  keys(): Promise<KeyList> {
    return this.#http.json("GET", "/keys");
  }

  revokeKey(id: string): Promise<void> {
    return this.#http.send("DELETE", `/keys/${encodeURIComponent(id)}`, {}, async () => {});
  }

  /** As `listPage`, of any tenant. */
  listTenantPage(tenant: string, query: ListTenantPanoramasQuery = {}): Promise<PanoramaPage> {
    return this.#http.json("GET", tenantPath(tenant), { query });
  }

  cancelOfTenant(tenant: string, id: string): Promise<PanoramaView> {
    return this.#http.json("POST", `${tenantPath(tenant)}/${encodeURIComponent(id)}/cancel`);
  }

  /**
   * Send a webhook to try an address, and wait up to `waitS` (default 20) for what the receiver
   * answers. It is sent once.
   */
  pingWebhook(request: PingRequest, { waitS = 20 }: { waitS?: number } = {}): Promise<PingView> {
    const options = { json: request, waitS, repeatable: false };
    return this.#http.json("POST", "/webhooks/pings", options);
  }

  /** The ping as it is now. */
  webhookPing(id: string): Promise<PingView> {
    return this.#http.json("GET", `/webhooks/pings/${encodeURIComponent(id)}`);
  }

  /** For operators: what Prometheus reads. Needs a key of scope `admin`. */
  metrics(): Promise<string> {
    return this.#http.send("GET", "/metrics", {}, (answer) => answer.text());
  }

  #create(request: PanoramaRequest, options: Submission): Promise<PanoramaView | PanoramaBatch> {
    const headers = {
      "Idempotency-Key": options.idempotencyKey ?? randomKey(),
      traceparent: options.traceparent,
    };
    const { waitS } = options;
    return this.#http.json("POST", "/panoramas", { json: request, headers, waitS });
  }
}

function tenantPath(tenant: string): string {
  return `/tenants/${encodeURIComponent(tenant)}/panoramas`;
}

function panoramaPath(id: string, ...below: string[]): string {
  return ["/panoramas", encodeURIComponent(id), ...below].join("/");
}

/** Not `crypto.randomUUID`, which pages have only over https. */
function randomKey(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
