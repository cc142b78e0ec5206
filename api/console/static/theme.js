// Light or dark: the system's choice, unless the reader has made one. Loaded before anything is drawn.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const others = { light: "dark", dark: "light" };
  const ofSystem = () => (system.matches ? "dark" : "light");
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* private window: only for this page */ }
  if (!(chosen in others)) chosen = null;
  const show = () => {
    root.dataset.theme = chosen ?? ofSystem();
    const button = document.getElementById("theme");
    if (!button) return;
    button.textContent = { light: "○", dark: "●" }[chosen] ?? "◐";
    button.title = `Colours: ${chosen ?? "as the system"}`;
    button.setAttribute("aria-label", `${button.title}. Change`);
  };
  // From the system's choice to the other one, then to the same one, made by the reader, then back to the system's.
  const next = () => (chosen === null ? others[ofSystem()] : chosen === ofSystem() ? null : ofSystem());
  show();
  document.addEventListener("page", show);
  system.addEventListener("change", show);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#theme")) return;
    chosen = next();
    try {
      if (chosen) localStorage.setItem("theme", chosen);
      else localStorage.removeItem("theme");
    } catch { /* private window */ }
    show();
    document.dispatchEvent(new Event("theme"));
  });
})();
