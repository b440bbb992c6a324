// The settings that an encoder needs, for this server as the browser reaches it.

import { byId } from "./dom.js";

const DEFAULT_PORT = 1935;
const LOCAL = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** Fills in the OBS and FFmpeg settings. `server` is the API's answer, or null for strangers. */
export function fillRecipes(server) {
  const port = rtmpPort(server);
  const authority = port === DEFAULT_PORT ? location.hostname : `${location.hostname}:${port}`;
  const local = LOCAL.test(location.hostname);
  const key = local ? "demo" : "demo?key=YOUR_PUBLISH_KEY";
  const url = `rtmp://${authority}/live`;
  byId("obs-server").value = url;
  byId("obs-key").value = key;
  byId("ffmpeg").value = [
    "ffmpeg -re -stream_loop -1 -i video.mp4 \\",
    "  -c:v libx264 -preset veryfast -tune zerolatency \\",
    "  -force_key_frames 'expr:gte(t,n_forced*2)' \\",
    "  -c:a aac -f flv \\",
    `  '${url}/${key}'`,
  ].join("\n");
}

function rtmpPort(server) {
  for (const listener of Array.isArray(server?.listeners) ? server.listeners : []) {
    const kind = listener.protocol ?? listener.kind ?? listener.name;
    if (String(kind).toLowerCase() === "rtmp" && !listener.tls && Number(listener.port)) return Number(listener.port);
  }
  return DEFAULT_PORT;
}
