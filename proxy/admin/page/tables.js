// Tables that are updated each second and keep their elements. Roles are explicit: on a narrow screen
// the style turns rows into cards, and a table without table display loses its implicit roles.

import { el, keyed, setAttribute, setText } from "./dom.js";

/**
 * A table in `container`; returns a function that takes the rows.
 *
 * A column: `title`, `class` (optional), and `text(row)`, or `draw(cell, row)` for more than text.
 * The first column names the row. `empty` is shown without rows.
 */
export function table(container, { label, columns, key, empty }) {
  const headers = columns.map((column) =>
    el("th", { scope: "col", role: "columnheader", class: column.class }, column.title),
  );
  const head = el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...headers));
  const body = el("tbody", { role: "rowgroup" });
  const whole = el("table", { role: "table", "aria-label": label }, head, body);
  const nothing = el("p", { class: "empty" }, empty);
  container.append(whole, nothing);

  const create = () => {
    const cells = columns.map((column, index) =>
      el(index === 0 ? "th" : "td", {
        scope: index === 0 ? "row" : null,
        role: index === 0 ? "rowheader" : "cell",
        class: column.class,
        "data-label": column.title,
      }),
    );
    return el("tr", { role: "row" }, ...cells);
  };
  const update = (node, row) => {
    columns.forEach((column, index) => {
      const cell = node.children[index];
      if (column.draw) column.draw(cell, row);
      else setText(cell, column.text(row));
    });
    setAttribute(node, "data-quiet", row.quiet ? "" : null);
  };
  return (rows) => {
    whole.hidden = rows.length === 0;
    nothing.hidden = rows.length > 0;
    keyed(body, rows, key, create, update);
  };
}
