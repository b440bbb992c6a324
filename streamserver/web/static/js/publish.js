// The page that publishes: devices, the desk, and what the connection measures.

import { Api, streamPath } from "./api.js";
import { Broadcast } from "./broadcast.js";
import { allowed, Capture, devices, screenAllowed, SIZES } from "./capture.js";
import { byId, setText, show } from "./dom.js";
import { bitRate, codecName, duration, frameRate, joined, viewerWord } from "./format.js";
import { Level } from "./level.js";
import { keyOfPage, rememberKey } from "./publish-key.js";
import { Rates, readStats, route } from "./rtc-stats.js";
import { segment, streamOfPage } from "./stream-name.js";

const TICK_MS = 1000;
const VIEWERS_TICKS = 5;
const STORAGE_KEY = "streamserver:publish";
const KEPT = ["camera", "microphone", "height", "bit-rate-most", "music"];
const LIMITS = { none: "nothing", cpu: "this computer", bandwidth: "the network", other: "the browser" };
const STATES = { idle: "Off air", connecting: "Connecting", live: "On air", reconnecting: "Reconnecting", refused: "Off air" };

class PublishPage {
  #stream = streamOfPage();
  #capture = new Capture();
  #broadcast;
  #level = new Level(byId("level"));
  #rates = new Rates();
  #source = "camera";
  #key = "";
  #muted = { audio: false, video: false };
  #ticks = 0;
  #lock = null;
  #turn = 0;

  start() {
    const { app, name, root } = this.#stream;
    this.#key = keyOfPage(`${root}${app}/${name}`);
    this.#broadcast = new Broadcast(root, `whip/${segment(app)}/${segment(name)}`);
    setText(byId("app"), `${app}/`);
    setText(byId("name"), name);
    document.title = `Publish ${app}/${name} · streamserver`;
    byId("watch").href = new URL(`play/${segment(app)}/${segment(name)}`, root).href;
    restore();
    if (!allowed() || typeof RTCPeerConnection !== "function") {
      this.#explainHttps();
      return;
    }
    show(byId("from-screen"), screenAllowed());
    this.#wire();
    this.#listDevices();
    this.#render();
    this.#openIfAllowed();
    setInterval(() => this.#tick(), TICK_MS);
  }

  // ---- what to send

  #wire() {
    byId("open").addEventListener("click", () => this.#open());
    byId("go").addEventListener("click", () => this.#toggle());
    byId("from-camera").addEventListener("click", () => this.#choose("camera"));
    byId("from-screen").addEventListener("click", () => this.#choose("screen"));
    byId("mute-audio").addEventListener("click", () => this.#mute("audio"));
    byId("mute-video").addEventListener("click", () => this.#mute("video"));
    byId("key-form").addEventListener("submit", (event) => this.#submitKey(event));
    byId("choices").addEventListener("submit", (event) => event.preventDefault());
    byId("choices").addEventListener("change", (event) => this.#changed(event.target.id));
    this.#broadcast.addEventListener("state", () => this.#render());
    this.#capture.addEventListener("ended", () => this.#ended());
    navigator.mediaDevices.addEventListener?.("devicechange", () => this.#listDevices());
    document.addEventListener("visibilitychange", () => this.#keepAwake());
    window.addEventListener("beforeunload", (event) => {
      if (this.#broadcast.wanted) event.preventDefault();
    });
  }

  /** Nobody is asked for the camera who did not ask for it first. */
  async #openIfAllowed() {
    try {
      const states = await Promise.all(
        ["camera", "microphone"].map((name) => navigator.permissions.query({ name })),
      );
      if (states.every(({ state }) => state === "granted") && !this.#capture.video) await this.#open();
    } catch {
      // The browser does not tell; a click will.
    }
  }

  async #open() {
    setText(byId("fault"), "");
    const turn = ++this.#turn;
    const wish = {
      source: this.#source,
      camera: byId("camera").value,
      microphone: byId("microphone").value,
      height: byId("height").value,
      music: byId("music").checked,
    };
    let failure = null;
    try {
      await this.#capture.open(wish);
    } catch (error) {
      failure = error;
    }
    // Another choice was made meanwhile, and opens its own.
    if (turn !== this.#turn) return false;
    if (failure) setText(byId("fault"), failure.message);
    this.#applyMutes();
    byId("preview").srcObject = this.#capture.preview;
    this.#level.listen(this.#capture.audio);
    if (!failure) await this.#broadcast.replace(this.#media());
    else if (this.#broadcast.wanted) this.#broadcast.stop();
    this.#listDevices();
    this.#render();
    return !failure;
  }

  #media() {
    const { video, audio } = this.#capture;
    return { video, audio, bitRate: Number(byId("bit-rate-most").value) || SIZES[byId("height").value].bitRate };
  }

  get #opened() {
    return Boolean(this.#capture.video || this.#capture.audio);
  }

  async #choose(source) {
    const before = this.#source;
    if (source === before && this.#opened) return;
    this.#source = source;
    // A refused screen leaves a camera that was off, off.
    if (!(await this.#open()) && source === "screen") this.#source = before;
    this.#render();
  }

  async #changed(id) {
    store();
    if (id === "bit-rate-most") await this.#broadcast.replace(this.#media());
    else if (this.#opened && !(this.#source === "screen" && id === "camera")) await this.#open();
  }

  #ended() {
    const screen = this.#source === "screen";
    this.#capture.close();
    this.#broadcast.stop();
    this.#source = "camera";
    byId("preview").srcObject = null;
    this.#level.listen(null);
    setText(byId("fault"), screen ? "The sharing of the screen was ended." : "The camera or microphone was unplugged.");
    this.#render();
  }

  async #listDevices() {
    try {
      const { cameras, microphones } = await devices();
      fill(byId("camera"), cameras, "Camera", []);
      fill(byId("microphone"), microphones, "Microphone", [["none", "None"]]);
    } catch {
      // The defaults stay.
    }
    restore(["camera", "microphone"]);
  }

  // ---- on air

  async #toggle() {
    if (this.#broadcast.wanted) {
      this.#broadcast.stop();
      return;
    }
    setText(byId("fault"), "");
    if (!this.#opened && !(await this.#open())) return;
    this.#rates = new Rates();
    this.#broadcast.start({ ...this.#media(), token: this.#key });
  }

  #submitKey(event) {
    event.preventDefault();
    this.#key = byId("key").value.trim();
    byId("key").value = "";
    rememberKey(`${this.#stream.root}${this.#stream.app}/${this.#stream.name}`, this.#key);
    this.#toggle();
  }

  #mute(kind) {
    this.#muted[kind] = !this.#muted[kind];
    this.#applyMutes();
    this.#render();
  }

  #applyMutes() {
    for (const kind of ["audio", "video"]) {
      if (this.#capture[kind]) this.#capture[kind].enabled = !this.#muted[kind];
    }
  }

  #render() {
    const { state, reason, denied, wanted } = this.#broadcast;
    const stage = byId("stage");
    document.documentElement.dataset.state = state;
    stage.dataset.state = state;
    stage.dataset.mirror = String(this.#source === "camera");
    stage.dataset.hidden = String(this.#muted.video);
    setText(byId("tally"), wanted && reason ? `${STATES[state]}: ${reason}` : STATES[state]);
    // The server's own sentence tells encoders where to put a key.
    if (state === "refused") setText(byId("fault"), denied && !this.#key ? "Publishing here needs a key." : reason);
    else if (state === "live") setText(byId("fault"), "");
    show(byId("key-form"), state === "refused" && denied);
    show(byId("veil"), !this.#opened);
    const go = byId("go");
    setText(go, wanted ? "Stop" : "Go live");
    go.classList.toggle("danger", wanted);
    for (const [kind, on, off] of [["audio", "Mute microphone", "Unmute microphone"], ["video", "Hide picture", "Show picture"]]) {
      const button = byId(`mute-${kind}`);
      button.disabled = !this.#capture[kind];
      button.setAttribute("aria-pressed", String(this.#muted[kind]));
      setText(button, this.#muted[kind] ? off : on);
    }
    byId("from-camera").setAttribute("aria-pressed", String(this.#source === "camera"));
    byId("from-screen").setAttribute("aria-pressed", String(this.#source === "screen"));
    show(byId("camera-line"), this.#source === "camera");
    this.#keepAwake();
  }

  /** A phone that falls asleep ends the broadcast. */
  async #keepAwake() {
    const wanted = this.#broadcast.wanted && !document.hidden;
    try {
      if (wanted && !this.#lock) {
        this.#lock = await navigator.wakeLock?.request("screen") ?? null;
        this.#lock?.addEventListener("release", () => { this.#lock = null; });
      } else if (!wanted) await this.#lock?.release();
    } catch {
      // Low battery, or a browser that knows no such thing.
    }
  }

  // ---- figures

  async #tick() {
    const { since, pc } = this.#broadcast;
    setText(byId("on-air"), since === null ? "–" : duration((performance.now() - since) / 1000));
    this.#ticks += 1;
    if (this.#ticks % VIEWERS_TICKS === 1) this.#countViewers();
    if (!pc) {
      for (const id of ["bit-rate", "resolution", "codec", "audio", "rtt", "loss", "limit", "route"]) setText(byId(id), "–");
      return;
    }
    try {
      this.#show(await readStats(pc, "outbound"));
    } catch {
      // The connection was closed meanwhile.
    }
  }

  #show(stats) {
    const { video, audio, remote, pair } = stats;
    const sent = (one) => (one?.bytesSent ?? 0) + (one?.headerBytesSent ?? 0);
    const rate = this.#rates.of("bytes", sent(video) + sent(audio), performance.now()) * 8;
    const rtt = remote?.roundTripTime ?? pair?.currentRoundTripTime;
    const size = video?.frameWidth ? `${video.frameWidth}×${video.frameHeight}` : "";
    const encoder = video?.powerEfficientEncoder ? "hardware" : "";
    setText(byId("bit-rate"), bitRate(rate));
    setText(byId("resolution"), joined(size, frameRate(video?.framesPerSecond)) || "–");
    setText(byId("codec"), joined(codecName(stats.videoCodec), encoder) || "–");
    setText(byId("audio"), codecName(stats.audioCodec) || "–");
    setText(byId("rtt"), Number.isFinite(rtt) ? `${Math.round(rtt * 1000)} ms` : "–");
    setText(byId("loss"), remote ? `${((remote.fractionLost ?? 0) * 100).toFixed(1)} %` : "–");
    setText(byId("limit"), video ? LIMITS[video.qualityLimitationReason] ?? "–" : "–");
    setText(byId("route"), route(stats) || "–");
    const shown = document.documentElement.dataset;
    shown.bitRate = String(Math.round(rate));
    shown.frames = String(video?.framesEncoded ?? 0);
  }

  async #countViewers() {
    if (document.hidden || this.#broadcast.state !== "live" || this.countDenied) return;
    try {
      const { app, name, root } = this.#stream;
      const { total } = await new Api(root).get(`${streamPath(app, name)}/viewers/count`);
      setText(byId("viewers"), String(total));
      setText(byId("viewers-word"), `${viewerWord(total)} now`);
      show(byId("viewers-line"), true);
    } catch (error) {
      this.countDenied = error.denied;
      show(byId("viewers-line"), false);
    }
  }

  // ---- where no camera is to be had

  #explainHttps() {
    const insecure = !window.isSecureContext;
    show(byId("choices"), false);
    show(byId("facts"), false);
    show(byId("veil"), true);
    show(byId("open"), false);
    byId("go").disabled = true;
    setText(byId("veil-title"), insecure ? "Not over this connection" : "Not in this browser");
    setText(byId("veil-detail"), insecure ? "This page came over plain HTTP." : "It has no camera or no WebRTC for pages.");
    show(byId("insecure"), insecure);
    const https = secureAddress(this.#key);
    show(byId("insecure-link-line"), https !== "");
    show(byId("insecure-none"), https === "");
    if (https) byId("insecure-link").href = https;
  }
}

/** This page over HTTPS, as the server told where that is; empty where it has none. */
function secureAddress(key) {
  const told = document.documentElement.dataset.https;
  if (!told) return "";
  let url;
  if (told.startsWith(":")) {
    url = new URL(location.origin + location.pathname);
    url.protocol = "https";
    url.port = told.slice(1);
  } else {
    const path = location.pathname.split("/").slice(-3).join("/");
    url = new URL(path, told.endsWith("/") ? told : `${told}/`);
  }
  // In the fragment, which stays in the browser.
  if (key) url.hash = `key=${encodeURIComponent(key)}`;
  return url.href;
}

/** The devices as choices; what was chosen stays chosen while it is there. */
function fill(select, found, word, more) {
  const wanted = select.value;
  const options = [["", "Default"], ...found.map((one, i) => [one.deviceId, one.label || `${word} ${i + 1}`]), ...more];
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  select.value = options.some(([value]) => value === wanted) ? wanted : "";
}

function store() {
  const kept = Object.fromEntries(KEPT.map((id) => [id, byId(id).type === "checkbox" ? byId(id).checked : byId(id).value]));
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(kept));
  } catch {
    // Then they are chosen again the next time.
  }
}

function restore(ids = KEPT) {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}") ?? {};
  } catch {
    return;
  }
  for (const id of ids) {
    const field = byId(id);
    if (field.type === "checkbox") field.checked = Boolean(kept[id]);
    else if ([...field.options].some(({ value }) => value === kept[id])) field.value = kept[id];
  }
}

new PublishPage().start();
