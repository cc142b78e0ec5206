// Swaps pages in place: fetching the next page and replacing what is on this one is faster than loading a document.
// Each page dispatches "page" once it is there, with a signal that is aborted when the reader leaves it.
(() => {
  const PARTS = ["header.top", "main", "footer"];
  const OTHER = /^\/(through|v1|docs|openapi|static)\b/; // files, and documents that are not the console's
  let here = new AbortController();
  const arrive = () => {
    here.abort();
    here = new AbortController();
    document.dispatchEvent(new CustomEvent("page", { detail: here.signal }));
  };
  document.addEventListener("DOMContentLoaded", arrive);
  if (!window.navigation) return; // such a browser loads each page as a document

  // A press on a link begins the request; the release, some 80 ms later, takes it.
  let ahead = null;
  document.addEventListener("pointerdown", (event) => {
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const link = plain && event.target.closest("a[href]:not([download], [target])");
    if (!link || link.origin !== location.origin || link.hash || OTHER.test(link.pathname)) return;
    ahead = { href: link.href, at: performance.now(), answer: fetch(link.href) };
    ahead.answer.catch(() => {}); // whoever takes it sees the failure
  });

  const request = (address, referrer, signal) => {
    const begun = ahead;
    ahead = null;
    const fresh = begun?.href === address.href && performance.now() - begun.at < 1000;
    return fresh ? begun.answer : fetch(address, { referrer, signal });
  };

  // An upgraded service names other scripts and styles.
  const files = (page) => [...page.head.querySelectorAll("script[src], link[rel=stylesheet]")].map((each) => each.src || each.href).join();

  const swap = async (address, referrer, signal) => {
    const answer = await request(address, referrer, signal);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    signal.throwIfAborted(); // the reader has gone elsewhere meanwhile
    const alike = PARTS.every((part) => next.querySelector(part)) && files(next) === files(document);
    if (answer.redirected || !alike) throw new Error("not a page to swap in");
    document.title = next.title;
    document.body.dataset.csrf = next.body.dataset.csrf;
    for (const part of PARTS) document.querySelector(part).replaceWith(document.adoptNode(next.querySelector(part)));
    htmx.process(document.querySelector("main"));
    arrive();
    (document.querySelector("main [autofocus]") ?? document.querySelector("main")).focus({ preventScroll: true }); // as a new document
  };

  let last = new AbortController(); // aborted by the next swap only; a download or a jump within the page aborts the event's signal
  navigation.addEventListener("navigate", (event) => {
    const address = new URL(event.destination.url);
    const plain = event.canIntercept && !event.hashChange && !event.formData && event.downloadRequest === null;
    const posted = "posted" in document.body.dataset; // Back could not fetch this page again
    if (!plain || posted || event.navigationType === "reload" || OTHER.test(address.pathname)) return;
    last.abort();
    last = new AbortController();
    const { signal } = last;
    const referrer = location.href;
    event.intercept({
      focusReset: "manual",
      handler: () => swap(address, referrer, signal).catch((error) => {
        if (!signal.aborted) location.reload(); // the address is already the new one
        throw error;
      }),
    });
  });
})();
