// The figures at the top: a few numbers, highlighted if they need attention.

import { el, setAttribute, setText } from "./dom.js";
import { count, plural, rate, share } from "./format.js";

const OPEN = ["open", "forced_open", "half_open"];

const last = (model, name) => {
  let sum = 0;
  for (const route of model.samples.values()) sum += route[name].at(-1) ?? 0;
  return sum;
};

/** In the last 15 minutes, as far back as the recorder's entries reach. */
const recentTrouble = (model) => {
  const since = (model.now() - 900) * 1000;
  return model.trouble.filter((one) => Date.parse(one.time) >= since).length;
};

function read(model) {
  const { status } = model;
  const requests = last(model, "rate");
  const errors = last(model, "errors");
  const breakers = status.circuit_breakers;
  const open = breakers.filter((breaker) => OPEN.includes(breaker.state)).length;
  const endpoints = status.upstreams.flatMap((upstream) => upstream.endpoints);
  const out = endpoints.filter(({ ejected, observed, health }) => (ejected && !observed) || health === "unhealthy").length;
  const { inbound, outbound, tries } = status.in_flight;
  const trouble = recentTrouble(model);
  return [
    { name: "Requests per second", value: rate(requests), more: "last 5 seconds" },
    {
      name: "Errors",
      value: share(errors, requests),
      more: errors ? `${rate(errors)} per second` : "no 5xx",
      tone: errors ? "bad" : null,
    },
    {
      name: "In flight",
      value: count(inbound + outbound + tries),
      more: `${inbound} in, ${outbound} out${tries ? `, ${plural(tries, "delivery", "deliveries")}` : ""}`,
    },
    {
      name: "Breakers not closed",
      value: count(open),
      more: `of ${breakers.length}`,
      tone: open ? "bad" : null,
    },
    {
      name: "Troubled requests",
      value: trouble >= 200 ? "200+" : count(trouble),
      more: status.uptime_s < 900 ? "since the start" : "last 15 minutes",
      tone: trouble ? "warn" : null,
    },
    {
      name: "Endpoints out",
      value: count(out),
      more: `of ${endpoints.length}, ${plural(connections(status), "connection")}`,
      tone: out ? "warn" : null,
    },
  ];
}

const connections = (status) =>
  status.upstreams.reduce((sum, { connections: c }) => sum + c.active + c.idle, 0);

export function figures(list) {
  const made = [];
  return (model) => {
    read(model).forEach(({ name, value, more, tone }, index) => {
      if (!made[index]) {
        made[index] = el("li", { class: "figure" }, el("span"), el("strong"), el("small"));
        list.append(made[index]);
      }
      const [title, number, note] = made[index].children;
      setText(title, name);
      setText(number, value);
      setText(note, more);
      setAttribute(made[index], "data-tone", tone ?? null);
    });
  };
}
