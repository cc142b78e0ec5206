// The tail of a log: new lines come as text, never as HTML; the view follows while its end is in sight.
document.addEventListener("page", ({ detail: signal }) => {
  const view = document.getElementById("log");
  if (!view) return;
  const MOST = 400_000; // characters that are kept
  let next = null;
  let busy = false;
  const look = async () => {
    if (busy || document.hidden || signal.aborted) return;
    busy = true;
    try {
      const answer = await fetch(view.dataset.src + (next ? `?after=${encodeURIComponent(next)}` : ""), { signal });
      if (!answer.ok) return;
      const page = await answer.json();
      next = page.next;
      const following = view.scrollHeight - view.scrollTop - view.clientHeight < 40;
      for (const piece of page.pieces) {
        if (piece.dropped) view.append(`[older lines of attempt ${piece.attempt} were dropped]\n`);
        view.append(piece.text);
      }
      if (view.textContent.length > MOST) view.textContent = view.textContent.slice(-MOST);
      if (following) view.scrollTop = view.scrollHeight;
      if (!view.textContent) view.dataset.empty = "";
      else delete view.dataset.empty;
      if (page.more) setTimeout(look, 50);
    } catch {
      if (!signal.aborted) document.dispatchEvent(new Event("console:lost"));
    } finally {
      busy = false;
    }
  };
  look();
  const timer = setInterval(() => { if (!("ended" in view.dataset)) look(); }, 3000);
  signal.addEventListener("abort", () => clearInterval(timer));
});
