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

  // A press on a link begins the request; the release, some 80 ms later, takes it.
  let ahead = null;
  document.addEventListener("pointerdown", (event) => {
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const link = plain && event.target.closest("a[href]:not([download], [target])");
    if (!link || link.origin !== location.origin || link.hash || OTHER.test(link.pathname) || !window.navigation) return;
    ahead = { href: link.href, at: performance.now(), answer: fetch(link.href) };
    ahead.answer.catch(() => {}); // whoever takes it sees the failure
  });

  const request = (address, signal) => {
    const begun = ahead;
    ahead = null;
    return begun?.href === address.href && performance.now() - begun.at < 1000 ? begun.answer : fetch(address, { signal });
  };

  const swap = async (address, signal) => {
    const answer = await request(address, signal);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    signal.throwIfAborted(); // the reader has gone elsewhere meanwhile
    if (answer.redirected || PARTS.some((part) => !next.querySelector(part))) throw new Error("not a page to swap in");
    document.title = next.title;
    document.body.dataset.csrf = next.body.dataset.csrf;
    for (const part of PARTS) document.querySelector(part).replaceWith(document.adoptNode(next.querySelector(part)));
    htmx.process(document.querySelector("main"));
    arrive();
    document.querySelector("main").focus({ preventScroll: true }); // as a document that was loaded anew
  };

  // A browser without the Navigation API loads each page as a document.
  window.navigation?.addEventListener("navigate", (event) => {
    const address = new URL(event.destination.url);
    const plain = event.canIntercept && !event.hashChange && !event.formData && event.downloadRequest === null;
    if (!plain || event.navigationType === "reload" || OTHER.test(address.pathname)) return;
    event.intercept({
      focusReset: "manual",
      handler: () => swap(address, event.signal).catch((error) => {
        if (!event.signal.aborted) location.reload(); // the address is already the new one
        throw error;
      }),
    });
  });
})();
