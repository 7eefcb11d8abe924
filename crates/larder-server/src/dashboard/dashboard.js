// The first page: asks /v1/_stats once a second and shows what changed.

import { spark, stack } from "./chart.js";
import { age, bytes, count, duration, percent, rate } from "./format.js";
import { showHottest } from "./hot.js";
import { setUpTryIt } from "./try-it.js";
import { authorization, hasKey, rememberKey } from "./key.js";

const KEPT = 120;
const TIERS = [["near", "memory"], ["shared", "Redis"], ["source", "database"]];
const DATABASES = { mongo: "MongoDB", mongodb: "MongoDB", sqlite: "SQLite" };
const REASONS = {
  cold: "first read", expired: "expired", invalidated: "written to", purged: "purged with others", evicted: "evicted", error: "Redis failed",
  corrupt: "not readable in Redis", "too-large": "too large to keep",
};

const byId = (id) => document.getElementById(id);
const history = { requests: [], p50: [], p99: [], saved: [], memory: [], near: [], shared: [], source: [] };
let before = null;
let databaseIsUp = null;
let polls = 0;

/** Writes text only where it changed, so that screen readers and selections are left alone. */
function write(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Reads answered by each tier since the server started. */
const answered = ({ totals }) => ({
  near: totals.hits_near, shared: totals.hits_shared, source: totals.misses,
});

const sum = (items, field) => items.reduce((total, item) => total + item[field], 0);

function remember(stats, seconds) {
  const now = answered(stats);
  const then = answered(before);
  // A counter that fell belongs to a server that was started anew.
  const perSecond = (current, earlier) => Math.max(current - earlier, 0) / seconds;
  for (const [tier] of TIERS) history[tier].push(perSecond(now[tier], then[tier]));
  history.requests.push(perSecond(stats.totals.requests, before.totals.requests));
  const hits = (tiers) => tiers.near + tiers.shared;
  history.saved.push(perSecond(hits(now), hits(then)));
  history.p50.push(stats.window.p50_us);
  history.p99.push(stats.window.p99_us);
  history.memory.push(sum(stats.collections, "near_bytes"));
  for (const values of Object.values(history)) if (values.length > KEPT) values.shift();
}

function showHero(stats) {
  const tiers = answered(stats);
  // Reads that asked to go past the cache say nothing about the cache.
  const asked = stats.misses.asked ?? 0;
  tiers.source = Math.max(tiers.source - asked, 0);
  const reads = Object.values(tiers).reduce((total, value) => total + value, 0);
  const saved = reads - tiers.source;
  write("saved", count(saved));
  write("loads", `${count(stats.totals.source_loads)} loads from the database`);
  write("notes", notes(stats, asked).join(" "));
  if (!reads) return;
  const part = saved / reads;
  write("hit-rate", percent(part));
  let [tone, words] = part >= 0.9 ? ["good", "healthy"] : part >= 0.7 ? ["warn", "low: under 90 %"] : ["alarm", "very low: under 70 %"];
  const alarms = lowRates(stats);
  if (alarms.length) [tone, words] = [alarms.some(({ level }) => level === "very-low") ? "alarm" : "warn", alarms.map(({ words }) => words).join(", ")];
  // A cache that is filling up is not a cache that fails.
  const filling = !alarms.length && part < 0.9 && stats.misses.cold > tiers.source / 2;
  byId("verdict").className = `verdict ${filling ? "" : tone}`;
  write("verdict", filling ? "filling: most misses are first reads" : words);
  write("sentence", `${count(saved)} of ${count(reads)} reads never reached the database.`);
  const shown = TIERS.filter(([tier]) => tiers[tier] > 0);
  const bar = byId("tier-bar");
  bar.setAttribute("aria-label", shown.map(([tier, name]) => `${name} ${percent(tiers[tier] / reads)}`).join(", "));
  bar.replaceChildren(...shown.map(([tier]) => {
    const piece = element("span", tier);
    piece.style.flexGrow = tiers[tier] / reads;
    return piece;
  }));
  byId("tier-legend").replaceChildren(...shown.map(([tier, name]) =>
    element("div", tier, element("dt", "", name), element("dd", "", `${percent(tiers[tier] / reads)} · ${count(tiers[tier])}`))));
}

/** The collections whose hit rate the server finds too low now, whatever it was since the start. */
const lowRates = (stats) => stats.collections
  .filter(({ hit_rate: { level } }) => level === "low" || level === "very-low")
  .map(({ name, hit_rate: { level, rate } }) => ({ level, words: `${name}: ${percent(rate)} now, ${level === "low" ? "low" : "very low"}` }));

function notes({ totals }, asked) {
  const list = [];
  if (asked) list.push(`Not counted: ${count(asked)} reads that asked to go past the cache.`);
  if (totals.stale_served) list.push(`${count(totals.stale_served)} were served past their time, as the policy allows.`);
  if (totals.invalidations_owed) list.push(`${count(totals.invalidations_owed)} invalidations wait for Redis.`);
  return list;
}

function showTiles(stats) {
  const last = (values) => values[values.length - 1] ?? 0;
  write("requests-rate", rate(last(history.requests)));
  write("requests-total", `${count(stats.totals.requests)} since the start`);
  const { p50_us, p99_us, seconds } = stats.window;
  write("latency", p99_us ? `${duration(p50_us)} · ${duration(p99_us)}` : "–");
  write("latency-note", `in the server, last ${Math.max(Math.round(seconds), 1)} s`);
  write("memory", bytes(last(history.memory)));
  write("entries", `${count(sum(stats.collections, "near_entries"))} documents`);
  spark(byId("requests-chart"), [{ tone: "near", values: history.requests }], KEPT);
  spark(byId("latency-chart"), [{ tone: "near", values: history.p50 }, { tone: "shared", values: history.p99 }], KEPT);
  spark(byId("saved-chart"), [{ tone: "near", values: history.saved }], KEPT);
  spark(byId("memory-chart"), [{ tone: "stale", values: history.memory }], KEPT);
  stack(byId("reads-chart"), TIERS.map(([tone]) => ({ tone, values: history[tone] })), KEPT, rate);
}

function showReasons(stats) {
  const reasons = Object.entries(stats.misses).filter(([reason, misses]) => reason !== "asked" && misses > 0).sort((a, b) => b[1] - a[1]);
  const most = reasons[0]?.[1] ?? 0;
  byId("no-misses").hidden = most > 0;
  byId("reasons").replaceChildren(...reasons.map(([reason, misses]) => {
    const fill = element("span");
    fill.style.width = `${(misses / most) * 100}%`;
    const name = REASONS[reason] ?? reason.replaceAll(/[_-]/g, " ");
    return element("li", "", element("span", "", name), element("span", "number", count(misses)), element("span", "track", fill));
  }));
}

/** How this node sees what other programs write. */
function watched(watch) {
  if (!watch) return "–";
  if (watch.trouble) return `${watch.role}, in trouble`;
  return watch.lag_ms === null ? watch.role : `${watch.role}, ${duration(watch.lag_ms * 1000)} behind`;
}

function showCollections(stats) {
  byId("collections").tBodies[0].replaceChildren(...stats.collections.map(({ name, hits_near, hits_shared, misses: all, asked, watch }) => {
    const [hits, misses] = [hits_near + hits_shared, all - asked];
    const reads = hits + misses;
    const link = element("a", "", name);
    link.href = `/v1/${encodeURIComponent(name)}?limit=5`;
    return element("tr", "", element("td", "", link), element("td", "number", count(hits)),
      element("td", "number", count(misses)), element("td", "number", reads ? percent(hits / reads) : "–"),
      element("td", "", watched(watch)));
  }));
}

function showStates({ node, uptime_ms }) {
  const redis = { off: ["", "memory only, no Redis"], up: ["up", "Redis"] }[node.redis] ?? ["down", `Redis is ${node.redis}`];
  const database = DATABASES[node.database] ?? node.database;
  const states = [databaseIsUp === false ? ["down", `${database} is down`] : ["up", database], redis];
  const text = states.map(([, words]) => words).join();
  if (byId("states").dataset.text !== text) {
    byId("states").dataset.text = text;
    byId("states").replaceChildren(...states.map(([tone, words]) => element("li", tone, words)));
  }
  write("uptime", `up ${age(uptime_ms / 1000)}`);
}

function notice(text) {
  byId("notice").hidden = !text;
  if (text) write("notice", text);
}

/** Whether the database answers; null when that cannot be told. */
async function probe() {
  const response = await fetch("/readyz", { cache: "no-store", signal: AbortSignal.timeout(3000) }).catch(() => null);
  return (await response?.json().catch(() => null))?.database?.up ?? null;
}

async function poll() {
  const started = performance.now();
  const response = await fetch("/v1/_stats", { headers: authorization(), cache: "no-store", signal: AbortSignal.timeout(3000) });
  const locked = response.status === 401 || response.status === 403;
  byId("key-form").hidden = !locked;
  byId("figures").hidden = locked;
  if (locked) return notice(hasKey() ? "The key that was given is not one of an administrator." : "");
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const stats = await response.json();
  // A probe asks the database itself, so not every second.
  if (polls % 5 === 0) databaseIsUp = await probe();
  polls += 1;
  if (before) remember(stats, (started - before.at) / 1000);
  before = { ...stats, at: started };
  notice("");
  // Samples of some seconds: they say nothing new each second.
  if (polls % 3 === 1) await showHottest().catch(() => {});
  for (const show of [showStates, showHero, showTiles, showReasons, showCollections]) show(stats);
  setUpTryIt(stats.collections.map(({ name }) => name));
}

async function run() {
  for (;;) {
    if (!document.hidden) {
      await poll().catch(() => notice("The server does not answer. This page keeps asking."));
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  rememberKey(byId("key").value.trim());
});

run();
