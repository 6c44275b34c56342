/** The studio's frame: which page is shown, light or dark, and the key. */

import { ApiError, Unreachable } from "./api.js";
import { h, icon } from "./dom.js";
import { currentKey, forgetKey } from "./key.js";

/** @typedef {(main: HTMLElement, signal: AbortSignal, ...parts: string[]) => Promise<void>} Page */

/** @type {[RegExp, string, () => Promise<{show: Page}>][]} */
const PAGES = [
  [/^#?\/?$/, "Make", () => import("./make/page.js")],
  [/^#\/panoramas\/(pano_[a-z0-9]{1,40})$/, "Panorama", () => import("./look/page.js")],
  [/^#\/gallery$/, "Gallery", () => import("./keep/gallery.js")],
  [/^#\/service$/, "Service", () => import("./keep/service.js")],
];

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
let shown = new AbortController();

async function showPage() {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const found = PAGES.find(([pattern]) => pattern.test(location.hash));
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === (location.hash || "#/")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!found) {
    main.replaceChildren(message("There is no such page.", h("a", { href: "#/" }, "Make a panorama")));
    return;
  }
  const [pattern, title, load] = found;
  document.title = `${title} · panoweave studio`;
  try {
    const { show } = await load();
    if (!signal.aborted) await show(main, signal, ...(location.hash.match(pattern) ?? []).slice(1));
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
    const again = h("button", { type: "button", class: "primary", on: { click: showPage } }, "Try again");
    main.replaceChildren(message(error.message, again));
  }
}

/** @param {string} text @param {Node} action */
function message(text, action) {
  return h("section", { class: "page message" }, h("h1", {}, "Nothing to show"), h("p", { role: "alert" }, text), action);
}

function showTheme() {
  const stored = localStorage.getItem("panoweave-theme");
  if (stored) document.documentElement.dataset.theme = stored;
  const isDark = stored ? stored === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme")?.replaceChildren(icon(isDark ? "sun" : "moon"));
  return isDark;
}

document.getElementById("theme")?.addEventListener("click", () => {
  localStorage.setItem("panoweave-theme", showTheme() ? "light" : "dark");
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);

const forget = /** @type {HTMLElement} */ (document.getElementById("forget-key"));
forget.addEventListener("click", forgetKey);
const showKey = () => (forget.hidden = currentKey() === null);
document.addEventListener("key", showKey);

addEventListener("hashchange", async () => {
  await showPage();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});

// Its fragment would be taken for a page.
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

showTheme();
showKey();
showPage();
