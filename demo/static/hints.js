// Notes when the parts of a slow page came, and compares the last two visits.
const visit = document.getElementById("visit");
const rows = [
  ["early", "the 103"], ["begin", "the browser asks for the first file"],
  ["head", "the page's head"], ["ready", "the last file is there"], ["paint", "the first paint"],
];

if (visit)
  addEventListener("load", () => setTimeout(() => {
    const page = performance.getEntriesByType("navigation")[0];
    const files = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/hints/file/"));
    const times = {
      early: page.firstInterimResponseStart || null,
      begin: Math.min(...files.map((file) => file.startTime)),
      head: page.finalResponseHeadersStart || page.responseStart,
      ready: Math.max(...files.map((file) => file.responseEnd)),
      paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null,
      hinted: files.filter((file) => file.initiatorType === "early-hints").length,
    };
    localStorage.setItem(`hints-${visit.dataset.kind}`, JSON.stringify(times));
    visit.append(` ${times.hinted} of ${files.length} files came by an early hint.`);
    visit.dataset.hinted = times.hinted;
  }, 300));

const body = document.querySelector("#visits tbody");
if (body) {
  const [first, second] = ["with", "without"].map((kind) => JSON.parse(localStorage.getItem(`hints-${kind}`) ?? "{}"));
  for (const [key, label] of rows) {
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = label;
    row.append(head);
    for (const times of [first, second]) row.insertCell().textContent = times[key] ? Math.round(times[key]) : "–";
  }
}
