// One WebRTC connection to the server, in either direction: offer, answer, what becomes of it.
//
// Nothing is gathered before the offer goes out: the server waits at known addresses and learns
// ours from our checks (ICE-lite, RFC 8445 2.5). So the offer is applied only after the answer
// came, with the STUN and TURN servers that it told of.

import { restartedAnswer, Signalling, SignalError } from "./whip.js";

// A connection that has not come about by then will not: UDP and TCP are blocked.
const CONNECT_MS = 3000;
// A short hole in the network mends itself.
const PATIENCE_MS = 2000;
const RESTART_MS = 6000;
const MAX_RESTARTS = 3;

/** The connection could not be made although the server answered. */
export class BlockedError extends Error {}

/** Events: `lost` (once; `reason`), `closed` (whoever did it), `restarting`, `restarted`. */
export class RtcLink extends EventTarget {
  reason = "";
  pc;
  /** Whether it is connected, or was until it was lost. */
  up = false;

  #signalling;
  #answer = "";
  #transport = null;
  #patience = 0;
  #deadline = 0;
  #restarts = 0;
  #restarting = false;
  #closed = false;

  static get supported() {
    return typeof RTCPeerConnection === "function";
  }

  constructor(root, path, token) {
    super();
    this.#signalling = new Signalling(root, path, token);
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.pc.addEventListener("connectionstatechange", () => this.#changed());
    this.pc.addEventListener("track", (event) => this.#transportOf(event.receiver));
  }

  /** Makes the connection with the transceivers that `pc` has. Raises `SignalError` for what the
   * server refuses, `BlockedError` where media does not get through. */
  async open(connectMs = CONNECT_MS) {
    const { pc } = this;
    const offer = await pc.createOffer();
    const { sdp, iceServers } = await this.#signalling.open(offer.sdp);
    if (this.#closed) return;
    this.#answer = sdp;
    if (iceServers.length) pc.setConfiguration({ ...pc.getConfiguration(), iceServers });
    await pc.setLocalDescription(offer);
    await pc.setRemoteDescription({ type: "answer", sdp });
    for (const { sender } of pc.getTransceivers()) this.#transportOf(sender);
    await this.#connected(connectMs);
  }

  /** Ends it; `lost` does not follow. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#patience);
    clearTimeout(this.#deadline);
    this.#signalling.close();
    this.pc.close();
    this.dispatchEvent(new Event("closed"));
  }

  async #connected(ms) {
    const { pc } = this;
    const blocked = () => new BlockedError("The network lets no WebRTC through");
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => finish(blocked()), ms);
      const look = () => {
        if (pc.connectionState === "connected") finish(null);
        else if (pc.connectionState === "failed") finish(blocked());
      };
      const gone = () => finish(new SignalError(0, "The server ended the connection"));
      const finish = (error) => {
        clearTimeout(timer);
        pc.removeEventListener("connectionstatechange", look);
        this.removeEventListener("closed", gone);
        if (error) reject(error);
        else resolve();
      };
      pc.addEventListener("connectionstatechange", look);
      this.addEventListener("closed", gone);
      look();
    });
    this.up = true;
  }

  /** The server's goodbye ends DTLS, which no state of the connection tells in every browser. */
  #transportOf(end) {
    const transport = end.transport;
    if (!transport || transport === this.#transport) return;
    this.#transport = transport;
    transport.addEventListener("statechange", () => {
      if (transport.state === "closed" || transport.state === "failed") this.#lost("The server ended the connection");
    });
  }

  #changed() {
    clearTimeout(this.#patience);
    if (this.#closed || !this.up) return;
    const state = this.pc.connectionState;
    if (state === "failed") this.#restart();
    else if (state === "disconnected") this.#patience = setTimeout(() => this.#restart(), PATIENCE_MS);
    else if (state === "connected") this.#restarted();
  }

  #restarted() {
    clearTimeout(this.#deadline);
    if (!this.#restarting) return;
    this.#restarting = false;
    this.dispatchEvent(new Event("restarted"));
  }

  /** Another network path for the same connection (RFC 8445 9): the broadcast goes on. */
  async #restart() {
    if (this.#closed || this.#restarting) return;
    if (this.#restarts >= MAX_RESTARTS || this.pc.signalingState !== "stable") {
      this.#lost("The connection broke");
      return;
    }
    this.#restarts += 1;
    this.#restarting = true;
    this.dispatchEvent(new Event("restarting"));
    this.#deadline = setTimeout(() => {
      if (this.pc.connectionState === "connected") this.#restarted();
      else this.#lost("The connection broke");
    }, RESTART_MS);
    try {
      const offer = await this.pc.createOffer({ iceRestart: true });
      const fragment = await this.#signalling.restart(offer.sdp);
      if (this.#closed) return;
      this.#answer = restartedAnswer(this.#answer, fragment);
      await this.pc.setLocalDescription(offer);
      await this.pc.setRemoteDescription({ type: "answer", sdp: this.#answer });
    } catch {
      this.#lost("The connection broke");
    }
  }

  #lost(reason) {
    if (this.#closed) return;
    const up = this.up;
    this.reason = reason;
    this.close();
    if (up) this.dispatchEvent(new Event("lost"));
  }
}
