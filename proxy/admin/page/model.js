// The page's data: events write it, views read it.

const SLOTS = 180; // samples of five seconds
const LONGEST = 900; // seconds of the past
const SHORTEST = 60;
const MAX_TROUBLE = 200;
const COLUMNS = ["rate", "errors", "p50_ms", "p99_ms"];

export const keyOf = (route) => `${route.listener} ${route.name}`;

export class Model {
  constructor() {
    this.times = [];
    this.samples = new Map(); // by listener and name of the route
    this.transitions = new Map(); // by name of the breaker: the last changes, and the count of all
    this.trouble = []; // newest first
    this.old = false; // the trouble is that of an earlier connection
    this.status = null;
    this.offset = 0; // seconds that the proxy's clock is ahead of this one
  }

  /** The proxy's time, in seconds since the Unix epoch. */
  now() {
    return Date.now() / 1000 + this.offset;
  }

  /** The seconds that plots show: since the process began, from one minute to 15. */
  get window() {
    return Math.min(LONGEST, Math.max(SHORTEST, this.status?.uptime_s ?? LONGEST));
  }

  get windowName() {
    return this.window < LONGEST ? "since the start" : "last 15 minutes";
  }

  /**
   * At the start of a connection: replace all history, because the proxy may be another process.
   * The trouble stays until the event that replaces it, so that its rows keep their focus.
   */
  takeHistory(history) {
    this.times = history.times;
    this.samples = new Map(history.routes.map((route) => [keyOf(route), route]));
    this.old = true;
    this.takeTransitions(history);
  }

  takeSample(sample) {
    if (!sample.times.length || sample.times[0] === this.times.at(-1)) return;
    const fresh = new Map(sample.routes.map((route) => [keyOf(route), route]));
    for (const [key, route] of fresh) {
      if (!this.samples.has(key)) {
        const nothing = COLUMNS.map((name) => [name, this.times.map(() => null)]);
        this.samples.set(key, { ...route, ...Object.fromEntries(nothing) });
      }
    }
    this.times.push(sample.times[0]);
    if (this.times.length > SLOTS) this.times.shift();
    for (const [key, route] of this.samples) {
      for (const name of COLUMNS) {
        route[name].push(fresh.get(key)?.[name][0] ?? null);
        if (route[name].length > SLOTS) route[name].shift();
      }
    }
  }

  takeTransitions(document) {
    this.transitions = new Map(
      document.circuit_breakers.map((breaker) => [breaker.name, breaker]),
    );
  }

  takeTrouble({ recent }) {
    const before = this.old ? [] : this.trouble;
    const known = new Set(before.map((one) => one.number));
    const fresh = recent.filter((one) => !known.has(one.number));
    this.trouble = [...fresh, ...before].slice(0, MAX_TROUBLE);
    this.old = false;
  }

  takeStatus(status) {
    this.status = status;
    this.offset = status.now - Date.now() / 1000;
  }
}
