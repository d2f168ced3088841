// Shows how far an export has come, told by the server.
const card = document.getElementById("export");
const shown = document.getElementById("export-progress");
const [bar, text] = [shown.querySelector("progress"), shown.querySelector("output")];

const source = new EventSource(card.dataset.events);
source.addEventListener("progress", ({ data }) => {
  const rows = Number(data);
  shown.hidden = false;
  bar.value = rows;
  text.value = `${rows.toLocaleString()} of ${Number(card.dataset.rows).toLocaleString()} rows`;
});
