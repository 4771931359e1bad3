// The smaller tables: bulkheads, requests in flight, upstreams, configuration.

import { el, setAttribute, setText } from "./dom.js";
import { count, moment, span } from "./format.js";
import { table } from "./tables.js";

export function bulkheads(container) {
  const fill = table(container, {
    label: "Bulkheads",
    key: (one) => one.name,
    empty: "No bulkhead yet: one appears with the first request of its route.",
    columns: [
      { title: "Bulkhead", class: "name", text: (one) => one.name },
      { title: "In use", class: "wide", draw: drawPlaces },
      {
        title: "Queued",
        class: "number",
        text: (one) => (one.max_queue ? `${count(one.queued)} of ${count(one.max_queue)}` : "no queue"),
      },
    ],
  });
  return (model) => fill(model.status.bulkheads);
}

/** In mode observe more than the limit may be in use. */
function drawPlaces(cell, one) {
  drawMeter(cell, one.in_use, one.limit);
  if (one.mode === "observe") setText(cell.lastChild, `${count(one.in_use)} of ${count(one.limit)}, only observed`);
}

function drawMeter(cell, used, limit) {
  if (!cell.firstChild) {
    cell.append(el("span", { class: "meter", "aria-hidden": "true" }, el("span")), el("span"));
  }
  const [meter, text] = cell.children;
  const full = limit ? used / limit : 0;
  meter.firstElementChild.style.width = `${100 * Math.min(1, full)}%`;
  setAttribute(meter, "data-tone", full >= 1 ? "bad" : full >= 0.8 ? "warn" : null);
  setText(text, `${count(used)} of ${count(limit)}${full >= 1 ? ", full" : ""}`);
}

export function flight(container) {
  const fill = table(container, {
    label: "Requests in flight, oldest first",
    key: (one) => `${one.request_id} ${one.listener} ${one.outbox_id ?? one.saga ?? ""} ${one.try ?? ""}`,
    empty: "Nothing in flight at this moment.",
    columns: [
      { title: "Request", class: "code wide", draw: drawRequest },
      { title: "Route", class: "text", text: (one) => `${one.method} ${one.route}` },
      { title: "To", class: "text", text: (one) => one.endpoint || one.upstream || "–" },
      { title: "Age", class: "number", text: (one) => span(one.age_s * 1000) },
      { title: "Attempt", class: "number", text: (one) => (one.attempt ? String(one.attempt) : "queued") },
    ],
  });
  const more = el("p", { class: "empty", hidden: "" });
  container.append(more);
  return (model) => {
    const { inbound, outbound, tries, requests } = model.status.in_flight;
    fill(requests);
    const others = inbound + outbound + tries - requests.length;
    more.hidden = others <= 0;
    setText(more, `and ${count(Math.max(0, others))} newer ones`);
  };
}

/** A try says what it delivers. */
function drawRequest(cell, one) {
  if (!cell.firstChild) cell.append(el("span"), el("small", { class: "muted" }));
  setText(cell.firstChild, one.request_id);
  let what = "";
  if (one.outbox_id) what = `outbox entry ${one.outbox_id}, try ${one.try}`;
  if (one.saga) what = `saga ${one.saga}, step ${one.step}, try ${one.try}`;
  setText(cell.lastChild, what);
}

export function upstreams(container) {
  const fill = table(container, {
    label: "Endpoints of the upstreams",
    key: (row) => row.key,
    empty: "No upstream has been used yet.",
    columns: [
      { title: "Upstream", class: "name", text: (row) => row.upstream },
      { title: "Endpoint", class: "code wide", text: (row) => row.address },
      { title: "State", class: "text", draw: drawState },
      { title: "Active", class: "number", text: (row) => number(row.active) },
      { title: "Idle", class: "number", text: (row) => number(row.idle) },
      { title: "Connecting", class: "number", text: (row) => number(row.connecting) },
      { title: "Waiting", class: "number", text: (row) => number(row.waiting) },
    ],
  });
  return (model) => fill(model.status.upstreams.flatMap(endpointsOf));
}

const number = (value) => (value === null ? "–" : count(value));

function endpointsOf(upstream) {
  const rows = upstream.endpoints.map((endpoint) => ({
    key: `${upstream.name} ${endpoint.scheme} ${endpoint.address}`,
    upstream: upstream.name,
    address: `${endpoint.scheme}://${endpoint.address}`,
    state: stateOf(endpoint),
    active: endpoint.active,
    ...endpoint.connections,
  }));
  if (rows.length) return rows;
  const nothing = { active: null, idle: null, connecting: null, waiting: null };
  return [{ key: upstream.name, upstream: upstream.name, address: "–", state: "not looked up", quiet: true, ...nothing }];
}

function stateOf({ health, last_check, ejected, observed, ejected_why, ejected_for_s, avoided }) {
  if (health === "unhealthy") return `▲ unhealthy: its health check got ${last_check}`;
  if (observed) return `used; observed: would be ejected, ${ejected_why.replaceAll("-", " ")}`;
  if (ejected) return `▲ ejected: ${ejected_why.replaceAll("-", " ")}, ${untilProbe(ejected_for_s)}`;
  if (avoided) return "▲ avoided: a recent connection failed";
  return health ?? "usable";
}

const untilProbe = (seconds) => (seconds ? `${Math.ceil(seconds)} s left` : "the next request decides");

function drawState(cell, row) {
  setText(cell, row.state);
  setAttribute(cell, "data-tone", row.state.startsWith("▲") ? "warn" : null);
}

export function configuration(container) {
  const [file, loaded, reload, problems] = ["File", "In effect since", "Last reload", "Problems"].map(
    (title) => {
      const value = el("dd");
      const row = el("div", {}, el("dt", {}, title), value);
      return { row, value };
    },
  );
  const list = [file, loaded, reload, problems].map(({ row }) => row);
  container.append(el("dl", { class: "facts" }, ...list));
  return (model) => {
    const { config } = model.status;
    const last = config.last_reload;
    setText(file.value, config.file ?? "none: the built-in defaults run");
    setText(loaded.value, moment(config.loaded_at));
    setText(reload.value, last ? `${last.result} at ${moment(last.time)} (${last.trigger})` : "none since the start");
    setAttribute(reload.value, "data-tone", last?.result === "rejected" ? "bad" : null);
    problems.row.hidden = !last?.problems.length;
    setText(problems.value, last?.problems.join("\n") ?? "");
  };
}
