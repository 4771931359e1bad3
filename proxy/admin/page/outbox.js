// The outbox: its queues, and the lanes that do not move. There is no section without an outbox.

import { el, setAttribute, setText } from "./dom.js";
import { count, span } from "./format.js";
import { command, hint, setHint } from "./hints.js";
import { table } from "./tables.js";

const NO_ENTRIES = { queues: [], blocked_lanes: [] };
const OLD = 600; // seconds; the alert of the chart has the same limit

const number = (title, text) => ({ title, class: "number", text });

/** A number that is bad if it is above 0. */
const alarm = (title, read) => ({
  title,
  class: "number",
  draw: (cell, one) => {
    const value = read(one);
    setText(cell, value ? `▲ ${count(value)}` : "0");
    setAttribute(cell, "data-tone", value ? "bad" : null);
  },
});

function drawOldest(cell, one) {
  const old = one.oldest_s >= OLD;
  setText(cell, one.oldest_s ? `${old ? "▲ " : ""}${span(one.oldest_s * 1000)}` : "–");
  setAttribute(cell, "data-tone", old ? "bad" : null);
}

function queuesOf(card) {
  return table(card, {
    label: "Queues of the outbox",
    key: (one) => one.route,
    empty: "Nothing was accepted yet.",
    columns: [
      { title: "Route", class: "name", text: (one) => one.route },
      number("Pending", (one) => count(one.pending)),
      number("Tried now", (one) => count(one.delivering)),
      { title: "Oldest", class: "number", draw: drawOldest },
      alarm("Parked", (one) => one.parked),
      alarm("Dead", (one) => one.dead),
    ],
  });
}

function lanesOf(card) {
  return table(card, {
    label: "Lanes of the outbox that do not move",
    key: (one) => `${one.route} ${one.lane}`,
    empty: "No lane waits for its first entry.",
    columns: [
      { title: "Lane", class: "name", text: (one) => one.lane },
      { title: "Route", class: "text", text: (one) => one.route },
      { title: "State", class: "text", text: (one) => (one.state === "parked" ? "▲ parked: waits for an order" : "waits for its next try") },
      number("Behind it", (one) => count(one.waiting)),
      { title: "First entry", class: "code wide", text: (one) => one.head },
    ],
  });
}

function drawReady(cell, one) {
  const bad = one.state !== "ready";
  setText(cell, bad ? `▲ ${one.state}${one.why ? `: ${one.why}` : ""}` : "ready");
  setAttribute(cell, "data-tone", bad ? "bad" : null);
}

function rowsOf(card) {
  return table(card, {
    label: "Outbox tables of the service's own",
    key: (one) => one.name,
    empty: "No table any more.",
    columns: [
      { title: "Table", class: "name", text: (one) => one.name },
      { title: "To", class: "text", text: (one) => one.to },
      { title: "State", class: "text", draw: drawReady },
      number("Pending", (one) => count(one.pending + one.failed)),
      number("Tried now", (one) => count(one.delivering)),
      number("Held back", (one) => count(one.held)),
      { title: "Oldest", class: "number", draw: drawOldest },
      alarm("Dead", (one) => one.dead),
    ],
  });
}

/** What to do, for the worst that is there. */
function adviceOf({ queues, blocked_lanes: lanes }, tables) {
  const broken = tables.find((one) => one.state !== "ready" && one.state !== "connecting");
  if (broken) return [`No row of table ${broken.name} is delivered. What is wrong: `, command("outbox"), "."];
  const dead = tables.find((one) => one.dead);
  if (dead) return ["Dead rows are not tried again. Why they died: ", command(`outbox --route table:${dead.name} --state dead`), ". When the receiver takes them: ", command("outbox TABLE/ID redrive"), "."];
  if (queues.some((one) => one.dead)) {
    return ["Dead entries are not tried again. Why they died: ", command("outbox --state dead"), ". When the receiver takes them: ", command("outbox ID redrive"), "."];
  }
  if (queues.some((one) => one.parked)) {
    return ["A parked entry holds its lane. Why: ", command("outbox --state parked"), ". To go on: ", command("outbox ID redrive"), " or ", command("outbox ID cancel"), "."];
  }
  if (lanes.length || queues.some((one) => one.oldest_s >= OLD)) {
    return ["Entries wait for their receiver: an open circuit breaker pauses the whole queue. What the last try got: ", command("outbox --state pending"), "."];
  }
  return null;
}

/** The section appears with the first status that has an outbox. */
export function outbox(container) {
  let fill = null;
  return ({ status }) => {
    const { outbox: kept, outbox_tables: tables } = status;
    if (!kept && !tables) return;
    if (!fill) {
      const card = el("div", { class: "card", id: "outbox-queues" });
      const heading = el("h2", { id: "h-outbox" }, "Outbox");
      const told = el("p", { class: "muted" }, "Accepted requests that are delivered later.");
      container.append(
        el("section", { "aria-labelledby": "h-outbox" }, el("div", { class: "section-head" }, heading, told), card),
      );
      const advice = hint();
      card.append(advice);
      fill = { card, advice };
    }
    setHint(fill.advice, adviceOf(kept ?? NO_ENTRIES, tables ?? []));
    if (kept) {
      fill.queues ??= queuesOf(fill.card);
      fill.lanes ??= lanesOf(fill.card);
      fill.queues(kept.queues);
      fill.lanes(kept.blocked_lanes);
    }
    if (tables) {
      fill.tables ??= rowsOf(fill.card);
      fill.tables(tables);
    }
  };
}
