// Sends the form with a progress bar; without this script the form works as it is.
const form = document.getElementById("upload");
const shown = document.getElementById("upload-progress");
const [bar, text] = [shown.querySelector("progress"), shown.querySelector("output")];

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = loaded / total;
    text.value = `${Math.round((100 * loaded) / total)} %`;
  });
  request.addEventListener("load", () => {
    if (request.status < 400) location.reload();
    else text.value = `Not saved: ${request.statusText}`;
  });
  request.addEventListener("error", () => (text.value = "Not saved: the connection was lost."));
  request.open("POST", form.action);
  request.send(new FormData(form));
  shown.hidden = false;
});
