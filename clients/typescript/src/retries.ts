// Which requests are sent again, and when.

import { ApiError, ConnectionFailed } from "./errors.js";

const LONGEST_PAUSE_S = 5;
// A proxy's answers while the service starts again.
const STATUSES = [502, 503, 504];

/** The tries at one request, or at following one panorama's events. */
export class Retries {
  #failures = 0;
  #until = 0;

  /** `repeatable`: whether the service may carry out the request twice. */
  constructor(
    readonly forS: number,
    readonly repeatable = true,
  ) {}

  /** The service has answered. */
  reset(): void {
    this.#failures = 0;
  }

  /** Resolves when it is time for the next try. Throws the error if there is none. */
  async pause(error: unknown): Promise<void> {
    if (this.#failures === 0) {
      this.#until = Date.now() + this.forS * 1000;
    }
    this.#failures += 1;
    const backoffS =
      Math.min(0.1 * 2 ** this.#failures, LONGEST_PAUSE_S) * (0.5 + Math.random() / 2);
    const pauseMs = 1000 * ((error instanceof ApiError ? error.retryAfterS : null) ?? backoffS);
    if (!this.#isTemporary(error) || Date.now() + pauseMs > this.#until) {
      throw error;
    }
    await sleep(pauseMs);
  }

  #isTemporary(error: unknown): boolean {
    if (error instanceof ApiError) {
      // 429, 503, and 409 while the first request with this Idempotency-Key is carried out.
      return error.retryAfterS !== null || (this.repeatable && STATUSES.includes(error.status));
    }
    return this.repeatable && error instanceof ConnectionFailed;
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
