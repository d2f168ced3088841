// On every page: the panel, and what is live. One event stream for all of it, which
// pauses while the tab is hidden: browsers open six connections per host over HTTP/1.1.
import { EventStream } from "/flask-streaming/events.js";

const find = (id) => document.getElementById(id);
const list = find("hood-list");
const follow = find("hood-follow");
const held = []; // records that came while nobody follows
let stream = null;
let lastEventId = "";
let cut = false;

// The panel ----------------------------------------------------------------------
const visit = performance.getEntriesByType("navigation")[0];
const here = visit?.serverTiming?.find(({ name }) => name === "rec")?.description;

function show(item) {
  const before = find(item.id);
  if (item.id === `record-${here}`) {
    item.querySelector("details").open = true;
    item.querySelector(".times").after(browserFacts());
  }
  if (before) {
    item.querySelector("details").open = before.querySelector("details").open;
    before.replaceWith(item);
  } else {
    list.prepend(item);
    while (list.children.length > 50) list.lastElementChild.remove();
    announce(item.dataset.hit === "1");
  }
}

// What came before this page listened: the records, and whether the page is still right.
async function catchUp() {
  const answer = await fetch("/hood/log", { headers: { Accept: "text/html" } });
  const past = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("past");
  for (const item of [...past.children].reverse()) {
    item.id = item.id.replace("shown-", "record-");
    if (!find(item.id)) show(item);
  }
  changed(Number(past.dataset.entry));
}

function browserFacts() {
  const facts = [`The browser: ${visit.nextHopProtocol || "its own copy"}`];
  if (visit.firstInterimResponseStart)
    facts.push(`a 103 after ${Math.round(visit.firstInterimResponseStart)} ms`);
  facts.push(`the page after ${Math.round(visit.responseEnd)} ms`);
  const text = document.createElement("p");
  text.className = "times";
  text.textContent = facts.join(", ") + ".";
  return text;
}

function countFiles() {
  const files = performance.getEntriesByType("resource").filter(({ name }) => /\/static\/|events\.js|hints\/file/.test(name));
  const cached = files.filter((file) => file.transferSize === 0 && file.decodedBodySize > 0).length;
  const hinted = files.filter((file) => file.initiatorType === "early-hints").length;
  find("hood-files").textContent = `${files.length} files of this page: ${cached} from the browser's cache, ${hinted} by an early hint.`;
}

let said = { requests: 0, hits: 0, timer: 0 };
function announce(hit) {
  said.requests += 1;
  said.hits += hit;
  said.timer ||= setTimeout(() => {
    const plural = said.requests === 1 ? "request" : "requests";
    find("hood-said").textContent = `${said.requests} ${plural}, ${said.hits} from the cache`;
    said = { requests: 0, hits: 0, timer: 0 };
  }, 2000);
}

follow.hidden = find("hood-clear").hidden = false;
find("hood-clear").addEventListener("click", () => list.replaceChildren());
follow.addEventListener("click", () => {
  const pressed = follow.getAttribute("aria-pressed") !== "true";
  follow.setAttribute("aria-pressed", pressed);
  follow.textContent = pressed ? "Following" : "Follow";
  if (pressed) held.splice(0).forEach(show);
});

// What is live on the page -------------------------------------------------------
let loading = false;
let again = false;
async function refresh() {
  again = loading;
  if (loading || !document.querySelector("[data-live]")) return;
  loading = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) replace(old, page.getElementById(old.id));
  } finally {
    loading = false;
    if (again) refresh();
  }
}

function replace(old, fresh) {
  if (!fresh || fresh.innerHTML === old.innerHTML) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.outerHTML : null;
  old.replaceWith(fresh);
  if (focused) [...fresh.querySelectorAll("a, button")].find((item) => item.outerHTML === focused)?.focus();
}

function changed(entry) {
  const live = document.querySelector("[data-live]");
  if (live && entry > Number(live.dataset.entry)) refresh();
}

function state(text) {
  if (find("state")) find("state").textContent = text;
}

function connect() {
  const number = document.querySelector("[data-export]")?.dataset.export;
  stream = new EventStream(number ? `/live?export=${number}` : "/live", { lastEventId });
  stream.addEventListener("open", () => state("Live, newest first."));
  if (!lastEventId) stream.addEventListener("position", catchUp, { once: true });
  stream.addEventListener("record", ({ data }) => {
    const made = document.createElement("template");
    made.innerHTML = data;
    const record = made.content.firstElementChild;
    if (follow.getAttribute("aria-pressed") === "true") show(record);
    else held.push(record);
  });
  stream.addEventListener("changed", ({ data }) => changed(Number(data)));
  stream.addEventListener("gap", () => {
    state("Live again; the server had forgotten some events, so the page was loaded anew.");
    refresh();
    catchUp();
  });
  stream.addEventListener("progress", ({ data }) =>
    dispatchEvent(new CustomEvent("export-progress", { detail: JSON.parse(data) })));
}

function disconnect() {
  lastEventId = stream?.lastEventId ?? lastEventId;
  stream?.close();
  stream = null;
}

addEventListener("changed", refresh); // said by the page's own script

document.addEventListener("visibilitychange", () => {
  if (document.hidden) disconnect();
  else if (!stream && !cut) connect();
});
addEventListener("pagehide", disconnect);
addEventListener("pageshow", ({ persisted }) => persisted && !cut && connect());

const button = find("cut");
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    cut = !cut;
    if (cut) disconnect();
    else connect();
    button.textContent = cut ? "Connect again" : "Cut the connection";
    if (cut) state(`Cut after event ${lastEventId || "none"}. What happens now comes later.`);
  });
}

// A double click sends a form once.
document.addEventListener("submit", ({ target, defaultPrevented }) => {
  if (!defaultPrevented) setTimeout(() => target.querySelectorAll("button").forEach((item) => (item.disabled = true)));
});

connect();
addEventListener("load", () => setTimeout(countFiles));
