// The dashboard: what is live, and how to become so.

import { Api, streamPath, tokenFromFragment } from "./api.js";
import { Card } from "./card.js";
import { byId, setText, show, wireCopyButtons } from "./dom.js";
import { EventList } from "./event-list.js";
import { bitRate, duration } from "./format.js";
import { fillRecipes } from "./publish-recipes.js";
import { Registered } from "./registered.js";
import { segment } from "./stream-name.js";

const POLL_MS = 2000;
const LIMIT = 1000;

class Dashboard {
  #api = new Api(new URL("./", location.href).href);
  #cards = new Map();
  #server = null;
  #serverAt = 0;
  #timer = 0;
  #polls = 0;
  #registered = null;

  start() {
    const token = tokenFromFragment();
    if (token) this.#api.signIn(token);
    wireCopyButtons();
    fillRecipes(null);
    this.#registered = new Registered(this.#api, () => this.#poll());
    // What it tells may have changed the page; figures come by themselves.
    new EventList(this.#api, (type) => {
      if (type.startsWith("stream.") && type !== "stream.stats") this.#poll();
    });
    byId("sign-in").addEventListener("submit", (event) => this.#signIn(event));
    byId("sign-out").addEventListener("click", () => this.#signOut());
    byId("sign-in-open").addEventListener("click", () => {
      show(byId("doors"), true);
      byId("token").focus();
    });
    byId("watch").addEventListener("submit", openStream);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#poll();
    });
    setInterval(() => this.#tick(), 1000);
    this.#poll();
  }

  async #poll() {
    clearTimeout(this.#timer);
    // An answer that comes after a newer question is dropped.
    const turn = ++this.#polls;
    try {
      // One after the other: a token that is refused is refused once.
      const streams = await this.#api.get(`streams?limit=${LIMIT}`);
      const server = await this.#api.get("server");
      if (turn !== this.#polls) return;
      this.#showAll(streams?.items ?? [], server ?? {});
    } catch (error) {
      if (turn !== this.#polls) return;
      this.#showError(error);
      // A stranger does not knock every two seconds.
      if (error.denied) return;
    }
    // A hidden page asks nobody; it asks again when it is seen.
    if (!document.hidden) this.#timer = setTimeout(() => this.#poll(), POLL_MS);
  }

  #showAll(streams, server) {
    const live = streams.filter((stream) => stream.state !== "idle");
    this.#server = server;
    this.#serverAt = performance.now();
    this.#setConnection("ok", this.#announcement(live.length));
    const signedIn = Boolean(this.#api.token);
    show(byId("doors"), !signedIn && byId("doors").contains(document.activeElement));
    show(byId("sign-in-open"), !signedIn);
    show(byId("sign-out"), signedIn);
    this.#registered.update(streams, signedIn);
    show(byId("happened"), true);
    this.#showTotals(live, server);
    this.#showCards(live, signedIn);
    show(byId("streams"), live.length > 0);
    const publish = byId("publish");
    if (publish.hidden || byId("nothing").hidden !== live.length > 0) publish.open = !live.length;
    show(byId("nothing"), live.length === 0);
    show(publish, true);
    fillRecipes(server);
  }

  #announcement(live) {
    return live === 0 ? "Nothing on air" : `${live} on air`;
  }

  #showTotals(live, server) {
    const viewers = live.reduce((sum, stream) => sum + (Number(stream.viewers?.total) || 0), 0);
    const rate = live.reduce((sum, stream) => sum + (Number(stream.bit_rate) || 0), 0);
    setText(byId("total-live"), String(live.length));
    setText(byId("total-viewers"), String(viewers));
    setText(byId("total-rate"), bitRate(rate));
    setText(byId("version"), server.version ? `v${server.version}` : "");
    show(byId("totals"), true);
    this.#tick();
  }

  #showCards(live, signedIn) {
    const list = byId("cards");
    const seen = new Set();
    for (const stream of live) {
      const key = `${stream.app}/${stream.name}`;
      seen.add(key);
      let card = this.#cards.get(key);
      if (!card) {
        card = new Card(byId("card"), byId("destination"), stream, {
          api: this.#api,
          onStop: (app, name) => this.#stop(app, name),
          onDestination: (app, name, ...change) => this.#changeDestination(app, name, ...change),
        });
        this.#cards.set(key, card);
        list.append(card.node);
      }
      card.update(stream, signedIn);
    }
    for (const [key, card] of this.#cards) {
      if (seen.has(key)) continue;
      card.node.remove();
      this.#cards.delete(key);
    }
  }

  #showError(error) {
    if (!error.denied) {
      this.#setConnection("lost", error.status === 0 ? "No connection, trying again" : error.message);
      return;
    }
    const refused = Boolean(this.#api.token);
    if (refused) {
      this.#api.signIn("");
      setText(byId("sign-in-error"), "The server does not accept this token.");
    }
    this.#setConnection("closed", "Not signed in");
    for (const id of ["totals", "streams", "nothing", "publish", "registered", "happened", "sign-out", "sign-in-open"]) {
      show(byId(id), false);
    }
    show(byId("doors"), true);
    if (refused) byId("token").focus();
  }

  #setConnection(state, text) {
    const node = byId("connection");
    node.dataset.state = state;
    // A live region: it speaks only when the text changes.
    setText(node, text);
  }

  #tick() {
    for (const card of this.#cards.values()) card.tick();
    const uptime = Number(this.#server?.uptime_s);
    if (!Number.isFinite(uptime)) return;
    setText(byId("total-uptime"), duration(uptime + (performance.now() - this.#serverAt) / 1000));
  }

  async #signIn(event) {
    event.preventDefault();
    setText(byId("sign-in-error"), "");
    this.#api.signIn(byId("token").value.trim());
    byId("token").value = "";
    byId("main").focus();
    await this.#poll();
  }

  async #signOut() {
    this.#api.signIn("");
    await this.#poll();
  }

  async #changeDestination(app, name, method, id, body) {
    const path = `${streamPath(app, name)}/destinations`;
    await this.#api.send(method, id ? `${path}/${id}` : path, body);
    await this.#poll();
  }

  async #stop(app, name) {
    const dialog = byId("confirm");
    setText(byId("confirm-name"), `${app}/${name}`);
    dialog.returnValue = "cancel";
    dialog.showModal();
    await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
    if (dialog.returnValue !== "stop") return;
    try {
      await this.#api.post(`${streamPath(app, name)}/stop`);
      await this.#poll();
    } catch (error) {
      this.#setConnection("lost", error.message);
    }
  }
}

function openStream(event) {
  event.preventDefault();
  const [app, name = "default"] = byId("watch-name").value.trim().split("/");
  location.assign(`./play/${segment(app)}/${segment(name)}`);
}

new Dashboard().start();
