// Shows how far an export has come, told by the server.
const card = document.getElementById("export");
const shown = document.getElementById("progress");
const [bar, text] = [shown.querySelector("progress"), shown.querySelector("output")];
const total = Number(card.dataset.rows);

addEventListener("export-progress", ({ detail: { rows, memory } }) => {
  shown.hidden = false;
  bar.value = rows;
  const held = memory ? `, the worker has ${memory} MB` : "";
  text.textContent = `${rows.toLocaleString("en")} of ${total.toLocaleString("en")} rows${held}`;
});
