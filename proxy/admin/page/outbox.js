// The outbox: its queues, and the lanes that do not move. There is no section without an outbox.

import { el, setAttribute, setText } from "./dom.js";
import { count, span } from "./format.js";
import { command, hint, setHint } from "./hints.js";
import { table } from "./tables.js";

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

/** What to do, for the worst that is there. */
function adviceOf({ queues, blocked_lanes: lanes }) {
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
    if (!status.outbox) return;
    if (!fill) {
      const card = el("div", { class: "card", id: "outbox-queues" });
      const heading = el("h2", { id: "h-outbox" }, "Outbox");
      const told = el("p", { class: "muted" }, "Accepted requests that are delivered later.");
      container.append(
        el("section", { "aria-labelledby": "h-outbox" }, el("div", { class: "section-head" }, heading, told), card),
      );
      const advice = hint();
      card.append(advice);
      fill = { queues: queuesOf(card), lanes: lanesOf(card), advice };
    }
    setHint(fill.advice, adviceOf(status.outbox));
    fill.queues(status.outbox.queues);
    fill.lanes(status.outbox.blocked_lanes);
  };
}
