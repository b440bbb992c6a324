"""RTP and RTCP as languages: bytes in, values out; no socket, no clock (RFC 3550)."""
