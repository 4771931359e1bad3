// The events of /events: connected while the page is visible, and reconnected when cut.

const EVENTS = ["history", "status", "sample", "transitions", "trouble"];
const AGAIN = 5000; // milliseconds, if the browser has stopped reconnecting
const SILENCE = 6000; // a status arrives each second: after this time without one the page is stale

/**
 * Listen. `on` has a function for each event, which gets its data; `onLink` gets "live",
 * "lost" (trying again) or "paused" (the page is hidden).
 */
export function listen(on, onLink) {
  let source = null;
  let timer = 0;
  let heard = 0;

  const open = () => {
    clearTimeout(timer);
    source?.close();
    source = new EventSource("/events");
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        heard = Date.now();
        onLink("live");
        on[name](JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => {
      onLink("lost");
      // A refusal (too many pages) is final; the browser itself reconnects a cut stream.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN);
    });
  };

  const look = () => {
    if (document.hidden) {
      clearTimeout(timer);
      source?.close();
      source = null;
      onLink("paused");
    } else if (source === null) {
      open();
    }
  };

  setInterval(() => {
    if (source !== null && heard && Date.now() - heard > SILENCE) onLink("lost");
  }, 1000);
  document.addEventListener("visibilitychange", look);
  look();
}
