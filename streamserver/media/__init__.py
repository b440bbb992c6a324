"""What flows: tracks, packets, and the languages of the codecs. Sans-IO, integers only."""
