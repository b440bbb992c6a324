// One live stream over WebRTC where that works, and over HLS where it does not or the viewer
// prefers it. The face of the two players, whichever plays.

import { LivePlayer } from "./live-player.js";
import { RtcPlayer } from "./rtc-player.js";

export const WAYS = ["webrtc", "hls"];
// A network that blocks WebRTC is asked again after this.
const BLOCKED_MS = 300_000;
const STORAGE_KEY = "streamserver:via";

export class Player extends EventTarget {
  /** What the viewer, or the page's address, asked for. */
  choice;
  /** What plays now. */
  via;
  /** Why that is not what was asked for; empty where it is. */
  note = "";

  #video;
  #stream;
  #inner;
  #begun = false;
  #wasAway = false;
  #blockedUntil = 0;
  #gone = { errors: 0, reloads: 0, stalls: 0 };

  /** `via` overrides what this viewer chose before. */
  constructor(video, stream, { via = null } = {}) {
    super();
    this.#video = video;
    this.#stream = stream;
    this.choice = WAYS.includes(via) ? via : remembered();
    this.#use(this.choice);
  }

  start() {
    this.#begun = true;
    this.#inner.start();
  }

  /** Changes the way, and keeps that for this viewer. Choosing WebRTC again tries it again. */
  choose(via) {
    this.choice = via;
    remember(via);
    this.#blockedUntil = 0;
    this.#switch(via, "");
  }

  get state() { return this.#inner.state; }
  get reason() { return this.#inner.reason; }
  get latency() { return this.#inner.latency; }
  get latencyMeaning() { return this.#inner.latencyMeaning; }
  get buffered() { return this.#inner.buffered; }
  get media() { return this.#inner.media; }
  get atLive() { return this.#inner.atLive; }
  get route() { return this.#inner.route ?? ""; }
  get errors() { return this.#gone.errors + this.#inner.errors; }
  get reloads() { return this.#gone.reloads + this.#inner.reloads; }
  get stalls() { return this.#gone.stalls + this.#inner.stalls; }

  play() { return this.#inner.play(); }
  goLive() { return this.#inner.goLive(); }

  #use(via) {
    this.via = via;
    const inner = via === "webrtc"
      ? new RtcPlayer(this.#video, this.#stream)
      : new LivePlayer(this.#video, this.#stream.hls);
    this.#inner = inner;
    inner.addEventListener("state", () => this.#changed(inner));
    inner.addEventListener("tick", () => this.dispatchEvent(new Event("tick")));
    inner.addEventListener("unable", () => this.#fallBack(inner));
  }

  #changed(inner) {
    if (inner !== this.#inner) return;
    const instead = this.via === "hls" && this.choice === "webrtc" && performance.now() > this.#blockedUntil;
    // The broadcast that WebRTC could not play is over; the next one may be another. Likewise
    // what a publisher sends who was gone for a moment, perhaps to follow our advice.
    const away = inner.state === "buffering" && inner.reason !== "";
    if (instead && (inner.state === "waiting" || (inner.state === "playing" && this.#wasAway))) {
      this.#switch("webrtc", "");
      return;
    }
    this.#wasAway ||= away;
    this.dispatchEvent(new Event("state"));
  }

  #fallBack(inner) {
    if (inner !== this.#inner) return;
    const { kind, message } = inner.verdict;
    if (kind === "absent") this.#blockedUntil = Infinity;
    if (kind === "blocked") this.#blockedUntil = performance.now() + BLOCKED_MS;
    this.#switch("hls", message);
  }

  #switch(via, note) {
    const old = this.#inner;
    for (const name of ["errors", "reloads", "stalls"]) this.#gone[name] += old[name];
    old.stop();
    this.#wasAway = false;
    this.note = note;
    this.#use(via);
    this.dispatchEvent(new Event("state"));
    if (this.#begun) this.#inner.start();
  }
}

function remembered() {
  try {
    const found = localStorage.getItem(STORAGE_KEY);
    if (WAYS.includes(found)) return found;
  } catch {
    // Storage may be forbidden, in frames above all.
  }
  return "webrtc";
}

function remember(via) {
  try {
    localStorage.setItem(STORAGE_KEY, via);
  } catch {
    // Then the choice lives as long as the page.
  }
}
