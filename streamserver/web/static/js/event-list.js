// What happens, as it happens: Server-Sent Events over fetch, which can carry the token.

import { byId } from "./dom.js";

const KEPT = 100;
const AGAIN_MS = 3000;

export class EventList {
  #api;
  #on;
  #last = "";
  #stop = null;

  /** `on(type)` is told of each event. Reads while the list is open. */
  constructor(api, on) {
    this.#api = api;
    this.#on = on;
    byId("happened").addEventListener("toggle", () => {
      if (byId("happened").open) this.#run();
      else this.#stop?.abort();
    });
  }

  async #run() {
    this.#stop?.abort();
    const stop = (this.#stop = new AbortController());
    while (!stop.signal.aborted) {
      await this.#read(stop.signal).catch(() => null);
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }

  async #read(signal) {
    const url = new URL("api/v1/events", this.#api.root);
    if (this.#last) url.searchParams.set("last_event_id", this.#last);
    const headers = this.#api.token ? { Authorization: `Bearer ${this.#api.token}` } : {};
    const response = await fetch(url, { headers, signal, cache: "no-store" });
    if (!response.ok || !response.body) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: ")) this.#take(JSON.parse(line.slice(6)));
    }
  }

  #take(event) {
    this.#last = event.id;
    if (event.type === "reset") return;
    const item = document.createElement("li");
    item.textContent = [event.at?.slice(11, 19), event.type, event.stream, event.data?.reason]
      .filter(Boolean)
      .join("  ");
    const list = byId("events");
    list.prepend(item);
    while (list.children.length > KEPT) list.lastElementChild.remove();
    this.#on(event.type);
  }
}
