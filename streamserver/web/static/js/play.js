// The play page: the stage, what it measures, who else watches, and how to share it.

import { Api, streamPath } from "./api.js";
import { byId, setText, show, wireCopyButtons } from "./dom.js";
import { bitRate, codecName, frameRate, joined, viewerWord } from "./format.js";
import { Stage } from "./stage.js";
import { segment, streamOfPage } from "./stream-name.js";

const VIEWERS_MS = 5000;
const VIEWERS_DENIED_MS = 60_000;
const TRACE_POINTS = 120;
// Beyond these the clocks of server and device differ, and the number would be a lie.
const LEAST_LATENCY_S = -0.2;
const MOST_LATENCY_S = 120;

const stream = streamOfPage();
const api = new Api(stream.root);
const stage = new Stage(stream.hls);
const trace = [];

setText(byId("app"), `${stream.app}/`);
setText(byId("name"), stream.name);
document.title = `${stream.app}/${stream.name} · streamserver`;
fillShare();
wireCopyButtons();
stage.player.addEventListener("tick", measure);
pollViewers();

function measure() {
  const { latency, media, buffered, stalls } = stage.player;
  const known = latency !== null && latency > LEAST_LATENCY_S && latency < MOST_LATENCY_S;
  setText(byId("latency"), known ? `${Math.max(0, latency).toFixed(2)} s` : "–");
  if (known && stage.player.state === "playing") draw(latency);
  setText(byId("resolution"), joined(media.width ? `${media.width}×${media.height}` : "", frameRate(media.frameRate)) || "–");
  setText(byId("codec"), codecName(media.videoCodec) || "–");
  setText(byId("audio"), codecName(media.audioCodec) || "–");
  setText(byId("bit-rate"), bitRate(media.bitRate));
  setText(byId("buffer"), `${buffered.toFixed(1)} s`);
  setText(byId("stalls"), String(stalls));
}

/** The latency of the last half minute, from zero up. */
function draw(latency) {
  trace.push(latency);
  if (trace.length > TRACE_POINTS) trace.shift();
  const top = Math.max(2, ...trace) * 1.1;
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

function fillShare() {
  const embed = new URL(`embed/${segment(stream.app)}/${segment(stream.name)}`, stream.root);
  // Without a query: a token in it is this viewer's own.
  byId("share-page").value = location.origin + location.pathname;
  byId("share-hls").value = stream.hls.split("?")[0];
  byId("share-embed").value = `<iframe src="${embed.href}?autoplay=1&muted=1" `
    + 'width="640" height="360" allow="autoplay; fullscreen; picture-in-picture"></iframe>';
}
