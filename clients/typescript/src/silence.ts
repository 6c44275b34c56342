// A time limit for requests whose whole answer may take long.

/** Ends a request on which nothing has been heard for so many seconds. */
export class Silence {
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout>;

  constructor(readonly limitS: number) {
    this.#timer = this.#start();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#start();
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #start(): ReturnType<typeof setTimeout> {
    const reason = new Error(`silent for ${this.limitS} s`);
    return setTimeout(() => this.#controller.abort(reason), 1000 * this.limitS);
  }
}
