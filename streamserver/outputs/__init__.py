"""From a stream to what its viewers receive."""
