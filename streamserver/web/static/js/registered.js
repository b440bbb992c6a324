// Registered streams: the list, a new one, a new key, and the end of one.

import { streamPath } from "./api.js";
import { showKey, sure } from "./dialogs.js";
import { byId, setText, show } from "./dom.js";

const STATES = { live: "on air", interrupted: "interrupted", idle: "idle" };

export class Registered {
  #api;
  #changed;
  #rows = new Map();

  /** `changed()` is called after each change, so that the page asks anew. */
  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
    byId("register").addEventListener("submit", (event) => this.#register(event));
  }

  /** Shows those of the API's streams that are registered, to whoever is signed in. */
  update(streams, signedIn) {
    show(byId("registered"), signedIn);
    const registered = streams.filter((stream) => stream.registered);
    const seen = new Set(registered.map((stream) => `${stream.app}/${stream.name}`));
    for (const [key, row] of this.#rows) {
      if (seen.has(key)) continue;
      row.node.remove();
      this.#rows.delete(key);
    }
    for (const stream of registered) {
      const key = `${stream.app}/${stream.name}`;
      if (!this.#rows.has(key)) this.#rows.set(key, this.#row(stream.app, stream.name));
      const row = this.#rows.get(key);
      setText(row.title, stream.title);
      setText(row.state, STATES[stream.state] ?? stream.state);
    }
  }

  #row(app, name) {
    const node = byId("registered-row").content.firstElementChild.cloneNode(true);
    const row = { node };
    for (const part of node.querySelectorAll("[data-part]")) row[part.dataset.part] = part;
    const full = `${app}/${name}`;
    setText(row.name, full);
    row.rotate.setAttribute("aria-label", `New key for ${full}`);
    row.remove.setAttribute("aria-label", `Remove ${full}`);
    row.rotate.addEventListener("click", () => this.#rotate(app, name));
    row.remove.addEventListener("click", () => this.#remove(app, name));
    byId("registered-list").append(node);
    return row;
  }

  async #register(event) {
    event.preventDefault();
    const [app, name = "default"] = byId("register-name").value.trim().split("/");
    const title = byId("register-title").value.trim();
    const made = await this.#ask("POST", "streams", { app, name, title });
    if (!made) return;
    event.target.reset();
    await showKey(`${app}/${name}`, made.publish_key);
  }

  async #rotate(app, name) {
    const text = "The key that its encoder has now stops working, and the encoder is disconnected.";
    if (!(await sure(`A new key for ${app}/${name}?`, text, "Make a new key"))) return;
    const made = await this.#ask("POST", `${streamPath(app, name)}/key`);
    if (made) await showKey(`${app}/${name}`, made.publish_key);
  }

  async #remove(app, name) {
    const text = "Its key and its destinations are forgotten, and its broadcast ends.";
    if (await sure(`Remove ${app}/${name}?`, text, "Remove it")) {
      await this.#ask("DELETE", streamPath(app, name));
    }
  }

  async #ask(method, path, body) {
    setText(byId("register-error"), "");
    try {
      const answer = await this.#api.send(method, path, body);
      this.#changed();
      return answer;
    } catch (error) {
      setText(byId("register-error"), error.message);
      return null;
    }
  }
}
