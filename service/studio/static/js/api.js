/** Requests to the API, its refusals as errors, and links that a browser opens by itself. */

import { askForKey, currentKey } from "./key.js";

/** @typedef {{field: string, detail: string, legal: string|null}} FieldProblem */

/** A refusal: RFC 9457 with `code`, `detail` and, for each field at fault, what would be legal. */
export class ApiError extends Error {
  /** @param {number} status @param {any} problem @param {number|null} retryAfterS */
  constructor(status, problem, retryAfterS) {
    super(problem.detail ?? problem.title ?? `The service answered ${status}.`);
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.retryAfterS = retryAfterS;
    /** @type {FieldProblem[]} */
    this.errors = problem.errors ?? [];
  }
}

/** The service could not be reached. */
export class Unreachable extends Error {
  constructor() {
    super("The service does not answer. It may be restarting, or your connection is away.");
  }
}

/** @typedef {{method?: string, body?: any, headers?: Record<string, string>, signal?: AbortSignal}} Call */

/**
 * @param {string} path
 * @param {Call} [call]
 * @returns {Promise<any>} the JSON; null where there is none
 */
export async function api(path, call = {}) {
  for (;;) {
    const key = currentKey();
    const answer = await send(path, call, key);
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const problem = await answer.json().catch(() => ({}));
    const error = new ApiError(answer.status, problem, Number(answer.headers.get("Retry-After")) || null);
    if (answer.status !== 401) throw error;
    // Another request may have been given a key meanwhile.
    if (key === currentKey() && !(await askForKey(error.message))) throw error;
  }
}

/** @param {string} path @param {Call} call @param {string|null} key */
async function send(path, { method = "GET", body, headers = {}, signal }, key) {
  try {
    return await fetch(path, {
      method,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(key ? { Authorization: `Bearer ${key}` } : {}),
        ...headers,
      },
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable();
  }
}

/**
 * Create a panorama. A request whose answer is lost is sent again, and carried out once.
 * @param {any} request
 * @param {string} [idempotencyKey]
 */
export async function create(request, idempotencyKey = randomKey()) {
  const call = { method: "POST", body: request, headers: { "Idempotency-Key": idempotencyKey } };
  for (let tries = 1; ; tries++) {
    try {
      return await api("panoramas", call);
    } catch (error) {
      if (!(error instanceof Unreachable) || tries === 3) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * tries));
    }
  }
}

/** `crypto.randomUUID` exists only on https and loopback. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const RENEW_BEFORE_MS = 60_000;
/** @type {{token: string, until: number}|null} */
let held = null;
/** @type {Promise<string>|null} */
let renewing = null;

/**
 * A token for a URL that the browser opens by itself: it reads panoramas for some minutes.
 * @param {boolean} [fresh] where the one that is held was refused
 * @returns {Promise<string>}
 */
export async function viewToken(fresh = false) {
  if (!fresh && held && held.until - RENEW_BEFORE_MS > Date.now()) return held.token;
  renewing ??= api("tokens", { method: "POST" })
    .then(({ token, expires_in_s }) => {
      held = { token, until: Date.now() + expires_in_s * 1_000 };
      return token;
    })
    .finally(() => (renewing = null));
  return renewing;
}

/**
 * The URL of a picture, from the API itself: the object store may not be reachable from here.
 * @param {string} id
 * @param {"image"|"preview"} kind
 * @param {{fresh?: boolean, version?: string|number}} [more]
 */
export async function pictureUrl(id, kind, { fresh = false, version = "" } = {}) {
  const token = await viewToken(fresh);
  const fragment = version === "" ? "" : `#${version}`;
  return `panoramas/${id}/${kind}?redirect=false&token=${encodeURIComponent(token)}${fragment}`;
}

/**
 * Load a picture as a blob URL. Null where there is none yet.
 * @param {string} id
 * @param {"image"|"preview"} kind
 * @param {AbortSignal} [signal]
 */
export async function pictureBlob(id, kind, signal) {
  for (const fresh of [false, true]) {
    const answer = await fetch(await pictureUrl(id, kind, { fresh }), { signal, cache: "no-store" });
    if (answer.ok) return answer.blob();
    if (answer.status !== 401) return null;
  }
  return null;
}
