// Times in the reader's zone: the server writes UTC.
(() => {
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const show = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      time.textContent = day.format(at);
      time.title = whole.format(at);
    }
  };
  document.addEventListener("page", show);
  document.addEventListener("htmx:after:swap", show);
})();
