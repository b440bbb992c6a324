"""Destinations: a stream sent on to other servers, each told of truthfully and on its own."""
