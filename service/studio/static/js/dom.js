/** Small helpers around the DOM. */

/**
 * Create an element. `on` holds listeners; `style` properties that the content policy allows only
 * through the CSSOM; other names are attributes, left out where false, null or undefined.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const element = /** @type {any} */ (document.createElement(tag));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    } else if (name === "style") {
      for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    } else if (name === "value") {
      element.value = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

const ICONS = {
  sun: "M12 4V2m0 20v-2m8-8h2M2 12h2m13.700-5.700 1.400-1.400M4.900 19.100l1.400-1.400m11.400 0 1.400 1.400M4.900 4.900l1.400 1.400M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M3 5v14M21 5v14M7 12h10M10 9l-3 3 3 3M14 9l3 3-3 3",
  full: "M9 3H3v6M15 3h6v6M9 21H3v-6M15 21h6v-6",
  sphere: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM3.500 9.500c5 2.500 12 2.500 17 0M3.500 14.500c5-2.500 12-2.500 17 0",
  compare: "M12 3v18M4 6h5v12H4zM15 6h5v12h-5z",
  box: "M4 6h16v12H4z",
  brush: "M4 20c3 0 5-1 5-4 0-1.500 1-2.500 2.500-2.500S14 15 14 16.500C14 19 10 21 4 20zM12 13 19 4l1.500 1.500L14 14",
  eraser: "M8 20h12M4 15 14 5l6 6-9 9H8zM9 10l6 6",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.500 9.500h.01",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01",
  close: "M6 6l12 12M18 6 6 18",
  sliders: "M4 7h10m4 0h2M4 17h2m4 0h10M16 5v4M8 15v4",
};

/**
 * @param {keyof typeof ICONS} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("glyph");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A button with an icon and, for screen readers and tooltips, a label.
 * @param {keyof typeof ICONS} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} click
 * @param {Record<string, any>} [more]
 */
export function iconButton(name, label, click, more = {}) {
  return h("button", { type: "button", class: "icon", "aria-label": label, title: label, on: { click }, ...more }, icon(name));
}

/**
 * Show a short message, which goes by itself.
 * @param {string} text
 * @param {"info"|"error"} [kind]
 */
export function toast(text, kind = "info") {
  const line = h("p", { class: `toast ${kind}` }, text);
  document.getElementById("toasts")?.append(line);
  setTimeout(() => line.remove(), kind === "error" ? 8_000 : 4_000);
}

/**
 * Ask in a dialog. Resolves to whether the person agreed.
 * @param {string} title
 * @param {string} text
 * @param {string} agree
 * @returns {Promise<boolean>}
 */
export function confirm(title, text, agree) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "confirm-title", on: { close: () => done() } },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "confirm-title" }, title),
        h("p", {}, text),
        h(
          "div",
          { class: "row end" },
          h("button", { value: "no" }, "Keep it"),
          h("button", { value: "yes", class: "danger" }, agree),
        ),
      ),
    );
    const done = () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}
