// Which stream a page shows: the last two parts of its path.

/** `{app, name, root, hls, whep, token}` of the page at `/…/{page}/{app}/{name}`; `whep` is the path
 * below `root`. */
export function streamOfPage(href = location.href) {
  const url = new URL(href);
  const [app, name] = url.pathname.split("/").slice(-2).map(decode);
  const root = new URL("../../", url).href.split("?")[0];
  const hls = new URL(`hls/${segment(app)}/${segment(name)}/index.m3u8`, root);
  // A playback token in the page's address is meant for the stream.
  const token = url.searchParams.get("token") ?? "";
  if (token) hls.searchParams.set("token", token);
  return { app, name, root, hls: hls.href, whep: `whep/${segment(app)}/${segment(name)}`, token };
}

/** A name as a part of a path; `@` stays, as it is legal there and marks renditions. */
export function segment(text) {
  return encodeURIComponent(text).replaceAll("%40", "@");
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
