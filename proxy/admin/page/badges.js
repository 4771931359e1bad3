// States as words with a sign and a tone: colour is never the only sign.

import { el, setAttribute, setText } from "./dom.js";

const BREAKER = {
  closed: { word: "Closed", sign: "●", tone: "good" },
  open: { word: "Open", sign: "▲", tone: "bad" },
  half_open: { word: "Half-open", sign: "◐", tone: "warn" },
  forced_open: { word: "Forced open", sign: "■", tone: "bad" },
  disabled: { word: "Disabled", sign: "○", tone: "quiet" },
};

export function breakerState(state) {
  return BREAKER[state] ?? { word: state, sign: "?", tone: "quiet" };
}

/** A badge that `setBadge` fills. */
export function badge() {
  return el("span", { class: "badge" }, el("span", { "aria-hidden": "true" }), el("span"));
}

export function setBadge(node, { word, sign, tone }) {
  setText(node.firstElementChild, sign ?? "");
  setText(node.lastElementChild, word);
  setAttribute(node, "data-tone", tone);
}

const TROUBLE = { error: "bad", retried: "warn", fallback: "info", observed: "info", slow: "warn", hedged: "info", fault: "quiet" };

export function troubleTone(word) {
  return TROUBLE[word] ?? "quiet";
}

const GRPC_FAILURES = new Set(["UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]);

/** The status of an answer: `503`, or the name of a gRPC call's; empty without one. */
export function statusText(one) {
  return one.grpc_status || (one.status ? String(one.status) : "");
}

/** A badge with the status; a long name may break after its underscores. */
export function statusBadge(one) {
  const parts = (statusText(one) || "–").split(/(?<=_)/);
  const pieces = parts.flatMap((part, at) => (at ? [el("wbr"), part] : [part]));
  const named = one.grpc_status ? "" : null;
  return el("span", { class: "status", "data-tone": statusTone(one.status, one.grpc_status), "data-named": named }, ...pieces);
}

/** The tone of a status; 0 means no status. */
export function statusTone(status, grpc) {
  if (!status) return "quiet";
  if (grpc && grpc !== "OK") return GRPC_FAILURES.has(grpc) ? "bad" : "warn";
  if (status >= 500) return "bad";
  return status >= 400 ? "warn" : "good";
}
