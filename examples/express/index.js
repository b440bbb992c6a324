// A backend that knows who is live and how many watch, told by webhooks.
//
//     npm install && STREAMSERVER_TOKEN=… npm start
//
// PORT (9001), STREAMSERVER_URL (http://localhost:8080), OWN_URL (http://localhost:PORT) may be set.
// `curl localhost:9001` shows the table. It is right again within seconds of a kill -9 of either
// side: this one asks for the present state when it starts and is sent what happened meanwhile,
// and a server that comes back says what ended with its crash before it says that it started.
"use strict";

const crypto = require("node:crypto");
const express = require("express");

const port = Number(process.env.PORT ?? 9001);
const server = process.env.STREAMSERVER_URL ?? "http://localhost:8080";
const hook = `${process.env.OWN_URL ?? `http://localhost:${port}`}/hook`;
const secret = process.env.WEBHOOK_SECRET ?? crypto.randomBytes(24).toString("hex");
const TOLERANCE_S = 300;

let ready = false;
const live = new Map(); // "app/name" -> { session, viewers: Set of ids }
let known = [0, 0]; // boot and sequence up to which the table is right

// An event is older than the table when the table was read after it. Ids are boot-sequence.
const parseId = (id) => id.split("-").map(Number);
const isNews = ([boot, sequence]) => boot > known[0] || (boot === known[0] && sequence > known[1]);

function take(event) {
  const id = parseId(event.id);
  if (!isNews(id)) return; // delivered twice, or in the snapshot already
  known = id;
  const entry = live.get(event.stream);
  switch (event.type) {
    case "server.started": // nothing from before is live
      live.clear();
      break;
    case "stream.started":
      live.set(event.stream, { session: event.data.session_id, viewers: new Set() });
      break;
    case "stream.ended":
      if (entry?.session === event.data.session_id) live.delete(event.stream);
      break;
    case "viewer.joined":
      entry?.viewers.add(event.data.id);
      break;
    case "viewer.left":
      entry?.viewers.delete(event.data.id);
      break;
  }
}

// Standard Webhooks: HMAC-SHA256 of "id.timestamp.body" with the secret, in base64 behind "v1,".
function isGenuine(request) {
  const id = request.get("webhook-id");
  const timestamp = request.get("webhook-timestamp");
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) < TOLERANCE_S)) return false;
  const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), request.body]);
  const expected = crypto.createHmac("sha256", secret).update(content).digest("base64");
  const given = Buffer.from(request.get("webhook-signature") ?? "");
  const wanted = Buffer.from(`v1,${expected}`);
  return given.length === wanted.length && crypto.timingSafeEqual(given, wanted);
}

async function api(path, method = "GET", body = undefined) {
  const response = await fetch(`${server}/api/v1/${path}`, {
    method,
    headers: {
      authorization: `Bearer ${process.env.STREAMSERVER_TOKEN ?? ""}`,
      ...(body && { "content-type": "application/json" }),
    },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(5000),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

// Makes our webhook, or tells an older one that we are back: what waits is then sent at once.
async function register() {
  const name = `express ${port}`;
  const wishes = { url: hook, secret, events: ["stream.*", "viewer.*", "server.*"] };
  const found = (await api("webhooks")).items.find((one) => one.name === name);
  if (found) await api(`webhooks/${found.id}`, "PATCH", wishes);
  else await api("webhooks", "POST", { name, ...wishes });
}

// The present state. The id comes first: what is read after it is no older.
async function snapshot() {
  const id = parseId((await api("server")).last_event_id);
  const { items } = await api("streams?state=live&limit=1000");
  const table = new Map();
  for (const { app, name, session_id: session } of items) {
    const viewers = (await api(`streams/${app}/${name}/viewers`)).items.map((one) => one.id);
    table.set(`${app}/${name}`, { session, viewers: new Set(viewers) });
  }
  live.clear();
  for (const [stream, entry] of table) live.set(stream, entry);
  known = id;
}

async function start() {
  for (;;) {
    try {
      // First the webhook, so that nothing falls between; until the table is there every event is
      // answered with 503, and comes again.
      await register();
      await snapshot();
      ready = true;
      await register();
      return;
    } catch (error) {
      console.error(`the server cannot be asked: ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

const app = express();
app.post("/hook", express.raw({ type: "application/json", limit: "1mb" }), (request, response) => {
  if (!isGenuine(request)) return response.status(401).end();
  if (!ready) return response.status(503).end(); // it comes again
  take(JSON.parse(request.body));
  response.status(204).end();
});
app.get("/", (request, response) => {
  const rows = [...live].map(([stream, { session, viewers }]) => [
    stream,
    { session, viewers: viewers.size },
  ]);
  response.json(Object.fromEntries(rows));
});
app.listen(port, "127.0.0.1", async () => {
  await start();
  console.log(`http://localhost:${port} knows who is live`);
});
