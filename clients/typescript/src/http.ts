// Requests to the service: the API key, time limits, retries and errors.

import { ApiError, ConnectionFailed, PanoweaveError, UnexpectedAnswer } from "./errors.js";
import { Retries } from "./retries.js";
import { Silence } from "./silence.js";

const TIMEOUT_S = 30;

export interface Settings {
  /** Default: the environment variable PANOWEAVE_URL, else this machine's port 8000. */
  url?: string | undefined;
  /** Default: the environment variable PANOWEAVE_API_KEY. */
  apiKey?: string | undefined;
  /** How long a request is sent again while the service does not answer or asks to come back. */
  retryForS?: number | undefined;
}

export interface Options {
  query?: object;
  headers?: Record<string, string | null | undefined>;
  json?: unknown;
  waitS?: number | undefined;
  /** Whether the service may carry out the request twice. */
  repeatable?: boolean;
}

export class Http {
  readonly url: string;
  readonly retryForS: number;
  readonly #apiKey: string | undefined;

  constructor(settings: Settings = {}) {
    // In a browser there are no environment variables.
    const env = typeof process === "undefined" ? {} : process.env;
    const url = settings.url || env["PANOWEAVE_URL"] || "http://127.0.0.1:8000";
    if (!/^https?:\/\//.test(url)) {
      throw new RangeError(`url "${url}": must begin with http:// or https://`);
    }
    this.url = url.replace(/\/+$/, "");
    this.retryForS = settings.retryForS ?? 60;
    this.#apiKey = settings.apiKey || env["PANOWEAVE_API_KEY"];
  }

  retries(repeatable = true): Retries {
    return new Retries(this.retryForS, repeatable);
  }

  async json<Answer>(method: string, path: string, options: Options = {}): Promise<Answer> {
    return this.send(method, path, options, async (answer) => {
      raiseIfNot(answer, "application/json");
      return (await answer.json()) as Answer;
    });
  }

  /** What `read` makes of the answer. A request whose answer breaks off is sent again too. */
  async send<Read>(
    method: string,
    path: string,
    options: Options,
    read: (answer: Response) => Promise<Read>,
  ): Promise<Read> {
    const retries = this.retries(options.repeatable);
    const limit = () => AbortSignal.timeout(1000 * (TIMEOUT_S + (options.waitS ?? 0)));
    for (;;) {
      try {
        const answer = await this.once(method, path, options, limit());
        return await connected(read(answer));
      } catch (error) {
        await retries.pause(error);
      }
    }
  }

  /** GET a file. It may take longer than TIMEOUT_S, as long as bytes arrive. */
  async file(path: string, query: object): Promise<Blob> {
    const retries = this.retries();
    for (;;) {
      const silence = new Silence(TIMEOUT_S);
      try {
        const answer = await this.once("GET", path, { query }, silence.signal);
        return await connected(blob(answer, () => silence.heard()));
      } catch (error) {
        await retries.pause(error);
      } finally {
        silence.end();
      }
    }
  }

  /** One try. Throws ApiError if the service refuses. `fetch` sends no key where it redirects to. */
  async once(
    method: string,
    path: string,
    { query = {}, headers = {}, json, waitS }: Options,
    signal: AbortSignal,
  ): Promise<Response> {
    const sent = new Headers();
    const prefer = waitS === undefined ? null : `wait=${waitS}`;
    const type = json === undefined ? null : "application/json";
    const authorization = this.#apiKey ? `Bearer ${this.#apiKey}` : null;
    const own = { Authorization: authorization, "Content-Type": type, Prefer: prefer };
    for (const [name, value] of Object.entries({ ...own, ...headers })) {
      if (value != null) {
        sent.set(name, value);
      }
    }
    const body = json === undefined ? null : JSON.stringify(json);
    return fetched(this.#address(path, query), { method, headers: sent, body, signal });
  }

  #address(path: string, query: object): string {
    const params = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      for (const each of [value].flat()) {
        if (each != null) {
          params.append(name, String(each));
        }
      }
    }
    return this.url + path + (params.size ? `?${params}` : "");
  }
}

/** The answer. Throws ApiError if it is a refusal, ConnectionFailed if there is none. */
export async function fetched(url: string, request: RequestInit): Promise<Response> {
  const answer = await connected(fetch(url, request), url);
  if (!answer.ok) {
    throw await connected(ApiError.of(answer));
  }
  return answer;
}

/** The body of the answer. `heard` is called whenever bytes arrive. */
function blob(answer: Response, heard: () => void): Promise<Blob> {
  const heardOf = new TransformStream<Uint8Array, Uint8Array>({
    transform(bytes, passedOn) {
      heard();
      passedOn.enqueue(bytes);
    },
  });
  const body = answer.body?.pipeThrough(heardOf) ?? null;
  return new Response(body, { headers: answer.headers }).blob();
}

export function raiseIfNot(answer: Response, type: string): void {
  if (!answer.headers.get("Content-Type")?.startsWith(type)) {
    throw new UnexpectedAnswer(answer);
  }
}

/** What this network operation resolves to. */
export async function connected<Value>(operation: Promise<Value>, url = ""): Promise<Value> {
  try {
    return await operation;
  } catch (error) {
    if (error instanceof PanoweaveError) {
      throw error;
    }
    throw new ConnectionFailed(`${url || "the service"} does not answer: ${error}`, {
      cause: error,
    });
  }
}
