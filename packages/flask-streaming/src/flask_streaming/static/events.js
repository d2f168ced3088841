/**
 * Server-sent events that come back.
 *
 * An EventSource gives up for good at the first answer that is not 200, such as the 502
 * of a proxy whose application restarts, and cannot tell a silent connection from a dead
 * one. An EventStream has the same events and these rules:
 *
 *   answer                          what happens
 *   200, text/event-stream          events are dispatched until it ends, then it reconnects
 *   204                             the stream is over: "close"
 *   408, 425, 429, 5xx, no answer   it reconnects, after Retry-After where that is given
 *   silence for `timeout` ms        the connection is dead: it reconnects
 *   anything else                   the view refuses: "error" with `status`, then "close"
 *
 * Each connection asks for what follows the last event that was dispatched, so nothing
 * is missed; where the server cannot give it, it says so by an event of the type "gap".
 * Before it reconnects it waits for `retry` ms at first and for up to 30 s later, less up
 * to a half at random, so that a restart does not bring all clients back at once. An
 * event sets the wait back.
 *
 *   import { EventStream } from "/flask-streaming/events.js";
 *   const stream = new EventStream("/events", { lastEventId: position });
 *   stream.addEventListener("message", (event) => show(event.data));
 */

const LONGEST_WAIT = 30000;
const TEMPORARY = new Set([408, 425, 429]);

export class EventStream extends EventTarget {
  #closed = false;
  #connection = new AbortController();
  #wake = () => {};
  #failures = 0;
  #retry;
  #timeout;
  #init;

  /**
   * @param {string | URL} url the view that answers with event_stream()
   * @param {object} [options]
   * @param {string} [options.lastEventId] where to begin, as streaming.position() gave it
   * @param {number} [options.retry] the first wait in ms; `retry:` of the server replaces it
   * @param {number} [options.timeout] the longest silence in ms, above the server's ping
   * @param {RequestInit} [options.init] more for fetch(), such as headers or credentials
   */
  constructor(url, { lastEventId = "", retry = 500, timeout = 45000, init = {} } = {}) {
    super();
    this.url = new URL(url, document.baseURI);
    this.lastEventId = lastEventId;
    this.#retry = retry;
    this.#timeout = timeout;
    this.#init = init;
    addEventListener("online", () => this.#wake());
    this.#run();
  }

  /** Whether the stream is over: nothing more will be dispatched. */
  get closed() {
    return this.#closed;
  }

  /** End the stream. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.abort();
    this.#wake();
    this.dispatchEvent(new Event("close"));
  }

  async #run() {
    while (!this.#closed) {
      const asked = await this.#connect().catch(() => 0);
      if (this.#closed) return;
      const longest = Math.min(this.#retry * 2 ** this.#failures++, LONGEST_WAIT);
      const wait = Math.max(asked, longest * (0.5 + Math.random() / 2));
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, wait);
      });
    }
  }

  /** Receive one response. Return how many ms the server asks to wait, 0 if it does not. */
  async #connect() {
    const connection = (this.#connection = new AbortController());
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => connection.abort(), this.#timeout);
    };
    try {
      alive();
      const response = await fetch(...this.#request(connection.signal));
      if (response.status >= 500 || TEMPORARY.has(response.status)) {
        return 1000 * (Number(response.headers.get("Retry-After")) || 0);
      }
      const type = response.headers.get("Content-Type") ?? "";
      if (response.status !== 200 || !type.startsWith("text/event-stream")) {
        this.#end(response.status);
        return 0;
      }
      this.dispatchEvent(new Event("open"));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parse = parser((block) => this.#dispatch(block), (ms) => (this.#retry = ms));
      for (let part; !(part = await reader.read()).done; ) {
        alive();
        parse(part.value);
      }
      return 0;
    } finally {
      clearTimeout(timer);
      connection.abort();
    }
  }

  #request(signal) {
    const url = new URL(this.url);
    const headers = new Headers(this.#init.headers);
    headers.set("Accept", "text/event-stream");
    if (this.lastEventId && url.origin === location.origin) {
      headers.set("Last-Event-ID", this.lastEventId);
    } else if (this.lastEventId) {
      // Another origin would have to allow the header.
      url.searchParams.set("last_event_id", this.lastEventId);
    }
    return [url, { cache: "no-store", ...this.#init, headers, signal }];
  }

  #dispatch({ type, data, id }) {
    if (this.#closed) return;
    this.lastEventId = id ?? this.lastEventId;
    // A position is sent to everybody, also by a server that fails at once.
    if (type !== "position") this.#failures = 0;
    if (data === null) return;
    const { lastEventId, url } = this;
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId, origin: url.origin }));
  }

  #end(status) {
    if (status !== 204) this.dispatchEvent(Object.assign(new Event("error"), { status }));
    this.close();
  }
}

/**
 * Return a function that takes the text of a stream, in whatever parts it comes, and
 * calls back for each block (HTML, section 9.2.6). `data` is null where the block has
 * none: its id counts all the same.
 */
export function parser(onEvent, onRetry) {
  let rest = "";
  let block = { type: "", data: [], id: undefined };
  const line = (text) => {
    if (text === "") {
      const { type, data, id } = block;
      block = { type: "", data: [], id: undefined };
      const whole = data.length ? data.join("\n") : null;
      if (whole !== null || id !== undefined) {
        onEvent({ type: type || "message", data: whole, id });
      }
      return;
    }
    const colon = text.indexOf(":");
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "data") block.data.push(value);
    else if (field === "event") block.type = value;
    else if (field === "id" && !value.includes("\0")) block.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) onRetry(Number(value));
  };
  return (text) => {
    // A part may end between CR and LF: the CR waits for what follows.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    lines.forEach(line);
  };
}
