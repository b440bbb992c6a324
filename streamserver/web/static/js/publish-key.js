// The publish key of a page's address: taken out of it, so that it neither stays in the history nor
// is passed on when somebody copies the address.

const NAMES = ["key", "token"];

/** The key for a stream, from `?key=`, `?token=`, or the same behind `#`; else the one that this
 * tab kept. */
export function keyOfPage(stream) {
  const url = new URL(location.href);
  const hidden = new URLSearchParams(url.hash.slice(1));
  const key = NAMES.flatMap((name) => [url.searchParams.get(name), hidden.get(name)]).find(Boolean) ?? "";
  if (!key) return kept(stream);
  for (const name of NAMES) {
    url.searchParams.delete(name);
    hidden.delete(name);
  }
  url.hash = hidden.toString();
  history.replaceState(null, "", url.href.replace(/#$/, ""));
  rememberKey(stream, key);
  return key;
}

/** Keeps a key for this tab. */
export function rememberKey(stream, key) {
  try {
    sessionStorage.setItem(storageKey(stream), key);
  } catch {
    // Then it lives as long as the page.
  }
}

function kept(stream) {
  try {
    return sessionStorage.getItem(storageKey(stream)) ?? "";
  } catch {
    return "";
  }
}

function storageKey(stream) {
  return `streamserver:key:${new URL(stream).pathname}`;
}
