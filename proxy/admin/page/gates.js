// Tables for all kinds of gates without their own view.

import { el } from "./dom.js";
import { count, percent } from "./format.js";
import { table } from "./tables.js";

const OWN_VIEW = ["circuit_breakers", "bulkheads"];

const asTitle = (words) => {
  const text = words.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

function textOf(field, value) {
  if (value === null || value === undefined) return "–";
  if (field.endsWith("_rate")) return percent(value);
  if (typeof value === "number") return count(value);
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .map(([name, number]) => `${name} ${number}`)
    .join(", ");
}

const columnOf = (first) => (field) => ({
  title: field === "name" ? "Name" : asTitle(field),
  class: typeof first[field] === "number" ? "number" : null,
  text: (one) => textOf(field, one[field]),
});

function section(container, { member, title }, first) {
  const id = `h-${member}`;
  const card = el("div", { class: "card", id: member });
  const heading = el("h2", { id }, asTitle(title));
  container.append(
    el("section", { "aria-labelledby": id }, el("div", { class: "section-head" }, heading), card),
  );
  return table(card, {
    label: asTitle(title),
    key: (one) => one.name,
    empty: "None at present.",
    columns: Object.keys(first).map(columnOf(first)),
  });
}

/** A section appears with the first gate of its kind; the gate's fields are the columns. */
export function gates(container) {
  const fills = new Map();
  return ({ status }) => {
    for (const kind of status.gates) {
      const rows = status[kind.member];
      if (OWN_VIEW.includes(kind.member)) continue;
      if (!fills.has(kind.member) && rows.length) {
        fills.set(kind.member, section(container, kind, rows[0]));
      }
      fills.get(kind.member)?.(rows);
    }
  };
}
