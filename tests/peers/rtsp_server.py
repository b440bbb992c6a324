"""GStreamer's RTSP server with a moving picture and a tone, for `pull` to fetch.

``/usr/bin/python3 rtsp_server.py PORT``: Debian's Python, for Debian's bindings
(``gir1.2-gst-rtsp-server-1.0``). Serves ``rtsp://127.0.0.1:PORT/cam`` until it is ended.
"""

import sys

import gi  # type: ignore[import-not-found]  # Debian's, not ours

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402

_LAUNCH = (
    "( videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=30/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! h264parse "
    "! rtph264pay name=pay0 pt=96 config-interval=1 "
    "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! voaacenc ! aacparse "
    "! rtpmp4gpay name=pay1 pt=97 )"
)


def main() -> None:
    """Serves."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(_LAUNCH)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
