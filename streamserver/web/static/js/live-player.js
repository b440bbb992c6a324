// Keeps one live stream playing over HLS: loads it, follows the live edge, and comes back after every
// interruption by itself. Knows the video element, but no other part of the page.
//
// States: connecting (first try), waiting (no stream, or it ended; trying again), buffering,
// playing, paused, blocked (the browser wants a gesture first), denied (a credential is missing).

const TICK_MS = 250;
const RETRY_FIRST_MS = 600;
const RETRY_MAX_MS = 5000;
const DENIED_RETRY_MS = 15_000;
// No picture moves: from now on it is a stall, whatever the browser says.
const STILL_MS = 1000;
// No picture moves although newer media is known: after the first time the player jumps over what
// may be a hole, after the second the source is loaded afresh.
const HOLE_MS = 1500;
const STUCK_MS = 6000;
// No picture moves and nothing newer is known: the publisher is gone for now.
const ABSENT_MS = 3000;
// Further behind the player's own target than this: jump rather than play faster.
const JUMP_BEHIND_S = 4;
const JUMP_PAUSE_MS = 8000;
// Where a player begins is left to chance by as much as a segment; one early jump within what is
// buffered mends it, when nobody has begun to listen yet.
const SETTLE_MS = 800;
const SETTLE_BEHIND_S = 0.5;
// Kept beyond the hold-back of the playlist. That alone leaves two thirds of a second just before
// a part comes, and a busy device was seen to stall with it.
const RESERVE_S = 0.2;
// A smaller excess is caught up by playing faster, from the first of these down to the second, as
// long as enough lies ready to outlast a late part.
const CATCH_UP_FROM_S = 0.3;
const CATCH_UP_TO_S = 0.05;
const CATCH_UP_BUFFER_S = 0.6;
const CATCH_UP_RATE = 1.1;
const RECOVER_PAUSE_MS = 5000;
const RATE_WINDOW_S = 8;

const HLS_CONFIG = {
  lowLatencyMode: true,
  // The rate is ours to steer: hls.js changes it with every part, several times a second, and
  // only above a second of buffer.
  maxLiveSyncPlaybackRate: 1,
  liveSyncOnStallIncrease: 0.25,
  liveDurationInfinity: true,
  backBufferLength: 10,
  maxBufferLength: 20,
  // One try each: the retries are ours, because a stream that is not there may come any time.
  manifestLoadPolicy: {
    default: { maxTimeToFirstByteMs: 12_000, maxLoadTimeMs: 20_000, timeoutRetry: null, errorRetry: null },
  },
};

export class LivePlayer extends EventTarget {
  state = "connecting";
  reason = "";
  stalls = 0;
  errors = 0;
  reloads = 0;

  #video;
  #source;
  #hls = null;
  #retryTimer = 0;
  #attempt = 0;
  #fresh = false;
  #settled = false;
  #startedAt = Infinity;
  #wanted = true;
  #shownUntil = 0;
  #recoveredAt = -Infinity;
  #jumpedAt = -Infinity;
  #position = -1;
  #progressAt = 0;
  #newerSince = 0;
  #window = [];
  #ticker = 0;
  #ended = new AbortController();

  constructor(video, source) {
    super();
    this.#video = video;
    this.#source = source;
    const { signal } = this.#ended;
    const on = (name, handler) => video.addEventListener(name, handler, { signal });
    on("playing", () => this.#playing());
    on("waiting", () => {
      // A jump of ours makes the element wait, too.
      if (!video.seeking) this.#starved();
    });
    on("pause", () => this.#paused());
    on("play", () => this.#resumed());
    on("ended", () => this.#again("waiting", "The stream has ended"));
    window.addEventListener("online", () => this.#hurry(), { signal });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#hurry();
    }, { signal });
  }

  /** Begins; from now on the player looks after itself. */
  start() {
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#load();
  }

  /** Lets go of the video element, for good. */
  stop() {
    this.#ended.abort();
    clearInterval(this.#ticker);
    clearTimeout(this.#retryTimer);
    this.#unload();
    this.#video.playbackRate = 1;
    this.#video.removeAttribute("src");
  }

  /** Seconds from the server's clock to the picture shown, or null while unknown. */
  get latency() {
    const date = this.#dateShown();
    return date === null ? null : (Date.now() - date) / 1000;
  }

  /** Seconds of media that lie ready. */
  get buffered() {
    const { buffered, currentTime } = this.#video;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) {
        return buffered.end(i) - currentTime;
      }
    }
    return 0;
  }

  /** What this number says, for people. */
  get latencyMeaning() {
    return "From the server's clock to your screen, by this device's clock";
  }

  /** What is played: `{width, height, frameRate, videoCodec, audioCodec, bitRate}`. */
  get media() {
    const level = this.#hls?.levels?.[Math.max(0, this.#hls.currentLevel)];
    const seconds = this.#window.reduce((sum, piece) => sum + piece.seconds, 0);
    const bytes = this.#window.reduce((sum, piece) => sum + piece.bytes, 0);
    return {
      width: this.#video.videoWidth || level?.width || 0,
      height: this.#video.videoHeight || level?.height || 0,
      frameRate: level?.frameRate || Number(level?.attrs?.["FRAME-RATE"]) || 0,
      videoCodec: level?.videoCodec ?? "",
      audioCodec: level?.audioCodec ?? "",
      bitRate: seconds > 1 ? (bytes * 8) / seconds : 0,
    };
  }

  /** Whether the picture is as near to live as the player aims for. */
  get atLive() {
    return this.#behind() < JUMP_BEHIND_S;
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

  /** Jumps to the live edge and plays. */
  goLive() {
    this.#jump();
    return this.play();
  }

  #load() {
    clearTimeout(this.#retryTimer);
    this.#unload();
    this.#fresh = true;
    this.#settled = false;
    this.#startedAt = Infinity;
    this.#position = -1;
    this.#progressAt = this.#newerSince = performance.now();
    if (!window.Hls?.isSupported()) {
      this.#loadNative();
      return;
    }
    const { Events } = window.Hls;
    const hls = new window.Hls(HLS_CONFIG);
    this.#hls = hls;
    hls.on(Events.MANIFEST_PARSED, () => {
      if (this.#wanted) this.play();
      else this.#setState("paused");
    });
    hls.on(Events.LEVEL_LOADED, (_, { details }) => this.#levelLoaded(hls, details));
    hls.on(Events.FRAG_BUFFERED, (_, piece) => this.#measure(piece));
    hls.on(Events.ERROR, (_, error) => this.#failed(hls, error));
    hls.loadSource(this.#source);
    hls.attachMedia(this.#video);
  }

  /** Without Media Source Extensions the browser's own player has to do. Never preferred: a
   * browser that says "maybe" to HLS plays it without low latency. */
  #loadNative() {
    this.#video.addEventListener("error", () => {
      this.errors += 1;
      this.#again("waiting", "Waiting for the stream");
    }, { once: true, signal: this.#ended.signal });
    this.#video.src = this.#source;
    this.play();
  }

  #unload() {
    this.#hls?.destroy();
    this.#hls = null;
    this.#window = [];
  }

  /** A playlist of a fresh load that holds nothing newer than what was shown is the end of the
   * old broadcast, which must not be played again. */
  #levelLoaded(hls, details) {
    if (!this.#fresh || hls !== this.#hls) return;
    const edge = dateOfEdge(details);
    const old = edge !== null && edge <= this.#shownUntil + 500;
    if (!details.live || old) {
      this.#again("waiting", details.live ? "Waiting for the stream to come back" : "The stream has ended");
      return;
    }
    this.#fresh = false;
  }

  #failed(hls, error) {
    if (hls !== this.#hls) return;
    this.errors += 1;
    if (!error.fatal) return;
    const { ErrorTypes } = window.Hls;
    const now = performance.now();
    if (error.type === ErrorTypes.MEDIA_ERROR && now - this.#recoveredAt > RECOVER_PAUSE_MS) {
      this.#recoveredAt = now;
      hls.recoverMediaError();
      this.play();
      return;
    }
    const status = error.response?.code ?? 0;
    if (status === 401 || status === 403) this.#again("denied", "This stream is not public");
    else if (status === 0 && error.type === ErrorTypes.NETWORK_ERROR && !navigator.onLine) {
      this.#again("waiting", "This device is offline");
    } else this.#again("waiting", "Waiting for the stream");
  }

  /** Lets go of the source and tries again, later each time up to a bound. */
  #again(state, reason) {
    this.#unload();
    this.reloads += 1;
    this.#setState(state, reason);
    const pause = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 1.5 ** this.#attempt);
    this.#attempt += 1;
    // Jitter: thousands of players must not come back in the same instant.
    const wait = (state === "denied" ? DENIED_RETRY_MS : pause) * (0.8 + 0.4 * Math.random());
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#load(), wait);
  }

  /** The network or the viewer is back: no need to wait for the timer. */
  #hurry() {
    if (this.#hls || this.state !== "waiting") return;
    this.#attempt = 0;
    this.#load();
  }

  #playing() {
    this.#attempt = 0;
    this.#startedAt = Math.min(this.#startedAt, performance.now());
    this.#setState("playing");
  }

  #starved() {
    if (this.state !== "playing") return;
    this.stalls += 1;
    this.#setState("buffering");
  }

  #paused() {
    // A stream that goes away pauses the element too; that is not the viewer's wish.
    if (!this.#hls || this.#video.ended || this.state !== "playing") return;
    this.#wanted = false;
    this.#setState("paused");
  }

  #resumed() {
    if (this.state !== "paused") return;
    this.#setState("buffering");
    if (!this.atLive) this.#jump();
  }

  #tick() {
    const now = performance.now();
    const { currentTime, paused } = this.#video;
    if (currentTime !== this.#position) {
      this.#position = currentTime;
      this.#progressAt = now;
      const date = this.#dateShown();
      if (date !== null && this.state === "playing") this.#shownUntil = Math.max(this.#shownUntil, date);
    }
    if (paused) this.#progressAt = now;
    else if (this.#hls && !this.#fresh) this.#watch(now);
    if (this.#hls) this.#settle(now);
    if (this.#hls) this.#steer();
    this.dispatchEvent(new Event("tick"));
  }

  #watch(now) {
    const details = this.#hls.latestLevelDetails;
    const newer = details !== null && details.edge - this.#video.currentTime > 1;
    const still = now - this.#progressAt;
    if (still < TICK_MS * 2 || !newer) this.#newerSince = now;
    // Browsers do not always say that they wait, after a seek above all.
    if (still > STILL_MS) this.#starved();
    const stuck = now - this.#newerSince;
    // Where one track ends before the other, hls.js waits for the rest of it and never says "ended".
    if (details !== null && !details.live && !newer && still > HOLE_MS) {
      this.#again("waiting", "The stream has ended");
    } else if (stuck > STUCK_MS) {
      this.#again("waiting", "Starting over");
    } else if (stuck > HOLE_MS && now - this.#jumpedAt > HOLE_MS) {
      this.#jump();
    } else if (still > ABSENT_MS && !newer && this.state === "buffering") {
      this.#setState("buffering", "Waiting for the stream to come back");
    } else if (this.state === "playing" && !this.atLive && now - this.#jumpedAt > JUMP_PAUSE_MS) {
      this.#jump();
    }
  }

  /** Once per load: goes to where the player aims, if that is buffered already. */
  #settle(now) {
    if (this.#settled || this.state !== "playing" || now - this.#startedAt < SETTLE_MS) return;
    this.#settled = true;
    const behind = this.#behind();
    if (behind > SETTLE_BEHIND_S && this.buffered > behind + CATCH_UP_BUFFER_S) this.#jump();
  }

  /** Plays a little faster while the picture is too far behind. */
  #steer() {
    const video = this.#video;
    const bound = video.playbackRate > 1 ? CATCH_UP_TO_S : CATCH_UP_FROM_S;
    const able = this.state === "playing" && this.buffered > CATCH_UP_BUFFER_S;
    const rate = able && this.#behind() > bound ? CATCH_UP_RATE : 1;
    if (video.playbackRate !== rate) video.playbackRate = rate;
  }

  #behind() {
    const hls = this.#hls;
    if (!hls || !Number.isFinite(hls.latency) || !Number.isFinite(hls.targetLatency)) return 0;
    return hls.latency - hls.targetLatency - RESERVE_S;
  }

  #jump() {
    const target = (this.#hls?.liveSyncPosition ?? NaN) - RESERVE_S;
    if (Number.isFinite(target) && target > this.#video.currentTime) {
      this.#jumpedAt = performance.now();
      this.#video.currentTime = target;
      // Not progress: pictures have to move first.
      this.#position = this.#video.currentTime;
    }
  }

  #measure({ frag, part, stats }) {
    const seconds = (part ?? frag).duration;
    if (frag.sn === "initSegment" || !(seconds > 0)) return;
    this.#window.push({ seconds, bytes: stats.loaded });
    let held = this.#window.reduce((sum, piece) => sum + piece.seconds, 0);
    while (held - this.#window[0].seconds >= RATE_WINDOW_S) held -= this.#window.shift().seconds;
  }

  #dateShown() {
    if (this.#hls) return this.#hls.playingDate?.getTime() ?? null;
    const start = this.#video.getStartDate?.().getTime();
    return Number.isFinite(start) ? start + this.#video.currentTime * 1000 : null;
  }

  #setState(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    this.state = state;
    this.reason = reason;
    this.dispatchEvent(new Event("state"));
  }
}

/** The date of the newest media in a playlist, in Unix milliseconds, or null. */
function dateOfEdge(details) {
  const last = details.fragments?.at(-1);
  if (!last?.programDateTime) return null;
  return last.programDateTime + (details.edge - last.start) * 1000;
}
