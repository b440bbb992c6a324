"""From a protocol's media to the packets of a stream."""
