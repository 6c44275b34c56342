// What the client throws.
//
// PanoweaveError
// ├── ApiError          the service refused the request
// ├── ConnectionFailed  the service did not answer
// ├── UnexpectedAnswer  something else than the service answered
// ├── PanoramaFailed    the panorama ended, and there is no picture
// └── WebhookRefused    the message is not from the service, or too old

import type { FieldProblem, PanoramaView, Problem, ProblemCode } from "./answers.js";

/** Base of all errors of this package. */
export class PanoweaveError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The service did not answer, in all tries. `cause` is the error of `fetch`. */
export class ConnectionFailed extends PanoweaveError {}

/** The answer is not panoweave's, but for example a web server's at a wrong address. */
export class UnexpectedAnswer extends PanoweaveError {
  constructor(answer: Response) {
    const type = answer.headers.get("Content-Type") ?? "no type";
    super(`${answer.url} is not panoweave's: it answered ${type}`);
  }
}

/** The service refused the request. `errors` names the fields at fault and what is legal. */
export class ApiError extends PanoweaveError {
  constructor(
    readonly status: number,
    /** Null if the answer is not the service's, but for example a proxy's. */
    readonly code: ProblemCode | null,
    readonly detail: string,
    readonly errors: FieldProblem[],
    readonly retryAfterS: number | null,
    /** For the operator, who finds it in the service's log. */
    readonly requestId: string | null,
  ) {
    const fields = errors.map(
      (error) => `${error.field}: ${error.detail}${error.legal ? `; legal: ${error.legal}` : ""}`,
    );
    super([`${code ?? status}: ${detail}`, ...fields].join("\n"));
  }

  static async of(answer: Response): Promise<ApiError> {
    const text = await answer.text();
    const problem = parseProblem(answer, text);
    const retryAfter = Number(answer.headers.get("Retry-After") ?? NaN);
    return new ApiError(
      answer.status,
      problem?.code ?? null,
      problem?.detail ?? text.slice(0, 200),
      problem?.errors ?? [],
      Number.isFinite(retryAfter) ? retryAfter : null, // a proxy's date is as good as none
      answer.headers.get("X-Request-ID"),
    );
  }
}

/** The panorama has ended without a picture: it failed, expired or was cancelled. */
export class PanoramaFailed extends PanoweaveError {
  readonly code: string | null;
  /** Whether `retry` may help. */
  readonly retryable: boolean;

  constructor(readonly panorama: PanoramaView) {
    const { id, status, error } = panorama;
    super(`panorama ${id} ${status}${error ? `: ${error.code}: ${error.detail}` : ""}`);
    this.code = error?.code ?? null;
    this.retryable = error?.retryable ?? false;
  }
}

/** Do not use the message: it is not signed with this secret, or is too old. */
export class WebhookRefused extends PanoweaveError {}

function parseProblem(answer: Response, text: string): Problem | null {
  if (!answer.headers.get("Content-Type")?.startsWith("application/problem+json")) {
    return null;
  }
  try {
    return JSON.parse(text) as Problem;
  } catch {
    return null;
  }
}
