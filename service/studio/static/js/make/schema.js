/** Reads the published OpenAPI document: which fields a request has, and what each accepts. */

import { api } from "../api.js";

/** @typedef {{name: string, path: string, label: string, about: string, kind: string, schema: any, isRequired: boolean, fields?: Field[]}} Field */

/** @type {Promise<any>|null} */
let published = null;

/** @returns {Promise<Field[]>} the fields of `POST /panoramas` */
export async function requestFields() {
  published ??= api("openapi.json").catch((error) => {
    published = null;
    throw error;
  });
  const document = await published;
  const body = document.paths["/panoramas"].post.requestBody.content["application/json"].schema;
  // The page follows one panorama, and makes variations one by one.
  return fieldsOf(document, resolve(document, body), "").filter((field) => field.name !== "n");
}

/** @param {any} document @param {any} schema @param {string} parent @returns {Field[]} */
function fieldsOf(document, schema, parent) {
  const required = schema.required ?? [];
  return Object.entries(schema.properties).map(([name, about]) => {
    const path = parent ? `${parent}.${name}` : name;
    return describe(document, name, path, about, required.includes(name));
  });
}

/** @param {any} document @param {string} name @param {string} path @param {any} given @param {boolean} isRequired @returns {Field} */
function describe(document, name, path, given, isRequired) {
  const branches = (given.anyOf ?? [given])
    .filter((branch) => branch.type !== "null")
    .map((branch) => resolve(document, branch));
  const schema = branches.length === 1 ? branches[0] : { anyOf: branches };
  const kind = kindOf(schema);
  const field = {
    name,
    path,
    label: name.replaceAll("_", " "),
    about: given.description ?? schema.description ?? "",
    kind,
    schema: { default: given.default, ...schema },
    isRequired,
  };
  return kind === "object" ? { ...field, fields: fieldsOf(document, schema, path) } : field;
}

/** Which control edits a value. Whatever has no control of its own is edited as JSON. @param {any} schema */
function kindOf(schema) {
  if (schema.anyOf) return schema.anyOf.every((branch) => isPlain(branch)) ? "word-or-number" : "json";
  if (schema.enum) return "choice";
  if (schema.properties?.base64 && schema.properties?.key) return "picture";
  if (schema.type === "array") return schema.items?.enum ? "choices" : "json";
  if (schema.type === "object") return schema.properties && isShallow(schema) ? "object" : "json";
  return ["integer", "number", "boolean", "string"].includes(schema.type) ? schema.type : "json";
}

/** @param {any} schema */
const isPlain = (schema) => schema.const !== undefined || ["integer", "number", "string"].includes(schema.type);

/** A required part of an optional whole would make all of it required. @param {any} schema */
const isShallow = (schema) => !("if" in schema);

/** @param {any} document @param {any} schema @returns {any} */
function resolve(document, schema) {
  const name = schema.$ref?.split("/").pop();
  if (!name) return schema;
  const { $ref, ...rest } = schema;
  return { ...document.components.schemas[name], ...rest };
}
