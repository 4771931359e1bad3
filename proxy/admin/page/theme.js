// The theme: the system's until the user chooses one. Runs before the first drawing.
"use strict";

(() => {
  const CHOICES = ["system", "light", "dark"];
  const read = () => {
    try {
      const kept = localStorage.getItem("theme");
      return CHOICES.includes(kept) ? kept : "system";
    } catch {
      return "system"; // storage may be forbidden: the choice then lasts as long as the page
    }
  };
  let choice = read();
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const apply = () => {
    const systems = dark.matches ? "dark" : "light";
    document.documentElement.dataset.theme = choice === "system" ? systems : choice;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${choice}`;
    document.dispatchEvent(new Event("themechange"));
  };

  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      try {
        localStorage.setItem("theme", choice);
      } catch {
        // see above
      }
      apply();
    });
    apply();
  });
})();
