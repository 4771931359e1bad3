// The recent exchanges with trouble; each opens to show its attempts.

import { anchorOf, grouped } from "./alike.js";
import { statusBadge, statusText, troubleTone } from "./badges.js";
import { el, keyed, setAttribute, setText } from "./dom.js";
import { bytes, count, moment, plural, span } from "./format.js";
import { timeline } from "./timeline.js";

const WORDS = ["request_id", "trace_id", "inherited_from", "route", "upstream", "reason", "method", "host", "path", "client"];
const STEP = 15; // shown at first, and with each "more"

export function trouble(container, filter, counter, model) {
  const empty = el("p", { class: "empty" });
  const list = el("ul", { class: "trouble-list" });
  const newer = el("button", { type: "button", class: "quiet-button" });
  const more = el("button", { type: "button", class: "quiet-button" });
  const [above, below] = [el("div", { class: "trouble-newer" }, newer), el("div", { class: "trouble-more" }, more)];
  const [label, all] = [el("span"), el("button", { type: "button", class: "quiet-button" }, "Show all")];
  const only = el("p", { class: "trouble-newer trouble-only", hidden: "" }, label, all);
  container.append(only, above, empty, list, below);
  let held = []; // what is shown; while one is open or has the keyboard's focus, new ones do not move the list
  let length = STEP;
  let subset = null; // only these requests, for example those that opened a breaker
  const unfolded = new Set();

  const draw = () => {
    if (!list.querySelector("details[open], :focus-visible")) held = model.trouble;
    const wanted = filter.value.trim().toLowerCase();
    const chosen = subset ? held.filter(subset.includes) : held;
    const found = wanted ? chosen.filter((one) => textOf(one).includes(wanted)) : chosen;
    // A search is for single requests.
    const alone = wanted || subset;
    const rows = alone ? found.map((one) => ({ one, kind: "", others: 0 })) : grouped(found, unfolded);
    keyed(list, rows.slice(0, length), (row) => keyOf(row.one), (row) => create(row.one, fold), update(unfolded));
    only.hidden = !subset;
    setText(label, subset?.label ?? "");
    empty.hidden = found.length > 0;
    setText(empty, emptiness(wanted, model.status));
    setText(counter, wanted ? `${count(found.length)} of ${count(held.length)}` : heldOf(model));
    const [waiting, rest] = [newerThan(held, model.trouble), rows.length - length];
    above.hidden = waiting === 0;
    setText(newer, `Show ${count(waiting)} newer`);
    below.hidden = rest <= 0;
    setText(more, `Show ${count(Math.min(rest, STEP))} more`);
  };
  const fold = (kind) => {
    if (!unfolded.delete(kind)) unfolded.add(kind);
    draw();
  };
  const show = (wanted) => {
    subset = wanted;
    held = model.trouble;
    draw();
  };
  all.addEventListener("click", () => {
    show(null);
    filter.focus();
  });
  document.addEventListener("showonly", (event) => {
    filter.value = "";
    show(event.detail);
    only.scrollIntoView({ block: "center" });
    all.focus({ preventScroll: true });
  });
  newer.addEventListener("click", () => {
    held = model.trouble;
    draw();
    list.querySelector("summary")?.focus(); // the button is gone
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

/** Why it is recorded, and what else happened to it. */
function tagsOf(one) {
  const also = [];
  if (one.attempts.some((attempt) => attempt.hedge)) also.push("hedged");
  if (one.attempts.some((attempt) => attempt.fault)) also.push("fault");
  return [...one.trouble, ...also];
}

const texts = new WeakMap();

function textOf(one) {
  if (!texts.has(one)) {
    const ends = one.attempts.flatMap((attempt) => [attempt.endpoint, attempt.failure ?? ""]);
    const words = [...WORDS.map((name) => one[name]), ...ends, one.circuit_breaker?.name ?? "", ...tagsOf(one), ...one.observed, statusText(one)];
    texts.set(one, words.join(" ").toLowerCase());
  }
  return texts.get(one);
}

function create(one, fold) {
  const tags = tagsOf(one).map((word) => el("span", { class: "tag", "data-tone": troubleTone(word) }, word));
  const summary = el(
    "summary",
    {},
    el("time", { datetime: one.time, class: "when" }, moment(one.time)),
    statusBadge(one),
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
  const more = el("button", { type: "button", class: "quiet-button", hidden: "" });
  const item = el("li", {}, details, more);
  more.addEventListener("click", () => fold(item.dataset.kind));
  return item;
}

/** The newest of a kind says how many more there are, and shows them. */
const update = (unfolded) => (item, { kind, others, member }) => {
  const more = item.lastElementChild;
  item.dataset.kind = kind;
  setAttribute(item, "data-member", member ? "" : null);
  more.hidden = !others;
  const shown = unfolded.has(kind);
  setAttribute(more, "aria-expanded", String(shown));
  setText(more, shown ? `Hide ${count(others)} like it` : `Show ${count(others)} more like it`);
};

function whereOf(one) {
  const place = one.route ? `${one.route} → ${one.upstream}` : one.listener;
  return [place, one.reason, one.attempts_made ? plural(one.attempts_made, "attempt") : "no attempt"].filter(Boolean).join(" · ");
}

function inside(one) {
  const breaker = one.circuit_breaker;
  const facts = [
    ["Request id", one.request_id, "code"],
    ["Trace id", one.trace_id, "code"],
    ["Made for", one.inherited_from, "code"],
    ["Client", `${one.client}, ${one.listener}`],
    ["Host", one.host, "code"],
    ["Circuit breaker", breaker ? breakerLink(breaker) : "none"],
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

function breakerLink(breaker) {
  const link = el("a", { href: `#${anchorOf(breaker.name)}` }, breaker.name);
  return el("span", {}, link, `, ${breaker.state.replace("_", "-")} at the end`);
}

function fact(name, value, kind) {
  return el("div", {}, el("dt", {}, name), el("dd", { class: kind ?? null }, value));
}
