// The tail of a log: new lines come as text, never as HTML; the view follows while its end is in sight.
(() => {
  const view = document.getElementById("log");
  const MOST = 400_000; // characters that are kept
  let next = null;
  let busy = false;
  const look = async () => {
    if (busy || document.hidden || !view.isConnected) return;
    busy = true;
    try {
      const answer = await fetch(view.dataset.src + (next ? `?after=${encodeURIComponent(next)}` : ""));
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
      document.dispatchEvent(new Event("console:lost"));
    } finally {
      busy = false;
    }
  };
  look();
  setInterval(() => { if (!("ended" in view.dataset)) look(); }, 3000);
})();
