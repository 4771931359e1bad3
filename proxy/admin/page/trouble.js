// The recent exchanges with trouble; each opens to show its attempts.

import { statusText, statusTone, troubleTone } from "./badges.js";
import { el, keyed, setText } from "./dom.js";
import { bytes, count, moment, plural, span } from "./format.js";
import { timeline } from "./timeline.js";

const WORDS = ["request_id", "trace_id", "route", "upstream", "reason", "method", "host", "path", "client"];
const STEP = 15; // shown at first, and with each "more"

export function trouble(container, filter, counter, model) {
  const empty = el("p", { class: "empty" });
  const list = el("ul", { class: "trouble-list" });
  const newer = el("button", { type: "button", class: "quiet-button" });
  const more = el("button", { type: "button", class: "quiet-button" });
  const [above, below] = [el("div", { class: "trouble-newer" }, newer), el("div", { class: "trouble-more" }, more)];
  container.append(above, empty, list, below);
  let held = []; // what is shown; while one is open, new ones do not move the list
  let length = STEP;

  const draw = () => {
    if (!list.querySelector("details[open]")) held = model.trouble;
    const wanted = filter.value.trim().toLowerCase();
    const found = wanted ? held.filter((one) => textOf(one).includes(wanted)) : held;
    keyed(list, found.slice(0, length), keyOf, create, () => {});
    empty.hidden = found.length > 0;
    setText(empty, emptiness(wanted, model.status));
    setText(counter, wanted ? `${count(found.length)} of ${count(held.length)}` : heldOf(model));
    const [waiting, rest] = [newerThan(held, model.trouble), found.length - length];
    above.hidden = waiting === 0;
    setText(newer, `Show ${count(waiting)} newer`);
    below.hidden = rest <= 0;
    setText(more, `Show ${count(Math.min(rest, STEP))} more`);
  };
  newer.addEventListener("click", () => {
    held = model.trouble;
    draw();
  });
  more.addEventListener("click", () => {
    length += STEP;
    draw();
  });
  filter.addEventListener("input", () => {
    if (model.status) draw();
  });
  return draw;
}

// A restarted proxy counts from 1 again.
const keyOf = (one) => `${one.number} ${one.time}`;

function newerThan(held, all) {
  const known = new Set(held.map(keyOf));
  return all.filter((one) => !known.has(keyOf(one))).length;
}

function heldOf(model) {
  const { seen } = model.status.recent;
  const held = model.trouble.length;
  return seen > held ? `${count(held)} kept of ${count(seen)} since the start` : "";
}

function emptiness(wanted, status) {
  if (wanted) return "No match. Exchanges without trouble are not recorded.";
  return `No trouble since the proxy started, ${span(status.uptime_s * 1000)} ago.`;
}

const texts = new WeakMap();

function textOf(one) {
  if (!texts.has(one)) {
    const ends = one.attempts.flatMap((attempt) => [attempt.endpoint, attempt.failure ?? ""]);
    const words = [...WORDS.map((name) => one[name]), ...ends, ...one.trouble, ...one.observed, statusText(one)];
    texts.set(one, words.join(" ").toLowerCase());
  }
  return texts.get(one);
}

function create(one) {
  const tags = one.trouble.map((word) => el("span", { class: "tag", "data-tone": troubleTone(word) }, word));
  const status = statusText(one) || "–";
  const summary = el(
    "summary",
    {},
    el("time", { datetime: one.time, class: "when" }, moment(one.time)),
    el("span", { class: "status", "data-tone": statusTone(one.status, one.grpc_status) }, status),
    el(
      "span",
      { class: "what" },
      el("strong", {}, one.method || "–"),
      ` ${one.path || "no request"}`,
      el("small", { class: "muted" }, whereOf(one)),
    ),
    el("span", { class: "tags" }, ...tags),
    el("span", { class: "took" }, span(one.duration_ms)),
  );
  const details = el("details", {}, summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(inside(one));
  });
  return el("li", {}, details);
}

function whereOf(one) {
  const place = one.route ? `${one.route} → ${one.upstream}` : one.listener;
  return [place, one.reason, one.attempts_made ? plural(one.attempts_made, "attempt") : "no attempt"].filter(Boolean).join(" · ");
}

function inside(one) {
  const breaker = one.circuit_breaker;
  const facts = [
    ["Request id", one.request_id, "code"],
    ["Trace id", one.trace_id, "code"],
    ["Client", `${one.client}, ${one.listener}`],
    ["Host", one.host, "code"],
    ["Circuit breaker", breaker ? `${breaker.name}, ${breaker.state.replace("_", "-")} at the end` : "none"],
    ["Bytes", `${bytes(one.bytes_in)} in, ${bytes(one.bytes_out)} out`],
  ].filter(([, value]) => value);
  return el(
    "div",
    { class: "inside" },
    one.detail ? el("p", { class: "detail" }, one.detail) : null,
    one.observed.length ? el("p", { class: "detail" }, `In mode observe, otherwise it would have met: ${one.observed.join(", ")}.`) : null,
    one.fallback ? el("p", { class: "detail" }, "The fallback answered instead of this failure.") : null,
    timeline(one),
    el("dl", { class: "facts" }, ...facts.map(([name, value, kind]) => fact(name, value, kind))),
  );
}

function fact(name, value, kind) {
  return el("div", {}, el("dt", {}, name), el("dd", { class: kind ?? null }, value));
}
