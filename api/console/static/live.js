// Polls: none from a hidden tab, a note while the service does not answer, and a page that mends itself.
(() => {
  const lost = document.getElementById("lost");
  const tell = (gone) => { lost.hidden = !gone; document.body.classList.toggle("lost", gone); };
  const isPoll = (event) => event.detail.ctx?.sourceEvent?.type === "every";
  document.addEventListener("htmx:config:request", (event) => {
    if (isPoll(event) && document.hidden) event.preventDefault();
  });
  const left = (event) => event.detail.ctx?.sourceElement?.isConnected === false; // by a reader who is on another page
  document.addEventListener("htmx:after:request", (event) => {
    if (left(event)) return;
    const status = event.detail.ctx.response.status;
    tell(status >= 500 || status === 429);
    if (isPoll(event) && (status === 404 || status === 410)) location.reload();
  });
  document.addEventListener("htmx:error", (event) => { if (!left(event)) tell(true); });
  document.addEventListener("console:lost", () => tell(true));
  document.addEventListener("page", () => tell(false));
  // A filter acts once it is chosen.
  document.addEventListener("change", (event) => { if (event.target.matches(".filters[method=get] select")) event.target.form.requestSubmit(); });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) htmx.findAll("[hx-trigger^=every]").forEach((each) => htmx.trigger(each, "every"));
  });
})();
