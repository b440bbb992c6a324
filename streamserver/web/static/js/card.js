// One stream on the dashboard.

import { Destinations } from "./destinations.js";
import { setText, show } from "./dom.js";
import { bitRate, codecName, duration, frameRate, joined, viewerWord } from "./format.js";
import { segment } from "./stream-name.js";
import { ViewerList } from "./viewer-list.js";

const HISTORY = 30;
const PROTOCOLS = { hls: "HLS", whep: "WebRTC", rtmp: "RTMP", flv: "FLV" };
const SEVERITIES = { info: "Note", warning: "Warning", error: "Fault" };
const STATES = { live: "Live", interrupted: "Interrupted", idle: "Idle" };

export class Card {
  #fields = {};
  #rates = [];
  #session = null;
  #startedAt = null;

  #destinations;
  #viewers;

  constructor(template, row, stream, { api, onStop, onDestination }) {
    this.node = template.content.firstElementChild.cloneNode(true);
    for (const node of this.node.querySelectorAll("[data-field]")) {
      this.#fields[node.dataset.field] = node;
    }
    const { app, name } = stream;
    const page = `./play/${segment(app)}/${segment(name)}`;
    this.#fields.link.href = page;
    this.#fields.watch.href = page;
    this.#fields.watch.setAttribute("aria-label", `Watch ${app}/${name}`);
    this.#fields.stop.setAttribute("aria-label", `Stop ${app}/${name}`);
    this.#fields.stop.addEventListener("click", () => onStop(app, name));
    const call = (method, id, body) => onDestination(app, name, method, id, body);
    this.#destinations = new Destinations(
      this.#fields.destinations, this.#fields.forward, row, `${app}/${name}`, call,
    );
    this.#viewers = new ViewerList(api, this.#fields.who, this.#fields.watchers, app, name);
    setText(this.#fields.app, `${app}/`);
    setText(this.#fields.name, name);
  }

  /** Shows what the API says now. */
  update(stream, maySign) {
    const f = this.#fields;
    if (stream.session_id !== this.#session) {
      this.#session = stream.session_id;
      this.#rates = [];
    }
    this.#startedAt = Number.isFinite(stream.uptime_s)
      ? performance.now() - stream.uptime_s * 1000
      : null;
    this.node.dataset.state = stream.state;
    setText(f.state, STATES[stream.state] ?? String(stream.state));
    setText(f.title, stream.title ?? "");
    show(f.title, Boolean(stream.title));
    const tracks = stream.tracks ?? [];
    setText(f.video, describeVideo(tracks.find((track) => track.kind === "video")));
    setText(f.audio, describeAudio(tracks.find((track) => track.kind === "audio")));
    this.#updateViewers(stream.viewers);
    this.#updateRate(Number(stream.bit_rate) || 0);
    this.#updateHealth(stream.health ?? []);
    this.#destinations.update(stream.destinations ?? [], maySign);
    show(f.stop, maySign);
    show(f.who, maySign);
    this.#viewers.update();
    this.tick();
  }

  /** Moves the running time on, between two answers of the API. */
  tick() {
    const elapsed = this.#startedAt === null ? null : (performance.now() - this.#startedAt) / 1000;
    setText(this.#fields.uptime, elapsed === null ? "" : duration(elapsed));
  }

  #updateViewers(viewers) {
    const total = Number(viewers?.total) || 0;
    setText(this.#fields.viewers, String(total));
    setText(this.#fields["viewers-word"], viewerWord(total));
    const kinds = Object.entries(viewers?.by_protocol ?? {}).filter(([, count]) => count > 0);
    const shown = kinds.length > 1 || (kinds.length === 1 && total > 0);
    const text = kinds.map(([kind, count]) => `${count} ${PROTOCOLS[kind] ?? kind}`).join(", ");
    setText(this.#fields.protocols, shown ? text : "");
  }

  #updateRate(rate) {
    setText(this.#fields.rate, bitRate(rate));
    this.#rates.push(rate);
    if (this.#rates.length > HISTORY) this.#rates.shift();
    const top = Math.max(...this.#rates, 1) * 1.15;
    const step = 100 / (HISTORY - 1);
    const begin = 100 - (this.#rates.length - 1) * step;
    const points = this.#rates
      .map((value, i) => `${(begin + i * step).toFixed(2)},${(31 - (value / top) * 30).toFixed(2)}`);
    this.#fields.line.setAttribute("points", points.join(" "));
    this.#fields.area.setAttribute("points", `${begin.toFixed(2)},32 ${points.join(" ")} 100,32`);
  }

  #updateHealth(health) {
    const list = this.#fields.health;
    show(list, health.length > 0);
    const wanted = health.map((entry) => `${SEVERITIES[entry.severity] ?? "Note"}: ${entry.message ?? entry.code}`);
    const held = [...list.children].map((item) => item.textContent);
    if (wanted.length === held.length && wanted.every((text, i) => text === held[i])) return;
    list.replaceChildren(...health.map((entry, i) => {
      const item = document.createElement("li");
      item.dataset.severity = entry.severity ?? "info";
      item.textContent = wanted[i];
      return item;
    }));
  }
}

function describeVideo(track) {
  if (!track) return "No picture";
  const size = track.width && track.height ? `${track.width}×${track.height}` : "";
  return joined(size, frameRate(track.fps), codecName(track.codec, track.profile));
}

function describeAudio(track) {
  if (!track) return "No sound";
  const rate = track.sample_rate ? `${Math.round(track.sample_rate / 100) / 10} kHz` : "";
  const channels = { 1: "mono", 2: "stereo" }[track.channels];
  return joined(codecName(track.codec), rate, channels ?? (track.channels ? `${track.channels} channels` : ""));
}
