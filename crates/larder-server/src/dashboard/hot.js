// The documents that this node is asked for most, from /v1/_top.

import { percent, rate } from "./format.js";
import { authorization } from "./key.js";

const SHOWN = 5;

function cell(className, ...children) {
  const made = document.createElement("td");
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function row({ collection, key, reads_per_s, share, hot }) {
  const link = document.createElement("a");
  link.href = `/v1/${encodeURIComponent(collection)}/${encodeURIComponent(key)}`;
  link.textContent = `${collection}/${key}`;
  const made = document.createElement("tr");
  made.append(cell("", link), cell("number", rate(reads_per_s)), cell("number", percent(share)), cell("", hot ? "hot" : ""));
  return made;
}

/** Asks once, and shows what is told. */
export async function showHottest() {
  const response = await fetch(`/v1/_top?limit=${SHOWN}`, { headers: authorization(), cache: "no-store", signal: AbortSignal.timeout(3000) });
  if (!response.ok) return;
  const { keys } = await response.json();
  const table = document.getElementById("hot");
  table.hidden = keys.length === 0;
  document.getElementById("none-hot").hidden = keys.length > 0;
  table.tBodies[0].replaceChildren(...keys.map(row));
}
