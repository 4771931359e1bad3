// Which troubled requests are alike, and which ones opened a circuit breaker.

/** Requests of one kind: the same route, status and cause, as in `top`. */
export function kindOf(one) {
  return JSON.stringify([one.route, one.status, causeOf(one)]);
}

function causeOf(one) {
  if (one.fallback) return `fallback ${one.reason}`;
  if (one.reason) return one.reason;
  const refused = one.attempts.findLast((attempt) => attempt.retry !== null)?.retry;
  return refused && !refused.allowed ? refused.why : one.trouble.join(" ");
}

/**
 * Rows of a list, newest first: one for each kind with the newest request of it, and `others`, the
 * number of the rest. The rest of an unfolded kind follows it, each in its own row.
 */
export function grouped(found, unfolded) {
  const kinds = new Map();
  for (const one of found) {
    const kind = kindOf(one);
    if (!kinds.has(kind)) kinds.set(kind, []);
    kinds.get(kind).push(one);
  }
  return [...kinds].flatMap(([kind, [newest, ...rest]]) => {
    const head = { one: newest, kind, others: rest.length };
    const shown = unfolded.has(kind) ? rest : [];
    return [head, ...shown.map((one) => ({ one, kind, others: 0, member: true }))];
  });
}

/** The kept requests whose failures opened a breaker: from its previous change to this one, oldest first. */
export function openers(trouble, name, changes, change) {
  const before = changes[changes.indexOf(change) - 1];
  const [from, to] = [before ? Date.parse(before.time) : -Infinity, Date.parse(change.time)];
  return trouble
    .filter((one) => {
      const began = Date.parse(one.time);
      return one.circuit_breaker?.name === name && began >= from && began <= to && failureOf(one);
    })
    .reverse();
}

/** What a breaker counts against the upstream: the reason or status of the first bad attempt; "" without one. */
export function failureOf(one) {
  const bad = one.attempts.find((attempt) => attempt.failure || attempt.status >= 500);
  if (bad) return bad.failure ?? String(bad.status);
  return one.trouble.includes("slow") ? "a slow answer" : "";
}

/** Ask the list of troubled requests to show only some. */
export function showOnly(label, requests) {
  const wanted = new Set(requests.map((one) => one.number));
  const detail = { label, includes: (one) => wanted.has(one.number) };
  document.dispatchEvent(new CustomEvent("showonly", { detail }));
}

/** The id of a breaker's row, for links. */
export const anchorOf = (name) => `breaker-${encodeURIComponent(name)}`;
