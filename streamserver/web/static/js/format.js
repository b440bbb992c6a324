// Numbers for people.

/** Seconds as `4:07`, `1:04:07` or `3 d 1:04:07`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor(whole / 3600) % 24;
  const minutes = Math.floor(whole / 60) % 60;
  const two = (n) => String(n).padStart(2, "0");
  const clock = hours || days
    ? `${hours}:${two(minutes)}:${two(whole % 60)}`
    : `${minutes}:${two(whole % 60)}`;
  return days ? `${days} d ${clock}` : clock;
}

/** Bits per second as `640 kbit/s` or `2.65 Mbit/s`. */
export function bitRate(bits) {
  if (!Number.isFinite(bits) || bits <= 0) return "–";
  if (bits < 999_500) return `${Math.round(bits / 1000)} kbit/s`;
  return `${(bits / 1e6).toFixed(bits < 99.5e6 ? 2 : 0)} Mbit/s`;
}

/** `1 viewer`'s noun. */
export function viewerWord(count) {
  return count === 1 ? "viewer" : "viewers";
}

const CODECS = {
  avc1: "H.264", avc3: "H.264", h264: "H.264", hvc1: "H.265", hev1: "H.265", h265: "H.265",
  av01: "AV1", av1: "AV1", vp09: "VP9", vp9: "VP9", vp08: "VP8", vp8: "VP8",
  mp4a: "AAC", aac: "AAC", opus: "Opus", mp3: "MP3",
};
const H264_PROFILES = { 66: "Baseline", 77: "Main", 88: "Extended", 100: "High", 110: "High 10" };

/** A codec for people, from our API's word or an RFC 6381 name such as `avc1.64001f`. */
export function codecName(codec, profile = "") {
  if (!codec) return "";
  const head = codec.split(".")[0].toLowerCase();
  let name = CODECS[head] ?? codec;
  if (/^mp4a\.(40\.34|69|6b)$/i.test(codec)) name = "MP3";
  const number = /^avc[13]\.([0-9a-f]{2})/i.exec(codec);
  const detail = profile || (number ? H264_PROFILES[parseInt(number[1], 16)] ?? "" : "");
  return detail ? `${name} ${detail}` : name;
}

/** A frame rate without needless digits: `30`, `29.97`. */
export function frameRate(fps) {
  const value = Number(fps);
  return Number.isFinite(value) && value > 0 ? `${Math.round(value * 100) / 100} fps` : "";
}

/** The parts that are there, with dots between them. */
export function joined(...parts) {
  return parts.filter(Boolean).join(" · ");
}
