// The API as these pages use it: JSON, a bearer token, answers or an ApiError.

import { segment } from "./stream-name.js";

/** What the API refused, or that it could not be reached (status 0). */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }

  /** Whether another token could help. */
  get denied() {
    return this.status === 401 || this.status === 403;
  }
}

const TIMEOUT_MS = 8000;

export class Api {
  /** `root` is the URL that the server's paths hang on; a path prefix makes it another one. */
  constructor(root) {
    this.root = root;
    // Several servers can share an origin behind prefixes; each keeps its own token.
    this.storageKey = `streamserver:token:${new URL(root).pathname}`;
    this.token = readStorage(this.storageKey);
  }

  /** Keeps a token for this tab; an empty one forgets it. */
  signIn(token) {
    this.token = token;
    try {
      if (token) sessionStorage.setItem(this.storageKey, token);
      else sessionStorage.removeItem(this.storageKey);
    } catch {
      // Storage may be forbidden; the token then lives as long as the page.
    }
  }

  get(path) {
    return this.#call("GET", path);
  }

  post(path) {
    return this.#call("POST", path);
  }

  /** Any method, with a body where there is one. */
  send(method, path, body) {
    return this.#call(method, path, body);
  }

  async #call(method, path, content) {
    const headers = { Accept: "application/json" };
    if (content !== undefined) headers["Content-Type"] = "application/json";
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    let response;
    try {
      response = await fetch(new URL(`api/v1/${path}`, this.root), {
        method,
        headers,
        body: content === undefined ? undefined : JSON.stringify(content),
        cache: "no-store",
        credentials: "same-origin",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch {
      throw new ApiError(0, "The server cannot be reached");
    }
    const body = await response.json().catch(() => null);
    if (!response.ok) {
      const reason = typeof body?.detail === "string" ? body.detail : body?.title;
      throw new ApiError(response.status, String(reason ?? `The server answered ${response.status}`));
    }
    return body;
  }
}

/** The API path of a stream. */
export function streamPath(app, name) {
  return `streams/${segment(app)}/${segment(name)}`;
}

/** Takes a token out of `#token=…`, where the server's banner may put it: it never leaves the
 * browser and does not stay in its history. */
export function tokenFromFragment() {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (!match) return "";
  history.replaceState(null, "", location.pathname + location.search);
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return "";
  }
}

function readStorage(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}
