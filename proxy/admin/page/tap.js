// Every request as it settles: a separate stream, opened by the button and closed when the page is
// hidden, so that it costs the proxy nothing otherwise.

import { statusText, statusTone } from "./badges.js";
import { el, setAttribute, setText } from "./dom.js";
import { count, moment, plural, span } from "./format.js";
import { table } from "./tables.js";

const KEPT = 100; // requests shown, newest first
const REDRAW = 250; // milliseconds: a busy proxy settles more requests than can be read

export function tap(form, container) {
  const button = form.querySelector("button");
  const state = form.querySelector("[role=status]");
  const draw = table(container, {
    label: "Live requests",
    columns: [
      { title: "Time", class: "text", text: (row) => moment(row.time) },
      { title: "Status", draw: drawStatus },
      { title: "Request", class: "text", text: (row) => `${row.method} ${row.host}${row.path}` },
      { title: "Route", class: "text", text: (row) => row.route || "–" },
      { title: "Took", class: "number", text: (row) => span(row.duration_ms) },
      { title: "Notes", class: "text", text: troubleOf },
    ],
    key: (row) => row.key,
    empty: "Nothing to show. Press Watch; requests appear as they settle.",
  });
  let source = null;
  let timer = 0;
  let rows = [];
  let seen = 0;
  let lost = 0;
  draw(rows);

  const redraw = () => {
    timer = 0;
    draw(rows);
    setText(state, `${plural(seen, "request")}${lost ? `, ${count(lost)} more were too many to show` : ""}`);
  };
  const later = () => {
    timer ||= setTimeout(redraw, REDRAW);
  };
  const stop = (why) => {
    source?.close();
    source = null;
    setText(button, "Watch");
    setAttribute(button, "aria-pressed", "false");
    if (why) {
      clearTimeout(timer);
      redraw();
      setText(state, why);
    }
  };
  const start = () => {
    stop("");
    [rows, seen, lost] = [[], 0, 0];
    draw(rows);
    const query = new URLSearchParams({ requests: "1" });
    for (const [name, value] of new FormData(form)) if (value.trim()) query.set(name, value.trim());
    source = new EventSource(`/events?${query}`);
    setText(button, "Stop");
    setAttribute(button, "aria-pressed", "true");
    setText(state, "Connecting");
    source.addEventListener("open", () => seen || setText(state, "Waiting for requests"));
    source.addEventListener("request", (event) => {
      seen += 1;
      rows = [{ ...JSON.parse(event.data), key: seen }, ...rows.slice(0, KEPT - 1)];
      later();
    });
    source.addEventListener("lost", (event) => {
      lost += JSON.parse(event.data).lines;
      later();
    });
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) stop("The proxy refuses: too many watchers.");
    });
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (source && event.submitter === button) stop("Stopped");
    else start();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) stop("Stopped when the page was hidden");
  });
}

function drawStatus(cell, row) {
  if (!cell.firstChild) cell.append(el("span", { class: "status" }));
  setText(cell.firstChild, statusText(row) || "none");
  setAttribute(cell.firstChild, "data-tone", statusTone(row.status, row.grpc_status));
}

function troubleOf(row) {
  const words = [row.listener];
  if (row.attempts.length > 1) words.push(plural(row.attempts.length, "attempt"));
  if (row.hedged) words.push("hedged");
  if (row.fallback) words.push("fallback");
  if (row.fault) words.push(`fault ${row.fault}`);
  if (row.observed) words.push(`observed ${row.observed.join(", ")}`);
  if (row.reason) words.push(row.reason);
  if (row.outbox_id) words.push(`outbox ${row.outbox_id}`);
  if (row.saga) words.push(`saga ${row.saga}`);
  return words.join(", ");
}
