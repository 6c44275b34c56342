// How Photo Sphere Viewer places a file on its sphere, by its own code.
// node photo_sphere_viewer.mjs MODULE FILE WIDTH HEIGHT [[yaw, pitch], ...] -> {panoData, places}
import { readFile } from "node:fs/promises";

const [module, file, width, height, directions] = process.argv.slice(2);
const { EquirectangularAdapter, utils } = await import(module);
const adapter = Object.create(EquirectangularAdapter.prototype);
adapter.loadBlobAsString = (blob) => blob.text(); // Node has no FileReader
const xmp = await adapter.loadXMP(new Blob([await readFile(file)]));
const warnings = [];
console.warn = (...words) => warnings.push(words.join(" "));
const panoData = utils.mergePanoData(Number(width), Number(height), undefined, xmp);
const places = JSON.parse(directions).map(([yaw, pitch]) =>
  adapter.sphericalCoordsToTextureCoords({ yaw, pitch }, panoData),
);
console.log(JSON.stringify({ panoData, places, warnings }));
