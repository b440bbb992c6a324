// Sends tracks to the server (WHIP) and keeps on sending: through other networks, lost connections
// and a server that restarts, until it is told to stop.
//
// States: idle, connecting, live, reconnecting, refused (`reason` tells why; nothing more is tried).

import { BlockedError, RtcLink } from "./rtc-link.js";

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 10_000;
const CONNECT_MS = 10_000;

export class Broadcast extends EventTarget {
  state = "idle";
  reason = "";
  /** Whether another key could help. */
  denied = false;
  /** When the first picture went out, by `performance.now`; null while not on air. */
  since = null;

  #root;
  #path;
  #token = "";
  #tracks = { video: null, audio: null };
  #bitRate = 0;
  #link = null;
  #attempt = 0;
  #timer = 0;

  constructor(root, path) {
    super();
    this.#root = root;
    this.#path = path;
    window.addEventListener("online", () => this.#hurry());
    // The answer to a DELETE is not waited for, but it leaves even as the page does.
    window.addEventListener("pagehide", () => this.#drop());
    window.addEventListener("pageshow", (event) => {
      if (event.persisted && this.wanted) this.#connect();
    });
  }

  /** Whether this is to be on air. */
  get wanted() {
    return !["idle", "refused"].includes(this.state);
  }

  /** The connection while there is one; for its statistics. */
  get pc() {
    return this.#link?.up ? this.#link.pc : null;
  }

  /** Begins with the tracks that there are; either may be null. */
  start({ video, audio, bitRate, token }) {
    this.#tracks = { video, audio };
    this.#bitRate = bitRate;
    this.#token = token;
    this.#attempt = 0;
    this.since = null;
    this.#setState("connecting");
    this.#connect();
  }

  /** Ends the broadcast at the server as well. */
  stop() {
    this.#drop();
    this.since = null;
    this.#setState("idle");
  }

  /** Other devices for the same broadcast; the server notices nothing but other pictures. */
  async replace({ video, audio, bitRate }) {
    const before = this.#tracks;
    this.#tracks = { video, audio };
    this.#bitRate = bitRate;
    if (!this.wanted || !this.#link) return;
    const same = Boolean(before.video) === Boolean(video) && Boolean(before.audio) === Boolean(audio);
    if (!same || !this.#link.up) {
      // A kind of track that was not offered needs another offer.
      this.#again("Connecting with the other devices");
      return;
    }
    for (const { sender, receiver } of this.#link.pc.getTransceivers()) {
      await sender.replaceTrack(receiver.track.kind === "video" ? video : audio).catch(() => {});
    }
    await this.#limit(this.#link);
  }

  async #connect() {
    clearTimeout(this.#timer);
    this.#drop();
    const link = new RtcLink(this.#root, this.#path, this.#token);
    this.#link = link;
    for (const track of [this.#tracks.video, this.#tracks.audio]) {
      if (track) link.pc.addTransceiver(track, { direction: "sendonly" });
    }
    link.addEventListener("lost", () => this.#again(link.reason));
    link.addEventListener("restarting", () => this.#setState("reconnecting", "The network changed"));
    link.addEventListener("restarted", () => this.#setState("live"));
    try {
      await link.open(CONNECT_MS);
    } catch (error) {
      if (link === this.#link) this.#failed(error);
      return;
    }
    if (link !== this.#link) return;
    await this.#limit(link);
    this.#attempt = 0;
    this.since ??= performance.now();
    this.#setState("live");
  }

  #failed(error) {
    const again = this.since !== null;
    // 409: our own lost connection may still be there.
    const passing = [0, 404, 500, 502, 503, 504].includes(error.status) && !error.absent;
    if (error instanceof BlockedError) {
      if (again) this.#again("The network lets no WebRTC through");
      else this.#refuse("The network lets no WebRTC through, neither over UDP nor over TCP. Another network, or the server's administrator, may help.");
    } else if (error.absent) this.#refuse("This server takes no WebRTC.");
    else if (passing || (again && error.status === 409)) this.#again(error.message);
    else this.#refuse(error.status === undefined ? "This browser's WebRTC failed." : error.message, error.denied);
  }

  #refuse(reason, denied = false) {
    this.#drop();
    this.since = null;
    this.denied = denied;
    this.#setState("refused", reason);
  }

  #again(reason) {
    this.#drop();
    this.#setState(this.since === null ? "connecting" : "reconnecting", reason);
    const pause = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 1.6 ** this.#attempt);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(), pause * (0.8 + 0.4 * Math.random()));
  }

  #hurry() {
    if (!this.wanted || this.#link) return;
    this.#attempt = 0;
    this.#connect();
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#link?.close();
    this.#link = null;
  }

  /** The upper bound of the encoder; below it, it follows the network. */
  async #limit(link) {
    const screen = this.#tracks.video?.contentHint === "detail";
    for (const { sender } of link.pc.getTransceivers()) {
      if (sender.track?.kind !== "video") continue;
      const parameters = sender.getParameters();
      if (!parameters.encodings?.length) continue;
      parameters.encodings[0].maxBitrate = this.#bitRate;
      parameters.degradationPreference = screen ? "maintain-resolution" : "balanced";
      await sender.setParameters(parameters).catch(() => {});
    }
  }

  #setState(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    this.state = state;
    this.reason = reason;
    this.dispatchEvent(new Event("state"));
  }
}
