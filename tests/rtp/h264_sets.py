"""Parameter sets of H.264 written bit by bit, for pictures of any size without encoding one."""


def _ue(value: int) -> str:
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _nal(header: int, bits: str) -> bytes:
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return bytes((header,)) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def sps(width: int, height: int) -> bytes:
    """Constrained Baseline, level 3.1; sizes in whole macroblocks."""
    fixed = f"{66:08b}{0xC0:08b}{31:08b}"
    numbers = _ue(0) + _ue(0) + _ue(2) + _ue(1)
    size = _ue(width // 16 - 1) + _ue(height // 16 - 1)
    return _nal(0x67, f"{fixed}{numbers}0{size}1100")


def pps() -> bytes:
    return _nal(0x68, _ue(0) + _ue(0) + "00" + _ue(0) * 3 + "000" + _ue(0) * 3 + "000")
