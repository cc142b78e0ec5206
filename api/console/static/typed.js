// Back finds what the reader had ticked and typed on a page, which browsers keep for documents only, not for swapped pages.
(() => {
  if (!window.navigation) return;
  const typed = new Map(); // by entry of the history
  let back = false;
  const fields = () => [...document.querySelectorAll("main :is(input, select, textarea)[name]")].filter((each) => (
    !["hidden", "file", "password"].includes(each.type) && !each.closest(".filters, #new") // the URL and drafts keep these
  ));
  navigation.addEventListener("navigate", (event) => {
    typed.set(navigation.currentEntry.key, fieldValues.of(fields()));
    back = event.navigationType === "traverse";
  });
  document.addEventListener("page", () => { if (back) fieldValues.put(fields(), typed.get(navigation.currentEntry.key) ?? {}); });
})();
