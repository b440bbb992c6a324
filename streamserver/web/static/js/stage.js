// The player's surface: veil, buttons, keys. Shared by the play page and the embedded one.

import { byId, setText, show } from "./dom.js";
import { Player } from "./player.js";

const IDLE_MS = 2500;
const WORDS = {
  connecting: ["Connecting", ""],
  waiting: ["Waiting for the stream", "It starts here by itself as soon as it is on air."],
  buffering: ["Buffering", ""],
  denied: ["This stream is not public", "Ask whoever shared it for a link with access."],
};

export class Stage {
  /** `autoplay` false waits for a click before anything is loaded; `via` is "webrtc" or "hls". */
  constructor(stream, { autoplay = true, muted = true, via = null } = {}) {
    this.root = byId("stage");
    this.video = byId("video");
    this.video.muted = muted;
    this.player = new Player(this.video, stream, { via });
    this.player.addEventListener("state", () => this.#render());
    this.player.addEventListener("tick", () => this.#publish());
    this.video.addEventListener("volumechange", () => this.#render());
    this.#wireButtons();
    this.#wireKeys();
    this.#wireIdle();
    if (autoplay) this.#begin();
    else this.#offer();
  }

  #begin() {
    this.begun = true;
    this.player.start();
    this.#render();
  }

  #offer() {
    this.root.dataset.state = "offered";
    show(byId("veil"), false);
    show(byId("big-play"), true);
  }

  #render() {
    if (!this.begun) return;
    const { state, reason } = this.player;
    const shown = document.documentElement.dataset;
    this.root.dataset.state = state;
    shown.state = state;
    shown.via = this.player.via;
    const [word, detail] = WORDS[state] ?? ["", ""];
    setText(byId("status"), (state !== "connecting" && reason) || word);
    setText(byId("status-detail"), detail);
    show(byId("veil"), state in WORDS);
    show(byId("big-play"), state === "blocked");
    const { muted, paused, volume } = this.video;
    this.root.dataset.muted = String(muted || volume === 0);
    this.root.dataset.paused = String(paused);
    show(byId("unmute"), muted && state === "playing" && !this.soundChosen);
    byId("play").setAttribute("aria-label", paused ? "Play" : "Pause");
    byId("mute").setAttribute("aria-label", muted ? "Unmute" : "Mute");
    byId("volume").value = String(muted ? 0 : Math.round(volume * 100));
  }

  /** The counters that tests and curious people read from the document. */
  #publish() {
    const { latency, stalls, errors, reloads } = this.player;
    const shown = document.documentElement.dataset;
    shown.stalls = String(stalls);
    shown.errors = String(errors);
    shown.reloads = String(reloads);
    if (latency === null) delete shown.latency;
    else shown.latency = latency.toFixed(3);
    this.root.dataset.live = String(this.player.state === "playing" && this.player.atLive);
  }

  #wireButtons() {
    byId("big-play").addEventListener("click", () => this.#start());
    byId("unmute").addEventListener("click", () => this.#setMuted(false));
    byId("play").addEventListener("click", () => this.#toggle());
    byId("mute").addEventListener("click", () => this.#setMuted(!this.video.muted));
    byId("live").addEventListener("click", () => this.player.goLive());
    byId("volume").addEventListener("input", (event) => {
      this.video.volume = Number(event.target.value) / 100;
      this.#setMuted(this.video.volume === 0);
    });
    this.video.addEventListener("click", () => this.#toggle());
    this.video.addEventListener("dblclick", () => this.#fullscreen());
    const pip = byId("pip");
    show(pip, Boolean(document.pictureInPictureEnabled));
    pip.addEventListener("click", () => this.#pictureInPicture());
    const fullscreen = byId("fullscreen");
    show(fullscreen, Boolean(this.root.requestFullscreen ?? this.video.webkitEnterFullscreen));
    fullscreen.addEventListener("click", () => this.#fullscreen());
    document.addEventListener("fullscreenchange", () => {
      const on = document.fullscreenElement !== null;
      fullscreen.setAttribute("aria-label", on ? "Leave fullscreen" : "Fullscreen");
    });
  }

  #wireKeys() {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      // Fields and buttons keep their own keys.
      if (event.target.closest("input, textarea, button, a, summary, select")) return;
      const action = {
        " ": () => this.#toggle(),
        k: () => this.#toggle(),
        m: () => this.#setMuted(!this.video.muted),
        f: () => this.#fullscreen(),
        l: () => this.player.goLive(),
      }[event.key.toLowerCase()];
      if (!action) return;
      event.preventDefault();
      action();
    });
  }

  #wireIdle() {
    let timer = 0;
    const wake = () => {
      this.root.dataset.idle = "false";
      clearTimeout(timer);
      timer = setTimeout(() => { this.root.dataset.idle = "true"; }, IDLE_MS);
    };
    for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) {
      this.root.addEventListener(name, wake);
    }
    wake();
  }

  #start() {
    show(byId("big-play"), false);
    if (this.begun) this.player.play();
    else this.#begin();
  }

  #toggle() {
    if (!this.begun || this.video.paused) this.#start();
    else this.video.pause();
  }

  #setMuted(muted) {
    this.soundChosen = true;
    this.video.muted = muted;
    if (!muted && this.video.volume === 0) this.video.volume = 1;
    this.#render();
  }

  async #fullscreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (this.root.requestFullscreen) await this.root.requestFullscreen();
      else this.video.webkitEnterFullscreen?.();
    } catch {
      // The browser or the embedding page forbids it; the picture stays as it is.
    }
  }

  async #pictureInPicture() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch {
      // Not before the first picture, and not where the embedding page forbids it.
    }
  }
}
