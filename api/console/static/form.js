// Keeps the values of a form across reloads, a lost session and the Back button, until it is submitted.
document.addEventListener("page", ({ detail: signal }) => {
  const form = document.getElementById("new");
  const key = `draft ${location.pathname}${location.search}`;
  const store = (work) => { try { return work(sessionStorage); } catch { return null; /* private window */ } };
  if (!form && /^\/(jobs|studies)\/(job|stu)_/.test(location.pathname)) {
    store((kept) => { kept.removeItem(kept.getItem("draft sent")); kept.removeItem("draft sent"); });
  }
  if (!form) return;
  store((kept) => kept.removeItem("draft sent")); // what was sent from here has not become a job
  const fields = [...form.elements].filter((each) => each.name && each.type !== "hidden" && each.name !== "base");
  const { called, held } = fieldValues;
  const first = fieldValues.of(fields);
  const note = document.getElementById("draft");
  const draft = "refused" in form.dataset ? null : JSON.parse(store((kept) => kept.getItem(key)) ?? "null");
  if (draft) {
    fieldValues.put(fields, draft);
    note.hidden = fields.every((each) => held(each) === first[called(each)]);
  }
  const keep = () => store((kept) => kept.setItem(key, JSON.stringify(fieldValues.of(fields))));
  form.addEventListener("input", keep);
  // What the check refuses is marked where it was filled in.
  document.addEventListener("htmx:after:swap", () => {
    const refused = new Set([...document.querySelectorAll("#check .bad + [data-field]")].map((each) => each.dataset.field));
    fields.forEach((each) => {
      const place = `/${each.name.replaceAll(".", "/")}`;
      const wrong = refused.has(place) || (place === "/student" && refused.has("/model"));
      each.closest("label")?.classList.toggle("invalid", wrong);
      if (wrong) each.setAttribute("aria-invalid", "true");
      else each.removeAttribute("aria-invalid");
    });
  }, { signal });
  form.addEventListener("submit", () => { keep(); store((kept) => kept.setItem("draft sent", key)); });
  note.querySelector("button").addEventListener("click", () => { store((kept) => kept.removeItem(key)); location.reload(); });
});
