// Formats numbers, durations and times. null means no value.

const NONE = "–";

/** A rate per second. */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  if (value < 0.995) return value.toFixed(2);
  if (value < 99.95) return value.toFixed(1);
  return count(Math.round(value));
}

export function count(value) {
  return value.toLocaleString("en-US");
}

/** Milliseconds with a suitable unit. */
export function span(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return NONE;
  if (milliseconds === 0) return "0 ms";
  if (milliseconds < 0.995) return `${milliseconds.toFixed(2)} ms`;
  if (milliseconds < 9.95) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 9995) return `${(milliseconds / 1000).toFixed(2)} s`;
  if (milliseconds < 59950) return `${(milliseconds / 1000).toFixed(1)} s`;
  return age(milliseconds / 1000);
}

/** Seconds, in the two largest units. */
export function age(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Percent; -1 (a breaker below its minimum of calls) means no value. */
export function percent(value) {
  if (value === null || value < 0) return NONE;
  return `${value < 10 && value % 1 ? value.toFixed(1) : Math.round(value)} %`;
}

/** The share of errors; a value above 0 is never shown as 0. */
export function share(part, whole) {
  if (!whole) return NONE;
  if (!part) return "0 %";
  const value = (100 * part) / whole;
  return value < 0.1 ? "< 0.1 %" : percent(value);
}

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** A time (RFC 3339 or a Date) in the browser's time zone; with the day if it is not today. */
export function moment(when) {
  const date = new Date(when);
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

export function bytes(value) {
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${(value / 1000).toFixed(1)} kB`;
  return `${(value / 1e6).toFixed(1)} MB`;
}

/** "1 attempt", "2 attempts". */
export function plural(number, word, words = `${word}s`) {
  return `${count(number)} ${number === 1 ? word : words}`;
}
