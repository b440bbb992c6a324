// Where one stream is sent on to: a list with states and reasons, and the means to change it.

import { setText, show } from "./dom.js";
import { bitRate, joined } from "./format.js";

const STATES = {
  idle: "Ready", connecting: "Connecting", live: "Live", stalled: "Stalled", backoff: "Trying again",
  failed: "Failed", disabled: "Paused",
};
const WAITING = new Set(["backoff", "failed", "stalled"]);

export class Destinations {
  #list;
  #form;
  #template;
  #call;
  #rows = new Map();

  /** `call(method, id, body)` asks the API about one of this stream's, or all with an empty id. */
  constructor(list, form, template, stream, call) {
    this.#list = list;
    this.#form = form;
    this.#template = template;
    this.#call = call;
    form.addEventListener("submit", (event) => this.#add(event));
    form.querySelector("summary")?.setAttribute("aria-label", `Send ${stream} on`);
  }

  /** Shows what the API says now. */
  update(destinations, maySign) {
    const seen = new Set(destinations.map((one) => one.id));
    for (const [id, row] of this.#rows) {
      if (seen.has(id)) continue;
      row.node.remove();
      this.#rows.delete(id);
    }
    for (const one of destinations) {
      if (!this.#rows.has(one.id)) this.#rows.set(one.id, this.#row(one.id));
      this.#show(this.#rows.get(one.id), one, maySign);
    }
    show(this.#list, destinations.length > 0);
    show(this.#form, maySign);
  }

  #row(id) {
    const node = this.#template.content.firstElementChild.cloneNode(true);
    const row = { node, paused: false };
    for (const part of node.querySelectorAll("[data-part]")) row[part.dataset.part] = part;
    row.pause.addEventListener("click", () => this.#ask("PATCH", id, { enabled: row.paused }));
    row.retry.addEventListener("click", () => this.#ask("POST", `${id}/retry`));
    row.remove.addEventListener("click", () => this.#ask("DELETE", id));
    this.#list.append(node);
    return row;
  }

  #show(row, one, maySign) {
    const name = one.name || one.url;
    row.paused = !one.enabled;
    row.node.dataset.state = one.state;
    setText(row.state, STATES[one.state] ?? String(one.state));
    setText(row.name, name);
    row.name.title = one.url;
    setText(row.detail, describe(one));
    const words = one.enabled ? "Pause" : "Resume";
    setText(row.pause, words);
    row.pause.setAttribute("aria-label", `${words} ${name}`);
    row.retry.setAttribute("aria-label", `Try ${name} now`);
    row.remove.setAttribute("aria-label", `Remove ${name}`);
    show(row.pause, maySign);
    show(row.retry, maySign && WAITING.has(one.state));
    show(row.remove, maySign && !one.enabled);
  }

  async #add(event) {
    event.preventDefault();
    const { url, label } = event.target.elements;
    const body = { url: url.value.trim(), name: label.value.trim() };
    if (await this.#ask("POST", "", body)) event.target.reset();
  }

  async #ask(method, id, body) {
    const error = this.#form.querySelector("[role=alert]");
    setText(error, "");
    try {
      await this.#call(method, id, body);
      return true;
    } catch (fault) {
      setText(error, fault.message);
      return false;
    }
  }
}

function describe(one) {
  if (one.state === "live") {
    const late = one.queued_ms >= 1000 ? `${(one.queued_ms / 1000).toFixed(1)} s behind` : "";
    const lost = one.dropped_frames ? `${one.dropped_frames} frames left out` : "";
    return joined(bitRate(one.bit_rate), late, lost);
  }
  if (WAITING.has(one.state) || one.state === "connecting") return one.last_error?.message ?? "";
  return "";
}
