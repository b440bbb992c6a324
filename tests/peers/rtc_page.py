"""A page of Chromium with one `RTCPeerConnection`, signalled by WHIP or WHEP with a few lines."""

from typing import Any, Final

from tests.peers.server import RunningServer

__all__ = ["Page"]

_SIGNAL: Final = """
() => {
window.signal = async (pc, url, relayPort) => {
  await pc.setLocalDescription();
  await new Promise((done) => {
    if (pc.iceGatheringState === "complete") return done();
    pc.addEventListener("icegatheringstatechange",
      () => pc.iceGatheringState === "complete" && done());
  });
  const began = performance.now();
  const answer = await fetch(url, {
    method: "POST", body: pc.localDescription.sdp, headers: {"Content-Type": "application/sdp"},
  });
  if (answer.status !== 201) return {status: answer.status, text: await answer.text()};
  window.resource = answer.headers.get("Location");
  window.etag = answer.headers.get("ETag");
  const answered = performance.now();
  let sdp = await answer.text();
  if (relayPort) {
    sdp = sdp.replace(/a=candidate:.* tcp .*\\r\\n/gi, "");
    sdp = sdp.replace(/^(a=candidate:\\S+ 1 udp \\d+) \\S+ \\d+/gim, `$1 127.0.0.1 ${relayPort}`);
  }
  const ready = new Promise((done) => {
    pc.addEventListener("connectionstatechange",
      () => pc.connectionState === "connected" && done(performance.now()));
  });
  await pc.setRemoteDescription({type: "answer", sdp});
  const connected = await ready;
  return {status: 201, answer_ms: answered - began, connect_ms: connected - answered, sdp};
};
window.totals = async (pc, type) => {
  const found = {};
  for (const one of (await pc.getStats()).values()) {
    if (one.type === type) found[one.kind] = one;
  }
  return found;
};
}
"""


class Page:
    """A page with a connection in it."""

    def __init__(self, browser: Any, server: RunningServer) -> None:
        # An address of ours: the camera wants a secure context, which loopback is.
        self.page = browser.new_page(bypass_csp=True)
        self.page.goto(server.base_url + "/assets/nothing")
        self.page.evaluate(_SIGNAL)

    def run(self, script: str, **values: Any) -> Any:
        return self.page.evaluate(script, values)

    def totals(self, kind: str) -> Any:
        return self.page.evaluate("(type) => window.totals(window.pc, type)", kind)

    def close(self) -> None:
        self.page.evaluate("() => window.pc && window.pc.close()")
        self.page.close()
