// Measures with and without, on this machine, and shows both as bars.
const median = (numbers) => numbers.sort((one, other) => one - other)[Math.floor(numbers.length / 2)];
const measured = { "Demo-Measures": "yes" }; // not listed in the panel
const timing = (answer) => answer.headers.get("Server-Timing") ?? "";
const ms = (time) => `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`;

async function repeat(count, url, headers) {
  const times = [];
  let views = 0;
  for (let number = 0; number < count; number += 1) {
    const answer = await fetch(url, { headers });
    await answer.arrayBuffer();
    times.push(Number(/dur=([\d.]+)/.exec(timing(answer))?.[1]));
    views += /desc="ran"/.test(timing(answer));
  }
  return { value: median(times), text: `${ms(median(times))}, view ran ${views} of ${count}` };
}

async function firstByte(url) {
  const times = [];
  for (let number = 0; number < 5; number += 1) {
    const stop = new AbortController();
    const started = performance.now();
    const answer = await fetch(url, { signal: stop.signal, headers: measured });
    await answer.body.getReader().read();
    times.push(performance.now() - started);
    stop.abort();
  }
  return { value: median(times), text: `${ms(median(times))} until the first byte` };
}

async function posted(url) {
  const answer = await fetch(url, { method: "POST", headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

const ways = {
  async times({ url }) {
    return {
      "With flask-webcache": await repeat(20, url, measured),
      "Without: Cache-Control: no-cache": await repeat(20, url, { ...measured, "Cache-Control": "no-cache" }),
    };
  },
  async first({ url, other }) {
    return { "Streamed by flask-streaming": await firstByte(url), "All rows in memory first": await firstByte(other) };
  },
  async threads({ url }) {
    const { clients, held } = await posted(url);
    return Object.fromEntries(Object.entries(held).map(([who, value]) =>
      [`Sent by ${who}`, { value, text: `${value} threads held by ${clients} clients` }]));
  },
  async crowd({ url }) {
    const { cached, not } = await posted(url);
    const shown = ({ runs, seconds }) => ({ value: runs, text: `view ran ${runs} of 50, in ${seconds} s` });
    return { "With flask-webcache": shown(cached), Without: shown(not) };
  },
  async range({ url }) {
    const answer = await fetch(url, { headers: { Range: "bytes=0-99" } });
    const bytes = (await answer.arrayBuffer()).byteLength;
    return { [`Status ${answer.status}`]: { value: bytes, text: `${bytes} bytes, ${answer.headers.get("Content-Range") ?? "the whole file"}` } };
  },
};

function show(table, found) {
  const most = Math.max(...Object.values(found).map(({ value }) => value), 0.001);
  table.replaceChildren(...Object.entries(found).map(([label, { value, text }]) => {
    const part = document.createElement("div");
    const [name, said, bar] = ["dt", "dd", "span"].map((tag) => document.createElement(tag));
    name.textContent = label;
    bar.className = "bar";
    bar.style.width = `${Math.max((100 * value) / most, 1)}%`;
    said.append(bar, text);
    part.append(name, said);
    return part;
  }));
}

for (const section of document.querySelectorAll("[data-measure]")) {
  section.hidden = false;
  const [table, button] = [section.querySelector("dl"), section.querySelector("button")];
  table.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      show(table, await ways[section.dataset.measure](section.dataset));
    } catch (error) {
      show(table, { "It did not work": { value: 0, text: error.message } });
    }
    button.disabled = false;
    button.focus();
  });
}

for (const link of document.querySelectorAll("[data-ask]"))
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    const started = performance.now();
    const answer = await fetch(link.href);
    const text = await answer.text();
    const time = ms(performance.now() - started);
    link.closest("li").querySelector("output").textContent = `${text.trim()}; ${time}; Cache-Status: ${answer.headers.get("Cache-Status")}`;
  });
