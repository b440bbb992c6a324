// What the browser counts of a connection, as numbers of now (W3C webrtc-stats).

const WINDOW_MS = 3000;

/** Rates from counters that only grow, over the last seconds. */
export class Rates {
  #seen = new Map();

  /** Growth per second of a counter, or 0 at first. */
  of(name, value, atMs) {
    let seen = this.#seen.get(name) ?? [];
    // A counter that falls belongs to another connection.
    if (seen.length && value < seen.at(-1).value) seen = [];
    seen.push({ value, atMs });
    while (seen.length > 2 && atMs - seen[1].atMs >= WINDOW_MS) seen.shift();
    this.#seen.set(name, seen);
    const [first] = seen;
    return atMs > first.atMs ? ((value - first.value) * 1000) / (atMs - first.atMs) : 0;
  }
}

/** `{pair, video, audio, remote, codecs}` of a connection; `direction` is "inbound" or "outbound". */
export async function readStats(pc, direction) {
  const report = await pc.getStats();
  const all = [...report.values()];
  const rtp = all.filter((one) => one.type === `${direction}-rtp`);
  const kind = (wanted) => rtp.find((one) => one.kind === wanted) ?? null;
  const transport = all.find((one) => one.type === "transport");
  const pair = report.get(transport?.selectedCandidatePairId)
    ?? all.find((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded")
    ?? null;
  const codec = (stats) => (report.get(stats?.codecId)?.mimeType ?? "").split("/")[1] ?? "";
  const video = kind("video");
  const audio = kind("audio");
  return {
    pair,
    video,
    audio,
    videoCodec: codec(video),
    audioCodec: codec(audio),
    remote: all.find((one) => one.type === "remote-inbound-rtp" && one.kind === "video")
      ?? all.find((one) => one.type === "remote-inbound-rtp") ?? null,
    local: report.get(pair?.localCandidateId) ?? null,
    far: report.get(pair?.remoteCandidateId) ?? null,
  };
}

/** How the packets go, for people: `UDP, direct`. */
export function route({ local, far }) {
  if (!local) return "";
  const relay = local.candidateType === "relay" || far?.candidateType === "relay";
  return `${(local.relayProtocol ?? local.protocol ?? "udp").toUpperCase()}, ${relay ? "relayed" : "direct"}`;
}
