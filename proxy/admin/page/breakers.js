// Circuit breakers: the state, the window's rates, and the last states as a strip.

import { anchorOf, failureOf, openers, showOnly } from "./alike.js";
import { badge, breakerState, setBadge } from "./badges.js";
import { el, keyed, setAttribute, setText } from "./dom.js";
import { age, count, moment, percent, plural } from "./format.js";
import { table } from "./tables.js";


export function breakers(container, announce, model) {
  const states = new Map();
  const fill = table(container, {
    label: "Circuit breakers",
    key: (breaker) => breaker.name,
    empty: "No circuit breaker yet: one appears with the first request that needs it.",
    columns: [
      { title: "Circuit breaker", draw: drawName },
      { title: "State", draw: drawState },
      { title: "Failures", class: "number", text: (one) => percent(one.failure_rate) },
      { title: "Slow", class: "number", text: (one) => percent(one.slow_call_rate) },
      { title: "Calls", class: "number", text: (one) => count(one.calls) },
      { title: "Refused", class: "number", text: (one) => count(one.not_permitted) },
      { title: "Up to 15 minutes", class: "strip-cell", draw: (cell, one) => drawPast(cell, one, model) },
    ],
  });
  return () => {
    const found = model.status.circuit_breakers;
    tell(found, states, announce);
    fill(found);
  };
}

/** Announce changes once; the first status is not a change. */
function tell(found, states, announce) {
  const changed = found.filter((one) => states.has(one.name) && states.get(one.name) !== one.state);
  for (const one of found) states.set(one.name, one.state);
  if (changed.length) {
    const words = changed.map((one) => `${one.name} is ${breakerState(one.state).word.toLowerCase()}`);
    setText(announce, `Circuit breaker ${words.join(", ")}.`);
  }
}

function drawName(cell, one) {
  if (!cell.firstChild) {
    const name = el("span", { class: "name", id: anchorOf(one.name), tabindex: "-1" });
    cell.append(name, el("small", { class: "muted" }));
  }
  setText(cell.firstChild, one.name);
  setText(cell.lastChild, one.mode === "enforce" ? `to ${one.upstream}` : `to ${one.upstream}, mode ${one.mode}`);
}

function drawState(cell, one) {
  if (!cell.firstChild) cell.append(badge(), el("small", { class: "muted" }));
  setBadge(cell.firstChild, breakerState(one.state));
  const probe = one.next_probe_in_s;
  const due = probe > 0 ? `next probe in ${age(Math.ceil(probe))}` : "next request is a probe";
  setText(cell.lastChild, probe === null ? "" : due);
}

// --- the past -----------------------------------------------------------------------------------

function drawPast(cell, one, model) {
  if (!cell.firstChild) {
    const list = el("ol", { class: "changes" });
    const summary = el("summary");
    cell.append(el("div", { class: "strip", "aria-hidden": "true" }), el("details", {}, summary, list));
  }
  const past = model.transitions.get(one.name);
  const changes = past?.transitions ?? [];
  const [strip, details] = cell.children;
  drawStrip(strip, firstState(one, past), one.state, changes, model);
  const [summary, list] = details.children;
  const lastOne = changes.at(-1);
  setText(summary, lastOne ? sinceWhen(one.name, changes, model) : "No change so far");
  setAttribute(details, "data-empty", lastOne ? null : "");
  keyed(list, [...changes].reverse(), (change) => change.time + change.to, createChange, (item, change) =>
    drawOpeners(item, one.name, change, openers(model.trouble, one.name, changes, change)),
  );
}

/** The last change, and what opened the breaker first if it is not closed again. */
function sinceWhen(name, changes, model) {
  const last = changes.at(-1);
  const opening = last.to === "closed" ? null : changes.findLast((change) => change.to === "open");
  const [first] = opening ? openers(model.trouble, name, changes, opening) : [];
  const why = first ? `, first by ${failureOf(first)}` : "";
  return `${breakerState(last.to).word} since ${moment(last.time)}${why}`;
}

/** Which kept requests opened it, the first one by name. */
function drawOpeners(item, name, change, found) {
  const place = item.lastElementChild;
  place.hidden = change.to !== "open" || !found.length;
  if (place.hidden) return;
  const [text, button] = place.children;
  const [first] = found;
  setText(text, `First ${failureOf(first)}: ${first.method} ${first.path}`);
  setText(button, `Show ${plural(found.length, "request")}`);
  button.onclick = () => showOnly(`Requests that opened ${name} at ${moment(change.time)}.`, found);
}

function createChange(change) {
  const [left, entered] = [breakerState(change.from), breakerState(change.to)];
  const rates =
    change.to === "open" && change.failure_rate >= 0
      ? `: ${percent(change.failure_rate)} failed, ${percent(change.slow_call_rate)} slow of ${change.calls} calls`
      : "";
  return el(
    "li",
    {},
    el("time", { datetime: change.time }, moment(change.time)),
    ` ${left.word} → `,
    el("strong", {}, entered.word),
    rates,
    el("span", { class: "openers", hidden: "" }, el("span"), el("button", { type: "button", class: "quiet-button" })),
  );
}

/** The state before the first kept change: unknown if older changes were dropped. */
function firstState(one, past) {
  if (!past) return one.state;
  return past.changes > past.transitions.length ? "unknown" : past.transitions[0].from;
}

/** One piece for each state within the window; none before the process began. */
function drawStrip(strip, first, state, changes, model) {
  const [now, shown] = [model.now(), model.window];
  const begin = now - shown;
  const pieces = [];
  let from = Math.max(begin, now - model.status.uptime_s);
  let current = first;
  for (const change of changes) {
    const at = Math.min(Date.parse(change.time) / 1000, now);
    if (at > from) {
      pieces.push({ state: current, from, to: at });
      from = at;
    }
    current = change.to;
  }
  pieces.push({ state, from, to: now });
  keyed(
    strip,
    pieces.map((piece, index) => ({ ...piece, index })),
    (piece) => piece.index,
    () => el("span"),
    (node, piece) => {
      setAttribute(node, "data-state", piece.state);
      node.style.left = `${(100 * (piece.from - begin)) / shown}%`;
      node.style.width = `${(100 * (piece.to - piece.from)) / shown}%`;
    },
  );
}
