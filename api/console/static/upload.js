// Uploads files in chunks. An interrupted upload resumes when the same file is chosen again.
document.addEventListener("page", ({ detail: signal }) => {
  const form = document.getElementById("upload");
  if (!form) return; // whose key may only read
  const PIECE = 8 * 1024 * 1024; // bytes
  const token = { "X-CSRF-Token": document.body.dataset.csrf, "Tus-Resumable": "1.0.0" };
  const encoded = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const pause = async (seconds) => {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    signal.throwIfAborted();
  };
  const megabytes = (count) => `${(count / 1e6).toFixed(1)} MB`;
  const progress = form.querySelector("progress");
  const note = form.querySelector("output");
  const known = (file) => `upload ${form.dataset.kind} ${file.name} ${file.size} ${file.lastModified}`;
  const remember = (file, address) => { try { localStorage.setItem(known(file), address); } catch { /* private window */ } };
  const forget = (file) => { try { localStorage.removeItem(known(file)); } catch { /* private window */ } };
  const recall = (file) => { try { return localStorage.getItem(known(file)); } catch { return null; } };

  const refusal = async (answer) => {
    const problem = await answer.json().catch(() => ({}));
    return new Error(problem.detail ?? `the service answered ${answer.status}`);
  };

  const offset = async (address) => {
    const answer = await fetch(address, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" }, signal });
    return answer.ok ? Number(answer.headers.get("Upload-Offset")) : null;
  };

  // Do something again until it is answered, whatever the answer.
  const patiently = async (work) => {
    for (let failures = 1; ; failures += 1) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // fetch fails so without a connection
        note.textContent = "The connection broke; trying again…";
        await pause(Math.min(2 ** failures, 30));
      }
    }
  };

  const announce = async (file, once) => {
    const words = { kind: form.dataset.kind, filename: file.name };
    for (const field of ["name", "divide"]) if (form.elements[field]?.value.trim()) words[field] = form.elements[field].value.trim();
    if (form.elements.lenient?.checked) words.lenient = "true";
    const metadata = Object.entries(words).map(([key, value]) => `${key} ${encoded(value)}`).join(",");
    const headers = { ...token, "Upload-Length": String(file.size), "Upload-Metadata": metadata, "Idempotency-Key": once };
    const answer = await fetch("/through/v1/uploads", { method: "POST", headers, signal });
    if (!answer.ok) throw await refusal(answer);
    return `/through${answer.headers.get("Location")}`;
  };

  const show = (done, file) => {
    progress.hidden = false;
    progress.max = file.size || 1;
    progress.value = done;
    note.textContent = `${megabytes(done)} of ${megabytes(file.size)}`;
  };

  // Send everything from `done` on; give the address of what the service made of it.
  const send = async (file, address, done) => {
    let failures = 0;
    for (;;) {
      show(done, file);
      const headers = { ...token, "Upload-Offset": String(done), "Content-Type": "application/offset+octet-stream" };
      const piece = file.slice(done, done + PIECE);
      const answer = await fetch(address, { method: "PATCH", headers, body: piece, signal }).catch(() => null);
      if (answer?.ok) {
        failures = 0;
        done = Number(answer.headers.get("Upload-Offset"));
        show(done, file);
        if (done >= file.size) return answer.headers.get("Upload-Result");
        continue;
      }
      if (answer && answer.status < 500 && ![408, 409, 423, 429].includes(answer.status)) throw await refusal(answer);
      failures += 1;
      note.textContent = `The connection broke at ${megabytes(done)}; trying again…`;
      await pause(Math.min(2 ** failures, 30));
      done = (await offset(address).catch(() => null)) ?? done;
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    if (!file) return;
    form.classList.add("busy");
    note.classList.remove("bad");
    try {
      let address = recall(file);
      let done = address ? await patiently(() => offset(address)) : null;
      if (done === null) {
        const once = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("");
        [address, done] = [await patiently(() => announce(file, once)), 0];
      }
      remember(file, address);
      const made = await send(file, address, done);
      forget(file);
      location.href = made.replace("/v1/", "/");
    } catch (error) {
      if (signal.aborted) return; // the reader has left; what has arrived stays for the next try
      note.textContent = `Refused: ${error.message}`;
      note.classList.add("bad");
      forget(file);
    } finally {
      form.classList.remove("busy");
    }
  });
});
