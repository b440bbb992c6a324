"""Puts payloads together again, as the specifications tell a receiver to; for tests only."""


def nals_of_h264(payloads: list[bytes]) -> list[bytes]:
    """RFC 6184 5.6 to 5.8."""
    nals: list[bytes] = []
    open_nal = bytearray()
    for payload in payloads:
        kind = payload[0] & 0x1F
        if kind == 24:
            nals += _aggregated(payload, 1)
        elif kind == 28:
            if payload[1] & 0x80:
                open_nal = bytearray((payload[0] & 0xE0 | payload[1] & 0x1F,))
            open_nal += payload[2:]
            if payload[1] & 0x40:
                nals.append(bytes(open_nal))
        else:
            nals.append(payload)
    return nals


def nals_of_h265(payloads: list[bytes]) -> list[bytes]:
    """RFC 7798 4.4."""
    nals: list[bytes] = []
    open_nal = bytearray()
    for payload in payloads:
        kind = payload[0] >> 1 & 0x3F
        if kind == 48:
            nals += _aggregated(payload, 2)
        elif kind == 49:
            if payload[2] & 0x80:
                open_nal = bytearray((payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1]))
            open_nal += payload[3:]
            if payload[2] & 0x40:
                nals.append(bytes(open_nal))
        else:
            nals.append(payload)
    return nals


def elements_of_av1(payloads: list[bytes]) -> list[bytes]:
    """RTP Payload Format For AV1, section 4.4."""
    elements: list[bytes] = []
    for payload in payloads:
        header, at = payload[0], 1
        count = header >> 4 & 3
        pieces: list[bytes] = []
        while at < len(payload):
            if count and len(pieces) == count - 1:
                size = len(payload) - at
            else:
                size = shift = 0
                while True:
                    byte = payload[at]
                    at += 1
                    size |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
            assert at + size <= len(payload)
            pieces.append(payload[at : at + size])
            at += size
        assert not count or len(pieces) == count
        if header & 0x80:
            elements[-1] += pieces.pop(0)
        elements += pieces
    return elements


def _aggregated(payload: bytes, at: int) -> list[bytes]:
    nals = []
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 2])
        nals.append(payload[at + 2 : at + 2 + size])
        at += 2 + size
    return nals
