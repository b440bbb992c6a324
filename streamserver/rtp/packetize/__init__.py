"""From packets to RTP payloads: how each codec is cut to the size of a datagram. Sans-IO."""
