// Uploads in pieces, by tus-js-client: with progress, a pause, and no fear of a restart.
// Without this script the form works as it is.
const form = document.getElementById("upload");
const list = document.getElementById("uploads");
const WAITS = [300, 600, 1000, 2000, 3000, 5000, 5000, 10000, 10000, 20000];
const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

function send(file) {
  const item = document.createElement("li");
  item.innerHTML = `<span class="name"></span> <progress max="1" value="0"></progress>
    <output></output> <button type="button" class="plain pause">Pause</button>
    <button type="button" class="plain cancel">Cancel</button>`;
  const [bar, text, pause, cancel] = ["progress", "output", ".pause", ".cancel"].map((name) => item.querySelector(name));
  item.querySelector(".name").textContent = file.name;
  bar.setAttribute("aria-label", `Progress of ${file.name}`);
  for (const button of [pause, cancel]) button.setAttribute("aria-label", `${button.textContent} ${file.name}`);
  list.append(item);
  const over = (said) => {
    text.textContent = said;
    pause.remove();
    cancel.textContent = "Close";
    cancel.setAttribute("aria-label", `Close ${file.name}`);
  };

  if (file.size > Number(form.dataset.max)) {
    cancel.addEventListener("click", () => item.remove());
    over(`Not sent: ${size(file.size)} is more than the ${size(Number(form.dataset.max))} that fit here.`);
    return;
  }
  let paused = false;
  let done = false;
  const upload = new tus.Upload(file, {
    endpoint: form.dataset.endpoint,
    retryDelays: WAITS,
    removeFingerprintOnSuccess: true,
    metadata: { filename: file.name, filetype: file.type },
    onProgress(sent, total) {
      bar.value = total ? sent / total : 1;
      if (!paused) text.textContent = `${Math.round(100 * bar.value)} % of ${size(total)}`;
    },
    onShouldRetry(error) {
      const status = error.originalResponse?.getStatus() ?? 0;
      const again = status === 0 || status >= 500 || status === 409 || status === 423;
      if (again) text.textContent = "Connection lost; trying again.";
      return again;
    },
    onSuccess() {
      done = true;
      bar.value = 1;
      over("Stored.");
      dispatchEvent(new Event("changed"));
      setTimeout(() => item.remove(), 4000);
    },
    onError(error) {
      done = true;
      const answer = error.originalResponse?.getBody().trim();
      over(`Not stored: ${answer || "the server cannot be reached. Send the file again, and it goes on where it stopped."}`);
    },
  });
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    pause.setAttribute("aria-label", `${pause.textContent} ${file.name}`);
    if (paused) {
      upload.abort();
      text.textContent = `Paused at ${Math.round(100 * bar.value)} %`;
    } else upload.start();
  });
  cancel.addEventListener("click", () => {
    if (!done) upload.abort(true).catch(() => {});
    item.remove();
  });
  upload.findPreviousUploads().then((earlier) => {
    if (earlier.length) upload.resumeFromPreviousUpload(earlier[0]);
    upload.start();
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  for (const file of form.file.files) send(file);
  form.reset();
});
for (const kind of ["dragover", "dragleave", "drop"])
  form.addEventListener(kind, (event) => {
    event.preventDefault();
    form.classList.toggle("over", kind === "dragover");
    if (kind === "drop") for (const file of event.dataTransfer.files) send(file);
  });
