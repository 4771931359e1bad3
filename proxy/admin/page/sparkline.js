// A route's last minutes in its table row: the rate as a line, errors as a filled area.

const WIDTH = 132;
const HEIGHT = 28;
const SAMPLE = 5; // seconds
const SVG = "http://www.w3.org/2000/svg";

export function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "sparkline");
  svg.setAttribute("aria-hidden", "true");
  for (const name of ["spark-errors", "spark-rate"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}

/** `rates` and `errors` per second, of the last `seconds`. */
export function drawSparkline(svg, allRates, allErrors, seconds) {
  const slots = Math.ceil(seconds / SAMPLE);
  const [rates, errors] = [allRates.slice(-slots), allErrors.slice(-slots)];
  const top = Math.max(...rates.map((value) => value ?? 0), 0);
  const step = WIDTH / (slots - 1);
  const first = slots - rates.length;
  const x = (index) => ((first + index) * step).toFixed(1);
  const y = (value) => (HEIGHT - 1.5 - (top ? value / top : 0) * (HEIGHT - 4)).toFixed(1);
  const line = (values) => values.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v ?? 0)}`).join("");
  const [area, rate] = svg.children;
  rate.setAttribute("d", rates.length > 1 ? line(rates) : "");
  const failed = errors.some((value) => value);
  const end = `L${x(errors.length - 1)} ${HEIGHT}L${x(0)} ${HEIGHT}Z`;
  area.setAttribute("d", failed && errors.length > 1 ? line(errors) + end : "");
}
