// Keeps one live stream playing over WebRTC (WHEP): connects, watches, and comes back by itself.
// The same face as LivePlayer, and the same states.
//
// Where WebRTC cannot work it says so (`unable`, with `verdict`) and ends: whoever made it plays
// the stream in another way.

import { Rates, readStats, route } from "./rtc-stats.js";
import { BlockedError, RtcLink } from "./rtc-link.js";

const TICK_MS = 500;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 5000;
const DENIED_RETRY_MS = 15_000;
// Packets come, and yet no picture: from now on the browser cannot decode them.
const PICTURE_MS = 3000;
// Nothing comes any more: the publisher is gone for now, and the server keeps us for its return.
const ABSENT_MS = 1500;
// Packets come, but the picture stands: another connection begins with a keyframe.
const STUCK_MS = 5000;
const SMOOTHING = 0.15;

export class RtcPlayer extends EventTarget {
  state = "connecting";
  reason = "";
  stalls = 0;
  errors = 0;
  reloads = 0;
  /** Why WebRTC cannot play this, once it is known: `{kind, message}`; `kind` is "absent" (the
   * server has none), "blocked" (the network lets nothing through) or "unplayable". */
  verdict = null;
  /** Seconds, or null while unknown. */
  latency = null;
  /** How the packets go, for people. */
  route = "";

  #video;
  #where;
  #link = null;
  #wanted = true;
  #attempt = 0;
  #retryTimer = 0;
  #ticker = 0;
  #ended = new AbortController();
  #rates = new Rates();
  #media = { width: 0, height: 0, frameRate: 0, videoCodec: "", audioCodec: "", bitRate: 0 };
  #buffered = 0;
  #halfTrip = 0;
  #shown = { frames: 0, atMs: 0 };
  #arrived = { packets: 0, atMs: 0 };
  #everShown = false;

  /** `where` is `{root, whep, token}`: the server's URL, the path below it, a credential. */
  constructor(video, where) {
    super();
    this.#video = video;
    this.#where = where;
    const { signal } = this.#ended;
    video.addEventListener("pause", () => this.#paused(), { signal });
    video.addEventListener("play", () => {
      if (this.state === "paused") this.#setState("buffering");
      this.#wanted = true;
    }, { signal });
    window.addEventListener("online", () => this.#hurry(), { signal });
    window.addEventListener("pagehide", () => this.#drop(), { signal });
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) this.#connect();
    }, { signal });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#hurry();
    }, { signal });
  }

  /** Begins; from now on the player looks after itself. */
  start() {
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#connect();
  }

  /** Lets go of the video element, for good. */
  stop() {
    this.#ended.abort();
    clearInterval(this.#ticker);
    clearTimeout(this.#retryTimer);
    this.#drop();
  }

  get latencyMeaning() {
    return "From the server to your screen: half the round trip and what this browser buffers and decodes, by its own measurements";
  }

  /** Seconds of media that lie ready. */
  get buffered() {
    return this.#buffered;
  }

  get media() {
    return this.#media;
  }

  /** There is nothing else but live. */
  get atLive() {
    return true;
  }

  /** Plays; resolves to whether the browser let it. */
  async play() {
    this.#wanted = true;
    try {
      await this.#video.play();
      return true;
    } catch (error) {
      if (error.name !== "NotAllowedError") return this.state !== "blocked";
      this.#setState("blocked");
      return false;
    }
  }

  goLive() {
    return this.play();
  }

  async #connect() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    if (!RtcLink.supported) {
      this.#unable("absent", "This browser has no WebRTC.");
      return;
    }
    const { root, whep, token } = this.#where;
    const link = new RtcLink(root, whep, token);
    this.#link = link;
    const media = new MediaStream();
    link.pc.addEventListener("track", ({ track }) => media.addTrack(track));
    link.pc.addTransceiver("video", { direction: "recvonly" });
    link.pc.addTransceiver("audio", { direction: "recvonly" });
    link.addEventListener("lost", () => this.#again("waiting", "Waiting for the stream to come back"));
    try {
      await link.open();
    } catch (error) {
      if (link === this.#link) this.#failed(error);
      return;
    }
    if (link !== this.#link) return;
    const now = performance.now();
    this.#shown = { frames: 0, atMs: now };
    this.#arrived = { packets: 0, atMs: now };
    this.#everShown = false;
    this.#video.srcObject = media;
    this.#measureFrames(link);
    if (this.#wanted) this.play();
    else this.#setState("paused");
  }

  #failed(error) {
    this.errors += 1;
    if (error instanceof BlockedError) {
      this.#unable("blocked", "The network lets no WebRTC through.");
    } else if (error.absent) {
      this.#unable("absent", "This server has no WebRTC.");
    } else if (error.denied) {
      this.#again("denied", "This stream is not public");
    } else if (error.status === 0 || error.status === 404 || error.status === 502 || error.status === 504) {
      const offline = error.status === 0 && !navigator.onLine;
      this.#again("waiting", offline ? "This device is offline" : "Waiting for the stream");
    } else {
      // What was refused with a sentence, or a fault of this browser's WebRTC.
      this.#unable("unplayable", error.status ? error.message : "This browser's WebRTC failed.");
    }
  }

  #unable(kind, message) {
    this.#drop();
    this.verdict = { kind, message };
    this.dispatchEvent(new Event("unable"));
  }

  /** Lets go of the connection and tries again, later each time up to a bound. */
  #again(state, reason) {
    this.#drop();
    this.reloads += 1;
    this.#setState(state, reason);
    const pause = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 1.5 ** this.#attempt);
    this.#attempt += 1;
    // Jitter: thousands of players must not come back in the same instant.
    const wait = (state === "denied" ? DENIED_RETRY_MS : pause) * (0.8 + 0.4 * Math.random());
    this.#retryTimer = setTimeout(() => this.#connect(), wait);
  }

  #drop() {
    clearTimeout(this.#retryTimer);
    this.#link?.close();
    this.#link = null;
    this.#rates = new Rates();
    this.latency = null;
    this.#buffered = 0;
    if (this.#video.srcObject) this.#video.srcObject = null;
  }

  /** The network or the viewer is back: no need to wait for the timer. */
  #hurry() {
    if (this.#link || this.state !== "waiting") return;
    this.#attempt = 0;
    this.#connect();
  }

  #paused() {
    // A stream that goes away pauses the element too; that is not the viewer's wish.
    if (!this.#link || this.state !== "playing" || !this.#video.srcObject) return;
    this.#wanted = false;
    this.#setState("paused");
  }

  /** How long each picture took from its arrival here to the screen. */
  #measureFrames(link) {
    const video = this.#video;
    if (!video.requestVideoFrameCallback) return;
    const look = (now, frame) => {
      if (link !== this.#link) return;
      const since = frame.receiveTime ?? null;
      if (since !== null) this.#blend((frame.expectedDisplayTime - since) / 1000 + this.#halfTrip);
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  }

  #blend(seconds) {
    const value = Math.max(0, seconds);
    this.latency = this.latency === null ? value : this.latency + (value - this.latency) * SMOOTHING;
  }

  async #tick() {
    const link = this.#link;
    if (link?.up) {
      try {
        const stats = await readStats(link.pc, "inbound");
        if (link === this.#link) this.#read(stats);
      } catch {
        // The connection was closed meanwhile.
      }
    }
    if (!this.#ended.signal.aborted) this.dispatchEvent(new Event("tick"));
  }

  #read(stats) {
    const { video, audio, pair } = stats;
    const now = performance.now();
    const packets = (video?.packetsReceived ?? 0) + (audio?.packetsReceived ?? 0);
    const frames = video?.packetsReceived ? video.framesDecoded ?? 0 : Math.floor(audio?.totalSamplesReceived ?? 0);
    const bytes = (video?.bytesReceived ?? 0) + (audio?.bytesReceived ?? 0);
    this.#halfTrip = (pair?.currentRoundTripTime ?? 0) / 2;
    this.route = route(stats);
    this.#buffer(video?.packetsReceived ? video : audio);
    const { videoWidth, videoHeight } = this.#video;
    this.#media = {
      width: videoWidth || video?.frameWidth || 0,
      height: videoHeight || video?.frameHeight || 0,
      frameRate: video?.framesPerSecond ?? 0,
      videoCodec: video?.packetsReceived ? stats.videoCodec : "",
      audioCodec: audio?.packetsReceived ? stats.audioCodec : "",
      bitRate: this.#rates.of("bytes", bytes, now) * 8,
    };
    if (packets > this.#arrived.packets) this.#arrived = { packets, atMs: now };
    // Unequal, not more: before the first picture the sound counts, in other units.
    if (frames !== this.#shown.frames) this.#shown = { frames, atMs: now };
    this.#judge(now, packets, frames);
  }

  #judge(now, packets, frames) {
    if (this.#video.paused) return;
    if (frames > 0 && now - this.#shown.atMs < ABSENT_MS) {
      this.#everShown = true;
      this.#attempt = 0;
      this.#setState("playing");
      return;
    }
    const absent = now - this.#arrived.atMs > ABSENT_MS;
    if (this.state === "playing") {
      this.stalls += 1;
      this.#setState("buffering");
    }
    if (absent) {
      this.#shown.atMs = now;
      this.#setState("buffering", packets ? "Waiting for the stream to come back" : "Waiting for the stream");
    } else if (packets && !this.#everShown && now - this.#shown.atMs > PICTURE_MS) {
      this.#unable("unplayable", "This browser cannot show the stream over WebRTC.");
    } else if (packets && now - this.#shown.atMs > STUCK_MS) {
      this.#again("waiting", "Starting over");
    }
  }

  /** What waits to be shown; for browsers that time no frames, also the delay. */
  #buffer(stats) {
    if (!stats) return;
    const emitted = this.#rates.of("emitted", stats.jitterBufferEmittedCount ?? 0, stats.timestamp);
    const delay = this.#rates.of("delay", stats.jitterBufferDelay ?? 0, stats.timestamp);
    if (!emitted) return;
    this.#buffered = delay / emitted;
    const timed = stats.kind === "video" && this.latency !== null;
    if (!timed || !this.#video.requestVideoFrameCallback) this.#blend(this.#buffered + this.#halfTrip);
  }

  #setState(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    this.state = state;
    this.reason = reason;
    this.dispatchEvent(new Event("state"));
  }
}
