// The attempts of one exchange on a time line: waits, attempts, results.

import { statusText, statusTone } from "./badges.js";
import { el } from "./dom.js";
import { span } from "./format.js";

const REFUSED = {
  attempts: "no attempt was left (retry.attempts)",
  nested: "another layer retries: its caller, or the service's proxy (timeouts.inherit)",
  "not-repeatable": "the request is not safe to repeat (retry.methods)",
  body: "its body was not kept (retry.body_limit)",
  "circuit-open": "the circuit breaker is not closed",
  pushback: "the service forbade it (grpc-retry-pushback-ms)",
  "retry-after": "the upstream asked for a longer wait (retry.retry_after)",
  deadline: "the wait would end after the deadline (timeouts.request)",
  budget: "the retry budget was used up (retry.budget)",
  observe: "retry.mode is observe",
  condition: "this outcome is not in retry.on",
};

/** A list with a row for each attempt, and one for the bulkhead's queue. */
export function timeline(one) {
  const last = one.attempts.at(-1);
  const end = last ? last.started_ms + last.duration_ms : 0;
  const total = Math.max(one.duration_ms, end, 0.001);
  const rows = [];
  const first = one.attempts[0];
  const queued = one.attempts_made > one.attempts.length ? 0 : (first?.started_ms ?? one.duration_ms);
  if (queued >= 1 && (first || one.reason)) {
    const what = first ? "Waited for a permit of the bulkhead" : "Waited, without an attempt";
    rows.push(row(what, span(queued), "", [bar("wait", 0, queued, total)], "quiet"));
  }
  const skipped = one.attempts_made - one.attempts.length;
  one.attempts.forEach((attempt, index) => rows.push(attemptRow(one, attempt, skipped + index + 1, total)));
  if (end && one.duration_ms - end >= Math.max(1, total / 50)) rows.push(afterRow(one, end, total));
  if (!rows.length) return el("p", { class: "muted" }, "No attempt: the proxy answered at once.");
  const axis = el("li", { class: "axis", "aria-hidden": "true" }, el("span", {}, "0 ms"), el("span", {}, span(total)));
  return el("ol", { class: "timeline", "aria-label": "Attempts" }, ...rows, axis);
}

function attemptRow(one, attempt, number, total) {
  const elsewhere = attempt.upstream !== one.upstream ? ` (${attempt.upstream})` : "";
  const outcome = outcomeOf(attempt);
  const bars = [];
  if (attempt.wait_ms) {
    bars.push(bar("wait", attempt.started_ms - attempt.wait_ms, attempt.wait_ms, total));
  }
  const tone = toneOf(attempt);
  bars.push(bar("attempt", attempt.started_ms, attempt.duration_ms, total, tone));
  const waited = attempt.wait_ms ? `after a wait of ${span(attempt.wait_ms)}, ` : "";
  const hedge = attempt.hedge ? " (a hedge)" : "";
  const title = `Attempt ${number}${hedge}: ${attempt.endpoint || "no endpoint"}${elsewhere}`;
  return row(title, `${waited}${outcome} in ${span(attempt.duration_ms)}`, saidAfter(attempt), bars, tone);
}

const LOST = "hedge-lost"; // not a failure: another attempt answered first

function toneOf(attempt) {
  if (attempt.failure) return attempt.failure === LOST ? "quiet" : "bad";
  return statusTone(attempt.status, attempt.grpc_status);
}

function outcomeOf(attempt) {
  if (attempt.failure === LOST) return "cancelled";
  const status = statusText(attempt);
  if (attempt.failure && status) return `${status}, then ${attempt.failure}`;
  return attempt.failure ?? (status || "in flight");
}

/** The failure's sentence, and the retry policy's decision. */
function saidAfter(attempt) {
  const { retry } = attempt;
  const said = attempt.detail ? [attempt.detail] : [];
  if (attempt.fault) said.push(`The proxy injected a fault: ${attempt.fault}.`);
  if (retry?.allowed) said.push(`Retried on ${retry.condition}.`);
  else if (retry) said.push(`Not retried: ${REFUSED[retry.why] ?? retry.why}.`);
  return said.join(" ");
}

function afterRow(one, end, total) {
  const rest = one.duration_ms - end;
  const bars = [bar("after", end, rest, total)];
  return row("Until the end", `${span(rest)} for the response's body, or the wait for another attempt`, "", bars, "quiet");
}

function row(title, outcome, said, bars, tone) {
  return el(
    "li",
    { "data-tone": tone },
    el("div", { class: "line-text" }, el("strong", {}, title), " ", el("span", {}, outcome)),
    el("div", { class: "line-track", "aria-hidden": "true" }, ...bars),
    said ? el("p", { class: "line-said muted" }, said) : null,
  );
}

function bar(kind, from, length, total, tone = null) {
  const node = el("span", { class: `bar bar-${kind}`, "data-tone": tone });
  node.style.left = `${(100 * from) / total}%`;
  node.style.width = `${(100 * length) / total}%`;
  return node;
}
