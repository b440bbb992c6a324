"""WebRTC: ICE, DTLS and SRTP over one port, and the descriptions. Alone knows aiortc."""
