// Writes TypeScript types of a described contract: node generate.mjs INPUT OUTPUT HEADER
// clients/generate.py calls it.

import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [input, output, header] = process.argv.slice(2);

// `string & {}`: any other text, beside known values that an editor still completes.
const OTHER_TEXT = ts.factory.createIntersectionTypeNode([
  ts.factory.createKeywordTypeNode(ts.SyntaxKind.StringKeyword),
  ts.factory.createTypeLiteralNode([]),
]);

const types = await openapiTS(JSON.parse(await readFile(input, "utf8")), {
  rootTypes: true,
  rootTypesNoSchemaPrefix: true,
  defaultNonNullable: false,
  transform: (schema) => (schema["x-other-text"] ? OTHER_TEXT : undefined),
});
await writeFile(output, `${header}\n\n${astToString(types)}`);
