// The box that sends real requests, so that a first miss and a first hit are one click away.

import { authorization } from "./key.js";
import { count, duration } from "./format.js";

const SAMPLE = 200;
const TRAFFIC = 1000;
const AT_ONCE = 6;

const byId = (id) => document.getElementById(id);
let collection = null;
let ids = [];
let next = 0;

/** The text of an `_id` in a URL: plain, or `{"$oid": "…"}`. */
const idText = (id) => encodeURIComponent(typeof id === "object" && id ? Object.values(id)[0] : id);

const read = (path) => fetch(path, { headers: authorization(), cache: "no-store" });

/** Chooses the first collection that may be read, once. */
export async function setUpTryIt(names) {
  if (collection || !names.length) return;
  [collection] = names;
  // Somewhere in the middle: the first documents have been read by everyone who tried the line on the console.
  const offset = Math.floor(Math.random() * 800);
  ids = await list(offset);
  if (!ids.length) ids = await list(0);
  show();
}

async function list(offset) {
  const query = `limit=${SAMPLE}&offset=${offset}&fields=_id`;
  const response = await read(`/v1/${encodeURIComponent(collection)}?${query}`).catch(() => null);
  return response?.ok ? (await response.json()).items.map((item) => idText(item._id)) : [];
}

const path = () => `/v1/${encodeURIComponent(collection)}/${ids[next]}`;

function show() {
  const known = ids.length > 0;
  for (const id of ["send", "traffic", "copy"]) byId(id).disabled = !known;
  byId("curl").textContent = known ? `curl -i ${location.origin}${path()}` : "# this collection has no documents yet";
}

/** `larder; fwd=miss; …` or `larder; hit; …` in words. */
function answeredBy(response) {
  const status = response.headers.get("cache-status") ?? "";
  if (/;\s*hit/.test(status)) return "Larder, from the cache";
  if (/fwd=/.test(status)) return "the database";
  return status || `status ${response.status}`;
}

async function send() {
  const rows = [];
  for (const name of ["first", "second"]) {
    const started = performance.now();
    const response = await read(path());
    await response.arrayBuffer();
    const cells = [name, answeredBy(response), duration((performance.now() - started) * 1000)];
    const row = document.createElement("tr");
    cells.forEach((text, index) => {
      const cell = document.createElement("td");
      if (index === 2) cell.className = "number";
      cell.textContent = text;
      row.append(cell);
    });
    rows.push(row);
  }
  byId("answers").hidden = false;
  byId("answers").tBodies[0].replaceChildren(...rows);
  note("Times include the browser. The next click takes another document.");
  next = (next + 1) % ids.length;
  show();
}

/** Reads documents, popular ones far more often, a few at a time. */
async function traffic() {
  let left = TRAFFIC;
  let failed = 0;
  const started = performance.now();
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const id = ids[Math.floor(ids.length * Math.random() ** 3)];
      const response = await read(`/v1/${encodeURIComponent(collection)}/${id}`).catch(() => null);
      await response?.arrayBuffer();
      if (!response?.ok) failed += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const seconds = (performance.now() - started) / 1000;
  note(`${count(TRAFFIC)} reads in ${seconds.toFixed(1)} s from this browser${failed ? `, ${failed} failed` : ""}. For real figures: larder bench.`);
}

const note = (text) => { byId("try-note").textContent = text; };

function onClick(id, action) {
  byId(id).addEventListener("click", async () => {
    byId(id).disabled = true;
    await action().catch((error) => note(`That did not work: ${error.message}`));
    byId(id).disabled = false;
  });
}

onClick("send", send);
onClick("traffic", traffic);
onClick("copy", async () => {
  await navigator.clipboard.writeText(byId("curl").textContent);
  note("Copied.");
});
