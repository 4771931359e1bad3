// The store and the idempotency keys: whether promises can be given now. There is no section without
// a store.

import { el, setAttribute, setText } from "./dom.js";
import { bytes, count, plural, rate, span } from "./format.js";
import { command, hint, setHint } from "./hints.js";
import { table } from "./tables.js";

const SPAN = 10; // seconds that commits/s and p99 cover
const CONFLICTS = ["reused", "in-progress", "unreplayable"];
const REFUSED = ["key-missing", "key-invalid"];

/** What was kept of the last seconds: the difference of two looks. */
class Recent {
  #looks = [];

  take(at, store) {
    const last = this.#looks.at(-1);
    if (last && (store.commits < last.commits || at < last.at)) this.#looks = []; // another process
    this.#looks.push({ at, commits: store.commits, counts: store.commit_durations.counts });
    while (this.#looks.length > 2 && at - this.#looks[1].at >= SPAN) this.#looks.shift();
  }

  /** Commits per second, and their 99th percentile in ms; null without two looks, or a commit. */
  read(bounds) {
    const [first, last] = [this.#looks[0], this.#looks.at(-1)];
    if (last.at <= first.at) return { commits: null, p99: null };
    const counts = last.counts.map((value, at) => value - first.counts[at]);
    return { commits: (last.commits - first.commits) / (last.at - first.at), p99: percentile(bounds, counts, 0.99) };
  }
}

/** As the proxy's own: values are spread evenly within a bucket. */
export function percentile(bounds, counts, share) {
  let rank = share * counts.reduce((sum, value) => sum + value, 0);
  if (!rank) return null;
  let lower = 0;
  for (const [at, bound] of bounds.entries()) {
    if (counts[at] && rank <= counts[at]) return lower + ((bound - lower) * rank) / counts[at];
    rank -= counts[at];
    lower = bound;
  }
  return lower;
}

function stateOf(store) {
  if (store.failure) return { text: `▲ failed: ${store.failure}`, tone: "bad" };
  if (store.full) return { text: "▲ full: new promises are refused", tone: "bad" };
  return { text: store.state, tone: store.state === "open" ? null : "warn" };
}

function adviceOf(store) {
  if (store.failure && store.shared) return ["What needs the store is refused (store-failed) until its server can be reached; the proxy goes on trying."];
  if (store.failure) {
    return ["What needs the store is refused (store-failed) until the proxy is started again. First look at the disk or the server; then check a file with ", command("store check FILE"), "."];
  }
  if (store.full) return ["What is delivered or expires makes room. Look at dead and old entries below, and at store.max_bytes."];
  return null;
}

function sizeOf(store) {
  if (!store.max_bytes) return bytes(store.bytes);
  return `${bytes(store.bytes)} of ${bytes(store.max_bytes)}, ${Math.floor((100 * store.bytes) / store.max_bytes)} %`;
}

function factsOf(card) {
  const values = new Map();
  const rows = ["Engine", "State", "Size", "Commits", "Refused"].map((title) => {
    const value = el("dd");
    values.set(title, value);
    return el("div", {}, el("dt", {}, title), value);
  });
  card.append(el("dl", { class: "facts" }, ...rows));
  return (store, recent) => {
    const set = (title, text, tone = null) => {
      setText(values.get(title), text);
      setAttribute(values.get(title), "data-tone", tone);
    };
    const { text, tone } = stateOf(store);
    const refused = store.refused_full + store.refused_failed;
    set("Engine", `${store.engine}${store.shared ? ", shared by replicas" : ""}${store.dies_with_pod ? ", lost with the pod" : ""}`);
    set("State", text, tone);
    set("Size", sizeOf(store), store.max_bytes && store.bytes >= 0.8 * store.max_bytes ? "warn" : null);
    set("Commits", `${rate(recent.commits)} per second, p99 ${span(recent.p99)}`);
    set("Refused", refused ? `${count(store.refused_full)} full, ${count(store.refused_failed)} failed` : "none", refused ? "warn" : null);
  };
}

const sum = (route, results) => results.reduce((all, result) => all + (route.idempotency[result] ?? 0), 0);
const number = (title, read) => ({ title, class: "number", text: (route) => count(read(route)) });

function drawUnknown(cell, route) {
  const unknown = sum(route, ["unknown"]);
  setText(cell, unknown ? `▲ ${count(unknown)}` : "0");
  setAttribute(cell, "data-tone", unknown ? "warn" : null);
}

function keysOf(card) {
  return table(card, {
    label: "Idempotency keys by route, since the start",
    key: (route) => `${route.listener} ${route.name}`,
    empty: "No request with an idempotency key yet.",
    columns: [
      { title: "Idempotency of route", class: "name", text: (route) => route.name },
      number("Open", (route) => route.claims),
      number("Remembered", (route) => sum(route, ["remembered"])),
      number("Replayed", (route) => sum(route, ["replayed"])),
      number("Conflicts", (route) => sum(route, CONFLICTS)),
      { title: "Unknown", class: "number", draw: drawUnknown },
      number("Bad key", (route) => sum(route, REFUSED)),
    ],
  });
}

/** The section appears with the first status that has a store. */
export function store(container) {
  let parts = null;
  const recent = new Recent();
  return ({ status }) => {
    if (!status.store) return;
    if (!parts) {
      const card = el("div", { class: "card", id: "store-card" });
      const [heading, told] = [el("h2", { id: "h-store" }, "Store"), el("p", { class: "muted" })];
      container.append(
        el("section", { "aria-labelledby": "h-store" }, el("div", { class: "section-head" }, heading, told), card),
      );
      const advice = hint();
      card.append(advice);
      parts = { told, advice, facts: factsOf(card), keys: keysOf(card) };
    }
    recent.take(status.now, status.store);
    const routes = status.routes.filter((route) => route.claims || Object.keys(route.idempotency).length);
    const open = routes.reduce((all, route) => all + route.claims, 0);
    setText(parts.told, open ? `Promises are kept here. ${plural(open, "request")} with a key in flight.` : "Promises are kept here.");
    setHint(parts.advice, adviceOf(status.store));
    parts.facts(status.store, recent.read(status.store.commit_durations.le_ms));
    parts.keys(routes);
  };
}
