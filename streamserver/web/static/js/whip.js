// WHIP and WHEP as a client (RFC 9725, draft-ietf-wish-whep): an offer is posted, and what it made
// is changed and ended under an address of its own. Knows HTTP, but nothing of WebRTC.

const POST_MS = 10_000;
const PATCH_MS = 5000;
const SDP = "application/sdp";
const FRAGMENT = "application/trickle-ice-sdpfrag";

/** What the server refused (its status and sentence), or that it could not be reached (status 0). */
export class SignalError extends Error {
  constructor(status, message, later = false) {
    super(message);
    this.name = "SignalError";
    this.status = status;
    /** Whether the server says that asking again may help. */
    this.later = later;
  }

  /** Whether another credential could help. */
  get denied() {
    return this.status === 401 || this.status === 403;
  }

  /** Whether there is no WebRTC at this address at all: a stream that is not live says when to
   * ask again. */
  get absent() {
    return this.status === 405 || (this.status === 404 && !this.later);
  }
}

export class Signalling {
  #root;
  #path;
  #token;
  #resource = null;
  #closed = false;

  /** `path` is `whip/app/name` or `whep/app/name` below the URL `root`. */
  constructor(root, path, token = "") {
    this.#root = root;
    this.#path = path;
    this.#token = token;
  }

  /** Posts an offer. Resolves to `{sdp, iceServers}`; raises `SignalError`. */
  async open(offer) {
    const response = await this.#send(new URL(this.#path, this.#root), "POST", POST_MS, SDP, offer);
    const location = response.headers.get("Location");
    if (!location) throw new SignalError(response.status, "The server did not say where the connection lives");
    this.#resource = this.#resolve(location, response.url);
    // The page went on while the answer was under way.
    if (this.#closed) this.#delete();
    return { sdp: await response.text(), iceServers: readIceServers(response.headers.get("Link")) };
  }

  /** Restarts ICE with the credentials of a new offer. Resolves to the server's fragment. */
  async restart(offer) {
    if (!this.#resource) throw new SignalError(0, "There is no connection");
    // RFC 9725 4.3.3: a restart is for whatever ICE session there is.
    const response = await this.#send(
      this.#resource, "PATCH", PATCH_MS, FRAGMENT, fragmentOf(offer), { "If-Match": "*" },
    );
    return response.text();
  }

  /** Ends what the offer made, even while the page goes away. */
  close() {
    this.#closed = true;
    this.#delete();
  }

  #delete() {
    const resource = this.#resource;
    this.#resource = null;
    if (resource) fetch(resource, { method: "DELETE", headers: this.#headers(), keepalive: true }).catch(() => {});
  }

  #headers() {
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }

  async #send(url, method, timeoutMs, type, body, more = {}) {
    let response;
    try {
      response = await fetch(url, {
        method,
        headers: { "Content-Type": type, ...this.#headers(), ...more },
        body,
        cache: "no-store",
        credentials: "same-origin",
        signal: AbortSignal.timeout(timeoutMs),
      });
    } catch {
      throw new SignalError(0, "The server cannot be reached");
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => null);
    const reason = problem?.detail ?? problem?.title ?? `The server answered ${response.status}`;
    throw new SignalError(response.status, sentence(String(reason)), response.headers.has("Retry-After"));
  }

  /** Below our own root where it is our server's: a prefix that a proxy took off is put back. */
  #resolve(location, base) {
    const url = new URL(location, base);
    const at = url.pathname.indexOf(`/${this.#path.split("/")[0]}/`);
    const own = url.origin === new URL(this.#root).origin && at >= 0;
    return own ? new URL(url.pathname.slice(at + 1) + url.search, this.#root) : url;
  }
}

/** The answer of a restart: the old one with the server's new credentials and candidates. */
export function restartedAnswer(answer, fragment) {
  const lines = fragment.split(/\r?\n/);
  const value = (name) => lines.find((line) => line.startsWith(`a=${name}:`))?.slice(name.length + 3) ?? "";
  const candidates = lines.filter((line) => line.startsWith("a=candidate:"));
  const kept = answer.split(/\r?\n/).flatMap((line) => {
    if (line.startsWith("a=ice-ufrag:")) return [`a=ice-ufrag:${value("ice-ufrag")}`];
    if (line.startsWith("a=ice-pwd:")) return [`a=ice-pwd:${value("ice-pwd")}`];
    if (line === "a=end-of-candidates") return [...candidates, line];
    return line.startsWith("a=candidate:") ? [] : [line];
  });
  return kept.join("\r\n");
}

/** RFC 9725 4.3.3: the new credentials, in the section that the transport is taken from. */
export function fragmentOf(offer) {
  const lines = offer.split(/\r?\n/);
  const pick = (start) => lines.find((line) => line.startsWith(start));
  const found = [
    pick("a=group:BUNDLE"), pick("m="), pick("a=mid:"), pick("a=ice-ufrag:"), pick("a=ice-pwd:"),
  ];
  return [...found.filter(Boolean), ""].join("\r\n");
}

/** RFC 9725 4.6: `Link: <turn:host>; rel="ice-server"; username="u"; credential="c"`. */
export function readIceServers(link) {
  const found = [];
  for (const [, url, rest] of (link ?? "").matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))*)/g)) {
    const params = {};
    for (const [, name, quoted, bare] of rest.matchAll(/;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))/g)) {
      params[name.toLowerCase()] = quoted?.replace(/\\(.)/g, "$1") ?? bare;
    }
    if (params.rel !== "ice-server") continue;
    const { username, credential } = params;
    found.push(username ? { urls: url, username, credential } : { urls: url });
  }
  return found;
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}
