"""From payloads of RTP packets back to frames, one module for each codec."""
