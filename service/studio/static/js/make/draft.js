/** The request that is being written. Fields are named by path, as the API's refusals name them. */

const NAME = "panoweave-draft";
const STORE_AFTER_MS = 200;
/** What holds pictures: a browser's storage takes about 5 MB. */
const PICTURES = ["anchor_image", "extend", "control"];

/**
 * What was written last: neither a look at another page nor loading this one anew loses it. It is of
 * one browser tab, and ends with it.
 * @type {Record<string, any>}
 */
let latest = stored();

/** @returns {Record<string, any>} */
function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(NAME) ?? "{}");
  } catch {
    return {};
  }
}

function store() {
  clearTimeout(storing);
  storing = 0;
  const fields = Object.entries(latest);
  for (const kept of [fields, fields.filter(([name]) => !PICTURES.includes(name))]) {
    try {
      sessionStorage.setItem(NAME, JSON.stringify(Object.fromEntries(kept)));
      return;
    } catch {
      sessionStorage.removeItem(NAME); // too large, so without pictures
    }
  }
}

let storing = 0;
addEventListener("pagehide", () => storing && store());
// The page is loaded anew: what is stored then would be there for whoever brings the next key.
document.addEventListener("forget", () => {
  clearTimeout(storing);
  storing = 0;
  latest = {};
});

export class Draft extends EventTarget {
  /** @param {Record<string, any>} [body] */
  constructor(body = {}) {
    super();
    this.body = body;
  }

  /** @param {string} path @returns {any} undefined where the field is left open */
  get(path) {
    return path.split(".").reduce((value, name) => value?.[name], this.body);
  }

  /**
   * @param {string} path
   * @param {any} value undefined leaves the field open
   */
  set(path, value) {
    const names = path.split(".");
    const last = /** @type {string} */ (names.pop());
    let parent = this.body;
    for (const name of names) parent = parent[name] ??= {};
    if (value === undefined) delete parent[last];
    else parent[last] = value;
    if (names.length && Object.keys(parent).length === 0) return this.set(names.join("."), undefined);
    clearTimeout(storing);
    storing = setTimeout(store, STORE_AFTER_MS);
    this.dispatchEvent(new CustomEvent("change", { detail: path }));
  }

  /** Let the page "Make" begin with this body. @param {Record<string, any>} body */
  static handOver(body) {
    latest = body;
    store();
    if (/^#?\/?$/.test(location.hash)) dispatchEvent(new HashChangeEvent("hashchange"));
    else location.hash = "#/";
  }

  /** What another page handed over; else what was written here last. */
  static begin() {
    return new Draft(latest);
  }
}

/**
 * The parameters of a panorama as a new request: what stands in the answer, without nulls.
 * @param {any} panorama
 * @returns {Record<string, any>}
 */
export function asRequest({ params, model }) {
  return { ...withoutNulls(params), model };
}

/** @param {any} value @returns {any} */
function withoutNulls(value) {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, each]) => each !== null);
  return Object.fromEntries(kept.map(([name, each]) => [name, withoutNulls(each)]));
}
