// The outbox: its queues, and the lanes that do not move. There is no section without an outbox.

import { el } from "./dom.js";
import { count, span } from "./format.js";
import { table } from "./tables.js";

const number = (title, text) => ({ title, class: "number", text });

function queuesOf(card) {
  return table(card, {
    label: "Queues of the outbox",
    key: (one) => one.route,
    empty: "Nothing was accepted yet.",
    columns: [
      { title: "Route", class: "name", text: (one) => one.route },
      number("Pending", (one) => count(one.pending)),
      number("Tried now", (one) => count(one.delivering)),
      number("Oldest", (one) => (one.oldest_s ? span(one.oldest_s * 1000) : "–")),
      number("Parked", (one) => count(one.parked)),
      number("Dead", (one) => count(one.dead)),
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
      { title: "State", class: "text", text: (one) => one.state },
      number("Behind it", (one) => count(one.waiting)),
      { title: "First entry", class: "code wide", text: (one) => one.head },
    ],
  });
}

/** The section appears with the first status that has an outbox. */
export function outbox(container) {
  let fill = null;
  return ({ status }) => {
    if (!status.outbox) return;
    if (!fill) {
      const card = el("div", { class: "card", id: "outbox-queues" });
      const heading = el("h2", { id: "h-outbox" }, "Outbox");
      const hint = el("p", { class: "muted" }, "Accepted requests that are delivered later.");
      container.append(
        el("section", { "aria-labelledby": "h-outbox" }, el("div", { class: "section-head" }, heading, hint), card),
      );
      fill = [queuesOf(card), lanesOf(card)];
    }
    fill[0](status.outbox.queues);
    fill[1](status.outbox.blocked_lanes);
  };
}
