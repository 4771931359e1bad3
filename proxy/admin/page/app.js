// The page: events update the model, one function draws all views, at most once per event.

import { setBadge, badge } from "./badges.js";
import { breakers } from "./breakers.js";
import { bulkheads, configuration, flight, upstreams } from "./details.js";
import { el, setAttribute, setText } from "./dom.js";
import { figures } from "./figures.js";
import { age } from "./format.js";
import { gates } from "./gates.js";
import { Model } from "./model.js";
import { outbox } from "./outbox.js";
import { sagas } from "./sagas.js";
import { store } from "./store.js";
import { routes } from "./routes.js";
import { listen } from "./stream.js";
import { tap } from "./tap.js";
import { trouble } from "./trouble.js";

const byId = (id) => document.getElementById(id);

const model = new Model();
const views = [
  figures(byId("figures")),
  routes(byId("routes"), byId("charts"), model),
  trouble(byId("trouble-list"), byId("filter"), byId("trouble-count"), model),
  breakers(byId("breakers"), byId("announce"), model),
  bulkheads(byId("bulkheads")),
  flight(byId("flight")),
  gates(byId("gates")),
  store(byId("store")),
  outbox(byId("outbox")),
  sagas(byId("sagas")),
  upstreams(byId("upstreams")),
  configuration(byId("config")),
];

tap(byId("tap-form"), byId("tap"));

const LINK = {
  live: { word: "Live", sign: "●", tone: "good" },
  lost: { word: "Reconnecting", sign: "▲", tone: "bad" },
  paused: { word: "Paused", sign: "○", tone: "quiet" },
};

function phaseOf(status) {
  if (status.draining) return { word: "Draining", sign: "▼", tone: "warn" };
  if (!status.ready) return { word: "Starting", sign: "◐", tone: "warn" };
  return { word: "Serving", sign: "●", tone: "good" };
}

const asBadge = (id) => {
  const made = badge();
  made.id = id;
  byId(id).replaceWith(made);
  return made;
};
const phase = asBadge("phase");
const link = asBadge("link");
setBadge(link, { word: "Connecting", sign: "◐", tone: "quiet" });

const notices = byId("notices");
const notice = el("p", { class: "notice", role: "status", hidden: "" });
notices.append(notice);

function tell(status, lost) {
  const { inbound, outbound } = status?.in_flight ?? {};
  let text = "";
  const bypass = status?.bypass?.on
    ? `Bypass for another ${Math.ceil(status.bypass.ends_in_s / 60)} min: retries and circuit breakers are suspended.`
    : "";
  if (lost && !status) {
    text = "The proxy does not answer, or too many pages are open. Trying again…";
  } else if (lost) {
    text = "The connection to the proxy is lost; the page shows the last known state. Trying again…";
  } else if (status?.draining) {
    text = `The proxy is draining: ${inbound} inbound and ${outbound} outbound requests still in flight.`;
  }
  text = [bypass, text].filter(Boolean).join(" ");
  setText(notice, text);
  setAttribute(notice, "data-tone", lost ? "bad" : "warn");
  notice.hidden = !text;
}

let state = "connecting";

function draw() {
  const { status } = model;
  tell(status, state === "lost");
  if (!status) return;
  const serving = phaseOf(status);
  setText(byId("service"), status.service);
  setText(byId("version"), `resilience-proxy ${status.version}, up ${age(status.uptime_s)}`);
  document.title = `${serving.word === "Serving" ? "" : `${serving.word}: `}${status.service} – Resilience Proxy`;
  setBadge(phase, serving);
  for (const view of views) view(model);
}

let asked = false;

/** Draw once for all events that arrive together. */
function soon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

const taking = (take) => (data) => {
  take.call(model, data);
  soon();
};

listen(
  {
    history: taking(model.takeHistory),
    sample: taking(model.takeSample),
    transitions: taking(model.takeTransitions),
    trouble: taking(model.takeTrouble),
    status: taking(model.takeStatus),
  },
  (now) => {
    if (now === state) return;
    state = now;
    setBadge(link, LINK[now]);
    soon();
  },
);
