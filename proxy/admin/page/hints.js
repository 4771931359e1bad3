// What an operator can do now: a sentence with commands, shown only while there is something to do.

import { el } from "./dom.js";

/** A command of this program. */
export const command = (words) => `resilience-proxy ${words}`;

export const hint = () => el("p", { class: "hint", hidden: "" });

/** Show the sentence's parts; each command stands in code. null hides it. */
export function setHint(node, parts) {
  node.hidden = !parts;
  const text = parts?.join("") ?? "";
  if (node.textContent === text) return;
  node.replaceChildren(...(parts ?? []).map((part) => (part.startsWith("resilience-proxy ") ? el("code", {}, part) : part)));
}
