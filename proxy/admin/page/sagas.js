// Sagas: the stuck and the newest ones, each step as a time line of its tries. There is no section
// without sagas.

import { el, keyed, setAttribute, setText } from "./dom.js";
import { count, span } from "./format.js";
import { command, hint, setHint } from "./hints.js";
import { table } from "./tables.js";

const TONES = { done: "good", undone: "warn", undoing: "warn", stuck: "bad" };

/** The time from the start to the end of a saga, or to now, in ms. */
function extentOf(saga, now) {
  const from = Date.parse(saga.accepted_at);
  const to = saga.finished_at ? Date.parse(saga.finished_at) : now;
  return { from, length: Math.max(to - from, 1) };
}

function toneOf(one) {
  if (one.reason === "nothing-to-undo" || (one.status >= 200 && one.status < 300)) return "good";
  return one.status ? "bad" : "warn";
}

function drawTry(node, one, extent) {
  const begin = Date.parse(one.began) - extent.from;
  node.style.left = `${Math.min((100 * begin) / extent.length, 99)}%`;
  node.style.width = `${Math.min((100 * one.duration_ms) / extent.length, 100)}%`;
  setAttribute(node, "data-tone", toneOf(one));
  const what = one.reason ?? `status ${one.status}`;
  setAttribute(node, "title", `${one.phase}: ${what}, ${span(one.duration_ms)}`);
}

function newStep() {
  return el(
    "li",
    { class: "saga-step" },
    el("span", { class: "saga-name" }),
    el("span", { class: "saga-line line-track" }),
    el("span", { class: "saga-state muted" }),
  );
}

function drawStep(node, step, extent, now) {
  const [name, line, state] = node.children;
  const undo = step.phase === "undo" ? " (undo)" : "";
  setText(name, step.name + undo);
  keyed(
    line,
    step.tries.map((one, at) => ({ ...one, at })),
    (one) => `${one.phase} ${one.began} ${one.at}`,
    () => el("span", { class: "bar" }),
    (bar, one) => drawTry(bar, one, extent),
  );
  setText(state, stateOf(step, now));
}

/** "waiting, connect-refused, try 5 in 3 s" */
function stateOf(step, now) {
  const told = [step.phase === "undo" && step.state === "done" ? "undone" : step.state];
  const why = step.reason ?? step.last?.reason ?? step.last?.status ?? null;
  if (why !== null) told.push(why);
  if (step.next_attempt_at) {
    const wait = Math.max(0, Date.parse(step.next_attempt_at) - now);
    told.push(`try ${step.attempts + 1} in ${span(wait)}`);
  } else if (step.attempts > 1) {
    told.push(`${step.attempts} tries`);
  }
  return told.join(", ");
}

function newSaga() {
  return el(
    "div",
    { class: "saga" },
    el("p", { class: "saga-head" }, el("strong"), el("span", { class: "badge" }), el("span", { class: "muted" })),
    el("ol", { class: "saga-steps" }),
  );
}

function drawSaga(node, saga, now) {
  const [head, steps] = node.children;
  const [id, badge, told] = head.children;
  const extent = extentOf(saga, now);
  setText(id, saga.id);
  setText(badge, saga.aborted ? `${saga.state} (aborted)` : saga.state);
  setAttribute(badge, "data-tone", TONES[saga.state] ?? null);
  setText(told, `${saga.saga}, ${span(extent.length)}`);
  keyed(
    steps,
    saga.steps,
    (step) => step.name,
    newStep,
    (item, step) => drawStep(item, step, extent, now),
  );
}

const number = (title, read) => ({ title, class: "number", text: (one) => count(read(one)) });

function drawStuck(cell, one) {
  setText(cell, one.stuck ? `▲ ${count(one.stuck)}` : "0");
  setAttribute(cell, "data-tone", one.stuck ? "bad" : null);
}

function unfinishedOf(card) {
  return table(card, {
    label: "Unfinished sagas",
    key: (one) => one.saga,
    empty: "No saga is unfinished.",
    columns: [
      { title: "Saga", class: "name", text: (one) => one.saga },
      number("Running", (one) => one.running),
      number("Compensating", (one) => one.undoing),
      { title: "Stuck", class: "number", draw: drawStuck },
      { title: "Oldest", class: "number", text: (one) => span(one.oldest_s * 1000) },
    ],
  });
}

/** What to do about the first stuck one. */
function adviceOf(found) {
  const stuck = found.find((saga) => saga.state === "stuck");
  if (!stuck) return null;
  return ["A stuck saga waits for you. Why: ", command(`sagas show ${stuck.token}`), ". When its service works again: ", command(`sagas resume ${stuck.token}`), "."];
}

/** The section appears with the first status that has sagas. */
export function sagas(container) {
  let card = null;
  let told = null;
  let fill = null;
  let advice = null;
  return ({ status }) => {
    if (!status.sagas) return;
    if (!card) {
      const whole = el("div", { class: "card" });
      advice = hint();
      whole.append(advice);
      fill = unfinishedOf(whole);
      card = el("div", { id: "saga-list" });
      whole.append(card);
      told = el("p", { class: "muted" });
      const heading = el("h2", { id: "h-sagas" }, "Sagas");
      container.append(
        el("section", { "aria-labelledby": "h-sagas" }, el("div", { class: "section-head" }, heading, told), whole),
      );
    }
    const counts = status.sagas.counts.map((one) => `${count(one.count)} ${one.state}`);
    setText(told, counts.join(", ") || "No saga was started yet.");
    fill(status.sagas.unfinished);
    setHint(advice, adviceOf(status.sagas.sagas));
    const now = status.now * 1000;
    keyed(
      card,
      status.sagas.sagas,
      (saga) => saga.token,
      newSaga,
      (node, saga) => drawSaga(node, saga, now),
    );
  };
}
