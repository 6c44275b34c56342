/** The control of a field that holds a picture. */

import { h, toast } from "../dom.js";
import { asInput } from "./files.js";

/** @param {import("../make/draft.js").Draft} draft @param {string} path */
export function pictureField(draft, path) {
  const input = h("input", { type: "file", accept: "image/*" });
  input.addEventListener("change", async () => {
    const [file] = input.files;
    try {
      draft.set(path, file ? await asInput(file) : undefined);
    } catch (error) {
      input.value = "";
      toast(error.message, "error");
    }
  });
  const refresh = () => {
    if (draft.get(path) === undefined) input.value = "";
  };
  return { input, refresh };
}
