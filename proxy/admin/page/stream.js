// The events of /events: connected as long as the page is looked at, and again when it is cut.

const EVENTS = ["history", "status", "sample", "transitions", "trouble"];
const AGAIN = 5000; // milliseconds, where the browser has given up by itself
const SILENCE = 6000; // a status comes each second: after so long without one it is stale

/**
 * Listen. `on` has a function for each event, which gets its data; `onLink` is told "live",
 * "lost" (trying again) or "paused" (nobody looks).
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
      // A refusal (too many pages) ends it for good; a cut stream is taken up by the browser.
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
