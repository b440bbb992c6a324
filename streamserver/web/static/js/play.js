// The play page: the stage, what it measures, who else watches, and how to share it.

import { Api, streamPath, tokenFromFragment } from "./api.js";
import { Destinations } from "./destinations.js";
import { byId, setText, show, wireCopyButtons } from "./dom.js";
import { bitRate, codecName, frameRate, joined, viewerWord } from "./format.js";
import { WAYS } from "./player.js";
import { Stage } from "./stage.js";
import { segment, streamOfPage } from "./stream-name.js";

const DESTINATIONS_MS = 2000;
const VIEWERS_MS = 5000;
const VIEWERS_DENIED_MS = 60_000;
const TRACE_POINTS = 120;
// Beyond these the clocks of server and device differ, and the number would be a lie.
const LEAST_LATENCY_S = -0.2;
const MOST_LATENCY_S = 120;

const stream = streamOfPage();
const api = new Api(stream.root);
const stage = new Stage(stream, { via: new URLSearchParams(location.search).get("via") });
const trace = [];

setText(byId("app"), `${stream.app}/`);
setText(byId("name"), stream.name);
document.title = `${stream.app}/${stream.name} · streamserver`;
fillShare();
wireCopyButtons();
stage.player.addEventListener("tick", measure);
stage.player.addEventListener("state", showWay);
for (const way of WAYS) byId(`via-${way}`).addEventListener("click", () => choose(way));
showWay();
pollViewers();
watchDestinations();

/** Which way was chosen, which one plays, and why that is another. */
function showWay() {
  const { choice, via, note } = stage.player;
  for (const way of WAYS) {
    const button = byId(`via-${way}`);
    button.setAttribute("aria-pressed", String(way === via));
    button.dataset.chosen = String(way === choice);
  }
  setText(byId("via-note"), note && `Plays over HLS instead. ${note}`);
}

function choose(way) {
  trace.length = 0;
  byId("trace").setAttribute("points", "");
  stage.player.choose(way);
  measure();
}

function measure() {
  const { latency, latencyMeaning, media, buffered, stalls, route } = stage.player;
  const known = latency !== null && latency > LEAST_LATENCY_S && latency < MOST_LATENCY_S;
  setText(byId("latency"), known ? seconds(Math.max(0, latency)) : "–");
  setText(byId("latency-meaning"), latencyMeaning);
  if (known && stage.player.state === "playing") draw(latency);
  setText(byId("resolution"), joined(media.width ? `${media.width}×${media.height}` : "", frameRate(media.frameRate)) || "–");
  setText(byId("codec"), codecName(media.videoCodec) || "–");
  setText(byId("audio"), codecName(media.audioCodec) || "–");
  setText(byId("bit-rate"), bitRate(media.bitRate));
  setText(byId("buffer"), seconds(buffered, 1));
  setText(byId("route"), route);
  show(byId("route-line"), route !== "");
  setText(byId("stalls"), String(stalls));
}

/** Milliseconds where seconds would say too little. */
function seconds(value, digits = 2) {
  return value < 0.5 && stage.player.via === "webrtc" ? `${Math.round(value * 1000)} ms` : `${value.toFixed(digits)} s`;
}

/** The latency of the last while, from zero up. */
function draw(latency) {
  trace.push(latency);
  if (trace.length > TRACE_POINTS) trace.shift();
  const top = Math.max(stage.player.via === "hls" ? 2 : 0.2, ...trace) * 1.1;
  const begin = TRACE_POINTS - trace.length;
  const points = trace.map((value, i) => `${begin + i},${(35 - (Math.max(0, value) / top) * 34).toFixed(2)}`);
  byId("trace").setAttribute("points", points.join(" "));
}

/** The number of viewers, where the server tells it; hidden where it does not. */
async function pollViewers() {
  let pause = VIEWERS_MS;
  if (!document.hidden) {
    try {
      const { total } = await api.get(`${streamPath(stream.app, stream.name)}/viewers/count`);
      setText(byId("viewers"), String(total));
      setText(byId("viewers-word"), `${viewerWord(total)} now`);
      show(byId("viewers-line"), true);
    } catch (error) {
      show(byId("viewers-line"), false);
      if (error.denied) pause = VIEWERS_DENIED_MS;
    }
  }
  setTimeout(pollViewers, pause);
}

/** Where the stream is sent on to: for who is signed in, here or on the dashboard of this tab. */
function watchDestinations() {
  const token = tokenFromFragment();
  if (token) api.signIn(token);
  if (!api.token) return;
  const section = byId("forwarding");
  const part = (name) => section.querySelector(`[data-field=${name}]`);
  const path = `${streamPath(stream.app, stream.name)}/destinations`;
  let timer = 0;

  const poll = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const { items } = await api.get(path);
        destinations.update(items ?? [], true);
        show(section, true);
      } catch (error) {
        // A token for something else, or one that has ended.
        if (error.denied) {
          show(section, false);
          return;
        }
      }
    }
    timer = setTimeout(poll, DESTINATIONS_MS);
  };

  const destinations = new Destinations(
    part("destinations"), part("forward"), byId("destination"), `${stream.app}/${stream.name}`,
    async (method, id, body) => {
      await api.send(method, id ? `${path}/${id}` : path, body);
      await poll();
    },
  );
  poll();
}

function fillShare() {
  const embed = new URL(`embed/${segment(stream.app)}/${segment(stream.name)}`, stream.root);
  // Without a query: a token in it is this viewer's own.
  byId("share-page").value = location.origin + location.pathname;
  byId("share-hls").value = stream.hls.split("?")[0];
  byId("share-whep").value = new URL(stream.whep, stream.root).href;
  byId("share-embed").value = `<iframe src="${embed.href}?autoplay=1&muted=1" `
    + 'width="640" height="360" allow="autoplay; fullscreen; picture-in-picture"></iframe>';
}
