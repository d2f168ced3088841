// Adds what happens while the page is open; the browser resumes by itself.
const log = document.getElementById("log");
const state = document.getElementById("state");

const source = new EventSource(log.dataset.events);
source.addEventListener("open", () => (state.textContent = "Live, newest first."));
source.addEventListener("error", () => (state.textContent = "Connection lost; trying again."));
source.addEventListener("message", ({ data }) => {
  const { time, text } = JSON.parse(data);
  const item = document.createElement("li");
  const stamp = document.createElement("time");
  stamp.textContent = time;
  item.append(stamp, text);
  log.prepend(item);
});
