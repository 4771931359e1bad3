// The table of routes, and the plots of the selected one.

import { charts } from "./charts.js";
import { el, setAttribute, setText } from "./dom.js";
import { count, rate, share, span } from "./format.js";
import { keyOf } from "./model.js";
import { drawSparkline, sparkline } from "./sparkline.js";
import { table } from "./tables.js";

const now = (row, name) => row.samples?.[name].at(-1) ?? null;
const weights = (split) => Object.entries(split).map(([name, weight]) => `${name} (${weight})`).join(", ");
const target = (route) => (route.split ? weights(route.split) : (route.upstream ?? "the authority asked for"));
const sum = (values) => values.reduce((all, value) => all + (value ?? 0), 0);

export function routes(container, panel, model) {
  let chosen = null; // no choice yet: the busiest route
  let plots = null;

  const show = (key) => {
    chosen = key;
    draw();
  };

  const fill = table(container, {
    label: "Routes",
    key: (row) => row.key,
    empty: "No route yet.",
    columns: [
      { title: "Route", draw: (cell, row) => drawName(cell, row, show) },
      { title: "To", class: "text", text: (row) => target(row.route) },
      { title: "Requests", class: "number", text: (row) => `${rate(now(row, "rate") ?? 0)} /s` },
      { title: "Errors", class: "number", draw: drawErrors },
      { title: "p50", class: "number", text: (row) => span(now(row, "p50_ms")) },
      { title: "p99", class: "number", text: (row) => span(now(row, "p99_ms")) },
      { title: "Since start", class: "number", draw: drawTotals },
      { title: "Up to 15 minutes", class: "spark", draw: (cell, row) => drawLine(cell, row, model.window) },
    ],
  });

  const draw = () => {
    const rows = model.status.routes.map((route) => {
      const key = keyOf(route);
      const samples = model.samples.get(key);
      return { key, route, samples, quiet: !route.requests };
    });
    if (!rows.some((row) => row.key === chosen)) chosen = null;
    const busiest = rows.reduce((a, b) => (b.route.requests > a.route.requests ? b : a), rows[0]);
    const selected = rows.find((row) => row.key === chosen) ?? busiest;
    for (const row of rows) row.selected = row === selected;
    fill(rows);
    drawPlots(selected);
  };

  const drawPlots = (row) => {
    panel.hidden = !row;
    if (!row) return;
    plots ??= charts(document.getElementById("chart-grid"), model);
    setText(document.getElementById("charts-title"), `${row.route.name}, ${model.windowName}`);
    const nothing = model.times.map(() => null);
    plots(
      model.times,
      row.samples ?? { rate: nothing, errors: nothing, p50_ms: nothing, p99_ms: nothing },
    );
  };

  return draw;
}

function drawName(cell, row, show) {
  if (!cell.firstChild) {
    const button = el("button", { type: "button", class: "row-button" });
    button.addEventListener("click", () => show(row.key));
    cell.append(button, el("small", { class: "muted" }));
  }
  const [button, note] = cell.children;
  setText(button, row.route.name);
  setAttribute(button, "aria-pressed", String(row.selected));
  setText(note, row.route.listener);
}

/** All requests, and what was added to them. */
function drawTotals(cell, { route }) {
  if (!cell.firstChild) cell.append(el("span"), el("small", { class: "muted" }));
  const added = [
    [route.retries, "retry", "retries"],
    [route.hedges, "hedge", "hedges"],
    [route.faults, "fault", "faults"],
  ].filter(([number]) => number);
  setText(cell.firstChild, count(route.requests));
  setText(cell.lastChild, added.map(([number, one, many]) => `${count(number)} ${number === 1 ? one : many}`).join(", "));
}

function drawErrors(cell, row) {
  const errors = now(row, "errors");
  setText(cell, share(errors, now(row, "rate")));
  setAttribute(cell, "data-tone", errors ? "bad" : null);
}

function drawLine(cell, row, seconds) {
  if (!cell.firstChild) cell.append(sparkline(), el("span", { class: "visually-hidden" }));
  const { rate: rates = [], errors = [] } = row.samples ?? {};
  drawSparkline(cell.firstChild, rates, errors, seconds);
  const [most, failed] = [Math.max(0, ...rates.map((value) => value ?? 0)), sum(errors) * 5];
  const bad = failed ? `, about ${count(Math.round(failed))} errors` : "";
  setText(cell.lastChild, `at most ${rate(most)} requests per second${bad}`);
}
