// Creates and changes elements. Text is set as text, never as markup: paths and hosts come from
// clients.

/** An element. `attributes`: `class` and others for setAttribute; null omits one. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Set the text if it differs, so that screen readers do not repeat it. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const kept = new WeakMap();

/**
 * Children of `parent`, one for each item, in order. A node stays with its key, so that focus,
 * selection and open details survive an update, also one that changes the order.
 */
export function keyed(parent, items, keyOf, create, update) {
  const before = kept.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const key = keyOf(item);
    const node = before.get(key) ?? create(item);
    before.delete(key);
    after.set(key, node);
    update(node, item);
  }
  for (const node of before.values()) node.remove();
  arrange(parent, [...after.values()]);
  kept.set(parent, after);
}

/** A node that moves loses its focus: the others move around the focused one. */
function arrange(parent, nodes) {
  const focused = nodes.find((node) => node.contains(document.activeElement));
  let place = parent.firstElementChild;
  for (const node of nodes) {
    while (node === focused && place !== focused) {
      const later = place;
      place = place.nextElementSibling;
      parent.append(later);
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
}
