"""HLS: low-latency CMAF playlists for everybody, MPEG-TS on demand for old players."""
