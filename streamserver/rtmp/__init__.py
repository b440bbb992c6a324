"""RTMP, sans-IO: bytes in, events out, bytes to send."""
