// The three plots of one route: rate, latency, errors, over the time that the model shows (uPlot).

import { el, setAttribute, setText } from "./dom.js";
import { rate, span } from "./format.js";

const HEIGHT = 168;

const PLOTS = [
  { title: "Requests per second", format: rate, lines: [["rate", "requests", "--series-1", true]] },
  {
    title: "Latency",
    format: span,
    lines: [
      ["p50_ms", "p50", "--series-2", false],
      ["p99_ms", "p99", "--series-3", false],
    ],
  },
  { title: "Errors per second", format: rate, lines: [["errors", "5xx", "--series-4", true]] },
];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Samples without neighbours: a line cannot show them, a point can. */
function lonely(plot, series) {
  const values = plot.data[series];
  const found = [];
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) found.push(i);
  }
  return found;
}

function options(plot, width, model, onCursor) {
  const axis = {
    stroke: () => colour("--muted"),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11px ui-sans-serif, system-ui, sans-serif",
  };
  return {
    width,
    height: HEIGHT,
    padding: [10, 26, 0, 0], // half of a time at the last tick
    legend: { show: false },
    cursor: { sync: { key: "route" }, drag: { x: false, y: false }, points: { size: 7 } },
    scales: {
      x: { time: true, range: () => [model.now() - model.window, model.now()] },
      y: { range: (_, low, high) => [0, high > 0 ? high * 1.15 : 1] },
    },
    axes: [
      { ...axis, space: 64, size: 28, values: (_, ticks) => ticks.map((tick) => clock(tick, model.window)) },
      { ...axis, size: 62, space: 34, values: (_, ticks) => ticks.map(plot.format) },
    ],
    series: [
      {},
      ...plot.lines.map(([, , name, filled]) => ({
        stroke: () => colour(name),
        fill: filled ? () => `${colour(name)}22` : undefined,
        width: 1.75,
        points: { show: true, size: 4, fill: () => colour(name), filter: lonely },
      })),
    ],
    hooks: { setCursor: [onCursor] },
  };
}

/** With seconds where ticks of one minute would read the same. */
const clock = (seconds, window) =>
  new Date(seconds * 1000).toLocaleTimeString("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    second: window < 300 ? "2-digit" : undefined,
  });

class Chart {
  constructor(container, plot, model) {
    this.plot = plot;
    this.model = model;
    this.shown = el("span", { class: "chart-at muted" });
    this.values = plot.lines.map(() => el("strong"));
    const keys = plot.lines.map(([, word, name], index) => {
      const mark = el("span", { class: "chart-mark", "data-series": name, "aria-hidden": "true" });
      return el("span", { class: "chart-key" }, mark, `${word} `, this.values[index]);
    });
    this.canvas = el("div", { class: "chart-canvas", role: "img" });
    container.append(
      el(
        "figure",
        { class: "chart" },
        el("figcaption", {}, el("span", { class: "chart-title" }, plot.title), ...keys, this.shown),
        this.canvas,
      ),
    );
    const width = Math.max(this.canvas.clientWidth, 200);
    this.uplot = new uPlot(
      options(plot, width, model, () => this.caption()),
      [[], ...plot.lines.map(() => [])],
      this.canvas,
    );
    new ResizeObserver(() => {
      const wide = this.canvas.clientWidth;
      if (wide > 0 && wide !== this.uplot.width) this.uplot.setSize({ width: wide, height: HEIGHT });
    }).observe(this.canvas);
    document.addEventListener("themechange", () => this.uplot.redraw(false));
  }

  draw(times, samples) {
    this.uplot.setData([times, ...this.plot.lines.map(([name]) => samples[name])]);
    this.caption();
    const told = this.plot.lines.map(([name, word]) => this.describe(word, samples[name]));
    setAttribute(this.canvas, "aria-label", `${this.plot.title}, ${this.model.windowName}. ${told.join(" ")}`);
  }

  describe(word, values) {
    const known = values.filter((value) => value !== null);
    if (!known.length) return `${word}: nothing yet.`;
    const format = this.plot.format;
    return `${word}: now ${format(values.at(-1))}, at most ${format(Math.max(...known))}.`;
  }

  /** The values at the cursor, else the last ones. */
  caption() {
    if (!this.uplot) return; // uPlot sets the first cursor during its construction
    const { idx } = this.uplot.cursor;
    const [times, ...lines] = this.uplot.data;
    const at = idx ?? times.length - 1;
    lines.forEach((values, index) => setText(this.values[index], this.plot.format(values[at])));
    setText(this.shown, idx != null && times[idx] ? clockSeconds(times[idx]) : "");
  }
}

const clockSeconds = (seconds) => `at ${new Date(seconds * 1000).toLocaleTimeString("en-GB")}`;

/** Plots in `container`; returns a function that takes times and one route's samples. */
export function charts(container, model) {
  const all = PLOTS.map((plot) => new Chart(container, plot, model));
  return (times, samples) => all.forEach((chart) => chart.draw(times, samples));
}
