// Who watches one stream, asked for only while somebody looks, and the means to end it.

import { streamPath } from "./api.js";
import { byId, setText } from "./dom.js";
import { bitRate, joined } from "./format.js";

const LIMIT = 50;

export class ViewerList {
  #api;
  #details;
  #list;
  #path;

  constructor(api, details, list, app, name) {
    this.#api = api;
    this.#details = details;
    this.#list = list;
    this.#path = `${streamPath(app, name)}/viewers?limit=${LIMIT}`;
    details.addEventListener("toggle", () => this.update());
  }

  /** Asks again, if the list is open. */
  async update() {
    if (!this.#details.open) return;
    const page = await this.#api.get(this.#path).catch(() => null);
    if (page) this.#list.replaceChildren(...page.items.map((viewer) => this.#row(viewer)));
  }

  #row(viewer) {
    const node = byId("viewer-row").content.firstElementChild.cloneNode(true);
    const kick = node.querySelector("[data-part=kick]");
    const late = viewer.lag_ms >= 1000 ? `${(viewer.lag_ms / 1000).toFixed(1)} s behind` : "";
    const text = joined(viewer.protocol, viewer.remote_ip, bitRate(viewer.bit_rate), late);
    setText(node.querySelector("[data-part=what]"), text);
    node.title = viewer.user_agent;
    kick.setAttribute("aria-label", `Kick ${viewer.protocol} ${viewer.remote_ip}`);
    kick.addEventListener("click", async () => {
      kick.disabled = true;
      await this.#api.send("DELETE", `viewers/${encodeURIComponent(viewer.id)}`).catch(() => null);
      await this.update();
    });
    return node;
  }
}
