// Light or dark: the system's choice, unless the reader has made one. Loaded before anything is drawn.
(() => {
  const root = document.documentElement;
  const chosen = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const dark = () => (chosen() ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const show = () => { root.dataset.theme = dark() ? "dark" : "light"; };
  show();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#theme")) return;
    try { localStorage.setItem("theme", dark() ? "light" : "dark"); } catch { /* private window: only for this page */ }
    show();
    document.dispatchEvent(new Event("theme"));
  });
})();
