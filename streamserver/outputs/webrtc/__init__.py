"""Playing over WebRTC: one fan-out per stream, each viewer with its own numbers and keys."""
